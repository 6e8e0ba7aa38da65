"""The stand-in Jira as the real client sees it, Cloud and Data Center."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import requests
from jira import JIRA, JIRAError

from tests.shared import shared
from triage.sandbox.jira import JiraServer
from triage.sandbox.jira_documents import document, plain, problem

DOCUMENT = {
    "type": "doc",
    "version": 1,
    "content": [
        {"type": "paragraph", "content": [{"type": "text", "text": "it hangs"}, {"type": "hardBreak"}, {"type": "text", "text": "on 4.2"}]},
        {
            "type": "bulletList",
            "content": [{"type": "listItem", "content": [{"type": "paragraph", "content": [{"type": "text", "text": "one"}]}]}],
        },
    ],
}


@pytest.fixture(params=["cloud", "data_center"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[JiraServer]:
    with JiraServer(tmp_path, flavour=request.param) as jira:
        yield jira


def client_of(server: JiraServer) -> Any:
    auth: dict[str, Any] = {"basic_auth": (server.email, server.token)} if server.is_cloud else {"token_auth": server.token}
    options = {"rest_api_version": "3" if server.is_cloud else "2"}
    return JIRA(server=server.url, options=options, max_retries=0, timeout=5, **auth)


def text(server: JiraServer, words: str = "it hangs") -> Any:
    return document(words) if server.is_cloud else words


def fields(server: JiraServer, **more: Any) -> dict[str, Any]:
    return {"project": {"key": "QUAY"}, "issuetype": {"name": "Bug"}, "summary": "It hangs", "description": text(server), **more}


def test_a_ticket_is_created_read_and_found(server: JiraServer) -> None:
    """By id, by key, and by search on its label and its creator."""
    client = client_of(server)
    made = client.create_issue(
        fields=fields(server, labels=["triage-1"], components=[{"name": "CLI"}], priority={"name": "High"}, customfield_10010="x"),
        prefetch=False,
    )
    found = client.issue(made.id)
    assert (found.key, found.fields.summary, found.fields.labels, found.fields.priority.name) == (
        "QUAY-1",
        "It hangs",
        ["triage-1"],
        "High",
    )
    assert plain(found.raw["fields"]["description"]) == "it hangs"
    assert found.fields.customfield_10010 == "x"
    hits = client.search_issues('labels = "triage-1" AND project = QUAY AND creator = currentUser()', fields="key,labels")
    assert [(hit.key, hit.fields.labels) for hit in hits] == [("QUAY-1", ["triage-1"])]


@pytest.mark.parametrize(
    ("wrong", "names"),
    [
        ({"summary": "two\nlines"}, "summary"),
        ({"summary": "x" * 256}, "summary"),
        ({"summary": " "}, "summary"),
        ({"labels": ["two words"]}, "labels"),
        ({"labels": "one"}, "labels"),
        ({"customfield_99": 1}, "customfield_99"),
        ({"customfield_10010": 5}, "customfield_10010"),
        ({"components": [{"name": "Nothing"}]}, "components"),
        ({"priority": {"name": "Urgent"}}, "priority"),
        ({"issuetype": {"name": "Nothing"}}, "issuetype"),
        ({"project": {"key": "NONE"}}, "project"),
        ({"description": 5}, "description"),
        ({"description": {"type": "doc", "version": 1, "content": [{"type": "text", "text": "at the root"}]}}, "description"),
    ],
)
def test_a_bad_ticket_is_refused_by_the_field_that_is_wrong(server: JiraServer, wrong: dict[str, Any], names: str) -> None:
    """As Jira does it: 400 and an object of errors."""
    with pytest.raises(JIRAError) as caught:
        client_of(server).create_issue(fields=fields(server, **wrong), prefetch=False)
    assert caught.value.status_code == 400
    assert list(caught.value.response.json()["errors"]) == [names]
    assert server.tickets == []


def test_texts_have_the_form_of_the_api_and_a_limit(server: JiraServer) -> None:
    """The newer API wants documents, the older one strings, both at most 32,767 characters."""
    client = client_of(server)
    client.create_issue(fields=fields(server, description=text(server, "x" * 32_767)), prefetch=False)
    other = "plain" if server.is_cloud else DOCUMENT
    for bad in (other, text(server, "x" * 32_768)):
        with pytest.raises(JIRAError):
            client.create_issue(fields=fields(server, description=bad), prefetch=False)
    with pytest.raises(JIRAError):
        client.add_comment("QUAY-1", other)
    assert len(server.tickets) == 1


def test_cloud_shows_a_document_as_text_through_the_older_api(jira_cloud: JiraServer) -> None:
    """And the other way round."""
    client = client_of(jira_cloud)
    client.create_issue(fields=fields(jira_cloud, description=DOCUMENT), prefetch=False)
    auth = (jira_cloud.email, jira_cloud.token)
    older = requests.get(f"{jira_cloud.url}/rest/api/2/issue/QUAY-1", auth=auth, timeout=5).json()
    assert older["fields"]["description"] == "it hangs\non 4.2\n- one"
    assert client.issue("QUAY-1").raw["fields"]["description"] == DOCUMENT


def test_comments_are_listed_in_order(server: JiraServer) -> None:
    """Oldest first, and newest first when asked."""
    client = client_of(server)
    client.create_issue(fields=fields(server), prefetch=False)
    for word in ("one", "two"):
        client.add_comment("QUAY-1", text(server, word))
    assert [plain(comment.raw["body"]) for comment in client.comments("QUAY-1")] == ["one", "two"]
    assert [plain(comment.raw["body"]) for comment in client.comments("QUAY-1", order_by="-created")] == ["two", "one"]


def test_search_lags_behind_but_reads_by_key_do_not(server: JiraServer) -> None:
    """A search index that is behind shows neither new tickets nor new statuses."""
    client = client_of(server)
    server.knobs.search_lag = 3600
    client.create_issue(fields=fields(server, labels=["m"]), prefetch=False)
    assert len(client.search_issues("labels = m")) == 0
    assert client.issue("QUAY-1").key == "QUAY-1"
    server.knobs.search_lag = 0
    assert len(client.search_issues("labels = m")) == 1
    server.knobs.search_lag = "never"
    assert len(client.search_issues("labels = m")) == 0


def test_cloud_search_can_be_told_which_tickets_to_be_certain_of(jira_cloud: JiraServer) -> None:
    """`reconcileIssues` sees them in spite of the lag."""
    client = client_of(jira_cloud)
    jira_cloud.knobs.search_lag = "never"
    made = client.create_issue(fields=fields(jira_cloud, labels=["m"]), prefetch=False)
    assert len(client.enhanced_search_issues("labels = m", reconcileIssues=[int(made.id)])) == 1


def test_all_pages_of_a_search_are_followed(server: JiraServer) -> None:
    """By token on Cloud, by number on Data Center."""
    client = client_of(server)
    server.knobs.page_size = 10
    for number in range(25):
        server.add_ticket("QUAY", f"number {number}", labels=["m"])
    found = client.search_issues("labels = m ORDER BY key ASC", maxResults=False)
    assert [hit.key for hit in found] == [f"QUAY-{number}" for number in range(1, 26)]
    posted = client.search_issues("labels = m ORDER BY key DESC", maxResults=5, use_post=True)
    assert posted[0].key == "QUAY-25"


def test_the_old_search_is_gone_on_cloud(jira_cloud: JiraServer) -> None:
    """410, on every version of the API."""
    for version in ("2", "3"):
        answer = requests.get(f"{jira_cloud.url}/rest/api/{version}/search?jql=x", auth=(jira_cloud.email, jira_cloud.token), timeout=5)
        assert answer.status_code == 410


@pytest.mark.parametrize(
    ("jql", "keys"),
    [
        ("project = QUAY", ["QUAY-1", "QUAY-2"]),
        ("project = QUAY AND labels = b", ["QUAY-2"]),
        ("labels in (a, b) ORDER BY key DESC", ["QUAY-2", "QUAY-1", "OPS-1"]),
        ('key in ("QUAY-2", OPS-1)', ["OPS-1", "QUAY-2"]),
        ("creator = currentUser()", ["QUAY-2"]),
        ("creator != currentUser() and project = quay", ["QUAY-1"]),
        ("status = Done", ["OPS-1"]),
        ("updated >= -5m", ["OPS-1", "QUAY-1", "QUAY-2"]),
        ('created >= "2020-01-01 10:00" AND created < "2021/01/01"', []),
        ("updated <= -1d", []),
    ],
)
def test_queries_find_what_they_say(server: JiraServer, jql: str, keys: list[str]) -> None:
    """The part of JQL that is there is right."""
    server.add_ticket("QUAY", "one", labels=["a"])
    client = client_of(server)
    client.create_issue(fields=fields(server, labels=["b"]), prefetch=False)
    server.add_ticket("OPS", "three", labels=["a"])
    server.set_status("OPS-1", "Done")
    found = [hit.key for hit in client.search_issues(jql, fields="key")]
    assert (found if "ORDER" in jql else sorted(found)) == keys


@pytest.mark.parametrize(
    "jql",
    [
        "text ~ hello",
        "labels ~ a",
        "nothing = 1",
        "project = NONE",
        "key = QUAY-99",
        "labels = a OR labels = b",
        "labels =",
        "labels = a labels = b",
        "updated >= yesterday",
        "updated = -1d",
        "labels = a ORDER BY votes",
        "labels = and",
        "labels in (a",
        "created >= '2026-01-01T10:00:00Z'",
    ],
)
def test_queries_that_it_can_not_run_are_errors(server: JiraServer, jql: str) -> None:
    """Never an empty result that looks like an answer."""
    server.add_ticket("QUAY", "one", labels=["a"])
    with pytest.raises(JIRAError) as caught:
        client_of(server).search_issues(jql)
    assert caught.value.status_code == 400


def test_dates_in_queries_are_in_the_time_zone_of_the_asker(server: JiraServer) -> None:
    """The same words mean another moment elsewhere."""
    server.add_ticket("QUAY", "one")
    client = client_of(server)
    shown = client.issue("QUAY-1").fields.created
    assert shown.endswith("+0000")
    here = shown[:16].replace("T", " ")
    server.knobs.time_zone = "Pacific/Kiritimati"
    assert client.myself()["timeZone"] == "Pacific/Kiritimati"
    assert client.issue("QUAY-1").fields.created.endswith("+1400")
    assert len(client.search_issues(f'created >= "{here}"')) == 1
    server.knobs.time_zone = "Pacific/Honolulu"
    assert len(client.search_issues(f'created >= "{here}"')) == 0


def test_statuses_resolutions_and_fix_versions_change(server: JiraServer) -> None:
    """And `updated` with them."""
    client = client_of(server)
    client.create_issue(fields=fields(server), prefetch=False)
    before = client.issue("QUAY-1").fields.updated
    server.knobs.skew = 5
    server.resolve("QUAY-1", "Fixed", ["4.2.1"])
    found = client.issue("QUAY-1").fields
    assert (found.status.name, found.status.statusCategory.key, found.resolution.name) == ("Done", "done", "Fixed")
    assert [version.name for version in found.fixVersions] == ["4.2.1"]
    assert found.updated > before


def test_transitions_want_a_text_on_cloud(server: JiraServer) -> None:
    """The client's own helper sends a number, which only Data Center takes."""
    client = client_of(server)
    client.create_issue(fields=fields(server), prefetch=False)
    assert {one["name"]: one["id"] for one in client.transitions("QUAY-1")}["Done"] == "31"
    if server.is_cloud:
        with pytest.raises(JIRAError, match="string"):
            client.transition_issue("QUAY-1", "31")
        url = f"{server.url}/rest/api/3/issue/QUAY-1/transitions"
        answer = requests.post(url, json={"transition": {"id": "31"}}, auth=(server.email, server.token), timeout=5)
        assert (answer.status_code, answer.content) == (204, b"")
    else:
        client.transition_issue("QUAY-1", "31")
    assert server.ticket("QUAY-1").status == "Done"


def test_a_moved_ticket_answers_to_both_keys_and_a_deleted_one_to_none(server: JiraServer) -> None:
    """The id stays; numbers are not used again."""
    client = client_of(server)
    made = client.create_issue(fields=fields(server, labels=["m"]), prefetch=False)
    server.move("QUAY-1", "OPS-7")
    assert {client.issue(name).key for name in (made.id, "QUAY-1", "OPS-7")} == {"OPS-7"}
    assert [hit.key for hit in client.search_issues("labels = m AND project = OPS")] == ["OPS-7"]
    server.delete("OPS-7")
    with pytest.raises(JIRAError) as caught:
        client.issue(made.id)
    assert caught.value.status_code == 404
    assert len(client.search_issues("labels = m")) == 0
    assert client.create_issue(fields=fields(server), prefetch=False).key == "QUAY-2"


def test_labels_can_be_off_the_screen_or_be_dropped(server: JiraServer) -> None:
    """Off the screen refuses and is visible beforehand; dropping is seen only by reading back."""
    client = client_of(server)
    server.knobs.labels_on_screen = False
    with pytest.raises(JIRAError, match="labels"):
        client.create_issue(fields=fields(server, labels=["m"]), prefetch=False)
    assert "labels" not in field_ids(server)
    server.knobs.labels_on_screen, server.knobs.drop_labels = True, True
    made = client.create_issue(fields=fields(server, labels=["m"]), prefetch=False)
    assert client.issue(made.id).fields.labels == []
    assert "labels" in field_ids(server)


def field_ids(server: JiraServer) -> list[str]:
    version, auth = ("3", (server.email, server.token)) if server.is_cloud else ("2", None)
    headers = {} if server.is_cloud else {"Authorization": f"Bearer {server.token}"}
    url = f"{server.url}/rest/api/{version}/issue/createmeta/QUAY/issuetypes"
    types = requests.get(url, auth=auth, headers=headers, timeout=5).json()
    name, inner = ("issueTypes", "fields") if server.is_cloud else ("values", "values")
    found = requests.get(f"{url}/{types[name][0]['id']}", auth=auth, headers=headers, timeout=5).json()
    assert found["total"] == len(found[inner])
    return [field["fieldId"] for field in found[inner]]


def test_create_meta_pages(jira_dc: JiraServer) -> None:
    """The client reads all pages of the issue types."""
    jira_dc.knobs.page_size = 2
    assert [one.name for one in client_of(jira_dc).project_issue_types("QUAY", maxResults=False)] == ["Bug", "Task", "Story"]


def test_permissions_are_told_and_kept(server: JiraServer) -> None:
    """What the account may not do is refused; what it may not see is not there."""
    client = client_of(server)
    client.create_issue(fields=fields(server), prefetch=False)
    server.knobs.permissions -= {"CREATE_ISSUES", "ADD_COMMENTS"}
    told = client.my_permissions(projectKey="QUAY", permissions="CREATE_ISSUES,BROWSE_PROJECTS")["permissions"]
    assert (told["CREATE_ISSUES"]["havePermission"], told["BROWSE_PROJECTS"]["havePermission"]) == (False, True)
    calls: list[Any] = [
        lambda: client.create_issue(fields=fields(server), prefetch=False),
        lambda: client.add_comment("QUAY-1", text(server)),
    ]
    for call in calls:
        with pytest.raises(JIRAError) as caught:
            call()
        assert caught.value.status_code == 403
    server.knobs.permissions.clear()
    reads: list[Any] = [lambda: client.issue("QUAY-1"), lambda: client.project("QUAY")]
    for read in reads:
        with pytest.raises(JIRAError) as caught:
            read()
        assert caught.value.status_code == 404


def test_a_wrong_login_is_refused_everywhere_but_at_the_door(server: JiraServer) -> None:
    """`serverInfo` is open, as on the real ones; Cloud takes no Bearer and Data Center no Basic."""
    version = "3" if server.is_cloud else "2"
    right, wrong = (server.email, server.token), f"Bearer {server.token}"
    url = f"{server.url}/rest/api/{version}"
    assert requests.get(f"{url}/serverInfo", timeout=5).json()["deploymentType"] == ("Cloud" if server.is_cloud else "Server")
    assert requests.get(f"{url}/myself", timeout=5).status_code == 401
    crossed: dict[str, Any] = {"headers": {"Authorization": wrong}} if server.is_cloud else {"auth": right}
    assert requests.get(f"{url}/myself", timeout=5, **crossed).status_code == 401
    assert client_of(server).myself()["displayName"] == "Triage Bot"


def test_a_connection_dropped_after_a_creation_leaves_one_ticket(jira_cloud: JiraServer) -> None:
    """The client, told not to retry, sees an error; the ledger holds the ticket."""
    jira_cloud.faults.add(method="POST", path="/issue$", kind="reset_after")
    with pytest.raises((JIRAError, requests.RequestException)):
        client_of(jira_cloud).create_issue(fields=fields(jira_cloud), prefetch=False)
    assert [entry["key"] for entry in jira_cloud.ledger.entries("ticket")] == ["QUAY-1"]


def test_a_restarted_jira_is_the_same(server: JiraServer) -> None:
    """Tickets, comments, changes, moves and deletions come back from the ledger; keys go on where they stood."""
    client = client_of(server)
    for _ in range(3):
        client.create_issue(fields=fields(server, labels=["m"]), prefetch=False)
    client.add_comment("QUAY-1", text(server, "same"))
    server.resolve("QUAY-1", "Fixed", ["4.2.1"])
    server.move("QUAY-2", "OPS-4")
    server.delete("QUAY-3")
    server.ledger.close()
    with JiraServer(server.folder, flavour="cloud" if server.is_cloud else "data_center") as second:
        assert second.token == server.token
        assert second.tickets == server.tickets
        assert second.ticket("QUAY-2").key == "OPS-4"
        assert client_of(second).create_issue(fields=fields(second), prefetch=False).key == "QUAY-4"


def test_another_process_steers_jira_over_http(jira_cloud: JiraServer) -> None:
    """Resolve, move, delete, status and knobs."""
    for number in range(2):
        jira_cloud.add_ticket("QUAY", f"number {number}")
    url = f"{jira_cloud.url}/_sandbox"
    calls: dict[str, dict[str, Any]] = {
        "resolve": {"key": "QUAY-1", "resolution": "Fixed", "fix_versions": ["1"]},
        "move": {"key": "QUAY-1", "new_key": "OPS-1"},
        "delete": {"key": "QUAY-2"},
        "knobs": {"search_lag": "never"},
    }
    for verb, body in calls.items():
        requests.post(f"{url}/{verb}", json=body, timeout=5).raise_for_status()
    assert requests.post(f"{url}/status", json={"key": "QUAY-9", "status": "Done"}, timeout=5).status_code == 400
    assert [(ticket.key, ticket.resolution) for ticket in jira_cloud.tickets] == [("OPS-1", "Fixed")]
    assert jira_cloud.knobs.search_lag == "never"


@pytest.mark.shared
@pytest.mark.parametrize(
    "content",
    [
        DOCUMENT["content"],
        [],
        [{"type": "paragraph"}],
        [{"type": "paragraph", "content": [{"type": "text", "text": ""}]}],
        [{"type": "text", "text": "root"}],
        [{"type": "paragraph", "content": [{"type": "paragraph"}]}],
        [{"type": "bulletList", "content": []}],
        [{"type": "bulletList", "content": [{"type": "paragraph"}]}],
        [{"type": "heading", "attrs": {"level": 3}, "content": [{"type": "text", "text": "h"}]}],
        [{"type": "heading", "content": []}],
        [{"type": "codeBlock", "attrs": {}, "content": [{"type": "text", "text": "x"}]}],
        [{"type": "codeBlock", "content": [{"type": "text", "text": "x", "marks": [{"type": "strong"}]}]}],
        [
            {
                "type": "paragraph",
                "content": [{"type": "text", "text": "x", "marks": [{"type": "link", "attrs": {"href": "https://x.example"}}]}],
            }
        ],
        [{"type": "paragraph", "content": [{"type": "text", "text": "x", "marks": [{"type": "link"}]}]}],
        [{"type": "blockquote", "content": [{"type": "paragraph", "content": [{"type": "text", "text": "q"}]}]}],
        [{"type": "blockquote", "content": [{"type": "heading", "attrs": {"level": 1}}]}],
        [{"type": "panel", "attrs": {"panelType": "info"}, "content": [{"type": "paragraph"}]}],
        [{"type": "rule"}],
        [{"type": "blink"}],
    ],
)
def test_documents_are_judged_as_the_formats_own_schema_judges_them(content: Any) -> None:
    """What the stand-in takes the schema takes, and the reverse."""
    schema = json.loads(shared("specs/adf-schema.json").read_text("utf-8"))
    whole = {"type": "doc", "version": 1, "content": content}
    assert (problem(whole) is None) == jsonschema.Draft4Validator(schema).is_valid(whole)


def test_a_ticket_and_a_comment_are_changed_by_those_who_may(tmp_path: Path, server: JiraServer) -> None:
    """By the fields of the edit screen, and one's own comments alone; what was changed is there after a restart."""
    client = client_of(server)
    made = client.issue(client.create_issue(fields=fields(server), prefetch=False).id)
    made.update(fields={"summary": "It is well", "description": text(server, "all is well")})
    comment = client.add_comment(made, text(server, "mine"))
    comment.update(body=text(server, "mine, too"))
    theirs = server.add_comment(made.key, "theirs")
    with pytest.raises(JIRAError, match="permission to edit the comment"):
        client.comment(made.key, theirs.id).update(body=text(server, "not mine"))
    server.knobs.change(locked=["summary"])
    with pytest.raises(JIRAError, match="Field 'summary' cannot be set"):
        made.update(fields={"summary": "no"})
    with pytest.raises(JIRAError, match="too long"):
        made.update(fields={"description": text(server, "x" * 40_000)})
    with JiraServer(tmp_path, flavour="cloud" if server.is_cloud else "data_center") as again:
        ticket = again.ticket(made.key)
        assert (ticket.summary, plain(ticket.description)) == ("It is well", "all is well")
        assert [plain(one.body) for one in ticket.comments] == ["mine, too", "theirs"]

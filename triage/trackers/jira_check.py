"""What `triage doctor` asks a Jira, one step after the other; it stops where the next step would only fail for the same reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from triage import remote
from triage.contracts import Finding
from triage.errors import Gone, RemoteError, Unauthorized

if TYPE_CHECKING:
    from triage.trackers.jira import Jira

SKEW_SECONDS = 60
RIGHTS = {"BROWSE_PROJECTS": "Browse Projects", "CREATE_ISSUES": "Create Issues", "ADD_COMMENTS": "Add Comments"}
EDITING = {"EDIT_ISSUES": "Edit Issues", "EDIT_OWN_COMMENTS": "Edit Own Comments"}
FILLED_IN = frozenset(("project", "issuetype", "summary", "description", "labels", "reporter"))  # by us, and the reporter by Jira
LOOPBACK = frozenset(("localhost", "127.0.0.1", "::1"))


def findings(tracker: Jira) -> Iterator[Finding]:
    """All findings, in the order in which a person would mend them."""
    if tracker.unmarked:
        yield Finding("fail", tracker.unmarked, "Add the field Labels to the create screen, then restart triage.")
    parts = urlsplit(tracker.options.url)
    if parts.scheme == "http" and parts.hostname not in LOOPBACK:
        yield Finding("warn", "the token travels unencrypted", "Put https:// into `url`.")
    steps: tuple[Callable[[Jira], list[Finding]], ...] = (_server, _account, _project, _rights, _screen, _search)
    for step in steps:
        try:
            found = step(tracker)
        except Unauthorized as error:
            found = [Finding("fail", str(error), _new_token(tracker))]
        except RemoteError as error:
            found = [Finding("fail", str(error), "See that `url` is right and the server is up, then run `triage doctor` again.")]
        yield from found
        if any(finding.level == "fail" for finding in found):
            return


def _new_token(tracker: Jira) -> str:
    if tracker.options.is_cloud:
        return "Make an API token under id.atlassian.com, Security; `user` must be the e-mail of the same account."
    return "Make a personal access token in your Jira profile and put it into `token`."


def _server(tracker: Jira) -> list[Finding]:
    """Which Jira answers, and what time it is there."""
    options = tracker.options
    other = "data_center" if options.is_cloud else "cloud"
    try:
        with tracker.reading(), remote.raw() as answers:
            tracker.client._get_json("serverInfo")
    except Gone:
        what = f"there is no Jira API version {'3' if options.is_cloud else '2'} at {options.url}"
        return [
            Finding(
                "fail", what, f"Set `deployment: {other}` if that is what it is, and see whether `url` lacks a context path like /jira."
            )
        ]
    info = answers[-1].json()
    info = info if isinstance(info, dict) else {}
    kind = str(info.get("deploymentType") or "")
    if kind and (kind == "Cloud") != options.is_cloud:
        return [Finding("fail", f"the server says that it is {kind}, the config says {options.deployment}", f"Set `deployment: {other}`.")]
    found = [Finding("ok", f"Jira {info.get('version', '')} ({kind or options.deployment}) answers at {options.url}")]
    skew = _skew(answers[-1].headers.get("Date") or "")
    if skew is not None and abs(skew) > SKEW_SECONDS:
        what = f"Jira's clock is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} this machine's"
        found.append(Finding("warn", what, "Set this machine's clock by NTP."))
    return found


def _skew(date: str) -> float | None:
    """How many seconds the server's clock is ahead, by its `Date` header."""
    try:
        moment = parsedate_to_datetime(date)
    except (ValueError, TypeError):
        return None
    return (moment.replace(tzinfo=moment.tzinfo or UTC) - datetime.now(UTC)).total_seconds()


def _account(tracker: Jira) -> list[Finding]:
    me = tracker.get("myself")
    name = me.get("displayName") or me.get("name") if isinstance(me, dict) else None
    return [Finding("ok", f"signed in as {name or 'somebody without a name'}")]


def _project(tracker: Jira) -> list[Finding]:
    key = tracker.options.project
    try:
        tracker.get(f"project/{key}")
    except Gone:
        return [
            Finding("fail", f"there is no project {key}, or this account may not see it", "Correct `project`, or give the account access.")
        ]
    return [Finding("ok", f"project {key} is there")]


def _rights(tracker: Jira) -> list[Finding]:
    key = tracker.options.project
    with tracker.reading():
        rights = tracker.client.my_permissions(projectKey=key, permissions=",".join(RIGHTS | EDITING))["permissions"]
        missing = [name for right, name in RIGHTS.items() if not rights.get(right, {}).get("havePermission")]
        unable = [name for right, name in EDITING.items() if not rights.get(right, {}).get("havePermission")]
    if missing:
        return [
            Finding(
                "fail", f"the account lacks {', '.join(missing)} in {key}", "Add it to a role of the project that has these permissions."
            )
        ]
    if unable:
        what = f"the account lacks {', '.join(unable)} in {key}: a person must take the words of deleted posts out of tickets"
        return [Finding("warn", what, "Add it to a role of the project that has these permissions.")]
    return [Finding("ok", "the account may browse, create, comment and edit")]


def _screen(tracker: Jira) -> list[Finding]:
    """Whether the issue type exists and its create screen holds what we set."""
    options = tracker.options
    place = f"the create screen of {options.issue_type} in {options.project}"
    try:
        types = _pages(tracker, f"issue/createmeta/{options.project}/issuetypes")
        wanted = next((one for one in types if one.get("name") == options.issue_type), None)
        names = sorted(str(one.get("name")) for one in types)
        fields = _by_id(_pages(tracker, f"issue/createmeta/{options.project}/issuetypes/{wanted['id']}")) if wanted else {}
    except Gone:  # Data Center before 8.4 tells it in another place
        names, fields = _old_screen(tracker)
    if not fields:
        known = ", ".join(names) or "none that this account can create"
        return [Finding("fail", f"{options.project} has no issue type {options.issue_type}", f"Set `issue_type` to one of: {known}.")]
    if "labels" not in fields:
        what = f"Labels is not on {place}: our marker would be dropped, and a lost answer could make a ticket twice"
        return [Finding("fail", what, "Add the field Labels to that screen.")]
    ours = {"description": True, "components": bool(options.components), "priority": bool(options.priority)} | dict.fromkeys(
        options.fields, True
    )
    absent = [name for name, used in ours.items() if used and name not in fields]
    if absent:
        return [Finding("fail", f"not on {place}: {', '.join(absent)}", "Add these fields to that screen, or take them out of the config.")]
    given = FILLED_IN | {name for name, used in ours.items() if used}
    asked = [
        f"{field.get('name')} ({name})"
        for name, field in fields.items()
        if field.get("required") and not field.get("hasDefaultValue") and name not in given
    ]
    if asked:
        what = f"{place} requires {', '.join(sorted(asked))}"
        return [Finding("fail", what, "Give them a value under `fields`, `components` or `priority`, or make them optional.")]
    return [Finding("ok", f"{place} holds what a ticket needs")]


def _pages(tracker: Jira, path: str) -> list[dict[str, Any]]:
    """A paged list: Cloud names it after its content, Data Center `values`."""
    found: list[dict[str, Any]] = []
    while True:
        page = tracker.get(path, startAt=len(found), maxResults=100)
        with tracker.reading():
            items = page.get("issueTypes") or page.get("fields") or page.get("values") or []
            found += [dict(item) for item in items]
            if not items or len(found) >= int(page.get("total") or 0):
                return found


def _by_id(fields: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {str(field.get("fieldId") or field.get("key")): field for field in fields}


def _old_screen(tracker: Jira) -> tuple[list[str], dict[str, dict[str, Any]]]:
    options = tracker.options
    found = tracker.get("issue/createmeta", projectKeys=options.project, expand="projects.issuetypes.fields")
    with tracker.reading():
        types = [one for project in found["projects"] for one in project["issuetypes"]]
        wanted: dict[str, Any] = next((one["fields"] for one in types if one["name"] == options.issue_type), {})
        return sorted(one["name"] for one in types), dict(wanted)


def _search(tracker: Jira) -> list[Finding]:
    for _ in tracker.search(f'project = "{tracker.options.project}" ORDER BY created DESC', most=1):
        break
    return [Finding("ok", f"search answers ({'by token' if tracker.options.is_cloud else 'by number'})")]

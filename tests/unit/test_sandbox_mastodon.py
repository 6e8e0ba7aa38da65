"""The stand-in Mastodon as the real client sees it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests
from mastodon import Mastodon, MastodonAPIError, MastodonNotFoundError, MastodonUnauthorizedError, StreamListener

from tests.shared import shared
from triage.sandbox.mastodon import MastodonServer


def client_of(server: MastodonServer, token: str | None = None) -> Any:
    return Mastodon(
        access_token=token or server.token, api_base_url=server.url, version_check_mode="none", ratelimit_method="throw", request_timeout=5
    )


def get(server: MastodonServer, path: str, **params: Any) -> requests.Response:
    return requests.get(f"{server.url}{path}", params=params, headers={"Authorization": f"Bearer {server.token}"}, timeout=5)


def forward(server: MastodonServer, start: str = "0", limit: int = 40) -> Iterator[list[dict[str, Any]]]:
    while page := get(server, "/api/v1/notifications", min_id=start, limit=limit, **{"types[]": "mention"}).json():
        yield page[::-1]
        start = page[0]["id"]


def eventually(what: Any) -> None:
    end = time.monotonic() + 20
    while not what():
        assert time.monotonic() < end, "it did not happen within 20 s"
        time.sleep(0.01)


def test_a_mention_reaches_the_client_with_mastodons_html(mastodon_server: MastodonServer) -> None:
    """Mentions, hashtags, links, paragraphs, breaks and escapes look as Mastodon makes them."""
    mastodon_server.post(
        "mira@tilde.example", "@quayside see https://www.docs.example/a/very/long/path/to/something #Quayside\n\n1 < 2\nok"
    )
    (found,) = client_of(mastodon_server).notifications(types=["mention"])
    content = found.status.content
    assert found.status.account.acct == "mira@tilde.example"
    assert found.status.uri.startswith("https://tilde.example/users/mira/statuses/")
    assert [tag.name for tag in found.status.tags] == ["quayside"]
    assert '<span class="h-card" translate="no"><a href=' in content
    assert '<span class="invisible">https://www.</span><span class="ellipsis">docs.example/a/very/long/path/</span>' in content
    assert "#<span>Quayside</span></a></p><p>1 &lt; 2<br />ok</p>" in content


def test_paging_forward_by_min_id_sees_all_of_a_burst_once_and_since_id_leaves_a_hole(mastodon_server: MastodonServer) -> None:
    """500 between two polls: `min_id` gets them all, one call of `since_id` gets the newest page."""
    for number in range(500):
        mastodon_server.post(f"u{number % 7}@tilde.example", f"it hangs {number}")
    seen = [item["id"] for page in forward(mastodon_server) for item in page]
    assert len(seen) == len(set(seen)) == 500
    assert seen == sorted(seen, key=int)
    assert sorted(seen) != seen, "the ids must grow by a digit, so that comparing them as texts shows"
    newest = get(mastodon_server, "/api/v1/notifications", since_id=seen[0], limit=40).json()
    assert [item["id"] for item in newest] == seen[:-41:-1]


def test_link_headers_lead_through_the_list_in_both_directions(mastodon_server: MastodonServer) -> None:
    """The client's own paging works on them."""
    for number in range(50):
        mastodon_server.post("mira@tilde.example", f"it hangs {number}")
    client = client_of(mastodon_server)
    first = client.notifications(limit=30, types=["mention"])
    second = client.fetch_next(first)
    assert (len(first), len(second), client.fetch_next(second)) == (30, 20, None)
    assert [item.id for item in client.fetch_previous(second)] == [item.id for item in first]


def test_the_grouped_list_shows_what_the_policy_holds_back_and_the_plain_one_does_not(mastodon_server: MastodonServer) -> None:
    """`include_filtered` is the way to see a stranger's mention; the policy tells how many there are."""
    mastodon_server.knobs.filtered.add("stranger@void.example")
    mastodon_server.post("stranger@void.example", "it hangs")
    mastodon_server.post("mira@tilde.example", "it hangs, too")
    client = client_of(mastodon_server)
    assert [item.account.acct for item in client.notifications()] == ["mira@tilde.example"]
    assert len(client.grouped_notifications().notification_groups) == 1
    everything = client.grouped_notifications(types=["mention"], include_filtered=True)
    assert len(everything.notification_groups) == len(everything.statuses) == 2
    assert client.notifications_policy().summary.pending_notifications_count == 1


def test_likes_of_one_post_are_one_group_and_mentions_stand_alone(mastodon_server: MastodonServer) -> None:
    """Grouping is what newer servers do; `grouped_types` narrows it."""
    ours = client_of(mastodon_server).status_post("4.2 is out")
    for name in ("mira@tilde.example", "noor@tilde.example"):
        mastodon_server.react("favourite", name, ours.id)
        mastodon_server.post(name, "thanks")
    client = client_of(mastodon_server)
    groups = client.grouped_notifications().notification_groups
    assert [(group.type, group.notifications_count) for group in groups] == [("mention", 1), ("favourite", 2), ("mention", 1)]
    assert len(client.grouped_notifications(grouped_types=["follow"]).notification_groups) == 4
    assert {item.type for item in client.notifications(exclude_types=["favourite"])} == {"mention"}


def test_a_reply_is_posted_once_for_one_idempotency_key_within_the_hour(mastodon_server: MastodonServer) -> None:
    """A second call answers with the first post; after the hour, or where the server ignores keys, it is a new one."""
    root = mastodon_server.post("mira@tilde.example", "it hangs", visibility="unlisted")
    client = client_of(mastodon_server)

    def answer() -> Any:
        return client.status_post(
            "@mira@tilde.example we look", in_reply_to_id=root["id"], visibility="unlisted", spoiler_text="cw", idempotency_key="k"
        )

    assert answer().id == answer().id
    (entry,) = mastodon_server.replies
    wanted = {
        "in_reply_to": root["id"],
        "visibility": "unlisted",
        "spoiler": "cw",
        "idempotency_key": "k",
        "mentions": ["mira@tilde.example"],
    }
    assert {name: entry[name] for name in wanted} == wanted
    mastodon_server.knobs.skew = 3601
    answer()
    mastodon_server.knobs.idempotency = False
    answer()
    assert len(mastodon_server.replies) == 3


@pytest.mark.parametrize(
    ("text", "status"),
    [("", 422), ("  ", 422), ("x" * 501, 422), ("👩‍👩‍👧‍👦" * 500, 200), (f"{'x' * 470} https://x.example/{'y' * 99}", 200)],
)
def test_the_limit_counts_what_people_see_as_letters_and_23_for_a_link(mastodon_server: MastodonServer, text: str, status: int) -> None:
    """Empty and too long are refused; families and links are short."""
    headers = {"Authorization": f"Bearer {mastodon_server.token}"}
    answer = requests.post(f"{mastodon_server.url}/api/v1/statuses", json={"status": text}, headers=headers, timeout=5)
    assert answer.status_code == status
    assert len(mastodon_server.replies) == (status == 200)


def test_an_answer_to_nothing_is_refused(mastodon_server: MastodonServer) -> None:
    """The parent may be deleted or never have been."""
    with pytest.raises(MastodonNotFoundError):
        client_of(mastodon_server).status_post("hello", in_reply_to_id="123")
    assert mastodon_server.replies == []


def test_a_deleted_post_is_gone_everywhere(mastodon_server: MastodonServer) -> None:
    """Status, notification, timeline and bulk reading; the answer below it stays."""
    root = mastodon_server.post("mira@tilde.example", "it hangs #quayside")
    child = mastodon_server.post("noor@tilde.example", "same", reply_to=root["id"], mention=False)
    mastodon_server.delete(root["id"])
    client = client_of(mastodon_server)
    with pytest.raises(MastodonNotFoundError):
        client.status(root["id"])
    assert client.notifications() == client.timeline_hashtag("quayside") == []
    assert [one.id for one in client.statuses([root["id"], child["id"]])] == [child["id"]]
    assert client.status(child["id"]).in_reply_to_id == root["id"]


def test_a_deleted_post_can_leave_a_notification_without_a_status(mastodon_server: MastodonServer) -> None:
    """Some servers do that."""
    mastodon_server.knobs.keep_deleted = True
    mastodon_server.delete(mastodon_server.post("mira@tilde.example", "it hangs")["id"])
    assert [item["status"] for item in get(mastodon_server, "/api/v1/notifications").json()] == [None]


def test_an_edit_shows_in_place_and_notifies_whom_it_newly_names(mastodon_server: MastodonServer) -> None:
    """The id stays, `edited_at` is set."""
    post = mastodon_server.post("mira@tilde.example", "it hangs", mention=False)
    client = client_of(mastodon_server)
    assert client.notifications() == []
    mastodon_server.edit(post["id"], "@quayside it hangs on 4.2")
    (found,) = client.notifications()
    assert found.status.id == post["id"]
    assert found.status.edited_at is not None
    assert "4.2" in found.status.content


def test_private_posts_are_seen_by_those_whom_they_name(mastodon_server: MastodonServer) -> None:
    """And by nobody else, on no timeline."""
    named = mastodon_server.post("mira@tilde.example", "secret #quayside", visibility="direct")
    other = mastodon_server.post("mira@tilde.example", "for friends #quayside", visibility="private", mention=False)
    client = client_of(mastodon_server)
    assert client.status(named["id"]).visibility == "direct"
    with pytest.raises(MastodonNotFoundError):
        client.status(other["id"])
    assert requests.get(f"{mastodon_server.url}/api/v1/statuses/{named['id']}", timeout=5).status_code == 404
    assert client.timeline_hashtag("quayside") == []


def test_a_thread_is_read_from_any_of_its_posts(mastodon_server: MastodonServer) -> None:
    """Ancestors come oldest first, answers below each other; an answer may drop our name."""
    client = client_of(mastodon_server)
    root = client.status_post("4.2 is out")
    first = mastodon_server.post("mira@tilde.example", "it hangs", reply_to=root.id, mention=False)
    second = mastodon_server.post("noor@tilde.example", "same", reply_to=first["id"], mention=False)
    third = mastodon_server.post("ada@tilde.example", "nice", reply_to=root.id, mention=False)
    assert [one.id for one in client.status_context(root.id).descendants] == [first["id"], second["id"], third["id"]]
    assert [one.id for one in client.status_context(second["id"]).ancestors] == [root.id, first["id"]]
    assert client.status(root.id).replies_count == 2
    assert client.notifications() == []
    assert [one.id for one in client.account_statuses(client.me().id)] == [root.id]


def test_a_late_mention_gets_an_id_below_the_newest(mastodon_server: MastodonServer) -> None:
    """Id order is not commit order: a client that only walks forward misses it."""
    for number in range(3):
        mastodon_server.post("mira@tilde.example", f"it hangs {number}")
    newest = get(mastodon_server, "/api/v1/notifications").json()[0]["id"]
    mastodon_server.post("noor@tilde.example", "late", late=True)
    mastodon_server.post("noor@tilde.example", "later", late=2)
    assert list(forward(mastodon_server, newest)) == []
    assert [item["status"]["content"][-8:-4] for item in get(mastodon_server, "/api/v1/notifications").json()][1] == "late"
    assert len(get(mastodon_server, "/api/v1/notifications").json()) == 5


@pytest.mark.parametrize(
    "payload", [{"id": "9", "type": "mention", "status": None}, {"id": 7, "status": "text", "account": []}, "junk", None, [1]]
)
def test_broken_items_stand_among_good_ones_in_both_lists(mastodon_server: MastodonServer, payload: Any) -> None:
    """Anything that is JSON can be put in place of a notification."""
    mastodon_server.post("mira@tilde.example", "before")
    mastodon_server.inject_raw_notification(payload)
    mastodon_server.post("mira@tilde.example", "after")
    plain = get(mastodon_server, "/api/v1/notifications").json()
    assert plain[1] == payload
    assert [item["type"] for item in (plain[0], plain[2])] == ["mention", "mention"]
    assert len(get(mastodon_server, "/api/v2/notifications").json()["notification_groups"]) == 3


def test_other_servers_have_other_habits(mastodon_server: MastodonServer) -> None:
    """What GoToSocial, snac and an older Mastodon were seen to do."""
    mastodon_server.post("mira@tilde.example", "it hangs")
    knobs = mastodon_server.knobs
    knobs.change(version="4.2.10")
    assert [get(mastodon_server, f"/api/v2/{path}").status_code for path in ("notifications", "notifications/policy")] == [404, 404]
    knobs.change(version="gotosocial 0.19")
    post = mastodon_server.post("mira@tilde.example", "ulid")
    assert (len(post["id"]), get(mastodon_server, "/api/v2/instance").json()["configuration"]["statuses"]["max_characters"]) == (26, 5000)
    assert requests.get(f"{mastodon_server.url}/api/v2/instance", headers={"User-Agent": ""}, timeout=5).status_code == 418
    knobs.change(version="snac 2.80")
    old = mastodon_server.post("mira@tilde.example", "typo")
    new = mastodon_server.edit(old["id"], "no typo")
    assert old["id"] != new["id"]
    assert old["uri"] == new["uri"]
    missing = get(mastodon_server, f"/api/v1/statuses/{old['id']}")
    assert (missing.status_code, missing.headers["Content-Type"]) == (404, "text/html; charset=utf-8")
    assert "X-RateLimit-Limit" not in missing.headers
    page = get(mastodon_server, "/api/v1/notifications", since_id="999999999999999999999999999")
    assert ("Link" in page.headers, len(page.json())) == (False, 3)


def test_min_id_habits_can_be_turned(mastodon_server: MastodonServer) -> None:
    """An inclusive server repeats the edge, a deaf one answers with the newest page."""
    ids = []
    for number in range(3):
        mastodon_server.post("mira@tilde.example", f"it hangs {number}")
        ids.append(get(mastodon_server, "/api/v1/notifications").json()[0]["id"])

    def after(edge: str) -> list[str]:
        return [item["id"] for item in get(mastodon_server, "/api/v1/notifications", min_id=edge).json()]

    assert after(ids[1]) == [ids[2]]
    mastodon_server.knobs.inclusive_min_id = True
    assert after(ids[1]) == [ids[2], ids[1]]
    mastodon_server.knobs.ignore_min_id = True
    assert after(ids[1]) == ids[::-1]


def test_tokens_and_scopes_are_checked(mastodon_server: MastodonServer) -> None:
    """A bad token is 401, a missing scope 403, and a public timeline wants neither."""
    with pytest.raises(MastodonUnauthorizedError):
        client_of(mastodon_server, "wrong").account_verify_credentials()
    assert requests.get(f"{mastodon_server.url}/api/v1/notifications", timeout=5).status_code == 401
    mastodon_server.knobs.scopes = {"read"}
    with pytest.raises(MastodonAPIError, match="403"):
        client_of(mastodon_server).status_post("hello")
    assert client_of(mastodon_server).app_verify_credentials().scopes == ["read"]
    mastodon_server.post("mira@tilde.example", "nice #quayside")
    assert len(requests.get(f"{mastodon_server.url}/api/v1/timelines/tag/quayside", timeout=5).json()) == 1


def test_the_rate_limit_is_shown_and_when_asked_kept(mastodon_server: MastodonServer) -> None:
    """Beyond it is 429 with the time when it ends."""
    assert get(mastodon_server, "/api/v2/instance").headers["X-RateLimit-Remaining"] == "299"
    mastodon_server.knobs.rate_limit = 2
    answers = [get(mastodon_server, "/api/v2/instance") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    ends = datetime.fromisoformat(answers[-1].headers["X-RateLimit-Reset"])
    assert ends > datetime.now(UTC)


def test_the_clock_can_be_wrong(mastodon_server: MastodonServer) -> None:
    """The Date header and new posts go with it."""
    mastodon_server.knobs.skew = -7200
    post = mastodon_server.post("mira@tilde.example", "it hangs")
    assert (datetime.now(UTC) - datetime.fromisoformat(post["created_at"])).total_seconds() > 7100
    date = get(mastodon_server, "/health").headers["Date"]
    assert (datetime.now(UTC) - datetime.strptime(date, "%a, %d %b %Y %H:%M:%S GMT").replace(tzinfo=UTC)).total_seconds() > 7100


class Listener(StreamListener):  # type: ignore[misc]
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str]] = []

    def on_any_event(self, name: str, data: Any) -> None:
        self.heard.append((name, str(data.status.id if name == "notification" else getattr(data, "id", data))))


def test_the_stream_tells_of_mentions_edits_and_deletions(mastodon_server: MastodonServer) -> None:
    """In their order, to the real client; ours come as updates."""
    listener = Listener()
    client = client_of(mastodon_server)
    assert client.stream_healthy()
    handle = client.stream_user(listener, run_async=True)
    eventually(lambda: mastodon_server.streams.listeners == 1)
    post = mastodon_server.post("mira@tilde.example", "it hangs")
    mastodon_server.edit(post["id"], "@quayside it hangs on 4.2")
    mastodon_server.delete(post["id"])
    ours = client.status_post("we look")
    eventually(lambda: len(listener.heard) == 4)
    assert listener.heard == [("notification", post["id"]), ("status.update", post["id"]), ("delete", post["id"]), ("update", ours.id)]
    mastodon_server.cut_streams()
    eventually(lambda: mastodon_server.streams.listeners == 0)
    handle.close()  # closing an open stream would wait for the next byte


def test_search_finds_words_and_phrases(mastodon_server: MastodonServer) -> None:
    """All words must be there; without an index nothing is found."""
    mastodon_server.post("mira@tilde.example", "Quay push hangs forever", mention=False)
    client = client_of(mastodon_server)

    def hits(query: str) -> int:
        return len(client.search_v2(query, result_type="statuses").statuses)

    assert [hits(query) for query in ("quay hangs", '"quay push"', '"push quay"', "dashboard")] == [1, 1, 0, 0]
    mastodon_server.knobs.search = False
    assert hits("quay") == 0


def test_one_post_can_reach_two_of_our_accounts(tmp_path: Path) -> None:
    """Each has its own list and ids; the post's uri is one."""
    with MastodonServer(tmp_path, accounts=("quayside", "quayside_help")) as server:
        server.post("mira@tilde.example", "it hangs", mention=["quayside", "quayside_help"])
        found = [client_of(server, token).notifications()[0] for token in server.tokens.values()]
    assert found[0].status.uri == found[1].status.uri
    assert found[0].id != found[1].id


def test_a_restarted_server_is_the_same_world(tmp_path: Path) -> None:
    """Posts, edits, deletions, answers, notifications, keys and tokens come back from the ledger."""
    with MastodonServer(tmp_path) as first:
        kept = first.post("mira@tilde.example", "it hangs #quayside")
        gone = first.post("mira@tilde.example", "never mind")
        first.edit(kept["id"], "@quayside it hangs on 4.2 #quayside")
        first.delete(gone["id"])
        answer = client_of(first).status_post("we look", in_reply_to_id=kept["id"], idempotency_key="k")
        first.react("favourite", "noor@tilde.example", answer.id)
        first.inject_raw_notification({"odd": True})
        before = get(first, "/api/v1/notifications").text.replace(str(first.port), "PORT")
        token = first.token
    with MastodonServer(tmp_path) as second:
        assert second.token == token
        assert get(second, "/api/v1/notifications").text.replace(str(second.port), "PORT") == before
        assert client_of(second).status_post("we look", idempotency_key="k").id == answer.id
        assert len(second.replies) == 1
        newer = second.post("noor@tilde.example", "same")
        assert newer["id"] not in (kept["id"], gone["id"], answer.id)
        assert get(second, "/api/v1/notifications").json()[0]["status"]["id"] == newer["id"]


@pytest.mark.shared
def test_posts_have_every_field_that_all_real_servers_send(mastodon_server: MastodonServer) -> None:
    """The recorded answers decide; ours may have more."""
    lines = shared("payloads/mastodon.jsonl").read_text("utf-8").splitlines()
    real = [row["payload"] for row in map(json.loads, lines) if row["kind"] == "status" and row["host"] == "localhost:3000"]
    common = set.intersection(*(set(status) for status in real))
    common_of_accounts = set.intersection(*(set(status["account"]) for status in real))
    mastodon_server.post("mira@tilde.example", "it hangs", media=[{"type": "image"}], poll=["a", "b"])
    (found,) = get(mastodon_server, "/api/v1/notifications").json()
    assert len(real) > 100
    assert common - set(found["status"]) == set()
    assert common_of_accounts - set(found["status"]["account"]) == set()
    with_media = [media for status in real for media in status["media_attachments"]]
    assert set.intersection(*(set(media) for media in with_media)) - set(found["status"]["media_attachments"][0]) == set()

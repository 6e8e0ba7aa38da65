"""Mastodon's JSON: every item parsed alone, into a mention or with a reason."""

from __future__ import annotations

import json
from collections import Counter
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.shared import shared
from triage.contracts import Item
from triage.mention import Attachment, Visibility
from triage.platforms.mastodon_wire import OwnText, Us, item_of_notification, item_of_status, notifications_of_groups

US = Us("acme", "quay.example", account_id="1", handle="quayside@quay.example", roster=frozenset({"ada@quay.example"}))
STATUS: dict[str, Any] = {
    "id": "100",
    "uri": "https://tilde.example/users/mira/statuses/100",
    "url": "https://quay.example/@mira@tilde.example/100",
    "created_at": "2026-05-01T12:00:00.000Z",
    "visibility": "public",
    "content": '<p><a href="https://quay.example/@quayside" class="u-url mention">@<span>quayside</span></a> it crashes</p>',
    "account": {"id": "7", "acct": "mira@tilde.example", "display_name": "Mira", "url": "https://tilde.example/@mira"},
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*STATUS, "status", "type"]), inner, max_size=6),
    max_leaves=12,
)


def status(**changes: Any) -> dict[str, Any]:
    """A post with some fields changed; `account__x` changes the author's."""
    changed = deepcopy(STATUS)
    for name, value in changes.items():
        if name.startswith("account__"):
            changed["account"][name.removeprefix("account__")] = value
        else:
            changed[name] = value
    return changed


def said_once(item: Item) -> bool:
    """Exactly one of the three is set."""
    return [item.mention is not None, bool(item.set_aside), bool(item.broken)].count(True) == 1


@pytest.mark.shared
def test_every_recorded_status_and_notification_is_understood(capsys: pytest.CaptureFixture[str]) -> None:
    """Real answers of ten years of servers: each a mention or set aside with a reason, none broken."""
    counts: Counter[str] = Counter()
    for line in shared("payloads/mastodon.jsonl").read_text().splitlines():
        record = json.loads(line)
        kind, payload = record["kind"], record["payload"]
        us = Us("acme", record["host"])
        if kind == "notification":
            items = [item_of_notification(payload, us)]
        elif kind == "status":
            items = [item_of_status(payload, us, via="mention")]
        elif kind == "context":
            items = [item_of_status(one, us, via="thread") for one in (*payload["ancestors"], *payload["descendants"])]
        elif kind == "stream_event" and payload["event"] == "notification":
            items = [item_of_notification(payload["data"], us)]
        else:
            continue
        for item in items:
            assert said_once(item)
            assert item.raw
            assert not item.broken, f"{item.broken}: {item.raw[:300]!r}"
            if item.mention is not None:
                assert "@" in item.mention.author.handle
                assert item.mention.created_at.tzinfo is UTC
            counts[f"{kind}: {'mention' if item.mention else item.set_aside.split(' by ')[0]}"] += 1
    with capsys.disabled():
        print("\nrecorded answers:", *(f"  {count:4} {what}" for what, count in sorted(counts.items())), sep="\n")
    assert counts["status: mention"] > 300
    assert counts["notification: mention"] >= 5


@pytest.mark.shared
def test_recorded_groups_are_understood() -> None:
    """A group without its post in the answer is said to lack it, and other kinds are set aside."""
    records = [json.loads(line) for line in shared("payloads/mastodon.jsonl").read_text().splitlines()]
    groups = [record["payload"] for record in records if record["kind"] == "notification_group"]
    posts = [{**status(), "id": group["status_id"]} for group in groups if group.get("status_id")]
    whole = [item_of_notification(one, US) for one in notifications_of_groups({"notification_groups": groups, "statuses": posts})]
    torn = [item_of_notification(one, US) for one in notifications_of_groups({"notification_groups": groups, "statuses": []})]
    assert all(said_once(item) for item in whole + torn)
    wanted = sum(group["type"] == "mention" and group["status_id"] is not None for group in groups)
    gone = sum(group["type"] == "mention" and group["status_id"] is None for group in groups)
    assert sum(item.mention is not None for item in whole) == wanted > 10
    assert sum("missing from the answer" in item.broken for item in torn) == wanted
    assert sum("gone before we read it" in item.set_aside for item in whole) == gone > 10


def test_a_whole_post_becomes_a_whole_mention() -> None:
    """Everything that we keep: warning, language, poll, pictures, quote, edit, followers."""
    item = item_of_status(
        status(
            visibility="unlisted",
            spoiler_text="angry\u202e",
            language="de",
            in_reply_to_id="99",
            edited_at="2026-05-01T13:00:00+02:00",
            poll={"options": [{"title": "yes"}, {"title": "no"}]},
            media_attachments=[
                {"type": "image", "url": "https://files.example/1.png", "description": "a stack trace"},
                {"type": "image", "url": None, "remote_url": "https://tilde.example/2.png"},
                {"type": "image", "url": "javascript:alert(1)"},
            ],
            quote={"state": "accepted", "quoted_status": {"url": "https://quay.example/@quayside/5"}},
            account__followers_count=3_000,
            account__note="<p>I build boats. #NoBot</p>",
            account__created_at="2020-01-01T00:00:00.000Z",
        ),
        US,
        via="hashtag",
    )
    mention = item.mention
    assert mention is not None
    assert mention.text == "@quayside it crashes"
    assert (mention.warning, mention.language, mention.via, mention.parent_id, mention.thread) == ("angry", "de", "hashtag", "99", None)
    assert mention.visibility is Visibility.UNLISTED
    assert mention.edited_at == datetime(2026, 5, 1, 11, tzinfo=UTC)
    assert mention.poll == ("yes", "no")
    assert mention.attachments == (
        Attachment("image", "https://files.example/1.png", "a stack trace"),
        Attachment("image", "https://tilde.example/2.png"),
    )
    assert mention.quote == "https://quay.example/@quayside/5"
    assert (mention.author.handle, mention.author.followers, mention.author.no_bots) == ("mira@tilde.example", 3_000, True)


def test_a_bare_post_of_an_old_server_is_enough() -> None:
    """Identity, author, text and date; the first post of a thread is its thread."""
    mention = item_of_status({key: STATUS[key] for key in ("id", "uri", "created_at", "content", "account")}, US, via="mention").mention
    assert mention is not None
    assert mention.thread == mention.uri
    assert mention.visibility is Visibility.DIRECT  # nobody said that it is public


def test_local_accounts_get_their_host() -> None:
    """A handle is whole, whoever wrote."""
    mention = item_of_status(status(account__acct="bob"), US, via="mention").mention
    assert mention is not None
    assert mention.author.handle == "bob@quay.example"


@pytest.mark.parametrize("word", ["list", "mutuals_only", "local", "limited", ""])
def test_an_unknown_visibility_is_for_nobody_else(word: str) -> None:
    """Other software has more of them; the narrowest is the safe one."""
    mention = item_of_status(status(visibility=word), US, via="mention").mention
    assert mention is not None
    assert mention.visibility is Visibility.DIRECT


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (status(reblog=status()), "a boost by mira@tilde.example"),
        (status(account__id="1", account__acct="quayside"), "our own post"),
        (status(account__acct="quayside"), "our own post"),
        (status(account__acct="Ada"), "by a colleague, Ada@quay.example"),
    ],
)
def test_what_is_not_for_us_is_set_aside(payload: dict[str, Any], reason: str) -> None:
    """Boosts, our own account, colleagues."""
    assert item_of_status(payload, US, via="mention").set_aside == reason


def test_a_colleagues_answer_tells_what_it_answers() -> None:
    """A boost of one, or what a colleague says to nobody, answers nothing."""
    said = [
        status(account__acct="Ada", in_reply_to_id="7"),
        status(account__acct="Ada"),
        status(account__acct="Ada", in_reply_to_id="7", reblog=status()),
        status(in_reply_to_id="7"),
    ]
    items = [item_of_status(one, US, via="mention") for one in said]
    assert [(item.answers, item.colleague) for item in items] == [("7", "Ada@quay.example"), ("", ""), ("", ""), ("", "")]


def test_a_copy_of_our_own_text_with_a_link_is_spam() -> None:
    """Our announcement with somebody's link in it is set aside; our own link, a quotation with words and short texts are not."""
    ours = "Version 2 of the harbour planner is out: faster tides, better maps and an export. https://quay.example/v2"
    us = Us("acme", "quay.example", own_texts=(OwnText.of(ours),))

    def item(text: str) -> Item:
        return item_of_status(status(content=f"<p>{text}</p>"), us, via="mention")

    assert item(ours.replace("quay.example", "cheap.example")).set_aside == "a copy of our own text with a link added"
    assert item(f"{ours} https://cheap.example").set_aside
    assert item(f"@quayside {ours.upper()} http://cheap.example/x").set_aside
    assert item(ours).mention is not None
    assert (
        item(f"You wrote “{ours[:60]}” but https://quay.example/help answers 404 and the export of my tides is empty").mention is not None
    )


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"content": 5}, "content"),
        ({"content": None}, "content"),
        ({"created_at": "yesterday"}, "created_at"),
        ({"account": "mira"}, "account"),
        ({"account__acct": ["mira"]}, "account.acct"),
        ({"account__acct": "mira tilde"}, "account.acct"),
        ({"uri": None}, "uri"),
        ({"uri": "https://a.example/\u202e1"}, "uri"),
        ({"id": {}}, "id"),
        ({"media_attachments": "none"}, "media_attachments"),
        ({"created_at": "0001-01-01T00:00:00+14:00"}, ""),
    ],
)
def test_a_wrong_type_spoils_its_own_post_and_is_told(changes: dict[str, Any], field: str) -> None:
    """The reason names the field, not its content."""
    item = item_of_status(status(**changes), US, via="mention")
    assert item.broken.startswith(field)
    assert said_once(item)


def test_one_broken_notification_leaves_the_others_alone() -> None:
    """Between good ones stands one with wrong types, one without its post, and things that are no notifications."""
    good = {"id": "1", "type": "mention", "status": status()}
    page = [
        good,
        {"id": "2", "type": "mention", "status": status(content=5)},
        good,
        {"id": "3", "type": "mention", "status": None},
        5,
        None,
        [],
    ]
    items = [item_of_notification(one, US) for one in page]
    assert [item.mention is not None for item in items] == [True, False, True, False, False, False, False]
    assert "content" in items[1].broken
    assert items[3].set_aside == "its post was gone before we read it"
    assert json.loads(items[1].raw) == page[1]
    assert item_of_notification({"id": "4", "type": "favourite", "status": status()}, US).set_aside.startswith(
        "a notification of type favourite"
    )


def test_a_post_of_ten_mebibytes_is_cut_and_kept_whole_beside() -> None:
    """The mention is short, the raw bytes are all there."""
    item = item_of_status(status(content="<p>" + "crash " * 1_800_000, spoiler_text="x" * 5_000_000), US, via="mention")
    assert item.mention is not None
    assert len(item.mention.text) < 17_000
    assert len(item.mention.warning) <= 2_000
    assert len(item.raw) > 10 * 1024 * 1024


def test_half_a_character_does_not_stop_us() -> None:
    """A lone surrogate is legal in JSON and illegal in UTF-8."""
    item = item_of_status(json.loads(json.dumps(status(content="<p>bad \ud83d</p>"))), US, via="mention")
    assert item.mention is not None
    assert item.mention.text == "bad"
    assert json.loads(item.raw)["content"] == "<p>bad \ud83d</p>"


@given(JSON)
def test_any_json_gets_a_reason(payload: Any) -> None:
    """Whatever stands in place of a post or a notification, nothing is raised."""
    for item in (item_of_status(payload, US, via="mention"), item_of_notification(payload, US)):
        assert said_once(item)
        assert item.remote_id


@given(st.sampled_from([*STATUS, "poll", "media_attachments", "quote", "reblog", "spoiler_text", "edited_at"]), JSON)
def test_any_field_may_hold_anything(field: str, value: Any) -> None:
    """One field of a good post replaced by whatever JSON can hold."""
    assert said_once(item_of_status({**deepcopy(STATUS), field: value}, US, via="mention"))

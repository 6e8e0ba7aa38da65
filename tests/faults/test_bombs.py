"""Posts and answers that are made to hurt: they cost little, fail in words, and spoil nothing beside them."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.contract.trackers import a_mention, some_work
from triage import config, remote, rules, text
from triage.classifier import Classifier, model_folder
from triage.errors import RemoteError
from triage.mention import Problem
from triage.platforms import imported
from triage.platforms.mastodon import Cursor, MastodonOptions, MastodonPlatform
from triage.platforms.mastodon_wire import Us, item_of_status
from triage.sandbox.http import Reply, Request, Server
from triage.trackers import markup, wording
from triage.trackers.jira import Jira
from triage.trackers.jira import Options as JiraOptions

CPU_SECONDS = 2.0  # for one post, all the way; a usual one takes a hundredth of it
LONG = 512 * 1024

# Each a way in which parsers and patterns were brought to their knees.
BOMBS = {
    "nested tags": "<b>" * (LONG // 3),
    "nested blocks": "<div><p><ul><li>" * (LONG // 16),
    "tables in tables": "<table><tr><td>" * (LONG // 15),
    "links in links": "<a href='https://a.example/" + "x" * 50 + "'>" * (LONG // 80),
    "ends without beginnings": "</p>" * (LONG // 4),
    "one tag that never ends": "<p " + "a=b " * (LONG // 4),
    "one attribute": f"<p title='{'x' * LONG}'>hi</p>",
    "angles": "<" * LONG,
    "comments": "<!--" * (LONG // 4),
    "half comments": "<!-" * (LONG // 3) + "-->",
    "CDATA": "<![CDATA[" * (LONG // 9),
    "entities": "&amp;" * (LONG // 5),
    "nested entities": "&amp;amp;lt;" * (LONG // 12),
    "endless entity": "&" + "a" * LONG,
    "numeric entities": "&#x1F4A9;" * (LONG // 9),
    "null bytes": "\0<p>" * (LONG // 4),
    "blanks": "<p>" + " " * LONG + "</p>",
    "blanks and ends": " \n" * (LONG // 2),
    "line ends": "\r\n\u2028\x85" * (LONG // 5),
    "breaks": "<br>" * (LONG // 4),
    "a pile of marks": "e" + "\u0301" * LONG,
    "marks on all": "e\u0301\u0302\u0303\u0304\u0305" * (LONG // 6),
    "joiners": "👩‍👩‍👧‍👦" * (LONG // 11),
    "one emoji without end": "👩" + "\u200d👩" * (LONG // 2),
    "flags": "🇩🇪" * (LONG // 2),
    "variation selectors": "1\ufe0f\u20e3" * (LONG // 3),
    "bidi": "\u202e\u2066\u200f" * (LONG // 3),
    "hangul": "\u1100\u1161\u11a8" * (LONG // 3),
    "dots": "." * LONG,
    "question marks": "?!" * (LONG // 2),
    "names": "@a.b-c@d.example " * (LONG // 17),
    "name without end": "@" + "a.-_" * (LONG // 4),
    "hashtags": "#a" * (LONG // 2),
    "addresses": "https://a.example/?q=1 " * (LONG // 23),
    "address without end": "https://" + "a." * (LONG // 2),
    "schemes": "http://" * (LONG // 7),
    "brackets": "([{" * (LONG // 3),
    "markup": "{code}[~a|b]!x!{{*_-" * (LONG // 20),
    "versions": "1.2.3." * (LONG // 6),
    "stack trace": '  File "a.py", line 1, in f\n' * (LONG // 28),
    "one word": "a" * LONG,
    "quotes": "'\"" * (LONG // 2),
    "words of one letter": "a " * (LONG // 2),
    "the words of every list": "crash outage data loss payment password delete cannot " * (LONG // 54),
    "almost the rule's word": "brokebrokebroke " * (LONG // 16),
    "shortcodes": ":a_b:" * (LONG // 5),
    "numbers": "1234567890" * (LONG // 10),
    "quoted": "&gt; " * (LONG // 5),
    "escapes": "\x1b[2J\x1b]0;x\x07" * (LONG // 12),
    "surrogates": "\ud83d" * (LONG // 2),
}


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    """The one that ships."""
    return Classifier.load(model_folder())


@pytest.mark.parametrize("name", BOMBS)
def test_a_post_costs_little_whatever_it_holds(name: str, classifier: Classifier) -> None:
    """From the platform's JSON through judge and rules to both kinds of Jira text, with the bomb in every field that a stranger fills."""
    bomb = BOMBS[name]
    chosen = config.parse(config.sample(), Path("config.yaml"), {}).rules
    began = time.process_time()
    item = item_of_status(post(content=bomb, spoiler_text=bomb, account__display_name=bomb), Us("acme", "quay.example"), via="mention")
    assert item.mention is not None, item.broken
    judged = text.classifier_input(item.mention)
    [verdict] = classifier.classify([judged], [item.mention.language], evidence=True)
    decided = rules.route(item.mention, verdict, Problem(1, "t"), chosen, facts())
    work = some_work(mention=item.mention, verdict=verdict, payload={"mention_id": 1})
    blocks = wording.ticket("", work)
    assert markup.document_size(markup.fit(blocks, markup.document, markup.document_size, markup.LONGEST_TEXT)) <= markup.LONGEST_TEXT
    assert markup.units(markup.fit(blocks, markup.wiki, markup.units, markup.LONGEST_TEXT)) <= markup.LONGEST_TEXT
    assert len(wording.summary("{{ author }}: {{ first_line }}", work)) <= 255
    text.safe_name(bomb)
    text.normalised(item.mention.text)
    spent = time.process_time() - began
    assert spent < CPU_SECONDS, f"{spent:.2f} s"
    assert decided.plans
    assert len(item.mention.text) <= text.HTML_CHARACTERS + 1


@pytest.mark.parametrize("name", BOMBS)
def test_an_answer_is_split_and_counted_soon(name: str) -> None:
    """What a person pastes into an answer."""
    began = time.process_time()
    pasted = BOMBS[name][:16384]
    text.counted_length(pasted)
    with suppress(ValueError):  # more than 99 posts
        text.split_post(pasted, 500)
    assert time.process_time() - began < CPU_SECONDS


def post(**changes: Any) -> dict[str, Any]:
    """A status as Mastodon writes it."""
    made: dict[str, Any] = {
        "id": "100",
        "uri": "https://tilde.example/users/mira/statuses/100",
        "url": "https://quay.example/@mira@tilde.example/100",
        "created_at": "2026-05-01T12:00:00.000Z",
        "visibility": "public",
        "content": "<p>it crashes</p>",
        "account": {"id": "7", "acct": "mira@tilde.example", "display_name": "Mira", "url": "https://tilde.example/@mira"},
    }
    for field, value in changes.items():
        inside = made["account"] if field.startswith("account__") else made
        inside[field.removeprefix("account__")] = value
    return made


def facts() -> rules.Facts:
    """Nothing was done about it yet."""
    return rules.Facts(site="acme", tracker="tickets", notifiers=("oncall",), new_author=True, mention_id=1)


def tracker(url: str, deployment: str = "cloud") -> Jira:
    """A Jira at that address."""
    user = {"user": "bot@quay.example"} if deployment == "cloud" else {}
    return Jira("tickets", JiraOptions.model_validate({"url": url, "deployment": deployment, "token": "t" * 20, "project": "QUAY", **user}))


# Answers of servers


def deep(opening: str, closing: str = "") -> bytes:
    """A hundred thousand levels."""
    return (opening * 100_000 + closing * 100_000).encode()


ANSWERS: dict[str, Callable[[], Reply]] = {
    "a list in a list in a list": lambda: Reply(deep("[", "]")),
    "an object in an object": lambda: Reply(deep('{"a":')),
    "depth in a field": lambda: Reply(b'{"notification_groups":[],"accounts":[],"statuses":' + deep("[", "]") + b"}"),
    "a number of a million digits": lambda: Reply(b"[" + b"9" * 1_000_000 + b"]"),
    "numbers beyond all bounds": lambda: Reply(b'[{"id": 1e99999, "status": -1e99999, "type": NaN}]'),
    "more than we hold": lambda: Reply(b"[" + b"1," * (3 * 1024 * 1024) + b"1]"),
    "a gigabyte, packed": lambda: Reply(packed(), headers={"Content-Encoding": "gzip"}),
    "packed, but it is not": lambda: Reply(b"[]", headers={"Content-Encoding": "gzip"}),
    "bytes that are no text": lambda: Reply(b'[{"id":"\xff\xfe\x00"}]'),
    "an unpaired surrogate": lambda: Reply(b'[{"id":"\\ud800","type":"mention","status":{"id":"\\udfff"}}]'),
    "a million keys": lambda: Reply(json.dumps({f"k{number}": number for number in range(300_000)})),
    "one key a million times": lambda: Reply(b"{" + b'"a":1,' * 300_000 + b'"a":2}'),
    "null": lambda: Reply(b"null"),
    "a header of two megabytes": lambda: Reply(b"[]", headers={"X-Long": "x" * 2_000_000}),
    "ten thousand headers": lambda: Reply(b"[]", headers={f"X-{number}": "x" for number in range(10_000)}),
    "links that lead on for ever": lambda: Reply(b"[]", headers={"Link": '<http://127.0.0.1:9/?max_id=1>; rel="next", ' * 5_000}),
}


def packed() -> bytes:
    """A gigabyte of blanks in a megabyte: a list that has no end."""
    block = gzip.compress(b" " * (16 * 1024 * 1024), 9)
    return gzip.compress(b"[", 9) + block * 64


CURSOR = Cursor(start=datetime(2026, 1, 1, tzinfo=UTC), seen={"notifications": ["5"]}).model_dump_json()


class Bomber(Server):
    """Answers everything with the same thing."""

    name = "bomber"

    def __init__(self, folder: Path, reply: Reply) -> None:
        super().__init__(folder)
        for method in ("GET", "POST", "PUT", "DELETE"):
            self.route(method, r"/.*", lambda request: self._bomb(request, reply))

    def _bomb(self, request: Request, reply: Reply) -> Reply:
        if request.path == "/api/v2/instance":
            return Reply({"version": "4.4.2", "domain": "quay.example", "configuration": {}, "api_versions": {"mastodon": 6}})
        if request.path.endswith("verify_credentials"):
            return Reply({"id": "1", "acct": "quayside", "username": "quayside", "url": "https://quay.example/@quayside"})
        return reply


@contextmanager
def bombing(folder: Path, name: str) -> Iterator[Bomber]:
    """The server, answering with the bomb of that name."""
    with Bomber(folder, ANSWERS[name]()) as server:
        yield server


@pytest.mark.parametrize("name", ANSWERS)
def test_a_server_that_answers_with_a_bomb(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every read ends soon, with nothing read or in an error of ours; a write is in doubt or not accepted, and never an accident."""
    monkeypatch.setattr(remote, "LARGEST_ANSWER_BYTES", 4 * 1024 * 1024)
    with bombing(tmp_path, name) as server:
        platform = MastodonPlatform("acme", MastodonOptions.model_validate({"url": server.url, "token": "t" * 20}))
        jira = tracker(server.url)
        mention = a_mention(source="acme")
        filed = some_work()
        calls: dict[str, Callable[[], Any]] = {
            "fetch": lambda: [page for page, _ in zip(platform.fetch(None), range(50), strict=False)],
            "fetch on": lambda: [page for page, _ in zip(platform.fetch(CURSOR), range(50), strict=False)],
            "reread": lambda: platform.reread(["1", "2"]),
            "find": lambda: platform.find(some_work(mention=mention, payload={"text": "hello"})),
            "reply": lambda: platform.reply(some_work(mention=mention, payload={"text": "hello"})),
            "file": lambda: jira.file(filed),
            "look": lambda: jira.find(filed),
            "changed": lambda: list(jira.changed(datetime.now(UTC))),
            "duplicates": lambda: jira.duplicates(datetime.now(UTC)),
        }
        for what, call in calls.items():
            began = time.process_time()
            why = ""
            try:
                call()
            except RemoteError as error:
                why = str(error)
            assert len(why) < 2_000, what
            spent = time.process_time() - began
            assert spent < 5 * CPU_SECONDS, f"{what}: {spent:.1f} s"


def test_a_good_post_beside_a_bad_one(tmp_path: Path) -> None:
    """One item of a page that makes no sense is set apart with its bytes; the others are read."""
    senseless: list[Any] = [[[[]]], 7, "x", {"id": {"a": 1}}, {**post(), "id": "7" * 5_000}, {**post(), "content": ["<p>"] * 1_000}]
    hostile = [
        {"id": "1", "type": "mention", "created_at": "2026-05-01T12:00:00Z", "account": post()["account"], "status": value}
        for value in senseless
    ]
    good = {"id": "9", "type": "mention", "created_at": "2026-05-01T12:00:00Z", "account": post()["account"], "status": post()}
    ANSWERS["a page"] = lambda: Reply([*hostile, good])
    try:
        with bombing(tmp_path, "a page") as server:
            platform = MastodonPlatform("acme", MastodonOptions.model_validate({"url": server.url, "token": "t" * 20, "own_posts": False}))
            items = [item for page, _ in zip(platform.fetch(CURSOR), range(3), strict=False) for item in page.items]
    finally:
        del ANSWERS["a page"]
    assert [item.mention.uri for item in items if item.mention is not None] == [post()["uri"]]


@pytest.mark.parametrize(
    "line",
    [
        "[" * 100_000,
        '{"a":' * 100_000,
        '{"text": "' + "x" * 5_000_000 + '"}',
        '{"text": ' + "9" * 100_000 + "}",
        '{"id": 1e999}',
        "\0" * 1000,
    ],
)
def test_a_line_of_an_import_that_is_a_bomb(line: str) -> None:
    """It is said which line is no post, and the next one is read."""
    good = json.dumps({"text": "it is broken", "url": "https://forum.example/1", "author": "mira", "date": "2026-05-01T12:00:00Z"})
    began = time.process_time()
    found = list(imported.items([line + "\n", good + "\n"], form="jsonl", source="import", now=datetime.now(UTC)))
    assert time.process_time() - began < CPU_SECONDS
    assert found[-1].mention is not None
    assert found[-1].mention.text == "it is broken"


def test_the_largest_answer_is_still_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is cut at the limit is no JSON, and says so; the limit is what we hold in memory."""
    monkeypatch.setattr(remote, "LARGEST_ANSWER_BYTES", 100_000)
    with bombing(tmp_path, "a gigabyte, packed") as server, remote.session("acme") as client:
        held = client.get(f"{server.url}/anything")
    assert len(held.content) <= 100_000 + 65_536

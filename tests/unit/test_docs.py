"""README.md, CHANGELOG.md and docs/ against the code: commands, options, links, files, series, tables, layers, times, examples.

docs/configuration.md has tests of its own (test_config_docs.py), and so has docs/operations.md (test_ops_files.py).
"""

from __future__ import annotations

import json
import re
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import ModuleType
from typing import Any

import click
import pytest

from tests.contract.platforms import PlatformContract, Posted, mentions, start
from tests.shared import ROOT
from triage import delivery, remote
from triage.app import manifest
from triage.cli import COMMANDS, cli
from triage.contracts import Manifest, Platform
from triage.errors import Gone, NotAccepted
from triage.mention import State
from triage.metrics import SERIES
from triage.person import Role
from triage.store.schema import metadata
from triage.web.keys import KEYS

PAGES = (ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md")))
FENCE = re.compile(r"(?ms)^[ \t]*```([^\n]*)\n(.*?)^[ \t]*```[ \t]*$")
SPAN = re.compile(r"`([^`\n]+)`")
COMMAND = re.compile(r"(?:^|[\s(])(?:[\w./]*/)?triage(?: (?:-c|--config) \S+)? ([a-z]+)\b(.*)")
SHELL = ("", "sh", "console", "cron", "ini")  # languages of fenced blocks in which commands stand


def page(name: str) -> str:
    """A page's text."""
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(text: str) -> list[tuple[str, str]]:
    """The fenced blocks of a page: the words after the fence, and what stands in it."""
    return [(words.strip(), body) for words, body in FENCE.findall(text)]


def spans(text: str) -> list[str]:
    """What stands between single backticks, outside of fenced blocks."""
    return SPAN.findall(FENCE.sub("", text))


def table(text: str, heading: str) -> list[list[str]]:
    """The rows of the table under a heading, without its head."""
    part = text.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    rows = [[cell.strip() for cell in line.strip("|").split(" |")] for line in part.splitlines() if line.startswith("|")]
    return rows[2:]


# Commands


@dataclass(frozen=True)
class Named:
    """A command as a page names it, with the options that stand beside it."""

    where: str
    command: str
    options: tuple[str, ...]


def named_in(line: str, where: str) -> Iterator[Named]:
    """The command in a line of shell or in an inline code, if there is one."""
    for part in re.split(r"&&|[|>·]", line.partition(" #")[0]):
        found = COMMAND.search(part)
        if found is not None:
            rest = re.sub(r"\"[^\"]*\"|'[^']*'", "", found[2])
            yield Named(where, found[1], tuple(re.findall(r"(?<!\S)(--?[a-z][\w-]*)", rest)))


def commands_named() -> list[Named]:
    """Every command that a page names in a shell block or between backticks."""
    found: list[Named] = []
    for path in PAGES:
        text = path.read_text(encoding="utf-8")
        lines = [line for words, body in blocks(text) if words in SHELL for line in body.splitlines()]
        for line in (*lines, *spans(text)):
            found += named_in(line, path.name)
    return found


def options_of(command: str) -> dict[str, list[str]]:
    """The options of a command, but for hidden ones: each one's longest name, and all of its names."""
    made = cli.get_command(click.Context(cli), command)
    assert made is not None
    own = [param for param in made.params if isinstance(param, click.Option) and not param.hidden]
    return {max(option.opts, key=len): [*option.opts, *option.secondary_opts] for option in own}


def test_commands_are_found_in_pages() -> None:
    """The walk itself sees blocks, inline code, paths before the program, and options but not what stands in quotes."""
    line = '.venv/bin/triage -c other.yaml answer 12 "a --b" --by ana --draft | head --lines 3  # --no-option'
    assert list(named_in(line, "x")) == [Named("x", "answer", ("--by", "--draft"))]
    assert len({named.where for named in commands_named()}) >= 5


def test_every_command_that_a_page_names_exists_with_its_options() -> None:
    """What a reader types works."""
    wrong = []
    for named in commands_named():
        if named.command not in COMMANDS:
            wrong.append(f"{named.where}: there is no `triage {named.command}`")
            continue
        known = {name for names in options_of(named.command).values() for name in names} | {"-h", "--help"}
        wrong += [f"{named.where}: triage {named.command} has no {option}" for option in named.options if option not in known]
    assert not wrong


def test_every_command_is_documented_with_every_option() -> None:
    """The table of all commands is the help's: name, arguments, options, line."""
    rows = table(page("docs/getting-started.md"), "All commands")
    told = [(call.strip("`").split(), re.findall(r"`(--[\w-]+)`", options), line) for call, options, line in rows]
    assert [words[1] for words, _, _ in told] == list(COMMANDS)
    for words, options, line in told:
        name = words[1]
        made = cli.get_command(click.Context(cli), name)
        assert made is not None
        arguments = [param for param in made.params if isinstance(param, click.Argument)]
        assert [word.strip("[]") for word in words[2:]] == [one.human_readable_name for one in arguments], name
        assert [word.startswith("[") for word in words[2:]] == [not one.required for one in arguments], name
        assert options == [one for names in options_of(name).values() for one in names if one.startswith("--")], name
        assert line == COMMANDS[name][1]


# Links, files, names


def slug(heading: str) -> str:
    """A heading's anchor."""
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
    return re.sub(r"[^\w\- ]", "", plain.strip().lower()).replace(" ", "-")


def anchors(path: Path) -> set[str]:
    """The anchors of a page's headings."""
    return {slug(heading) for heading in re.findall(r"(?m)^#{1,6} (.+)$", FENCE.sub("", path.read_text(encoding="utf-8")))}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_relative_link_resolves(path: Path) -> None:
    """The file is there, and so is the heading."""
    wrong = []
    for target in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", path.read_text(encoding="utf-8"))):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        file = (path.parent / name).resolve() if name else path
        if not file.is_file() or (anchor and anchor not in anchors(file)):
            wrong.append(target)
    assert not wrong


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_file_that_a_page_names_exists(path: Path) -> None:
    """A path in backticks leads somewhere, but for the file that the reader is told to make."""
    tops = "triage|tests|docs|models|requirements|deploy"
    named = {one for span in spans(path.read_text(encoding="utf-8")) for one in re.findall(rf"(?<![\w./-])(?:{tops})/[\w./*-]+", span)}
    assert not [one for one in sorted(named - {"triage/platforms/feed.py", "models/mine"}) if not list(ROOT.glob(one.rstrip("./")))]


def test_every_series_named_in_a_page_exists() -> None:
    """What looks like one of our series is one."""
    named = {one for path in PAGES for span in spans(path.read_text(encoding="utf-8")) for one in re.findall(r"\btriage_[a-z_]+\b", span)}
    assert named
    assert named <= set(SERIES)


def test_the_architecture_names_every_table() -> None:
    """No more and no less."""
    assert {row[0].strip("`") for row in table(page("docs/architecture.md"), "Tables")} == set(metadata.tables)


def test_the_architecture_shows_the_layers_that_are_checked() -> None:
    """The same lines as in pyproject.toml."""
    contracts = tomllib.loads(page("pyproject.toml"))["tool"]["importlinter"]["contracts"]
    [layers] = [contract["layers"] for contract in contracts if contract["type"] == "layers" and contract["containers"] == ["triage"]]
    [shown] = [body.splitlines() for words, body in blocks(page("docs/architecture.md")) if words == "layers"]
    assert shown == layers


def test_the_index_lists_every_page() -> None:
    """docs/README.md leaves none out."""
    listed = set(re.findall(r"\]\(([\w-]+\.md)\)", page("docs/README.md")))
    assert listed == {path.name for path in (ROOT / "docs").glob("*.md")} - {"README.md"}


# The promise


def quoted(text: str) -> str:
    """The first quotation of a page, as one line."""
    lines = re.findall(r"(?m)^> ?(.*)$", text)
    return " ".join(" ".join(lines).split())


def test_the_promise_is_the_same_everywhere() -> None:
    """README.md and docs/delivery.md hold the same words."""
    promise = quoted(page("docs/delivery.md"))
    assert promise.startswith("Every accepted mention is stored and reaches")
    assert promise in " ".join(page("README.md").split())


def test_every_state_is_explained() -> None:
    """With what a person does about it."""
    assert sorted(row[0] for row in table(page("docs/delivery.md"), "What a person does")) == sorted(State)


def test_the_times_in_the_delivery_page_are_those_of_the_code() -> None:
    """A changed constant changes the page."""
    text = " ".join(page("docs/delivery.md").split())
    pace = delivery.Pace()
    seconds = [look * pace.settle for look in delivery.PLATFORM_LOOKS]
    minutes = [f"{look * pace.settle / 60:g}" for look in delivery.TRACKER_LOOKS]
    rests = [f"{pause / 60:g}" for pause in delivery.PAUSE_SECONDS]
    assert f"| ticket, comment | {minutes[0]}, {minutes[1]} and {minutes[2]} minutes |" in text
    assert f"| reply | {seconds[0]:g} seconds, {seconds[1] / 60:g} and {seconds[2] / 60:g} minutes |" in text
    assert f"within {delivery.IDEMPOTENCY_SECONDS / 60:g} minutes of the first attempt" in text
    assert f"after {pace.retry_first:g} s, then twice as long each time, {pace.retry_longest / 60:g} minutes at most" in text
    waits = sum(delivery.backoff(attempt, pace) for attempt in range(1, pace.attempts))
    assert f"for the {pace.attempts}th time (about {waits / 3600:.0f} hours)" in text
    assert f"more than {remote.FIRST_BYTE_SECONDS:g} seconds had passed since the intent" in text
    assert f"rests for {rests[0]} minutes, then {rests[1]}, then an hour" in text
    assert rests[2] == "60"


# Examples


def runnable() -> list[Any]:
    """Every Python block that says so, with a name for it."""
    found = []
    for path in PAGES:
        codes = [body for words, body in blocks(path.read_text(encoding="utf-8")) if words == "python runnable"]
        found += [pytest.param(body, id=f"{path.stem}-{number}") for number, body in enumerate(codes)]
    return found


def as_module(source: str, name: str) -> ModuleType:
    """The source as a module."""
    module = ModuleType(name)
    sys.modules[name] = module  # pydantic looks the annotations up there
    exec(compile(source, f"<{name}>", "exec"), module.__dict__)
    return module


@pytest.mark.parametrize("source", runnable())
def test_every_example_that_says_so_runs(source: str) -> None:
    """From its first line to its last."""
    as_module(source, "an_example")


class FeedFar:
    """A JSON Feed on a loopback socket: the far side of the example in docs/adding-a-platform.md."""

    author = "mira@tilde.example"
    limit = 500

    def __init__(self, url: str, entries: list[dict[str, Any]]) -> None:
        self.url = url
        self.entries = entries

    def platform(self) -> Platform:
        return client(self.url)

    def post(self, text: str, *, reply_to: str | None = None, visibility: str = "public", warning: str = "", no_bots: bool = False) -> str:
        posted = (datetime.now(UTC) + timedelta(milliseconds=len(self.entries))).isoformat()
        uri = f"https://tilde.example/posts/{len(self.entries)}"
        entry = {"id": uri, "authors": [{"name": "mira"}], "content_html": f"<p>{text}</p>", "date_published": posted}
        self.entries.insert(0, entry)
        return uri

    def announce(self, text: str) -> str:
        raise NotImplementedError("a feed holds only what others wrote")

    def edit(self, remote_id: str, text: str) -> None:
        [entry] = [one for one in self.entries if one["id"] == remote_id]
        entry |= {"content_html": f"<p>{text}</p>", "date_modified": datetime.now(UTC).isoformat()}

    def delete(self, remote_id: str) -> None:
        self.entries[:] = [one for one in self.entries if one["id"] != remote_id]

    def replies(self) -> list[Posted]:
        return []


@contextmanager
def serving(entries: list[dict[str, Any]] | None) -> Iterator[str]:
    """The address of a feed with these entries, for the length of the block; None makes it no feed."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps({"version": "https://jsonfeed.org/version/1.1", "items": entries}).encode()
            self.send_response(200 if self.path == "/feed.json" else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Tests print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/feed.json"
        finally:
            server.shutdown()
            thread.join()


def example() -> str:
    """The platform's source in docs/adding-a-platform.md."""
    [source] = [body for words, body in blocks(page("docs/adding-a-platform.md")) if words == "python runnable"]
    return source


def client(url: str) -> Platform:
    """The example's platform for a feed, made as the config would make it."""
    found: Manifest = as_module(example(), "feed_example").MANIFEST
    made: Platform = found.build("blog", found.options.model_validate({"url": url}))
    return made


@pytest.fixture
def feed() -> Iterator[FeedFar]:
    """A feed, and the example that reads it."""
    entries: list[dict[str, Any]] = []
    with serving(entries) as url:
        yield FeedFar(url, entries)


# A platform that only reads can't be asked to answer; a feed knows neither who answers what nor what became of a post that it dropped.
NOT_FOR_A_FEED = {
    "test_a_boost_is_made_and_found",
    "test_a_long_answer_becomes_a_chain_of_posts",
    "test_a_private_post_is_never_boosted",
    "test_a_reply_goes_into_the_thread_and_names_only_the_author",
    "test_a_reply_is_never_wider_than_its_parent",
    "test_a_reply_to_a_post_that_is_gone_is_refused",
    "test_a_second_boost_makes_nothing_where_the_server_says_so",
    "test_a_second_attempt_posts_nothing_where_the_server_says_so",
    "test_a_second_attempt_posts_what_is_not_there",
    "test_a_colleagues_post_begins_no_thread",
    "test_a_thread_is_named_by_its_first_post",
    "test_a_thread_whose_beginning_is_gone",
    "test_all_our_answers_to_a_post_are_shown",
    "test_answers_to_an_announcement_are_threads_of_their_own",
    "test_looking_finds_what_was_posted_and_nothing_else",
    "test_neither_our_own_post_nor_one_that_is_gone_is_boosted",
    "test_one_post_is_read_again",
    "test_our_own_posts_are_not_ingested",
    "test_posts_are_read_again",
    "test_the_thread_of_a_post_that_is_gone",
    "test_who_wants_no_bots_gets_none",
}
SUITE = sorted(name for name in dir(PlatformContract) if name.startswith("test_"))


@pytest.mark.parametrize("name", [name for name in SUITE if name not in NOT_FOR_A_FEED])
def test_the_example_platform_keeps_the_contract(name: str, feed: FeedFar) -> None:
    """What applies to a platform that only reads; the names of what doesn't are all real."""
    assert set(SUITE) >= NOT_FOR_A_FEED
    getattr(PlatformContract(), name)(feed)


def test_the_example_platform_reads_posts_again(feed: FeedFar) -> None:
    """Edits show; what the feed no longer shows is left out, since it need not be gone."""
    same, edited, gone = feed.post("same"), feed.post("before"), feed.post("gone")
    feed.edit(edited, "after")
    feed.delete(gone)
    found = feed.platform().reread([same, edited, gone])
    assert set(found) == {same, edited}
    as_edited = found[edited]
    assert as_edited is not None
    assert as_edited.mention is not None
    assert (as_edited.mention.text, as_edited.mention.edited_at is not None) == ("after", True)


def test_the_example_platform_sets_one_broken_item_aside(feed: FeedFar) -> None:
    """The others come; it is quarantined with its bytes, once."""
    platform = feed.platform()
    cursor = start(platform)
    feed.post("fine")
    feed.entries.insert(0, {"id": 7, "content_html": "no author"})
    feed.entries.insert(0, {"id": "javascript:x", "authors": [{"name": "a"}], "content_html": "", "date_published": "2026-05-01T00:00:00Z"})
    pages = list(platform.fetch(cursor))
    assert [mention.text for mention in mentions(pages)] == ["fine"]
    broken = [item for one in pages for item in one.items if item.broken]
    assert [b"no author" in item.raw for item in broken] == [True, False]
    assert [one.items for one in platform.fetch(pages[-1].cursor)] == [()]


def test_the_example_platform_raises_our_errors_alone(feed: FeedFar) -> None:
    """A wrong address, and an answer that is no feed, are failed polls."""
    with pytest.raises(Gone):
        list(client(feed.url.replace("feed.json", "other")).fetch(None))
    with serving(None) as url, pytest.raises(NotAccepted, match="no JSON Feed"):
        list(client(url).fetch(None))


def test_the_example_platform_is_found_by_its_entry_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the page tells: a package beside ours that names its manifest."""
    text = page("docs/adding-a-platform.md")
    [entry] = [tomllib.loads(body) for words, body in blocks(text) if words == "toml"]
    [(group, points)] = entry["project"]["entry-points"].items()
    [(name, target)] = points.items()
    package, _, module = target.partition(":")[0].partition(".")
    (tmp_path / package).mkdir()
    (tmp_path / package / f"{module}.py").write_text(example())
    info = tmp_path / f"{package}-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[{group}]\n{name} = {target}\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert manifest("platforms", name).name == name


def test_the_tour_tells_each_key_as_the_page_does() -> None:
    """Neither more nor fewer, in the page's order."""
    told = re.findall(r"(?m)^\| `(\S+)` \| (.+) \|$", page("docs/tour.md"))
    assert told == [pair for _, keys in KEYS for pair in keys]


def test_the_tour_tells_each_role() -> None:
    """In their order."""
    told = re.findall(r"(?m)^\| ([a-z]+) \| ", page("docs/tour.md"))
    assert told == [str(role) for role in Role]

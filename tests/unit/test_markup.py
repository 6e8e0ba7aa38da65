"""Whatever a post holds, a ticket shows it and nothing in Jira acts on it."""

from __future__ import annotations

import json
import re
from functools import cache
from html import unescape
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.shared import shared
from triage.trackers.markup import (
    LONGEST_TEXT,
    Block,
    Fact,
    Facts,
    Quote,
    Signature,
    Words,
    clean,
    cut,
    document,
    document_size,
    escape,
    fit,
    last_line,
    units,
    web_address,
    wiki,
)

MARKUP = st.text(st.sampled_from("[]~{}!|*_-+^?#@()\\&;:/.%<>\n\t hb16qaD\u202e\u0000\u200b\ufffe🦀é"), max_size=60)
ANY_TEXT = st.one_of(st.text(max_size=80), MARKUP, st.text(st.characters(codec=None), max_size=40))
ANY_BLOCK = st.one_of(
    st.builds(Words, ANY_TEXT),
    st.builds(Quote, ANY_TEXT),
    st.lists(st.builds(Fact, st.sampled_from(("Post", "Attachment 1")), ANY_TEXT, ANY_TEXT), max_size=3).map(lambda f: Facts(tuple(f))),
)


def shown(text: str) -> str:
    """What Jira's renderer makes of escaped wiki text: backslashes protect these characters, entities are kept."""
    return unescape(re.sub(r"\\([-#*_+?^~|%{}\[\]()!@])", r"\1", text))


def texts(node: Any) -> list[str]:
    """All texts of a document, in order, a newline for each break."""
    if node.get("type") == "hardBreak":
        return ["\n"]
    return [node["text"]] if "text" in node else [text for child in node.get("content", []) for text in texts(child)]


def nodes(node: Any) -> list[Any]:
    """Every node of a document."""
    return [node] + [inner for child in node.get("content", []) for inner in nodes(child)]


@cache
def adf() -> Any:
    """Atlassian's own schema."""
    return jsonschema.Draft4Validator(json.loads(shared("specs/adf-schema.json").read_text()))


@pytest.mark.parametrize(
    ("typed", "sent"),
    [
        ("[~admin]", r"\[\~admin\]"),
        ("[@admin]", r"\[\@admin\]"),
        ("[x|https://evil.example]", r"\[x\|https&#58;//evil.example\]"),
        ("!https://evil.example/p.png!", r"\!https&#58;//evil.example/p.png\!"),
        ("{code}x{code}", r"\{code\}x\{code\}"),
        ("{noformat}", r"\{noformat\}"),
        ("{panel:title=x}", r"\{panel:title=x\}"),
        ("{{mono}}", r"\{\{mono\}\}"),
        ("||h||\n|c|", "\\|\\|h\\|\\|\n\\|c\\|"),
        ("* a\n# b\n- c", "\\* a\n\\# b\n\\- c"),
        ("*b* _e_ -d- +i+ ^s^ ~s~ ??c??", r"\*b\* \_e\_ \-d\- \+i\+ \^s\^ \~s\~ \?\?c\?\?"),
        ("h1. big\n h6. small\nbq. said", "h1&#46; big\n h6&#46; small\nbq&#46; said"),
        ("----", r"\-\-\-\-"),
        ("a\\\\b \\{x}", r"a&#92;&#92;b &#92;\{x\}"),
        ("&lt;b&gt; & &#91;", r"&amp;lt;b&amp;gt; &amp; &amp;\#91;"),
        ("mailto:a@b.example", r"mailto&#58;a\@b.example"),
        ("fine :D :P :) (y)", r"fine &#58;D &#58;P :\) \(y\)"),
        ("plain: it, works. 12:30", "plain: it, works. 12:30"),
    ],
)
def test_wiki_markup_is_escaped(typed: str, sent: str) -> None:
    """Each thing that Jira's wiki would act on is sent as what it looks like."""
    assert escape(typed) == sent
    assert shown(sent) == typed


@given(ANY_TEXT)
def test_no_special_character_is_left_unescaped(text: str) -> None:
    """Whatever is typed: no bare special character, no double backslash, no heading at a line's start, no web address."""
    sent = escape(text)
    assert re.sub(r"\\[-#*_+?^~|%{}\[\]()!@]|&(?:amp|#92|#58|#46);|[^-#*_+?^~|%{}\[\]()!@&\\]", "", sent) == ""
    assert not re.search(r"(?im)^\s*(h[1-6]|bq)\.", sent)
    assert "://" not in sent
    assert "[~" not in sent
    assert not re.search("[\ud800-\udfff\u0000-\u0009\u000b-\u001f\u202a-\u202e\u2066-\u2069\ufffe\uffff]", sent)


@given(ANY_TEXT)
def test_wiki_text_shows_what_was_typed(text: str) -> None:
    """Escaping loses nothing: the page shows the cleaned text letter by letter."""
    assert shown(escape(text)) == clean(text)


@given(st.lists(ANY_BLOCK, max_size=5))
def test_any_document_is_sound(blocks: list[Block]) -> None:
    """Text nodes are never empty and hold no line end, marks are ours, links lead to the web."""
    for node in nodes(document(blocks)):
        if node["type"] == "text":
            assert node["text"]
            assert not set(node["text"]) & {"\n", "\r", "\0", "\u202e"}
            assert not any("\ud800" <= letter <= "\udfff" for letter in node["text"])
        for mark in node.get("marks", []):
            assert mark["type"] in ("strong", "link")
            if mark["type"] == "link":
                assert re.match(r"https?://[\w.-]+", mark["attrs"]["href"])
                assert node["text"] == mark["attrs"]["href"]
        if node["type"] in ("blockquote", "bulletList", "listItem"):
            assert node["content"]


@pytest.mark.shared
@given(st.lists(ANY_BLOCK, max_size=5))
def test_any_document_passes_the_vendors_schema(blocks: list[Block]) -> None:
    """What we send as a document is one by Atlassian's own schema."""
    adf().validate(document([*blocks, Signature("0123456789abcdef")]))


@given(ANY_TEXT)
def test_a_document_shows_what_was_typed(text: str) -> None:
    """The text nodes of a quote hold every visible character."""
    assert "".join("".join(texts(document([Quote(text)]))).split()) == "".join(clean(text).split())


def test_a_document_keeps_lines_and_paragraphs() -> None:
    """A newline is a hard break, an empty line a new paragraph."""
    content = document([Words("one\ntwo\n\nthree")])["content"]
    assert [node["type"] for node in content] == ["paragraph", "paragraph"]
    assert [node["type"] for node in content[0]["content"]] == ["text", "hardBreak", "text"]


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("https://tilde.example/@mira/7?a=b&c=d#e", "https://tilde.example/@mira/7?a=b&c=d#e"),
        ("HTTP://tilde.example:8080/x", "HTTP://tilde.example:8080/x"),
        ("https://tilde.example/a|b]c{d}!e^f\\g", "https://tilde.example/a%7Cb%5Dc%7Bd%7D%21e%5Ef%5Cg"),
        ("https://tilde.example/ünd", "https://tilde.example/%C3%BCnd"),
        ("javascript:alert(1)", None),
        ("data:text/html,x", None),
        ("ftp://tilde.example/", None),
        ("https://", None),
        ("https://good.example@evil.example/", None),
        ("https://tilde.example/a b", None),
        ("https://[::1", None),
        ("//tilde.example", None),
        ("", None),
        ("https://tilde.example/" + "x" * 1_000, None),
    ],
)
def test_only_web_addresses_become_links(url: str, address: str | None) -> None:
    """http and https with a host, percent-encoded so that they can't end their own brackets."""
    assert web_address(url) == address


@given(ANY_TEXT)
def test_a_link_can_not_break_out(text: str) -> None:
    """An address with anything in it is either no link, or holds nothing that ends a wiki link."""
    address = web_address(f"https://tilde.example/{text}")
    assert address is None or not set(address) & set("[]|{}!^\\\" '<>()*\n")


def test_a_fact_with_an_odd_link_shows_it_as_text() -> None:
    """A link that is no web address can be read, and can't be clicked."""
    facts = Facts((Fact("Post", url="javascript:alert(1)"),))
    assert wiki([facts]) == r"* *Post:* javascript:alert\(1\)"
    assert all("link" not in [mark["type"] for mark in node.get("marks", [])] for node in nodes(document([facts])))


def test_blocks_read_well_in_wiki_text() -> None:
    """Paragraphs, a quote, a list with bold names and links, the marker on a line of its own."""
    blocks: list[Block] = [
        Words("Hello_"),
        Quote("a {quote} b"),
        Facts((Fact("Post", "x*", "https://tilde.example/1"),)),
        Signature("00ff"),
        Words("  "),
    ]
    expected = "Hello\\_\n\n{quote}\na \\{quote\\} b\n{quote}\n\n* *Post:* x\\* [https://tilde.example/1]\n\ntriage:00ff"
    assert wiki(blocks) == expected


@given(ANY_TEXT, st.integers(0, 90))
def test_cut_counts_as_jira_does(text: str, room: int) -> None:
    """Never more UTF-16 units than asked for, never a half emoji, and untouched where it fits."""
    short = cut(clean(text), room)
    assert units(short) <= room
    assert short == clean(text) or short.endswith("…") or room == 0
    assert not any("\ud800" <= letter <= "\udfff" for letter in short)


def test_an_emoji_counts_as_two() -> None:
    """Jira's limits are UTF-16 units: 255 characters are 127 crabs."""
    assert units("🦀" * 127) == 254
    assert units(cut("🦀" * 200, 255)) <= 255
    assert [cut("🦀🦀", room) for room in (0, 1, 2)] == ["", "…", "…"]


@pytest.mark.parametrize(("render", "size"), [(document, document_size), (wiki, units)])
@pytest.mark.parametrize("letter", ["a", "\\", '"', "🦀", "a\n", "a\n\n", "{", "&"])
def test_the_fit_is_close_and_within_the_limit(render: Any, size: Any, letter: str) -> None:
    """Whatever the text costs in markup, the whole stays within the limit and uses at least 90 % of it."""
    text = clean(letter * 40_000)
    whole = fit(lambda room: [Quote(cut(text, room)), Signature("00ff")], render, size, LONGEST_TEXT)
    assert LONGEST_TEXT * 0.9 < size(whole) <= LONGEST_TEXT
    assert last_line(whole) == "triage:00ff"


def test_what_fits_is_left_alone() -> None:
    """A text within the limit is not shortened."""
    assert fit(lambda room: [Words(cut("short", room))], wiki, units, 5) == "short"


@pytest.mark.parametrize(
    ("body", "line"),
    [
        ("a\n\ntriage:00ff\n \n", "triage:00ff"),
        (document([Words("a"), Signature("00ff")]), "triage:00ff"),
        (document([Signature("00ff"), Words("a\nb")]), "b"),
        (document([Signature("00ff"), Facts((Fact("Post", "x"),))]), "Post: x"),
        ({"type": "doc", "content": [{"type": "paragraph", "content": "nonsense"}]}, ""),
        (None, ""),
        ("", ""),
        (7, ""),
    ],
)
def test_the_last_line_is_read_from_both(body: Any, line: str) -> None:
    """The marker is looked for in the last line with text, whatever else a body holds."""
    assert last_line(body) == line


def test_a_document_nested_ten_thousand_deep_is_read() -> None:
    """Somebody's odd document must not end the look for ours."""
    inner: dict[str, Any] = {"type": "text", "text": "deep"}
    for _ in range(10_000):
        inner = {"type": "blockquote", "content": [inner]}
    assert last_line({"type": "doc", "content": [inner]}) == "deep"

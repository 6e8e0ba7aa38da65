"""What a ticket says, in the two languages that Jira speaks: Atlassian documents (API v3) and wiki text (API v2). Pure.

The text of a post is hostile: it may hold `[~user]`, `!image!` or `{macro}`. In a document it goes into text nodes alone, which
nothing interprets. In wiki text everything that could mean something is escaped, so that the page shows what was written.

How Jira's renderer escapes is taken from its source (`BackslashEscapeRendererComponent`, `HtmlEscaper`, `MentionFinderImpl`): a
backslash protects exactly the characters in `_ESCAPABLE`, and only where no backslash stands before it; everything else needs an
entity, which the renderer keeps. Jira looks for `[~user]` in the raw text, so both characters are escaped.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

from triage.text import neutralise, one_line, shorten

LONGEST_TEXT = 32_767  # Jira's limit of a description and of a comment
LONGEST_LINK = 1_000
LONGEST_ODD_LINK = 100  # of one that can't be linked to

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Words:
    """Paragraphs of plain text; a newline stays a newline."""

    text: str


@dataclass(frozen=True, slots=True)
class Quote:
    """What somebody else wrote, set apart."""

    text: str


@dataclass(frozen=True, slots=True)
class Fact:
    """One line of a list: a name of ours, a value, and a link that shows its own address."""

    name: str
    value: str = ""
    url: str = ""

    def shown(self) -> tuple[str, str | None]:
        """The value on one line and the address to link to; a link that is no web address is shown as plain text."""
        value, address = one_line(clean(self.value)), web_address(self.url)
        if self.url and address is None:
            odd = one_line(clean(self.url[:LONGEST_LINK]))
            value = f"{value} {cut(odd, LONGEST_ODD_LINK)}".strip()
        return value, address


@dataclass(frozen=True, slots=True)
class Facts:
    """A list of facts."""

    items: tuple[Fact, ...]


@dataclass(frozen=True, slots=True)
class Signature:
    """The last line: `triage:` and the marker, which is letters and digits and needs no escape."""

    marker: str


Block = Words | Quote | Facts | Signature


def clean(text: str) -> str:
    """`text` as XML and people can bear it: harmless, without the two code points that XML refuses, no blank ends."""
    return re.sub("[\ufffe\uffff]", "", neutralise(text)).strip()


def units(text: str) -> int:
    """The length as Jira counts it: UTF-16 code units, an emoji is two."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def cut(text: str, room: int) -> str:
    """At most `room` UTF-16 units of `text`, shortened between graphemes."""
    encoded = text.encode("utf-16-le", "surrogatepass")
    if len(encoded) // 2 <= room:
        return text
    fits = encoded[: 2 * room].decode("utf-16-le", "surrogatepass")
    whole = len(fits) if text.startswith(fits) else len(fits) - 1  # the last one may be half an emoji
    return shorten(text, whole) or "…"[: max(room, 0)]


def web_address(url: str) -> str | None:
    """`url` if it is a web address that can be linked to, percent-encoded so that no character of it means anything in markup."""
    if len(url) > LONGEST_LINK:
        return None
    url = clean(url)
    try:
        parts = urlsplit(url)
        fine = parts.scheme.lower() in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc
    except ValueError:
        return None
    if not fine or re.search(r"\s", url) or not re.fullmatch(r"[\w.:-]+", parts.netloc, re.ASCII):
        return None
    address = quote(url, safe=":/?#&=%;,.@$+-_~")
    return address if len(address) <= LONGEST_LINK else None


def last_line(body: Any) -> str:
    """The last line with text of a description or comment, from wiki text or from a document."""
    text = document_text(body) if isinstance(body, dict) else body if isinstance(body, str) else ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def document_text(node: dict[str, Any]) -> str:
    """The text of a document, one line a paragraph. A loop with its own stack: others can edit a ticket and nest as they like."""
    out: list[str] = []
    stack: list[Any] = [node]
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            out.append(item)
        elif isinstance(item, dict):
            if item.get("type") == "hardBreak":
                out.append("\n")
            shown = item.get("attrs") if item.get("type") in _SHOWN else item
            word = shown.get("text", shown.get("url")) if isinstance(shown, dict) else None
            if isinstance(word, str):
                out.append(word)
            inner = item.get("content")
            if isinstance(inner, list):
                stack.append("\n" if item.get("type") != "doc" else "")
                stack.extend(reversed(inner))
    return "".join(out)


_SHOWN = frozenset({"emoji", "mention", "inlineCard"})  # what Jira's editor makes of signs, names and links that are typed


def fit(build: Callable[[int], Sequence[Block]], render: Callable[[Sequence[Block]], T], size: Callable[[T], int], limit: int) -> T:
    """The rendering of `build(room)` for the largest room that stays within `limit`, by halving.

    `room` is the number of units that each free text may take; with none left, `build` must fit.
    """
    whole = render(build(limit))
    if size(whole) <= limit:
        return whole
    low, high = 0, limit
    best = render(build(0))
    while high - low > 1:
        middle = (low + high) // 2
        candidate = render(build(middle))
        if size(candidate) <= limit:
            low, best = middle, candidate
        else:
            high = middle
    return best


# ---- Atlassian documents


def document(blocks: Sequence[Block]) -> dict[str, Any]:
    """The blocks as an Atlassian document, version 1."""
    return {"version": 1, "type": "doc", "content": [node for block in blocks for node in _nodes(block)] or [{"type": "paragraph"}]}


def document_size(doc: dict[str, Any]) -> int:
    """The length of the document as JSON: Jira does not say what it counts, and no other count is larger."""
    return units(json.dumps(doc, ensure_ascii=False, separators=(",", ":")))


def _nodes(block: Block) -> list[dict[str, Any]]:
    match block:
        case Words(text):
            return _paragraphs(text)
        case Quote(text):
            inner = _paragraphs(text)
            return [{"type": "blockquote", "content": inner}] if inner else []
        case Facts(items):
            points = [{"type": "listItem", "content": [{"type": "paragraph", "content": _fact(item)}]} for item in items]
            return [{"type": "bulletList", "content": points}] if points else []
        case Signature(marker):
            return [{"type": "paragraph", "content": [_text(f"triage:{marker}")]}]


def _paragraphs(text: str) -> list[dict[str, Any]]:
    paragraphs = []
    for part in re.split(r"\n\s*\n", clean(text)):
        content: list[dict[str, Any]] = []
        for line in part.strip().split("\n"):
            if content:
                content.append({"type": "hardBreak"})
            if line:
                content.append(_text(line))
        if content:
            paragraphs.append({"type": "paragraph", "content": content})
    return paragraphs


def _fact(item: Fact) -> list[dict[str, Any]]:
    value, address = item.shown()
    content = [_text(f"{item.name}:", {"type": "strong"}), _text(" ")]
    if value:
        content.append(_text(value))
    if address:
        content += [_text(" ")] if value else []
        content.append(_text(address, {"type": "link", "attrs": {"href": address}}))
    return content


def _text(text: str, *marks: dict[str, Any]) -> dict[str, Any]:
    node: dict[str, Any] = {"type": "text", "text": text}
    if marks:
        node["marks"] = list(marks)
    return node


# ---- wiki text

_ESCAPABLE = r"-#*_+?^~|%{}[]()!@"
_MEANINGFUL = re.compile(rf"[&\\{re.escape(_ESCAPABLE)}]")
_ENTITIES = {"&": "&amp;", "\\": "&#92;"}
# `://` and `mailto:` would become links that end at the first escaped character, `:D` and `:P` would become pictures.
_COLON = re.compile(r"(?i):(?=//|[DP]\b)|(?<=mailto):")
_CHARACTERS = {"&amp;": "&", "&#92;": "\\", "&#58;": ":", "&#46;": "."}
_ESCAPED = re.compile(rf"&(?:amp|#92|#58|#46);|\\([{re.escape(_ESCAPABLE)}])")
_LINE_START = re.compile(r"(?im)^([ \t]*(?:h[1-6]|bq))\.")


def escape(text: str) -> str:
    """`text` so that Jira's wiki renderer shows it letter by letter."""
    text = _MEANINGFUL.sub(lambda found: _ENTITIES.get(found[0]) or f"\\{found[0]}", clean(text))
    return _LINE_START.sub(r"\1&#46;", _COLON.sub("&#58;", text))


def unescape(text: str) -> str:
    """What a reader sees of text that `escape` made."""
    return _ESCAPED.sub(lambda found: found[1] or _CHARACTERS[found[0]], text)


def wiki(blocks: Sequence[Block]) -> str:
    """The blocks as Jira's wiki text."""
    return "\n\n".join(text for block in blocks if (text := _wiki(block)))


def _wiki(block: Block) -> str:
    match block:
        case Words(text):
            return escape(text)
        case Quote(text):
            inner = escape(text)
            return f"{{quote}}\n{inner}\n{{quote}}" if inner else ""
        case Facts(items):
            return "\n".join(_wiki_fact(item) for item in items)
        case Signature(marker):
            return f"triage:{marker}"


def _wiki_fact(item: Fact) -> str:
    value, address = item.shown()
    parts = [f"* *{escape(item.name)}:*", escape(value), f"[{address}]" if address else ""]
    return " ".join(part for part in parts if part)

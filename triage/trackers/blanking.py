"""Taking a post's words out of a ticket or comment of ours, and leaving what people added. Pure.

What we wrote has a form: a line that says who wrote, the quoted post, a list of facts. The quote is known again by digests of all
that the post ever said, since the store may have forgotten it: one that a person changed is not touched, and neither is the rest.
The lines around it are known by their form.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from triage.mention import Receipt, Visibility, Work
from triage.trackers import wording
from triage.trackers.markup import Words, clean, document, document_text, unescape, wiki

ERASED = "erased"  # the author was erased: their name and links go, too; else the post was deleted, and its words go
QUOTES = frozenset(("ticket", "report", "edited"))  # what holds a post's text; other comments hold its link alone
LONG = 500  # characters: a longer quote may be cut to fit the tracker, and is then known by its beginning

_WORDS = re.compile(r"Poll|Attachment \d+|Version|System|Error|Component|Words that spoke for it")
_PERSON = re.compile(r"Post|Author|Thread|Quotes|First posted|More attachments|Filed because")
_OURS = re.compile(r"Post|Label|Filed because")  # one of these is in each list of ours
_OPENER = re.compile(r"(?: wrote on|It now says, as of) \d{4}-\d\d-\d\d \d\d:\d\d UTC:")
_WARNING = "Content warning: "
_NOTICE = re.compile(r"\[(?:The post was deleted by its author|What was written here was erased) on \d{4}-\d\d-\d\d\]")
_TITLE = re.compile(r"(?:Post deleted by its author|Erased post|Private post)(?: \(mention \d+\)|, mention \d+)")
_QUOTE = re.compile(r"(?s)(?<!\\)\{quote\}(.*?)(?<!\\)\{quote\}")


@dataclass(frozen=True, slots=True)
class Held:
    """What a ticket or comment should say. `body` and `title` are None where they stay as they are; `missing` tells what to do by hand."""

    receipt: Receipt
    body: Any
    title: str | None
    missing: tuple[str, ...]

    @property
    def is_blank(self) -> bool:
        """Whether nothing of the post is left in it."""
        return self.is_written and not self.missing

    @property
    def is_written(self) -> bool:
        """Whether nothing is left of it that we can take out."""
        return self.body is None and self.title is None


@dataclass(frozen=True, slots=True)
class _Part:
    """A paragraph, a quote or a line of a list; `start` and `end` say where it stands, `group` which list it is in."""

    kind: str
    text: str
    start: int
    end: int
    group: int = -1

    @property
    def name(self) -> str:
        return self.text.partition(":")[0].strip()


# What is known of a post


class Prints:
    """Digests of a post's texts, of the titles and of the opening paragraphs that were made of them."""

    def __init__(self, known: Mapping[str, Any]) -> None:
        self._salt = bytes.fromhex(known["salt"])
        self._known = {name: frozenset(known.get(name, ())) for name in ("quotes", "starts", "openings", "titles")}

    def has(self, name: str, text: str) -> bool:
        """Whether it is one of the `openings` or `titles`."""
        return _digest(self._salt, text) in self._known[name]

    def quotes(self, text: str) -> bool:
        """Whether it is a text of the post, whole or cut."""
        text = _normal(text)
        cut = text.endswith("…") and len(text) > LONG and _digest(self._salt, text[:LONG]) in self._known["starts"]
        return cut or _digest(self._salt, text) in self._known["quotes"]


def prints(summary: str, opening: str, work: Work, texts: Sequence[str]) -> dict[str, Any]:
    """What `Prints` takes, for these templates of a title and of what stands above the post. `Refused` where a template fails."""
    assert work.mention is not None
    salt = secrets.token_bytes(16)
    found: dict[str, set[str]] = {"quotes": set(), "starts": set(), "openings": set(), "titles": set()}
    fixed = set(_paragraphs(wording.opening_of_sample(opening)))  # what the template says of every post
    for text in texts:
        post = replace(work.mention, text=text, visibility=Visibility.PUBLIC)
        said = replace(work, mention=post, reason=work.payload.get("because", work.reason))
        quote = _normal(wording.quoted(text))
        found["quotes"].add(_digest(salt, quote))
        if len(quote) > LONG:
            found["starts"].add(_digest(salt, quote[:LONG]))
        found["openings"].update(_digest(salt, one) for one in _paragraphs(wording.opening(opening, said)) if one not in fixed)
        found["titles"].add(_digest(salt, wording.summary(summary, said)))
    return {"salt": salt.hex(), **{name: sorted(digests) for name, digests in found.items()}}


def _digest(salt: bytes, text: str) -> str:
    return hmac.new(salt, _normal(text).encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()[:32]


def _normal(text: str) -> str:
    return " ".join(clean(text).split())


def _paragraphs(text: str) -> list[str]:
    return [_normal(part) for part in re.split(r"\n\s*\n", text) if part.strip()]


# What is to be said in their place


def held(work: Work, known: Prints, receipt: Receipt, body: Any, title: str | None = None) -> Held:
    """What a ticket (with its `title`) or comment of ours should say instead of this. `body` is a document, wiki text or None."""
    if not isinstance(body, dict):
        body = str(body or "").replace("\r\n", "\n")
    parts = list(_of_document(body) if isinstance(body, dict) else _of_wiki(body))
    changes, missing = _decide(work, known, parts)
    new = None
    if changes:
        new = _change_document(body, parts, changes) if isinstance(body, dict) else _change_wiki(body, parts, changes)
    neutral = None
    if title is not None and known.has("titles", title):
        neutral = f"{'Erased post' if _erased(work) else 'Post deleted by its author'} (mention {work.payload.get('mention_id')})"
        neutral = neutral if neutral != title else None  # a post that said just that: nothing is left to change
    elif title is not None and not _TITLE.fullmatch(title.strip()):
        missing = (*missing, "its title was changed by hand and may still quote the post")
    return Held(receipt, new, neutral, missing)


def _erased(work: Work) -> bool:
    return work.payload.get("what") == ERASED


def _notice(work: Work) -> str:
    what = "What was written here was erased" if _erased(work) else "The post was deleted by its author"
    return f"[{what} on {work.payload.get('at')}]"


def _decide(work: Work, known: Prints, parts: Sequence[_Part]) -> tuple[dict[int, str | None], tuple[str, ...]]:
    """By a part's number: what to say in its place, None for nothing. And what can't be found."""
    changes: dict[int, str | None] = {}
    quotes = [number for number, part in enumerate(parts) if part.kind == "quote" and known.quotes(part.text)]
    for number in quotes:
        changes[number] = _notice(work) if number == quotes[0] else None
        if number and parts[number - 1].kind == "words" and parts[number - 1].text.startswith(_WARNING):
            changes[number - 1] = None
    noticed = any(part.kind == "words" and _NOTICE.match(part.text) for part in parts)  # in a quote it is the poster's
    if work.payload.get("of") in QUOTES and not quotes and not noticed:
        return {}, ("the quoted post was changed by hand, or is not there any more",)
    named = [part for part in parts if part.kind == "words" and _OPENER.search(part.text)]
    if _erased(work) and not all(_opens(part.text) for part in named):
        return {}, ("the line that names the author was changed by hand",)
    ours = {part.group for part in parts if part.kind == "fact" and _OURS.fullmatch(part.name)}
    for number, part in enumerate(parts):
        if part.kind == "words":
            of_post = known.has("openings", part.text) and not _NOTICE.fullmatch(part.text)  # else our own notice would go next time
            gone = (_erased(work) and part in named) or of_post
        else:
            theirs = bool(_WORDS.fullmatch(part.name) or (_erased(work) and _PERSON.fullmatch(part.name)))
            gone = theirs and part.kind == "fact" and part.group in ours
        if gone:
            changes[number] = None
    return changes, ()


def _opens(text: str) -> bool:
    """Whether it is the line above a quote, and nothing else."""
    found = _OPENER.search(text)
    return found is not None and found.end() == len(text) and "\n" not in text


# Documents


def _of_document(body: Mapping[str, Any]) -> Iterator[_Part]:
    """The parts of a document: `start` is the node's number, `end` that of the list's item."""
    for number, node in enumerate(_nodes(body)):
        if node.get("type") == "bulletList":
            for place, item in enumerate(_nodes(node)):
                yield _Part("fact", document_text(item).strip(), number, place, group=number)
        else:
            yield _Part("quote" if node.get("type") == "blockquote" else "words", document_text(node).strip(), number, -1)


def _nodes(node: Mapping[str, Any]) -> list[dict[str, Any]]:
    inner = node.get("content")
    return [one if isinstance(one, dict) else {} for one in inner] if isinstance(inner, list) else []


def _change_document(body: Mapping[str, Any], parts: Sequence[_Part], changes: Mapping[int, str | None]) -> dict[str, Any]:
    told = {parts[number].start: said for number, said in changes.items() if parts[number].kind != "fact"}
    gone = {(parts[number].start, parts[number].end) for number in changes if parts[number].kind == "fact"}
    content: list[Any] = []
    for number, node in enumerate(_nodes(body)):
        if number in told:
            said = told[number]
            content += document([Words(said)])["content"] if said else []
        elif node.get("type") == "bulletList":
            items = [item for place, item in enumerate(_nodes(node)) if (number, place) not in gone]
            content += [{**node, "content": items}] if items else []
        else:
            content.append(node)
    return {**body, "content": content}


# Wiki text


def _of_wiki(body: str) -> Iterator[_Part]:
    """The parts of a wiki text: `start` and `end` are places in it, so that all else stays letter by letter."""
    place = 0
    for found in _QUOTE.finditer(body):
        yield from _of_paragraphs(body, place, found.start())
        yield _Part("quote", unescape(found[1]).strip(), found.start(), found.end())
        place = found.end()
    yield from _of_paragraphs(body, place, len(body))


def _of_paragraphs(body: str, start: int, end: int) -> Iterator[_Part]:
    place, first = start, start
    lines: list[str] = []
    for line in [*body[start:end].split("\n"), ""]:
        if line.strip():
            first = first if lines else place
            lines.append(line)
        elif lines:
            yield from _of_lines(lines, first)
            lines = []
        place += len(line) + 1


def _of_lines(lines: Sequence[str], start: int) -> Iterator[_Part]:
    """A list where the first line begins one, else a paragraph."""
    if not lines[0].startswith("* "):
        text = "\n".join(lines)
        yield _Part("words", unescape(text).strip(), start, start + len(text))
        return
    place = start
    for line in lines:
        shown = unescape(re.sub(r"^\* \*(.*?):\*", r"\1:", line)).strip()
        yield _Part("fact", shown, place, place + len(line), group=start)
        place += len(line) + 1


def _change_wiki(body: str, parts: Sequence[_Part], changes: Mapping[int, str | None]) -> str:
    for number in sorted(changes, reverse=True):
        part, said = parts[number], changes[number]
        end = part.end
        for _ in range(0 if said else 1 if part.kind == "fact" else 2):  # with the end of the line, or the blank line, after it
            end += body.startswith("\n", end)
        body = body[: part.start] + (wiki([Words(said)]) if said else "") + body[end:]
    return body

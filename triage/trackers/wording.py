"""What a ticket says about a mention, whatever the tracker. Pure.

A private post (followers-only or direct) is filed by a person alone, and then by our own id: no text, no author, no link, no
words that spoke for its label. Free texts are cut to `room` UTF-16 units each, so that the whole fits the tracker.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import jinja2
import jinja2.meta
import jinja2.sandbox

from triage.details import details
from triage.errors import Refused
from triage.mention import Attachment, Label, Mention, Verdict, Work
from triage.text import one_line, without_names_at_start
from triage.trackers.markup import LONGEST_TEXT, Block, Fact, Facts, Quote, Signature, Words, clean, cut

LONGEST_SUMMARY = 255  # Jira's limit; one line
MOST_ATTACHMENTS = 8
LONGEST_NAME = 100
LONGEST_NOTE = 1_000  # of a warning, an alt text, a reason
NO_TEXT = "(no text)"
MOST_READ = 4  # times the room: what is read of a longer text, for invisible characters take room too

_SANDBOX = jinja2.sandbox.SandboxedEnvironment(undefined=jinja2.StrictUndefined, autoescape=False)


def variables(work: Work) -> dict[str, Any]:
    """What a template in the config may name."""
    mention, verdict = work.mention, work.verdict
    assert mention is not None
    text = without_names_at_start(_read(mention.text))
    lines = [line for line in text.splitlines() if line.strip()]
    return {
        "author": cut(_line(mention.author.name) or _line(mention.author.handle), LONGEST_NAME),
        "handle": _line(mention.author.handle),
        "first_line": one_line(lines[0]) if lines else _line(mention.warning) or "(no text)",
        "text": text,
        "warning": _line(mention.warning),
        "url": mention.url,
        "language": mention.language or "",
        "platform": mention.platform,
        "source": mention.source,
        "label": str(verdict.label) if verdict else "",
        "confidence": round(verdict.confidence, 2) if verdict else 0.0,
        "reason": work.reason,
    }


SAMPLE: dict[str, Any] = {
    **dict.fromkeys(
        ("author", "handle", "first_line", "text", "warning", "url", "language", "platform", "source", "label", "reason"), "words"
    ),
    "confidence": 0.9,
}
"""A value for every name that a template may use, to try one out before it is needed."""


@lru_cache(maxsize=32)
def _template(source: str) -> jinja2.Template:
    return _SANDBOX.from_string(source)


def check_template(source: str) -> str:
    """`source`, if it is a template that names only what there is and works on a sample; `ValueError` tells what is wrong."""
    try:
        unknown = jinja2.meta.find_undeclared_variables(_SANDBOX.parse(source)) - SAMPLE.keys()
        if unknown:
            raise ValueError(f"the template names {', '.join(sorted(unknown))}; there are {', '.join(sorted(SAMPLE))}")
        _template(source).render(SAMPLE)
    except jinja2.TemplateSyntaxError as error:
        raise ValueError(f"the template has a mistake in line {error.lineno}: {error.message}") from None
    except (jinja2.TemplateError, ArithmeticError, AttributeError, LookupError, TypeError) as error:
        raise ValueError(f"the template fails: {type(error).__name__}: {one_line(str(error))}") from None
    return source


def _rendered(source: str, work: Work) -> str:
    try:
        return _template(source).render(variables(work))
    except Exception as error:  # noqa: BLE001  # a template of the config may fail in any way; a person mends it
        raise Refused(f"a template in the config fails: {type(error).__name__}: {one_line(str(error))[:200]}") from None


def _mention(work: Work) -> Mention:
    if work.mention is None:
        raise Refused("there is no mention to file")
    return work.mention


def _refuse_unlifted(work: Work) -> None:
    if not work.payload.get("lifted"):
        raise Refused("a private post is never filed by itself; a person may file it with nothing but its number")
    if not work.payload.get("mention_id"):
        raise Refused("a private post is filed by its number alone, and this one has none")


def summary(template: str, work: Work) -> str:
    """The ticket's title: one line, at most `LONGEST_SUMMARY` UTF-16 units."""
    mention = _mention(work)
    if mention.visibility.is_private:
        return f"Private post, mention {work.payload.get('mention_id')}"
    line = one_line(clean(_rendered(template, work)))
    return cut(line or f"Post by {mention.author.handle}", LONGEST_SUMMARY)


def opening(intro: str, work: Work) -> str:
    """What stands above the post in a ticket; `intro` is a template or empty."""
    return _read(_rendered(intro, work)) if intro else ""


def opening_of_sample(intro: str) -> str:
    """The same for the sample: a paragraph that is in both is the template's own."""
    return _read(_template(intro).render(SAMPLE)) if intro else ""


def quoted(text: str) -> str:
    """A post's text as it is quoted, where it is not cut."""
    return _read(text) or NO_TEXT


def ticket(intro: str, work: Work) -> Callable[[int], list[Block]]:
    """The ticket's text, as a function of the room that each free text may take. `intro` is a template or empty.

    Raises `Refused` for a private post that no person lifted (`payload["lifted"]`, with `payload["mention_id"]`).
    """
    mention = _mention(work)
    if mention.visibility.is_private:
        _refuse_unlifted(work)
        return lambda room: [Words("A person filed this."), Words(_withheld(work)), Signature(work.marker)]
    above, text = opening(intro, work), _read(mention.text)

    def blocks(room: int) -> list[Block]:
        return [
            Words(cut(above, room)),
            *_post(mention, f"{_who(mention)} wrote on {_when(mention)}:", text, room),
            Facts((*_links(mention, work, room), *_details(mention, room), *_verdict(work.verdict, room), _reason(work, room))),
            Signature(work.marker),
        ]

    return blocks


def comment(work: Work) -> Callable[[int], list[Block]]:
    """A comment's text, likewise. `payload["what"]` is report, edited, deleted or relabelled; `payload["text"]` is ours, not a post's.

    Raises `Refused` for a report of a private post that no person lifted, and for an unknown kind.
    """
    what = str(work.payload.get("what", "report"))
    openings = {
        "report": "Another report in this thread.",
        "edited": "The post was edited. The ticket's history keeps what it said before.",
        "deleted": "Its author deleted the post. The ticket's history keeps what it said.",
        "relabelled": "The post was labelled anew.",
    }
    if what not in openings:
        raise Refused(f"there is no comment of the kind {what!r}")
    if work.payload.get("joined"):  # a person said that it is the same problem
        openings["report"] = "Another report of this problem, from another thread."
    mention = _mention(work)
    note, text = _read(str(work.payload.get("text") or "")), _read(mention.text)
    if mention.visibility.is_private:
        if what == "report":
            _refuse_unlifted(work)
        return lambda room: [Words(openings[what]), Words(_withheld(work)), Signature(work.marker)]

    def blocks(room: int) -> list[Block]:
        shown: list[Block] = [Words(openings[what]), Words(cut(note, room))]
        facts = [Fact("Post", url=mention.url or mention.uri)]
        if what == "report":
            shown += _post(mention, f"{_who(mention)} wrote on {_when(mention)}:", text, room)
            facts += [*_attachments(mention, room), *_details(mention, room), *_verdict(work.verdict, room)]
        elif what == "edited":
            shown += _post(mention, f"It now says, as of {_when(mention)}:", text, room)
        elif what == "relabelled":
            facts += _verdict(work.verdict, room)
        return [*shown, Facts(tuple(facts)), Signature(work.marker)]

    return blocks


def _withheld(work: Work) -> str:
    number = work.payload.get("mention_id")
    return f"It is a private post: what it says and who wrote it stay out of this ticket. Open mention {number} in triage."


def _who(mention: Mention) -> str:
    name = cut(_line(mention.author.name), LONGEST_NAME)
    handle = f"@{cut(_line(mention.author.handle), LONGEST_NAME)}"
    return f"{name} ({handle})" if name else handle


def _when(mention: Mention) -> str:
    return f"{mention.edited_at or mention.created_at:%Y-%m-%d %H:%M} UTC"


def _read(text: str) -> str:
    return clean(text[: MOST_READ * LONGEST_TEXT])


def _post(mention: Mention, opening: str, text: str, room: int) -> list[Block]:
    shown: list[Block] = [Words(opening)]
    if mention.warning.strip():
        shown.append(Words(f"Content warning: {_note(mention.warning, room)}"))
    shown.append(Quote(cut(text, room) if text else NO_TEXT))
    return shown


def _links(mention: Mention, work: Work, room: int) -> list[Fact]:
    facts = [Fact("Post", url=mention.url or mention.uri), Fact("Author", _who(mention), url=mention.author.url)]
    thread = (work.problem.thread if work.problem else "") or mention.thread or ""
    erased = thread.startswith("erased:")  # what stands in place of an erased post's address tells a reader nothing
    if thread and not erased and thread not in (mention.uri, mention.url):
        facts.append(Fact("Thread", url=thread))
    if mention.quote:
        facts.append(Fact("Quotes", url=mention.quote))
    if mention.poll:
        facts.append(Fact("Poll", _note(" / ".join(mention.poll), room)))
    if mention.edited_at:
        facts.append(Fact("First posted", f"{mention.created_at:%Y-%m-%d %H:%M} UTC"))
    if mention.language:
        facts.append(Fact("Language", cut(_line(mention.language), 20)))
    return [*facts, *_attachments(mention, room)]


def _attachments(mention: Mention, room: int) -> list[Fact]:
    def fact(number: int, attachment: Attachment) -> Fact:
        alt = _note(attachment.description, room) or "no description"
        return Fact(f"Attachment {number}", f"{cut(_line(attachment.kind), 20)}, {alt}", url=attachment.url)

    facts = [fact(number, attachment) for number, attachment in enumerate(mention.attachments[:MOST_ATTACHMENTS], 1)]
    more = len(mention.attachments) - len(facts)
    return [*facts, Fact("More attachments", f"{more}, see the post")] if more > 0 else facts


def _details(mention: Mention, room: int) -> list[Fact]:
    """Version, system and error text, where the post tells them."""
    return [Fact(name, _note(values, room)) for name, values in details(mention.text).facts()]


def _verdict(verdict: Verdict | None, room: int) -> list[Fact]:
    if verdict is None:
        return []
    by = f"by {cut(_line(verdict.by), LONGEST_NAME)}" if verdict.by else ""
    sure = "" if verdict.by_person else f", {verdict.confidence:.0%}{'' if verdict.sure else ' (not sure)'}"
    facts = [Fact("Label", f"{_spoken(verdict.label)}{sure} {by}".strip())]
    if verdict.signals:
        facts.append(Fact("Signals", _note(", ".join(sorted(verdict.signals)), room)))
    if verdict.evidence:
        facts.append(Fact("Words that spoke for it", _note(", ".join(verdict.evidence[:10]), room)))
    return facts


def _reason(work: Work, room: int) -> Fact:
    return Fact("Filed because", _note(work.reason, room) or "a rule asked for it")


def _spoken(label: Label) -> str:
    return str(label).replace("_", " ")


def _note(text: str, room: int) -> str:
    return cut(_line(text), min(room, LONGEST_NOTE))


def _line(text: str) -> str:
    return one_line(clean(text[: MOST_READ * LONGEST_NOTE]))

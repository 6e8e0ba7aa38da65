"""A rule as the config writes it, and which rules can't do what they say (pure).

`triage.rules` carries them out.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from triage.config.errors import nearest
from triage.config.values import Count, Flag, Section, Share, Target, Text, Words, listed
from triage.mention import Label, Visibility

Step = Literal["ticket", "task", "draft", "alert", "archive"]
Signal = Literal["anger", "security", "data_loss", "payment", "outage", "feature_request"]

TEMPLATE_NAMES = ("author", "handle", "label", "ticket", "url")
"""What a draft's template may use."""

ANSWER_NAMES = ("author", "handle", "ticket", "url", "product")
"""What a prepared answer's template may use."""

APPROVERS = ("approver", "admin")
"""The roles that a rule may name in `approve`, beside the groups of the config."""


class Confidence(Section):
    """A range of confidence, both ends included."""

    min: Share = Field(default=0.0, description="The least confidence, 0 to 1.")
    max: Share = Field(default=1.0, description="The greatest confidence, 0 to 1.")


class Followers(Section):
    """A range of the author's followers, both ends included. An author whose number is not known is outside every range."""

    min: Count = Field(default=0, description="The least number of followers.")
    max: Count | None = Field(default=None, description="The greatest number of followers. Without it there is none.")


class When(Section):
    """What must be true of a mention, all of it. What is left out may be anything; of a list, one is enough."""

    label: Annotated[tuple[Label, ...] | None, BeforeValidator(listed)] = Field(
        default=None, description="One label or a list: bug_report, support_question, praise, noise."
    )
    confidence: Confidence | None = Field(default=None, description="The calibrated confidence of the label.")
    sure: Flag | None = Field(default=None, description="Whether the confidence reached the label's threshold.")
    source: Annotated[tuple[Text, ...] | None, BeforeValidator(listed)] = Field(
        default=None, description="Names from `sources`, or `import` for posts that came from a file."
    )
    visibility: Annotated[tuple[Visibility, ...] | None, BeforeValidator(listed)] = Field(
        default=None, description="Who can read the post: public, unlisted, private (followers only), direct."
    )
    language: Annotated[tuple[Text, ...] | None, BeforeValidator(listed)] = Field(
        default=None, description="Languages such as `en` or `pt-BR`. `pt` takes `pt-BR` too."
    )
    words: Annotated[tuple[Text, ...] | None, BeforeValidator(listed)] = Field(
        default=None,
        description="Words or phrases in the post or its content warning, as whole words, whatever their case. "
        "A `*` at the end takes every word that begins so.",
    )
    author: Annotated[tuple[Text, ...] | None, BeforeValidator(listed)] = Field(
        default=None, description="Whole handles (`name@host`), where `*` stands for anything: `*@example.social`."
    )
    new_author: Flag | None = Field(default=None, description="Whether it is the first mention by this author that we know of.")
    followers: Followers | None = Field(default=None, description="How many accounts follow the author.")
    signal: Annotated[tuple[Signal, ...] | None, BeforeValidator(listed)] = Field(
        default=None, description="What was found beside the label: anger, security, data_loss, payment, outage, feature_request."
    )
    component: Annotated[tuple[Text, ...] | None, BeforeValidator(listed)] = Field(
        default=None, description="Names from `components`: one of the component's words stands in the post or its content warning."
    )


class Rule(Section):
    """If a mention is like `when`, do `then`. The first rule that matches is the only one that counts."""

    name: Annotated[str, Field(min_length=1, max_length=60)] = Field(description="What pages, metrics and reasons call it. Unique.")
    when: When = Field(default=When(), description="What must be true of a mention. Left out: anything.")
    then: Annotated[tuple[Step, ...], BeforeValidator(listed)] = Field(
        description="What to do: ticket (file it, or comment on the problem's ticket), task (ask a person), draft (a task with an answer "
        "ready to be sent), alert (tell the people on call), archive (put it away, reviewable)."
    )
    mode: Literal["auto", "suggest", "earn"] = Field(
        default="auto",
        description="auto does it. suggest makes one task of it, which a person accepts with one key. earn suggests until blind "
        "audits have shown that it may act alone, and suggests again when they no longer do.",
    )
    target: Target | None = Field(default=None, description="The precision that `mode: earn` must show. Without it `autonomy.target`.")
    reason: Text = Field(description="Why, in words. It is stored with the action and shown to people.")
    urgent: Flag = Field(default=False, description="Tasks go to the top of the queue, alerts are critical.")
    draft: Text | None = Field(
        default=None,
        description="The answer that `draft` prepares: a Jinja template that may use author, handle, label, ticket and url.",
    )
    approve: Text | None = Field(
        default=None,
        description="Who lets an answer to such a post go, which is never who wrote it: approver, admin, or a name from `groups`.",
    )


class Answer(Section):
    """An answer that was written beforehand."""

    name: Annotated[str, Field(min_length=1, max_length=60)] = Field(description="What the list of prepared answers calls it. Unique.")
    text: Text = Field(description="The answer: a Jinja template that may use author, handle, ticket, url and product.")
    kind: Literal["answer", "thanks"] = Field(default="answer", description="thanks is for praise, which it thanks with one key.")
    problem: Text | None = Field(
        default=None, description="The key of the ticket that it speaks of. Once that is solved the answer is refused."
    )
    language: Text | None = Field(default=None, description="The language that it is written in. `pt` fits posts in `pt-BR` too.")
    playful: Flag = Field(default=False, description="It jokes: refused on angry posts, outages and lost data.")


class Style(Section):
    """Words that the team's guide advises against. They are shown while somebody writes, and stop nobody."""

    words: Words = Field(default=(), description="Whole words or phrases, whatever their case. A `*` at the end takes every ending.")
    pattern: Text | None = Field(default=None, description="The same as a regular expression of Python, whatever the case.")
    say: Text | None = Field(default=None, description="What to write instead.")
    line: Text = Field(description="The line of the guide, as it is cited.")
    guide: Text | None = Field(default=None, description="A link to that line.")


def check_answers(answers: Sequence[Answer], product: str) -> list[tuple[int, str]]:
    """What is wrong with prepared answers, as the position and the reason in words."""
    found: list[tuple[int, str]] = []
    for index, answer in enumerate(answers):
        if any(answer.name == other.name for other in answers[:index]):
            found.append((index, f'the name "{answer.name}" is given twice; answers need names of their own'))
        used, wrong = _names_in(answer.text, ANSWER_NAMES, "text")
        found += [(index, text) for text in wrong]
        if "product" in used and not product:
            found.append((index, "text uses product, and the config names none: add `product: …`"))
    return found


def check_style(style: Sequence[Style]) -> list[tuple[int, str]]:
    """What is wrong with the style list, as the position and the reason in words."""
    found: list[tuple[int, str]] = []
    for index, one in enumerate(style):
        if not one.words and one.pattern is None:
            found.append((index, "looks for nothing; give it words or a pattern"))
        if any(not word.strip().strip("*").strip() for word in one.words):
            found.append((index, "words holds one without letters; a word, or its beginning and `*`"))
        if one.pattern is not None:
            try:
                re.compile(one.pattern)
            except re.error as error:
                found.append((index, f"pattern is no regular expression: {error}"))
    return found


def check_approvers(rules: Sequence[Rule], groups: Sequence[str]) -> list[tuple[int, str]]:
    """Rules that ask nobody for an approval."""
    known = [*APPROVERS, *groups]
    return [
        (index, f'approve: "{rule.approve}" is no role that approves and no group{nearest(rule.approve, known)}')
        for index, rule in enumerate(rules)
        if rule.approve is not None and rule.approve not in known
    ]


def check(rules: Sequence[Rule]) -> list[tuple[int, str]]:
    """What can't work, as the rule's position (from 0) and the reason in words. Empty when all is well.

    Conservative: what it reports is certain, but it does not find every rule that can't match.
    """
    found: list[tuple[int, str]] = []
    names: dict[str, int] = {}
    for index, rule in enumerate(rules):
        own = list(_contradictions(rule))
        if rule.name in names:
            own.append(f'the name "{rule.name}" is given twice; rules need names of their own')
        names.setdefault(rule.name, index)
        takers = [] if own else _takers(rule.when, rules[:index])
        if takers:
            who = " and ".join(f'"{name}"' for name in takers)
            own.append(f"can never match: {who} above takes all that it could; move it up, narrow the other or drop it")
        found += [(index, text) for text in own]
    return found


def _contradictions(rule: Rule) -> Iterator[str]:
    when, then = rule.when, rule.then
    for name in When.model_fields:
        if getattr(when, name) == ():
            yield f"when.{name} is an empty list, which nothing matches; name something or drop it"
    if when.confidence is not None and when.confidence.min > when.confidence.max:
        yield f"when.confidence: min {when.confidence.min:g} is above max {when.confidence.max:g}"
    if when.followers is not None and when.followers.max is not None and when.followers.min > when.followers.max:
        yield f"when.followers: min {when.followers.min} is above max {when.followers.max}"
    for word in when.words or ():
        if not word.strip().strip("*").strip():
            yield "when.words holds one without letters; a word, or its beginning and `*`"
    if not then:
        yield "then is an empty list; `archive` is the least that can be done"
    for step in dict.fromkeys(then):
        if then.count(step) > 1:
            yield f"then names {step} twice"
    if "archive" in then:
        for step in ("ticket", "alert"):
            if step in then:
                yield f"then can't be archive and {step} at once"
    if "ticket" in then and when.visibility and all(who.is_private for who in when.visibility):
        yield "a private post never files a ticket by itself; make it a task"
    if "alert" in then and when.visibility and all(who.is_private for who in when.visibility):
        yield "a private post never raises an alert by itself; make it a task"
    if rule.urgent and not {"task", "draft", "alert"} & set(then):
        yield "urgent says something of a task or an alert, and then names none"
    if rule.mode != "auto" and then and set(then) <= {"task", "draft"}:
        yield f"mode {rule.mode} has nothing to suggest: a task or a draft is a person's anyway"
    if rule.target is not None and rule.mode != "earn":
        yield f"target is what mode earn must show, and this is mode {rule.mode}"
    if "draft" in then and rule.draft is None:
        yield "then names draft, but there is no text: add `draft: …`"
    if rule.draft is not None and "draft" not in then:
        yield "has the text of a draft, but then does not name draft"
    if rule.draft is not None:
        yield from _template(rule.draft)


def _template(text: str) -> Iterator[str]:
    """What is wrong with a draft's template."""
    yield from _names_in(text, TEMPLATE_NAMES, "draft")[1]


def _names_in(text: str, known: Sequence[str], what: str) -> tuple[set[str], list[str]]:
    """The names that a template uses, and what is wrong with it."""
    from jinja2 import TemplateSyntaxError, meta  # only a rule with a draft pays for it
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(autoescape=False)  # an answer is plain text, not HTML
    try:
        names = meta.find_undeclared_variables(environment.parse(text))
    except TemplateSyntaxError as error:
        return set(), [f"{what} is no valid template: {error.message}"]
    return names, [f'{what} uses "{name}", which nothing fills{nearest(name, known)}' for name in sorted(names - set(known))]


# Can a rule ever match? The conditions with few values are a grid of cells. A rule is dead when each of its cells is
# taken by an earlier rule whose other conditions are no narrower than its own.

Cell = tuple[Label, bool, Visibility, bool]
GRID: tuple[Cell, ...] = tuple(itertools.product(Label, (True, False), Visibility, (True, False)))


def _takers(when: When, earlier: Sequence[Rule]) -> list[str]:
    """The names of the earlier rules that leave nothing to this one; empty when it can match."""
    wide = [rule for rule in earlier if _wider(rule.when, when)]
    for rule in wide:
        if all(_holds(rule.when, cell) for cell in GRID if _holds(when, cell)):
            return [rule.name]
    takers: dict[str, None] = {}
    for cell in GRID:
        if not _holds(when, cell):
            continue
        taker = next((rule.name for rule in wide if _holds(rule.when, cell)), None)
        if taker is None:
            return []
        takers[taker] = None
    return list(takers)


def _holds(when: When, cell: Cell) -> bool:
    label, sure, visibility, new_author = cell
    return (
        (when.label is None or label in when.label)
        and (when.sure is None or when.sure == sure)
        and (when.visibility is None or visibility in when.visibility)
        and (when.new_author is None or when.new_author == new_author)
    )


def _wider(a: When, b: When) -> bool:
    """Does `a` let pass all that `b` does, as far as the conditions outside the grid go?"""
    return (
        _range_wider(a.confidence, b.confidence, 1.0)
        and _range_wider(a.followers, b.followers, math.inf)
        and _all_covered(a.source, b.source, lambda one, other: one == other)
        and _all_covered(a.signal, b.signal, lambda one, other: one == other)
        and _all_covered(a.component, b.component, lambda one, other: one == other)
        and _all_covered(a.language, b.language, same_language)
        and _all_covered(a.words, b.words, _word_covers)
        and _all_covered(a.author, b.author, _glob_covers)
    )


def _range_wider(a: Confidence | Followers | None, b: Confidence | Followers | None, top: float) -> bool:
    if a is None:
        return True
    if b is None:
        # An unknown number of followers is outside every range, so that even "0 and more" is narrower than nothing.
        return isinstance(a, Confidence) and a.min <= 0 and a.max >= 1
    a_max, b_max = (top if one.max is None else one.max for one in (a, b))
    return a.min <= b.min and a_max >= b_max


def _all_covered(a: Sequence[str] | None, b: Sequence[str] | None, covers: Any) -> bool:
    """Is each of `b`'s alternatives covered by one of `a`'s?"""
    return a is None or (b is not None and all(any(covers(one, other) for one in a) for other in b))


def same_language(wanted: str, language: str) -> bool:
    """`pt` takes `pt` and `pt-BR`; `pt-BR` takes itself alone."""
    wanted, language = wanted.lower().replace("_", "-"), language.lower().replace("_", "-")
    return language == wanted or language.startswith(wanted + "-")


def _word_covers(one: str, other: str) -> bool:
    one, other = one.casefold().strip(), other.casefold().strip()
    return one == other or (one.endswith("*") and other.startswith(one[:-1]) and " " not in one)


def _glob_covers(one: str, other: str) -> bool:
    one, other = handle_glob(one), handle_glob(other)
    return one == other or one == "*" or (not re.search(r"[*?\[]", other) and fnmatchcase(other, one))


def handle_glob(pattern: str) -> str:
    """A pattern of handles as it is compared: lower case, without the leading `@` that people like to write."""
    return pattern.strip().casefold().lstrip("@")

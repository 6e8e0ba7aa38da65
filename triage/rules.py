"""What should be done with a mention, and why (pure). The first rule that matches decides; safety nets come before any rule's wish.

- A private post files no ticket and raises no alert by itself: a person gets it.
- What no rule matches goes to a person.
- What can't be carried out (no tracker, no notifier) goes to a person.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any

from triage.config.rules import Rule, When, check, handle_glob, same_language
from triage.mention import EMPTY, HUMAN, ActionKind, Author, Label, Mention, Plan, Problem, Verdict
from triage.words import word_in

__all__ = [
    "Decision",
    "Facts",
    "accepted",
    "alert_key",
    "archive_key",
    "check",
    "comment_key",
    "greeting",
    "reply_key",
    "route",
    "task_key",
    "ticket_key",
]

NO_RULE = "no rule matches"
ARCHIVE = "archive"
NAME_LENGTH = 30
SUMMARY_LENGTH = 140
NOBODY = "there"  # "Hello there": the greeting of an author whose name is empty or isn't one


@dataclass(frozen=True, slots=True)
class Facts:
    """What a decision must know beside the mention.

    `tracker` is the configured tracker's name, None where there is none; `notifiers` are all of theirs. `new_author`
    tells that no earlier mention by this author is known. `mention_id` is the store's id. `earned` names the rules with
    `mode: earn` that may act alone now. `components` are the words of each component, as the config names them.
    """

    site: str
    tracker: str | None
    notifiers: tuple[str, ...]
    new_author: bool
    mention_id: int
    earned: frozenset[str] = frozenset()
    components: Mapping[str, Sequence[str]] = field(default_factory=lambda: EMPTY)


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to be done. `rule` is the rule's name, or "no rule matches"; `matched` are the conditions that held, in words."""

    rule: str
    reason: str
    plans: tuple[Plan, ...]
    matched: tuple[str, ...]


# Keys. Each is unique for ever: an action with the same key is the same action.


def ticket_key(site: str, problem: Problem) -> str:
    """The key of a problem's one ticket: made of the thread, since a store that was restored numbers its problems anew."""
    return problem.ticket_key or f"{site}/{problem.thread}/ticket"


def comment_key(site: str, uri: str) -> str:
    """The key of the comment that reports a mention on its problem's ticket."""
    return f"{site}/{uri}/comment"


def task_key(site: str, uri: str) -> str:
    """The key of a mention's task for a person."""
    return f"{site}/{uri}/task"


def reply_key(task: str, number: int) -> str:
    """The key of the reply number `number` that came out of the task with the key `task`."""
    return f"{task}/reply/{number}"


def alert_key(site: str, uri: str, notifier: str) -> str:
    """The key of the alert that a mention raises at a notifier."""
    return f"{site}/{uri}/alert/{notifier}"


def archive_key(site: str, uri: str) -> str:
    """The key of putting a mention away."""
    return f"{site}/{uri}/archive"


def route(mention: Mention, verdict: Verdict, problem: Problem, rules: Sequence[Rule], facts: Facts) -> Decision:
    """Which rule takes the mention, and the plans that follow: at least one, each with a key of its own. Never raises."""
    for rule in rules:
        matched = _matched(rule.when, mention, verdict, facts)
        if matched is not None:
            return _decide(rule, tuple(matched), mention, verdict, problem, facts)
    reason = f"{NO_RULE}: {_said(verdict)}"
    return Decision(NO_RULE, reason, (_task(mention, verdict, facts, NO_RULE, reason),), ())


def accepted(payload: Mapping[str, Any]) -> tuple[Plan, ...]:
    """The plans that a task suggests, for the moment when a person accepts them; empty for a task that suggests none."""
    return tuple(
        Plan(
            key=plan["key"],
            kind=ActionKind(plan["kind"]),
            via=plan["via"],
            reason=plan["reason"],
            rule=plan["rule"],
            after=plan["after"],
            payload=plan["payload"],
        )
        for plan in payload.get("suggest", ())
    )


def _decide(rule: Rule, matched: tuple[str, ...], mention: Mention, verdict: Verdict, problem: Problem, facts: Facts) -> Decision:
    reason = f"{rule.reason.strip().rstrip('.')}: {_said(verdict, matched)}"
    plans: list[Plan] = []
    instead: list[str] = []  # why a person gets what a machine was asked to do
    for step in rule.then:
        if step == "ticket":
            if mention.visibility.is_private:
                instead.append(f"a {mention.visibility} post files no ticket by itself")
            elif facts.tracker is None:
                instead.append("no tracker is configured to file a ticket with")
            else:
                plans.append(_ticket(mention, problem, facts, facts.tracker, rule.name, reason))
        elif step == "alert":
            if mention.visibility.is_private:
                instead.append(f"a {mention.visibility} post raises no alert by itself")
            elif not facts.notifiers:
                instead.append("no notifier is configured to raise an alert with")
            else:
                plans += [_alert(mention, verdict, facts, name, rule, reason) for name in dict.fromkeys(facts.notifiers)]
        elif step == ARCHIVE:
            plans.append(Plan(archive_key(facts.site, mention.uri), ActionKind.ARCHIVE, ARCHIVE, reason, rule.name))
    draft = render(rule.draft, mention, verdict, problem) if rule.draft is not None and "draft" in rule.then else ""
    alone = rule.mode == "auto" or (rule.mode == "earn" and rule.name in facts.earned)
    suggest = [] if alone else plans
    if suggest or instead or {"task", "draft"} & set(rule.then):
        why = "; ".join([reason, *instead])
        urgent = rule.urgent or (bool(instead) and "alert" in rule.then)
        task = _task(mention, verdict, facts, rule.name, why, urgent=urgent, draft=draft, suggest=suggest)
        plans = [task] if suggest else [*plans, task]
    return Decision(rule.name, reason, tuple(plans), matched)


# Plans


def _ticket(mention: Mention, problem: Problem, facts: Facts, tracker: str, rule: str, reason: str) -> Plan:
    """A ticket for a problem that has none yet, a comment on it otherwise."""
    ticket = ticket_key(facts.site, problem)
    if problem.ticket is None and not problem.ticket_planned:
        return Plan(ticket, ActionKind.TICKET, tracker, reason, rule)
    key = comment_key(facts.site, mention.uri)
    return Plan(key, ActionKind.COMMENT, problem.tracker or tracker, reason, rule, after=ticket, payload={"what": "report"})


def _task(
    mention: Mention,
    verdict: Verdict,
    facts: Facts,
    rule: str,
    reason: str,
    *,
    urgent: bool = False,
    draft: str = "",
    suggest: Sequence[Plan] = (),
) -> Plan:
    payload: dict[str, Any] = {"what": _what(verdict), "urgent": urgent}
    if payload["what"] == "judge":
        payload["likely"] = _likely(verdict)
    if draft:
        payload["draft"] = draft
    if suggest:
        payload["suggest"] = [
            {
                "key": plan.key,
                "kind": str(plan.kind),
                "via": plan.via,
                "reason": plan.reason,
                "rule": plan.rule,
                "after": plan.after,
                "payload": dict(plan.payload),
            }
            for plan in suggest
        ]
    return Plan(task_key(facts.site, mention.uri), ActionKind.TASK, HUMAN, reason, rule, payload=payload)


def _alert(mention: Mention, verdict: Verdict, facts: Facts, notifier: str, rule: Rule, reason: str) -> Plan:
    payload = {
        "name": "UrgentPost",
        "severity": "critical" if rule.urgent else "warning",
        "summary": _summary(mention, verdict),
        "labels": {
            "site": facts.site,
            "source": mention.source,
            "platform": mention.platform,
            "label": str(verdict.label),
            "signals": ",".join(sorted(verdict.signals)),
            "mention": str(facts.mention_id),
        },
        "url": mention.url or mention.uri,
        "open": True,
    }
    return Plan(alert_key(facts.site, mention.uri, notifier), ActionKind.ALERT, notifier, reason, rule.name, payload=payload)


def _summary(mention: Mention, verdict: Verdict) -> str:
    """One line; nothing of the text of a private post."""
    what = f"{_words(verdict.label)} on {mention.source}"
    if verdict.signals:
        what += f" ({', '.join(_words(signal) for signal in sorted(verdict.signals))})"
    if mention.visibility.is_private:
        return f"{what}: a {mention.visibility} post"
    text = " ".join(mention.text.split())
    if len(text) > SUMMARY_LENGTH:
        text = text[: SUMMARY_LENGTH - 1].rstrip() + "…"
    return f"{what} by {mention.author.handle}: {text}" if text else f"{what} by {mention.author.handle}"


def _what(verdict: Verdict) -> str:
    """What a person is asked to do."""
    if not verdict.sure:
        return "judge"
    return {Label.BUG_REPORT: "acknowledge", Label.SUPPORT_QUESTION: "answer", Label.PRAISE: "thank"}.get(verdict.label, "read")


def _likely(verdict: Verdict) -> list[str]:
    """The two likeliest labels, the likelier first."""
    order = sorted(Label, key=lambda label: (-verdict.scores.get(label, 0.0), label != verdict.label))
    return [str(label) for label in order[:2]]


def _words(name: str) -> str:
    return str(name).replace("_", " ")


def _said(verdict: Verdict, matched: Sequence[str] = ()) -> str:
    """The verdict in words, and what matched beside it."""
    who = f", says {verdict.by}" if verdict.by_person else ""
    words = f"{_words(verdict.label)} at {verdict.confidence:.2f}, {'sure' if verdict.sure else 'not sure'}{who}"
    beside = [one for one in matched if not one.startswith(("label ", "confidence ", "sure", "not sure"))]
    return "; ".join([words, *beside])


# Conditions


def _matched(when: When, mention: Mention, verdict: Verdict, facts: Facts) -> list[str] | None:
    """The conditions that hold, in words; None as soon as one doesn't."""
    matched: list[str] = []
    for _, held in _conditions(when, mention, verdict, facts):
        if held is None:
            return None
        matched.append(held)
    return matched


def _conditions(when: When, mention: Mention, verdict: Verdict, facts: Facts) -> Iterator[tuple[str, str | None]]:
    """Each condition that the rule has: its key, and how it holds in words, or None."""
    if when.label is not None:
        yield "label", f"label {verdict.label}" if verdict.label in when.label else None
    if when.sure is not None:
        yield "sure", ("sure" if verdict.sure else "not sure") if verdict.sure == when.sure else None
    if when.confidence is not None:
        within = when.confidence.min <= verdict.confidence <= when.confidence.max
        yield "confidence", f"confidence {verdict.confidence:.2f}" if within else None
    if when.source is not None:
        yield "source", f"source {mention.source}" if mention.source in when.source else None
    if when.visibility is not None:
        yield "visibility", f"a {mention.visibility} post" if mention.visibility in when.visibility else None
    if when.new_author is not None:
        yield "new_author", ("a new author" if facts.new_author else "a known author") if facts.new_author == when.new_author else None
    if when.followers is not None:
        yield "followers", _followers(when, mention.author)
    if when.signal is not None:
        found = [signal for signal in when.signal if signal in verdict.signals]
        yield "signal", f"signal {', '.join(found)}" if found else None
    if when.language is not None:
        language = verdict.language or mention.language or ""
        yield "language", f"language {language}" if any(same_language(wanted, language) for wanted in when.language) else None
    if when.author is not None:
        handle = mention.author.handle.casefold().lstrip("@")
        pattern = next((pattern for pattern in when.author if fnmatchcase(handle, handle_glob(pattern))), None)
        yield "author", f"author like {pattern}" if pattern else None
    if when.words is not None:
        word = word_in(when.words, f"{mention.warning}\n{mention.text}")
        yield "words", f'the word "{word}"' if word else None
    if when.component is not None:
        yield "component", _component(when.component, mention, facts)


def _component(wanted: Sequence[str], mention: Mention, facts: Facts) -> str | None:
    for name in wanted:
        word = word_in(facts.components.get(name, ()), f"{mention.warning}\n{mention.text}")
        if word:
            return f'component {name} (the word "{word}")'
    return None


def unmet(when: When, mention: Mention, verdict: Verdict, facts: Facts) -> str | None:
    """The first condition that doesn't hold, in words; None where all hold."""
    return next(
        (_unmet(key, when, mention, verdict, facts) for key, held in _conditions(when, mention, verdict, facts) if held is None), None
    )


def _unmet(key: str, when: When, mention: Mention, verdict: Verdict, facts: Facts) -> str:
    """What the condition wants, and what there is."""
    wanted = getattr(when, key)
    if key == "label":
        return f"it wants the label {_either(wanted)}, and this is {verdict.label}"
    if key == "sure":
        return "it wants a sure verdict, and this one is not" if wanted else "it wants a verdict that is not sure, and this one is"
    if key == "confidence":
        return f"it wants a confidence from {wanted.min:g} to {wanted.max:g}, and this is {verdict.confidence:.2f}"
    if key == "source":
        return f"it wants the source {_either(wanted)}, and this came by {mention.source}"
    if key == "visibility":
        return f"it wants a post that is {_either(wanted)}, and this is {mention.visibility}"
    if key == "new_author":
        return "it wants a new author, and this one is known" if wanted else "it wants a known author, and this one is new"
    if key == "followers":
        has = "nobody knows how many this one has" if mention.author.followers is None else f"this one has {mention.author.followers}"
        most = "" if wanted.max is None else f" to {wanted.max}"
        return f"it wants an author with followers from {wanted.min}{most}, and {has}"
    if key == "signal":
        return f"it wants the signal {_either(wanted)}, and there is {', '.join(sorted(verdict.signals)) or 'none'}"
    if key == "language":
        return f"it wants the language {_either(wanted)}, and this is {verdict.language or mention.language or 'unknown'}"
    if key == "author":
        return f"it wants an author like {_either(wanted)}, and this is {mention.author.handle}"
    if key == "words":
        return f"it wants the word {_either(wanted)}, and the post has none"
    return f"it wants words of the component {_either(wanted)}, and the post has none"


def _either(wanted: Sequence[str]) -> str:
    return " or ".join(map(str, wanted))


def _followers(when: When, author: Author) -> str | None:
    wanted = when.followers
    if wanted is None or author.followers is None or author.followers < wanted.min:
        return None
    return None if wanted.max is not None and author.followers > wanted.max else f"{author.followers} followers"


# Drafts


def render(template: str, mention: Mention, verdict: Verdict, problem: Problem) -> str:
    """A draft's text. Nothing of the post itself goes into it but its author's name, handle and address."""
    try:
        text: str = _template(template).render(
            author=greeting(mention.author),
            handle=re.sub(r"[^\w.@-]", "", mention.author.handle),
            label=_words(verdict.label),
            ticket=problem.ticket.key if problem.ticket is not None else "",
            url=mention.url or mention.uri,
        )
        return text.strip()
    except Exception:  # noqa: BLE001  a template may divide by zero; a person then writes the answer
        return ""


@lru_cache(maxsize=256)
def _template(text: str) -> Any:
    from jinja2.sandbox import ImmutableSandboxedEnvironment  # only a rule with a draft pays for it

    return ImmutableSandboxedEnvironment(autoescape=False).from_string(text)  # an answer is plain text, not HTML


def greeting(author: Author) -> str:
    """A name to greet the author by: the display name where it is one, "there" where it is empty, an advert or an address."""
    name = unicodedata.normalize("NFKC", author.name)
    if re.search(r"[@#<>{}\[\]|\\]|://|\bwww\.|\w\.\w{2,}", name):
        return NOBODY
    name = re.sub(r":\w+:", " ", name)  # the short code of a custom emoji
    kept = "".join(letter if unicodedata.category(letter)[0] in "LMN" or letter in " '’.-" else " " for letter in name)
    name = " ".join(kept.split()).strip(" '’.-")
    if len(name) > NAME_LENGTH or name.count(" ") > 3 or not any(letter.isalpha() for letter in name):
        return NOBODY
    return name

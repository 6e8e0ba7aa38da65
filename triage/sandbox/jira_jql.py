"""A small part of JQL, honestly: what it does not know is an error, never an empty result."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from triage.sandbox.jira_state import Ticket

TOKEN = re.compile(r"""\s*(?:"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)'|(>=|<=|!=|=|>|<|~|,|\(|\))|([^\s"'()=<>!~,]+))""")
RELATIVE = re.compile(r"([+-]?\d+)([mhdw])")
UNITS = {"m": 60, "h": 3600, "d": 86400, "w": 604800}
DATES = ("%Y-%m-%d %H:%M", "%Y/%m/%d %H:%M", "%Y-%m-%d", "%Y/%m/%d")
RESERVED = frozenset({"and", "or", "not", "order", "by", "in", "is", "empty", "null"})

Test = Callable[[Ticket], bool]


class JqlError(ValueError):
    """The query can't be run; the text says why."""


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks, and when: what functions and dates in a query mean."""

    user: str
    now: float
    zone: ZoneInfo
    projects: frozenset[str]
    find: Callable[[str], Ticket | None]


@dataclass(frozen=True, slots=True)
class Query:
    """A parsed query: all tests must hold. `order` is field and whether it falls."""

    tests: tuple[Test, ...]
    order: tuple[tuple[str, bool], ...]

    def run(self, tickets: Iterable[tuple[Ticket, Ticket]]) -> list[Ticket]:
        """The tickets whose indexed version passes, in order."""
        found = [(seen, ticket) for seen, ticket in tickets if all(test(seen) for test in self.tests)]
        for name, falling in reversed(self.order or (("created", True),)):
            found.sort(key=lambda pair: _order_key(pair[0], name), reverse=falling)
        return [ticket for _, ticket in found]


def parse(text: str, asker: Asker) -> Query:
    """Read a query. `JqlError` for anything unknown or malformed."""
    tokens = _tokens(text)
    words = [token.lower() for _, token in tokens]
    order: tuple[tuple[str, bool], ...] = ()
    for at in range(len(tokens) - 1):
        if words[at : at + 2] == ["order", "by"] and not tokens[at][0] and not tokens[at + 1][0]:
            order = _order(tokens[at + 2 :])
            tokens = tokens[:at]
            break
    tests: list[Test] = []
    while tokens:
        test, tokens = _clause(tokens, asker)
        tests.append(test)
        if tokens:
            joint, tokens = tokens[0][1].lower(), tokens[1:]
            if joint != "and" or not tokens:
                raise JqlError(f"expecting AND and another clause but got {joint!r}")
    return Query(tuple(tests), order)


Token = tuple[bool, str]


def _tokens(text: str) -> list[Token]:
    """Pairs of (quoted, text)."""
    found: list[Token] = []
    at = 0
    text = text.rstrip()
    while at < len(text):
        match = TOKEN.match(text, at)
        if match is None:
            raise JqlError(f"the character {text[at : at + 1]!r} at position {at + 1} can't be read")
        quoted = match[1] if match[1] is not None else match[2]
        found.append((True, re.sub(r"\\(.)", r"\1", quoted)) if quoted is not None else (False, match[3] or match[4]))
        at = match.end()
    return found


def _order(tokens: list[Token]) -> tuple[tuple[str, bool], ...]:
    found = []
    for part in _split(tokens):
        words = [token.lower() for _, token in part]
        if not words or words[0] not in ("created", "updated", "key", "issuekey", "id") or words[1:] not in ([], ["asc"], ["desc"]):
            raise JqlError(f"can't order by {' '.join(words)!r}")
        found.append((words[0], words[1:] != ["asc"] if words[1:] else words[0] in ("created", "updated")))
    return tuple(found)


def _split(tokens: list[Token]) -> list[list[Token]]:
    parts: list[list[Token]] = [[]]
    for quoted, token in tokens:
        if token == "," and not quoted:
            parts.append([])
        else:
            parts[-1].append((quoted, token))
    return parts


def _clause(tokens: list[Token], asker: Asker) -> tuple[Test, list[Token]]:
    if len(tokens) < 3:
        raise JqlError("a clause is a field, an operator and a value")
    name, operator = tokens[0][1].lower(), tokens[1][1].lower()
    if operator == "in":
        end = next((at for at, (quoted, token) in enumerate(tokens) if token == ")" and not quoted), 0)
        if tokens[2] != (False, "(") or not end:
            raise JqlError("expecting a list in parentheses after IN")
        values = [part[0] for part in _split(tokens[3:end]) if len(part) == 1]
        if len(values) != len(_split(tokens[3:end])):
            raise JqlError("a list holds values between commas")
        tests = [_test(name, "=", value, asker) for value in values]
        return lambda ticket: any(test(ticket) for test in tests), tokens[end + 1 :]
    value, rest = tokens[2], tokens[3:]
    if rest[:2] == [(False, "("), (False, ")")] and not value[0]:
        value, rest = (False, f"{value[1]}()"), rest[2:]
    return _test(name, operator, value, asker), rest


def _test(name: str, operator: str, value: Token, asker: Asker) -> Test:
    quoted, text = value
    if not quoted and (text.lower() in RESERVED or text in ("(", ")", ",")):
        raise JqlError(f"{text!r} is a reserved word; it must be quoted")
    if name in ("created", "updated"):
        return _date_test(name, operator, text, asker)
    if operator not in ("=", "!="):
        raise JqlError(f"the operator {operator!r} is not supported by the field {name!r}")
    same = _same(name, text, asker)
    return same if operator == "=" else lambda ticket: not same(ticket)


def _same(name: str, text: str, asker: Asker) -> Test:
    if name == "labels":
        return lambda ticket: text in ticket.labels
    if name == "project":
        if text.upper() not in asker.projects:
            raise JqlError(f"the value {text!r} does not exist for the field 'project'")
        return lambda ticket: ticket.project == text.upper()
    if name in ("key", "issuekey", "id", "issue"):
        ticket = asker.find(text)
        if ticket is None:
            raise JqlError(f"an issue with key {text!r} does not exist for the field {name!r}")
        wanted = ticket.id
        return lambda ticket: ticket.id == wanted
    if name in ("creator", "reporter"):
        user = asker.user if text.lower() == "currentuser()" else text
        return lambda ticket: ticket.creator == user
    if name == "status":
        return lambda ticket: ticket.status.lower() == text.lower()
    if name == "issuetype":
        return lambda ticket: ticket.issue_type.lower() == text.lower()
    raise JqlError(f"field {name!r} does not exist or you do not have permission to view it")


def _date_test(name: str, operator: str, text: str, asker: Asker) -> Test:
    at = _moment(text, asker)
    tests: dict[str, Test] = {
        ">=": lambda ticket: _at(ticket, name) >= at,
        "<=": lambda ticket: _at(ticket, name) <= at,
        ">": lambda ticket: _at(ticket, name) > at,
        "<": lambda ticket: _at(ticket, name) < at,
    }
    if operator not in tests:
        raise JqlError(f"the operator {operator!r} is not supported by the field {name!r}")
    return tests[operator]


def _at(ticket: Ticket, name: str) -> float:
    return ticket.created if name == "created" else ticket.updated


def _moment(text: str, asker: Asker) -> float:
    """A date in the asker's own time zone, or so long before now."""
    relative = RELATIVE.fullmatch(text)
    if relative:
        return asker.now + int(relative[1]) * UNITS[relative[2]]
    for form in DATES:
        try:
            return datetime.strptime(text, form).replace(tzinfo=asker.zone).timestamp()
        except ValueError:
            continue
    raise JqlError(f"the date {text!r} is neither 'yyyy-MM-dd HH:mm', 'yyyy-MM-dd' nor like '-5d'")


def _order_key(ticket: Ticket, name: str) -> tuple[float, str, int]:
    if name in ("created", "updated"):
        return (_at(ticket, name), "", int(ticket.id))
    return (0.0, "", int(ticket.id)) if name == "id" else (0.0, ticket.project, ticket.number)

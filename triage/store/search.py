"""Full-text search: what a person typed, exactly over everything, and forgiving typos over the newest posts.

A query is words, all of which must be there, "phrases", -words that must not, and author:, source:, label:, ticket:. What looks
like none of that is a word: no query is refused, and none reaches a database as it was typed. Capitals don't count; a PostgreSQL
database whose locale is C knows that of ASCII letters alone.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from threading import Lock

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from triage.mention import Label
from triage.store import rows
from triage.store.schema import AUTHOR, FTS, SIGNS, Search, mentions

LONGEST = 400  # letters
MOST_WORDS = 16
NEWEST = 50_000  # mentions in which typos are forgiven
NEAR_BYTES = 96 * 1024 * 1024
FIRST = 1_000  # ids below the newest that are looked at first
MOST = 2_000  # mentions that are gathered at once
DENSE = 50  # of so many mentions one is asked for: then all are looked at
LONGEST_NEAR = 2_000  # letters of a post that are looked at for that
_PIECES = re.compile(r'(-?)(?:(\w+):)?(?:"([^"]*)"?|(\S+))')
_WORD = re.compile(r"[^\W_]+")
_SPACED = str.maketrans(dict.fromkeys(SIGNS, " "))
_SIMPLE: sa.ColumnElement[str] = sa.literal_column("'simple'")  # no parameter: PostgreSQL would take it for a text
_NO_SPACES = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
LABELS = {"bug": Label.BUG_REPORT, "question": Label.SUPPORT_QUESTION} | {str(label): label for label in Label}


@dataclass(frozen=True, slots=True)
class Wanted:
    """A query, taken apart. `words` may end in `*`, which stands for any ending."""

    words: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    author: str = ""
    source: str = ""
    label: str = ""
    ticket: str = ""

    @property
    def is_text(self) -> bool:
        """Whether the text index has something to find."""
        return bool(self.words or self.author)

    def __bool__(self) -> bool:
        return bool(self.is_text or self.without or self.source or self.label or self.ticket)


def parse(typed: str) -> Wanted:
    """Take a query apart; whatever is typed means something."""
    words: list[str] = []
    without: list[str] = []
    named: dict[str, str] = {}
    for minus, name, phrase, word in _PIECES.findall(rows.clean(typed[:LONGEST])):
        text = (phrase or word).strip().strip("'‘’“”„()[]{},!")
        key = name.casefold()
        if not minus and key in ("author", "source", "ticket") and text:
            named[key] = text.removeprefix("@") if key == "author" else text
        elif not minus and key == "label" and text.casefold() in LABELS:
            named[key] = str(LABELS[text.casefold()])
        else:
            text = f"{name} {text}".strip() if name else text
            if any(letter.isalnum() for letter in text):
                (without if minus else words).append(text)
    author = named.get("author", "")
    author = author if any(letter.isalnum() for letter in author) else ""
    return Wanted(
        tuple(words[:MOST_WORDS]),
        tuple(without[:MOST_WORDS]),
        author,
        named.get("source", ""),
        named.get("label", ""),
        named.get("ticket", "").upper(),
    )


# Exactly


def condition(connection: Connection, wanted: Wanted) -> sa.ColumnElement[bool]:
    """What must be true of a mention (on SQLite: of a row of the index) whose text is wanted."""
    if connection.dialect.name == "sqlite":
        return sa.literal_column(FTS).op("MATCH")(_match(wanted.words, wanted.author, wanted.without))
    return Search().op("@@", is_comparison=True)(_vector_query(wanted))


def newest(connection: Connection, wanted: Wanted, below: int, many: int) -> Iterator[list[int]]:
    """The mentions below an id whose text is wanted, newest first, in pieces of `many` or so: who has enough stops asking."""
    if connection.dialect.name != "sqlite":
        yield from _by_ranges(connection, condition(connection, wanted), below, many)
        return
    index = sa.table(FTS, sa.column("rowid"))
    statement = sa.select(index.c.rowid).where(condition(connection, wanted)).order_by(index.c.rowid.desc()).limit(many)
    while part := [int(id_) for id_ in connection.scalars(statement.where(index.c.rowid < below))]:
        yield part
        if len(part) < many:
            return
        below = part[-1]


def _by_ranges(connection: Connection, where: sa.ColumnElement[bool], below: int, many: int) -> Iterator[list[int]]:
    """On PostgreSQL, whose index keeps no order: before the newest post with a word is known, all that have it must be gathered.

    So ranges of ids are gathered, from the newest down, each as wide as should hold twice `many`, judged by what was seen above it.
    """
    top = connection.scalar(sa.select(mentions.c.id).where(mentions.c.id < below).order_by(mentions.c.id.desc()).limit(1)) or 0
    seen, count, span, widest = 0, 0, FIRST, top
    while top > 0:
        found = _gathered(connection, where, top - span, top)
        if len(found) > MOST:  # more of them than expected, in no order
            span = widest = max(1, span // 8)
            continue
        if found:
            yield found
        top, seen, count, widest = top - span, seen + span, count + len(found), widest * 2
        few_are_left = count * top <= seen * MOST // 2
        span = min(widest, top if few_are_left else max(1, 2 * many * seen // count))


def _gathered(connection: Connection, where: sa.ColumnElement[bool], above: int, upto: int) -> list[int]:
    """Those of a range of ids that fit, newest first; some of them, where they are more than `MOST`.

    The limit stands outside, so that the plan is made for all of them: within, PostgreSQL takes a rare word for common enough to be
    met soon on a walk through the table. And it has to look at these words and numbers, not at any.
    """
    found = sa.select(mentions.c.id).where(where, mentions.c.id > above, mentions.c.id <= upto).cte("found").prefix_with("MATERIALIZED")
    connection.execute(sa.text("SET LOCAL plan_cache_mode = force_custom_plan"))
    these = sorted(connection.scalars(sa.select(found.c.id).limit(MOST + 1)), reverse=True)
    connection.execute(sa.text("SET LOCAL plan_cache_mode TO DEFAULT"))
    return these


def among(connection: Connection, wanted: Wanted, these: Sequence[int]) -> set[int]:
    """Which of these mentions have a text that is wanted. Only this can answer a query that says nothing but what must not be there."""
    if not these:
        return set()
    only_not = not wanted.is_text
    asked = Wanted(words=wanted.without[:1]) if only_not else wanted
    if only_not and len(wanted.without) > 1:
        return set.intersection(*(among(connection, Wanted(without=(word,)), these) for word in wanted.without))
    where = condition(connection, asked)
    ordered, found = sorted(these), set[int]()
    for start in range(0, len(ordered), 500):
        part = ordered[start : start + 500]
        if connection.dialect.name == "sqlite":
            index = sa.table(FTS, sa.column("rowid"))
            # The index is asked anew for each number of a list. Where they are dense it is told their range, which is one walk.
            dense = part[-1] - part[0] < DENSE * len(part)
            near = index.c.rowid.between(part[0], part[-1]) if dense else index.c.rowid.in_(part)
            statement = sa.select(index.c.rowid).where(where, near)
        else:
            # Not by the words' index, which would gather all posts that have a common word: these few are looked at.
            statement = sa.select(mentions.c.id).where(where.is_(sa.true()), mentions.c.id.in_(part))
        found |= {int(id_) for id_ in connection.scalars(statement)}
    return set(these) - found if only_not else found.intersection(these)


def _match(words: Iterable[str], author: str, without: Iterable[str]) -> str:
    """FTS5's own language, in which a text in quotes is a phrase whatever it holds."""
    asked = [_quoted(word) for word in words]
    asked += [f"author : {_quoted(author)}"] if author else []
    return " ".join([" AND ".join(asked), *(f"NOT {_quoted(word)}" for word in without)])


def _quoted(word: str) -> str:
    star = "*" if word.endswith("*") else ""
    return '"' + word.rstrip("*").replace('"', '""') + '"' + star


def _vector_query(wanted: Wanted) -> sa.ColumnElement[str]:
    """PostgreSQL's: each word is parsed as the posts were."""
    parts = [_phrase(word) for word in wanted.words]
    if wanted.author:
        parts.append(sa.func.phraseto_tsquery(_SIMPLE, " ".join(AUTHOR + word for word in wanted.author.translate(_SPACED).split())))
    parts += [sa.func.tsquery_not(_phrase(word)) for word in wanted.without]
    whole = parts[0]
    for part in parts[1:]:
        whole = sa.func.tsquery_and(whole, part)
    return whole


def _phrase(word: str) -> sa.ColumnElement[str]:
    if word.endswith("*") and (begin := " ".join(_WORD.findall(word))):
        return sa.func.to_tsquery(_SIMPLE, f"'{begin}':*")
    return sa.func.phraseto_tsquery(_SIMPLE, word.translate(_SPACED))


# Forgiving


def letters(text: str) -> list[str]:
    """The words of a text, as typos are looked for in them."""
    return [word.casefold() for word in _WORD.findall(text[:LONGEST_NEAR])]


def allowed(word: str) -> int:
    """How many letters of a word may be wrong."""
    return 0 if len(word) < 4 else 1 if len(word) < 8 else 2


@dataclass
class Near:
    """The words of the newest posts and who uses them, kept in this process: typos are looked for among words, not among posts.

    It takes in what is new each time that it is asked, and forgets the oldest when it grows beyond its bounds.
    """

    newest: int = NEWEST
    most_bytes: int = NEAR_BYTES
    _users: dict[str, array[int]] = field(default_factory=dict)
    _last: int = 0
    _known: array[int] = field(default_factory=lambda: array("q"))
    _bytes: int = 0
    _lock: Lock = field(default_factory=Lock)

    def ids(self, connection: Connection, wanted: Wanted, limit: int) -> list[int]:
        """Mentions of which each word of the query is a word but for a typo, or a part of one; newest first."""
        asked = [word for phrase in wanted.words for word in letters(phrase)]
        if not asked or (wanted.author and not wanted.words):
            return []
        with self._lock:
            self._refresh(connection)
            found: set[int] | None = None
            for word in dict.fromkeys(asked):
                users = {id_ for like in self._like(word) for id_ in self._users[like]}
                found = users if found is None else found & users
            floor = self._known[0] if self._known else 0
        return sorted((id_ for id_ in found or () if id_ >= floor), reverse=True)[:limit]

    @property
    def size(self) -> int:
        """About how many bytes it takes."""
        return self._bytes

    def _like(self, word: str) -> list[str]:
        from rapidfuzz import process
        from rapidfuzz.distance import DamerauLevenshtein

        within = [known for known in self._users if word in known] if len(word) > 3 or _NO_SPACES.search(word) else []
        if not (typos := allowed(word)):
            return within or ([word] if word in self._users else [])
        near = process.extract(word, self._users.keys(), scorer=DamerauLevenshtein.distance, score_cutoff=typos, limit=200)
        return list(dict.fromkeys([*within, *(known for known, _, _ in near)]))

    def _refresh(self, connection: Connection) -> None:
        new = (
            sa.select(mentions.c.id, mentions.c.text, mentions.c.author)
            .where(mentions.c.id > self._last)
            .order_by(mentions.c.id.desc())
            .limit(self.newest)
        )
        for id_, text, author in reversed(connection.execute(new).all()):
            self._last = id_
            self._known.append(id_)
            for word in set(letters(f"{author} {text}")):
                users = self._users.get(word)
                if users is None:
                    users = self._users[word] = array("q")
                    self._bytes += 200 + len(word) * 2
                users.append(id_)
                self._bytes += 9
        if len(self._known) > self.newest * 1.25 or self._bytes > self.most_bytes:
            self._forget(self._known[-min(self.newest, len(self._known) // 2 if self._bytes > self.most_bytes else self.newest)])

    def _forget(self, floor: int) -> None:
        self._known = self._known[bisect_left(self._known, floor) :]
        kept = {word: users[bisect_left(users, floor) :] for word, users in self._users.items()}
        self._users = {word: users for word, users in kept.items() if users}
        self._bytes = sum(200 + len(word) * 2 + 9 * len(users) for word, users in self._users.items())


def is_near(wanted: Wanted, text: str, author: str) -> bool:
    """Whether a post, as it stands now, is what a forgiving search may show."""
    from rapidfuzz.distance import DamerauLevenshtein

    there = set(letters(f"{author} {text}"))
    asked = [word for phrase in wanted.words for word in letters(phrase)]
    unwanted = {word for phrase in wanted.without for word in letters(phrase)}
    near = all(
        any(word in known or DamerauLevenshtein.distance(word, known, score_cutoff=allowed(word)) <= allowed(word) for known in there)
        for word in asked
    )
    by = letters(author)
    return near and all(word in by for word in letters(wanted.author)) and not unwanted & there

"""A store that has been in use for two years: as many mentions as wanted, with all that followed from them, loaded in bulk.

Nearly everything is done or archived; the newest tasks are open, a handful of actions is parked, rejected or in doubt, and
nothing is due. Some authors write often, one word in ten posts is in no other. The same count gives the same rows, but for the
times, which end at `now`.
"""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime, timedelta
from functools import cache
from typing import Any

import psycopg
from psycopg import sql

from tests.bench.stage import posts
from triage.store.database import Database
from triage.store.schema import metadata

SPAN = timedelta(days=730)
CHUNK = 4_000  # mentions
OPEN_TASKS = 300
QUARANTINED = 30
STUCK = ("parked",) * 20 + ("rejected",) * 10 + ("doubt",) * 5
STUCK_EVERY = 52  # mentions, of the newest
IN_A_GROUP = 4  # mentions; the last one of each group answers the one before it
LABELS = ("noise",) * 8 + ("praise",) * 5 + ("support_question",) * 4 + ("bug_report",) * 3
LANGUAGES = ("en",) * 14 + ("de", "de", "fr", "fr", "es", None)
PEOPLE = tuple(f"person{number}" for number in range(20))
BUSY = 25  # authors who write one post in 40
OFTEN = 120_011  # all others; each wrote 8 in a million
TABLES = (
    "people", "problems", "mentions", "sightings", "revisions", "verdicts", "alerts", "actions", "attempts", "audit", "items", "notes",
)  # fmt: skip
COLUMNS = {name: [column.name for column in metadata.tables[name].columns] for name in TABLES}

Row = dict[str, Any]


def fill(database: Database, count: int, now: datetime, *, tasks: int = OPEN_TASKS) -> int:
    """Load `count` mentions (whole groups of 4) into an empty store; the bytes that the database then takes on disk.

    About so many `tasks` are open.

    PostgreSQL gets what autovacuum would have done by then. SQLite gets no statistics, since the service makes none.
    """
    return _into_sqlite(database, count, now, tasks) if database.is_sqlite else _into_postgresql(database, count, now, tasks)


def link_of(number: int) -> str:
    """The link of mention `number`, as a person would copy it."""
    return f"https://{_server(number)}/@{_writer(number)}/{_status(number)}"


def _into_sqlite(database: Database, count: int, now: datetime, tasks: int) -> int:
    assert database.path is not None
    with closing(sqlite3.connect(database.path, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute("PRAGMA cache_size=-400000")
        for made in _chunks(count, now, tasks, _text_of_time):
            connection.execute("BEGIN IMMEDIATE")
            for name in TABLES:
                marks = ", ".join("?" * len(COLUMNS[name]))
                names = ", ".join(f'"{column}"' for column in COLUMNS[name])
                connection.executemany(
                    f"INSERT INTO {name} ({names}) VALUES ({marks})", ([row.get(column) for column in COLUMNS[name]] for row in made[name])
                )
            connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return database.path.stat().st_size


def _into_postgresql(database: Database, count: int, now: datetime, tasks: int) -> int:
    plain = database.url.set(drivername="postgresql").render_as_string(hide_password=False)
    with closing(psycopg.connect(plain, autocommit=True)) as connection, connection.cursor() as cursor:
        for made in _chunks(count, now, tasks, lambda moment: moment):
            for name in TABLES:
                names = sql.SQL(", ").join(map(sql.Identifier, COLUMNS[name]))
                with cursor.copy(sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(name), names)) as copy:
                    for row in made[name]:
                        copy.write_row([row.get(column) for column in COLUMNS[name]])
        for name in TABLES:
            if "id" in COLUMNS[name]:
                last = sql.SQL("SELECT setval(pg_get_serial_sequence({}, 'id'), (SELECT coalesce(max(id), 1) FROM {}))")
                cursor.execute(last.format(sql.Literal(name), sql.Identifier(name)))
        cursor.execute("VACUUM (ANALYZE)")
        size = cursor.execute("SELECT pg_database_size(current_database())").fetchone()
    assert size is not None
    return int(size[0])


def _chunks(count: int, now: datetime, tasks: int, moment: Callable[[datetime], Any]) -> Iterator[dict[str, list[Row]]]:
    for start in range(1, count + 1, CHUNK):
        made: dict[str, list[Row]] = {name: [] for name in TABLES}
        if start == 1:
            made["people"] = [_person(number, name, moment(now - SPAN)) for number, name in enumerate(PEOPLE, 1)]
        for number in range(start, min(start + CHUNK, count + 1)):
            _History(made, number, count, now, tasks, moment).write()
        yield made


class _History:
    """All rows of one mention. An action's id is 4 times its mention's, plus 0 to 3."""

    def __init__(
        self, made: dict[str, list[Row]], number: int, count: int, now: datetime, tasks: int, moment: Callable[[datetime], Any]
    ) -> None:
        self.made = made
        self.number = number
        self.age = count - number  # mentions that came later
        self.now = now
        self.draw = number * 2_654_435_761 % 2**32 >> 8
        self.created = now - SPAN * (self.age / count) - timedelta(minutes=5)
        self.moment = moment
        self.stored = moment(self.created + timedelta(seconds=12))
        stuck = self.age // STUCK_EVERY if self.age % STUCK_EVERY == 2 else len(STUCK)
        self.sent_state = STUCK[stuck] if stuck < len(STUCK) else "done"
        self.label = LABELS[self.draw % len(LABELS)] if self.sent_state == "done" else "bug_report"
        self.edited = self.draw % 97 < 3
        self.uri = _uri(number)
        self.source = "import" if self.draw % 31 == 0 else "acme"
        answers = number % IN_A_GROUP == 0
        first = number - 1 if answers else number
        self.problem = number - (number - 1) // IN_A_GROUP - answers
        self.thread = _uri(first)
        self.answers = answers
        self.asked = self.age < tasks * len(LABELS) // LABELS.count("support_question")
        self.by = PEOPLE[self.draw % len(PEOPLE)]
        self.answered = moment(min(self.created + timedelta(seconds=60 + self.draw % 50_000), now))
        self.first_label = LABELS[((number - 1) * 2_654_435_761 % 2**32 >> 8) % len(LABELS)] if answers else ""

    def write(self) -> None:
        """Add the rows."""
        if self.age < IN_A_GROUP * QUARANTINED and self.number % IN_A_GROUP == 1:
            self._mention(quarantined="a field of the wrong type: account", problem_id=None, thread=None, reread_at=None)
            self._posts()
            return
        if not self.answers:
            ticket = self.label == "bug_report"
            key = f"QUAY-{self.problem}"
            shown = {"key": key, "url": f"https://jira.example/browse/{key}", "status": "Closed", "resolution": "Fixed", "fix_versions": []}
            self._add(
                "problems",
                id=self.problem,
                thread=self.thread,
                created_at=self.stored,
                tracker="tickets" if ticket else None,
                ticket_id=str(self.problem) if ticket else None,
                ticket=json.dumps(shown | {"updated_at": None}) if ticket else None,
            )
        deleted = self.draw % 101 < 2
        again = None if deleted else self.moment(self.now + timedelta(hours=12, seconds=self.draw % 40_000))
        self._mention(quarantined=None, problem_id=self.problem, thread=self.thread, reread_at=again, deleted=deleted)
        self._posts()
        self._verdict(1, self.label, by_person=False)
        if self.edited:
            self._verdict(2, self.label, by_person=False)
        elif self.draw % 53 == 0:
            self._verdict(2, "support_question", by_person=True)
        self._actions()

    def _mention(
        self, *, quarantined: str | None, problem_id: int | None, thread: str | None, reread_at: Any, deleted: bool = False
    ) -> None:
        name, server = _writer(self.number), _server(self.number)
        author = {"name": name.title(), "url": f"https://{server}/@{name}", "followers": self.draw % 3_000, "bot": False, "no_bots": False}
        data: Row = {
            "url": link_of(self.number),
            "via": "mention",
            "warning": "",
            "edited_at": None,
            "attachments": [],
            "poll": [],
            "quote": "",
        }
        self._add(
            "mentions",
            id=self.number,
            uri=self.uri,
            platform="mastodon",
            source=self.source,
            remote_id=_status(self.number),
            parent_id=_status(self.number - 1) if self.answers else None,
            thread=thread,
            problem_id=problem_id,
            author=f"{name}@{server}",
            visibility="direct" if self.draw % 23 == 0 else "private" if self.draw % 43 == 0 else "public",
            language=LANGUAGES[self.draw // 32 % len(LANGUAGES)],
            text=_text(self.number),
            data=json.dumps(data | {"author": author | {"created_at": "2021-04-05T00:00:00+00:00"}}),
            created_at=self.moment(self.created),
            stored_at=self.stored,
            read_at=self.stored,
            deleted_at=self.moment(self.created + timedelta(days=1)) if deleted else None,
            quarantined=quarantined,
            observe=False,
            revision=2 if self.edited else 1,
            attempt=0,
            due_at=None,
            reread_at=reread_at,
        )

    def _posts(self) -> None:
        self._add("sightings", source=self.source, remote_id=_status(self.number), mention_id=self.number, seen_at=self.stored)
        if self.draw % 19 == 0:
            self._add("sightings", source="acme_help", remote_id=f"9{_status(self.number)}", mention_id=self.number, seen_at=self.stored)
        for revision in range(1, 3 if self.edited else 2):
            raw = _raw(self.number % len(posts()))
            self._add("revisions", mention_id=self.number, number=revision, raw=raw, text=_text(self.number), seen_at=self.stored)

    def _verdict(self, revision: int, label: str, *, by_person: bool) -> None:
        sure = by_person or self.draw % 17 != 0
        scores = {name: 0.91 if name == label else 0.03 for name in ("bug_report", "support_question", "praise", "noise")}
        data = {
            "scores": scores,
            "language": "en",
            "signals": ["anger"] if self.draw % 47 == 0 else [],
            "evidence": [],
            "thread_why": "it answers nothing: it stands alone",
        }
        self._add(
            "verdicts",
            id=2 * self.number + revision - 1,
            mention_id=self.number,
            revision=1 if by_person else revision,
            label=label,
            confidence=0.91 if sure else 0.44,
            sure=sure,
            by=self.by if by_person else "default 2026-10-01",
            by_person=by_person,
            data=json.dumps(data | {"rule": label, "reason": f"{label} with 91% is above its threshold"}),
            at=self.stored,
        )

    def _actions(self) -> None:
        if self.label in ("noise", "praise"):
            self._action(0, "archive", "archive", f"{self.uri}/archive")
        elif self.label == "support_question":
            self._asked()
        elif self.answers and self.first_label == "bug_report":
            self._sent(0, "comment", "tickets", f"{self.uri}/comment", {"what": "report"})
        elif not self.answers:
            self._sent(0, "ticket", "tickets", f"{self.problem}/ticket", {})
            if self.draw % 7 == 0:
                self._trail("ticket changed", 4 * self.number, "Closed, Fixed", who="tickets")
            if self.draw % 211 == 0:
                alert = {"name": "UrgentPost", "subject": self.uri, "severity": "critical", "summary": "it is urgent"}
                self._add("alerts", id=self.number, data="{}", opened_at=self.stored, closed_at=self.stored, **alert)
                self._sent(1, "alert", "oncall", f"{self.uri}/alert/oncall", {}, alert_id=self.number)

    def _asked(self) -> None:
        task = 4 * self.number
        self._item()
        if self.asked:
            self._action(0, "task", "human", f"{self.uri}/task", state="planned", payload={"what": "answer", "draft": "Hello, thanks."})
            return
        self._action(0, "task", "human", f"{self.uri}/task", payload={"what": "answer", "draft": "Hello, thanks."}, by=self.by)
        self._trail("answered", task, "Press Sync in the settings, then wait for a minute.", who=self.by)
        self._sent(1, "reply", "acme", f"{self.uri}/task/reply/1", {"text": "Press Sync.", "by": self.by, "task_id": task})

    def _item(self) -> None:
        """What people did with it beside its actions."""
        if self.draw % 9 == 0:
            self._add("notes", id=self.number, mention_id=self.number, by=self.by, text="I have seen this before.", to="[]", at=self.stored)
        item: Row = {"mention_id": self.number, "snoozed_by": "", "until_reply": False, "answered_by": ""}
        if not self.asked:
            self._add("items", **item | {"assignee": self.by, "answered_by": self.by, "answered_at": self.answered})
        elif self.draw % 3 == 0:
            asleep = self.moment(self.now + timedelta(days=1)) if self.draw % 5 == 0 else None
            waits = asleep is None and self.draw % 25 == 1
            self._add("items", **item | {"assignee": self.by, "snoozed_until": asleep, "snoozed_by": self.by, "until_reply": waits})

    def _sent(self, place: int, kind: str, via: str, key: str, payload: dict[str, Any], **more: Any) -> None:
        """One that went out; a few of the newest tickets are stuck."""
        state = self.sent_state if kind == "ticket" else "done"
        self._action(place, kind, via, key, state=state, payload=payload, sent=True, **more)
        action = 4 * self.number + place
        for attempt in range(1, 3 if self.draw % 41 == 0 else 2):
            self._add(
                "attempts",
                action_id=action,
                number=attempt,
                owner="0123456789abcdef0123456789abcdef",
                started_at=self.stored,
                ended_at=self.stored,
                outcome=state,
                detail="",
            )
        self._trail(f"{kind}: {state}", action, f"QUAY-{self.problem} https://jira.example/browse/QUAY-{self.problem}")

    def _action(
        self,
        place: int,
        kind: str,
        via: str,
        key: str,
        *,
        state: str = "done",
        payload: dict[str, Any] | None = None,
        sent: bool = False,
        by: str = "triage",
        alert_id: int | None = None,
    ) -> None:
        done = state == "done"
        remote = f"{self.problem}" if kind == "ticket" else f"7{_status(self.number)}"
        self._add(
            "actions",
            id=4 * self.number + place,
            key=f"triage/{key}",
            kind=kind,
            via=via,
            state=state,
            mention_id=self.number,
            problem_id=self.problem,
            alert_id=alert_id,
            after_id=None,
            reason=f"{self.label} with 91% is above its threshold",
            rule=self.label,
            payload=json.dumps(payload or {}),
            attempt=1 if sent else 0,
            due_at=self.moment(self.now + timedelta(days=1)) if state == "doubt" else None,
            owner="0123456789abcdef0123456789abcdef" if sent else None,
            created_at=self.stored,
            intent_at=self.stored if sent else None,
            first_intent_at=self.stored if sent else None,
            unknown_at=self.stored if state == "doubt" else None,
            looks=0,
            retried=False,
            remote_id=remote if sent and done else None,
            remote_key=f"QUAY-{remote}" if sent and done else "",
            url=f"https://jira.example/browse/QUAY-{remote}" if sent and done else "",
            error="" if done or not sent else "503 Service Unavailable",
            closed_at=(self.answered if self.label == "support_question" else self.stored) if done else None,
            closed_by=by if done else "",
        )

    def _trail(self, what: str, action: int, detail: str, who: str = "triage") -> None:
        place = sum(1 for row in self.made["audit"][-4:] if row["mention_id"] == self.number)
        self._add(
            "audit",
            id=4 * self.number + place,
            at=self.stored,
            who=who,
            what=what,
            mention_id=self.number,
            action_id=action,
            detail=detail,
        )

    def _add(self, table: str, **row: Any) -> None:
        self.made[table].append(row)


def _text_of_time(moment: datetime) -> str:
    """As the schema keeps it on SQLite."""
    return moment.strftime("%Y-%m-%d %H:%M:%S.%f")


def _person(number: int, name: str, made_at: Any) -> Row:
    return {
        "id": number, "name": name, "shown": name.title(), "role": "triager", "password": "", "zone": "UTC", "handles": "[]", "away": False,
        "made_at": made_at,
    }  # fmt: skip


def _account(number: int) -> int:
    return OFTEN + number // 40 % BUSY if number % 40 == 7 else number * 7919 % OFTEN


def _server(number: int) -> str:
    return f"town{_account(number) % 311}.example"


def _writer(number: int) -> str:
    return f"writer{_account(number)}"


def _status(number: int) -> str:
    return str(110_000_000_000_000_000 + number * 65_537)


def _uri(number: int) -> str:
    return f"https://{_server(number)}/users/{_writer(number)}/statuses/{_status(number)}"


def _text(number: int) -> str:
    text = f"@acme {posts()[number % len(posts())].text}"
    return f"{text} ref{number}" if number % 10 == 0 else text


@cache
def _raw(post: int) -> bytes:
    """A notification as Mastodon sends it, about 2 KB, packed as the store packs it."""
    text = posts()[post].text
    account = {
        "id": str(post),
        "username": _writer(post),
        "acct": f"{_writer(post)}@{_server(post)}",
        "display_name": _writer(post).title(),
        "created_at": "2021-04-05T00:00:00.000Z",
        "note": f"<p>{text[:160]}</p>",
        "url": f"https://{_server(post)}/@{_writer(post)}",
        "avatar": f"https://files.example/accounts/avatars/{post * 7919:032x}/original.png",
        "header": f"https://files.example/accounts/headers/{post * 104_729:032x}/original.png",
        "followers_count": post,
        "following_count": post * 3 % 700,
        "statuses_count": post * 13 % 5_000,
        "emojis": [],
        "fields": [{"name": "Site", "value": f"https://{_writer(post)}.example", "verified_at": None}],
    }
    status = {
        "id": _status(post),
        "created_at": "2026-05-01T12:00:00.000Z",
        "in_reply_to_id": None,
        "sensitive": False,
        "spoiler_text": "",
        "visibility": "public",
        "language": "en",
        "uri": _uri(post),
        "url": link_of(post),
        "content": f'<p><span class="h-card"><a href="https://acme.example/@acme" class="u-url mention">@acme</a></span> {text}</p>',
        "account": account,
        "media_attachments": [],
        "mentions": [{"id": "1", "username": "acme", "url": "https://acme.example/@acme", "acct": "acme"}],
        "tags": [],
        "emojis": [],
        "card": None,
        "poll": None,
    }
    return zlib.compress(json.dumps({"id": str(post), "type": "mention", "account": account, "status": status}).encode(), 1)

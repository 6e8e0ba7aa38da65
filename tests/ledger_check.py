"""Did the service keep its promise? Reads only what the stand-in servers wrote down, and the database; never the program.

The four rules are those of docs/delivery.md: nothing lost (I1), nothing twice (I2), nothing in limbo (I3), and what the
servers accepted is what the database says was sent (I4). `leaks` is the fifth: no secret anywhere (I5).
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from triage.sandbox.ledger import read
from triage.store.schema import accounts, actions, mentions, meta, metadata

MARK = re.compile(r"triage[:-]([0-9a-f]{20})")
JIRA_USERS = ("712020:5eed-b07", "triage-bot")  # whom the sandbox's tokens belong to, on Cloud and on Data Center
SETTLED = {"done", "cancelled", "observed", "parked", "rejected"}
WITH_A_PERSON = {"parked", "rejected", "doubt"}  # it may have been sent: somebody looks, or the next look tells

Entry = Mapping[str, Any]

_WHOLE = {
    table.name: sa.text(f"SELECT * FROM {table.name}").columns(**{column.name: column.type for column in table.c})
    for table in (mentions, actions, accounts, meta)
}
"""Every row with the columns that the database has, whatever its schema."""


@contextmanager
def reading(store: str) -> Iterator[sa.Connection]:
    """A connection to the database at this URL, closed at the end of the block: who waits for something looks many times a second."""
    with _engine(store).connect() as connection:
        yield connection


@lru_cache(maxsize=4)
def _engine(store: str) -> sa.Engine:
    return sa.create_engine(store, poolclass=sa.NullPool)


@dataclass(frozen=True)
class Checker:
    """Compares the ledgers in `mastodon` (a folder or file for each server), `jira` and `receiver` with the database at `store`.

    `account` is the watched one. Posts with the notification of an entry up to number `seen_before` were there before the first
    poll, and those of the `roster` (as `name@host`) or with a uri in `aside` are set aside on purpose. Posts with one of the
    `hashtags` count like mentions.
    """

    store: str
    mastodon: tuple[Path, ...]
    jira: Path | None = None
    receiver: Path | None = None
    account: str = "quayside"
    host: str = "quayside.social"
    roster: frozenset[str] = frozenset()
    aside: frozenset[str] = frozenset()
    hashtags: frozenset[str] = frozenset()
    seen_before: int = 0

    def violations(self) -> list[str]:
        """Every broken promise, in words; an empty list is what a test wants."""
        return [*self._lost(), *self._twice(), *self._limbo(), *self._unaccounted()]

    # What the servers wrote down

    @cached_property
    def posts(self) -> list[dict[str, Any]]:
        return [entry for path in self.mastodon for entry in read(path)]

    @cached_property
    def replies(self) -> list[dict[str, Any]]:
        return [entry for entry in self.posts if entry["kind"] == "reply"]

    @cached_property
    def tracker(self) -> list[dict[str, Any]]:
        return read(self.jira) if self.jira else []

    @cached_property
    def tickets(self) -> list[dict[str, Any]]:
        return [entry for entry in self.tracker if entry["kind"] == "ticket" and entry["creator"] in JIRA_USERS]

    @cached_property
    def comments(self) -> list[dict[str, Any]]:
        return [entry for entry in self.tracker if entry["kind"] == "comment" and entry["author"] in JIRA_USERS]

    # What the database says

    @cached_property
    def database(self) -> dict[str, list[dict[str, Any]]]:
        """The rows of the tables that count; None for a column that an older schema does not have."""
        with reading(self.store) as connection:
            found = {}
            for table in (mentions, actions, accounts, meta):
                none: dict[str, Any] = dict.fromkeys(table.c.keys())
                found[table.name] = [none | dict(row) for row in connection.execute(_WHOLE[table.name]).mappings()]
            return found

    @cached_property
    def by_marker(self) -> dict[str, dict[str, Any]]:
        """The actions by the marker that their ticket or comment carries."""
        secret = next((bytes.fromhex(row["value"]) for row in self.database["meta"] if row["name"] == "install_secret"), b"")
        made = {hmac.new(secret, row["key"].encode(), hashlib.sha256).hexdigest()[:20]: row for row in self.database["actions"]}
        return made | {row["marker"]: row for row in self.database["actions"] if row["marker"]}

    # I1

    def _lost(self) -> Iterator[str]:
        """Every post that we were told of has one row, unless it is none of ours, or went before we could read it."""
        rows = Counter(row["uri"] for row in self.database["mentions"])
        deleted = {entry["uri"] for entry in self.posts if entry["kind"] == "delete"}
        for uri in sorted({entry["uri"] for entry in self.posts if self._is_ours(entry)}):
            if rows[uri] > 1:
                yield f"I1: {uri} has {rows[uri]} rows"
            elif not rows[uri] and uri not in deleted:
                yield f"I1: {uri} is lost"
        known = {entry["uri"] for entry in self.posts if entry["kind"] in ("status", "reply")}
        for row in self.database["mentions"]:
            if row["platform"] == "mastodon" and row["uri"] not in known:
                yield f"I1: {row['uri']} was never posted"

    def _is_ours(self, entry: Entry) -> bool:
        if entry["kind"] not in ("status", "edit", "reply") or entry["n"] <= self.seen_before:
            return False
        author = self._authors[entry["uri"]]
        if author.partition("@")[0] == self.account and author.endswith(f"@{self.host}"):
            return False
        if author in self.roster or entry["uri"] in self.aside:
            return False
        tagged = entry["kind"] == "status" and entry["visibility"] == "public" and self.hashtags & set(entry["tags"])
        return self.account in entry["notified"] or bool(tagged)

    @cached_property
    def _authors(self) -> dict[str, str]:
        """Who wrote which post, as `name@host`."""
        posts = [entry for entry in self.posts if entry["kind"] in ("status", "reply")]
        return {e["uri"]: e["author"] if "@" in e["author"] else f"{e['author']}@{self.host}" for e in posts}

    # I2

    def _twice(self) -> Iterator[str]:
        """No marker is on two tickets, or on two comments; and no key was posted twice."""
        for what, entries in (("tickets", self.tickets), ("comments", self.comments)):
            for marker, count in Counter(map(marker_of, entries)).items():
                if marker and count > 1:
                    yield f"I2: {count} {what} carry {marker}"
        for key, count in Counter(entry["idempotency_key"] for entry in self.replies).items():
            if key and count > 1:
                yield f"I2: {count} posts were made with the key {key}"

    # I3

    def _limbo(self) -> Iterator[str]:
        """Every mention is closed, archived, with a person, paused or set aside; every action has ended, or somebody has it."""
        by_mention: dict[int, list[dict[str, Any]]] = {}
        for action in self.database["actions"]:
            by_mention.setdefault(action["mention_id"], []).append(action)
            reason = self._limbo_of(action)
            if reason:
                yield f"I3: {action['kind']} {action['id']} ({action['key']}) {reason}"
        for row in self.database["mentions"]:
            mine = by_mention.get(row["id"], [])
            if row["quarantined"] is not None or row["deleted_at"] is not None:
                continue
            if row["due_at"] is not None:
                yield f"I3: mention {row['id']} still waits to be judged"
            elif not mine:
                yield f"I3: nothing was done about mention {row['id']}"
            elif all(action["state"] == "cancelled" and action["closed_by"] == "triage" for action in mine):
                yield f"I3: all that was planned for mention {row['id']} was taken back, and nothing took its place"

    def _limbo_of(self, action: Mapping[str, Any]) -> str:
        state = action["state"]
        if state in SETTLED or action["via"] == "human":
            return ""
        if state == "planned" and action["kind"] == "alert" and action["remote_id"]:
            return ""  # an open alert is told again and again
        if state == "planned" and self._is_paused(action["via"]):
            return ""
        if state == "planned" and action["after_id"] is not None:
            before = next(one for one in self.database["actions"] if one["id"] == action["after_id"])
            if before["state"] in ("parked", "rejected", "observed"):
                return ""  # it waits for what a person must decide
        return f"is still {state}"

    def _is_paused(self, via: str) -> bool:
        now = datetime.now(UTC)
        return any(row["name"] == via and row["paused_until"] and row["paused_until"] > now for row in self.database["accounts"])

    # I4

    def _unaccounted(self) -> Iterator[str]:
        """What a server accepted has an action that is done and says so, and what is done was accepted."""
        for what, entries in (("ticket", self.tickets), ("comment", self.comments)):
            for entry in entries:
                yield from self._against(f"{what} {entry['id']}", self.by_marker.get(marker_of(entry)), what, {entry["id"], entry["key"]})
        by_post = {row["remote_id"]: row for row in self.database["actions"] if row["kind"] == "reply"}
        for entry in self.replies:
            if entry["author"] == self.account and entry["id"] not in by_post and not self._may_be_with_a_person(entry):
                yield f"I4: no action posted {entry['id']}"
        made = {entry["id"] for entry in (*self.tickets, *self.comments, *self.replies)} | {entry["key"] for entry in self.tickets}
        for row in self.database["actions"]:
            sent = row["kind"] in ("ticket", "comment", "reply") and row["via"] != "human" and row["state"] == "done"
            if sent and row["closed_by"] == "triage" and row["remote_id"] not in made:
                yield f"I4: {row['kind']} {row['id']} is done, and {row['via']} holds no {row['remote_id']}"
        if self.receiver is None:
            return
        told = {entry["alert"]["labels"].get("key") for entry in read(self.receiver) if entry["kind"] == "alert"}
        for row in self.database["actions"]:
            if row["kind"] == "alert" and row["state"] not in ("observed", "cancelled") and row["key"] not in told:
                yield f"I4: nobody was told of the alert {row['key']}"

    def _against(self, name: str, action: Mapping[str, Any] | None, kind: str, ids: set[str]) -> Iterator[str]:
        if action is None or action["kind"] != kind:
            yield f"I4: {name} carries a marker of no {kind}"
        elif action["state"] == "done" and action["remote_id"] not in ids:
            yield f"I4: {name} was made for {action['key']}, which says {action['remote_id']}"
        elif action["state"] != "done" and action["state"] not in WITH_A_PERSON:
            yield f"I4: {name} was made for {action['key']}, which is {action['state']}"

    def _may_be_with_a_person(self, entry: Entry) -> bool:
        """An answer in doubt or parked has no post yet; its text tells."""
        waiting = [row for row in self.database["actions"] if row["kind"] == "reply" and row["state"] in WITH_A_PERSON]
        return any(row["payload"].get("text", "\0") in entry["text"] for row in waiting)


def marker_of(entry: Entry) -> str:
    """The marker of a ticket or a comment: of a ticket's label, else of its text; "" where there is none."""
    for label in entry.get("labels", ()):
        if match := MARK.fullmatch(label):
            return match[1]
    text = entry.get("description") if entry["kind"] == "ticket" else entry["body"]
    return next(iter(MARK.findall(json.dumps(text))[::-1]), "")


def leaks(secrets: Iterable[str], *, store: str, files: Collection[Path]) -> list[str]:
    """I5: where a secret stands that should not: in the database, in a log, in a page that was saved."""
    found = []
    wanted = {secret for secret in secrets if secret}
    for path in files:
        text = path.read_bytes().decode("utf-8", "replace") if path.exists() else ""
        found += [f"I5: {path.name} holds a secret" for secret in wanted if secret in text]
    with reading(store) as connection:
        for table in metadata.sorted_tables:
            for row in connection.execute(sa.select(table)):
                text = repr(tuple(row))
                found += [f"I5: the table {table.name} holds a secret" for secret in wanted if secret in text]
    return sorted(set(found))

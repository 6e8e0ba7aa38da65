"""Where a store stands: whether it is a copy, whether it was put back from a backup, and whether it is newer than this program.

A store has a home. On SQLite it is a small file beside the database, known by the random token in it, its inode and, outside of
containers, the machine; on PostgreSQL it is the database, known by the server's system identifier and the database's number.
A store that finds itself elsewhere is a copy, and sends nothing until a person says that the original is off.

Every 20 s a worker writes a heartbeat into the store and, after that, into a file in the state folder. A file that is newer
than the store's own word can only mean that an older database was put back: it has forgotten what was sent since. For
48 hours the far side is then asked before anything is sent.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from threading import Lock

import sqlalchemy as sa
import structlog
from sqlalchemy.engine import Connection

from triage.errors import StoreError
from triage.store.database import HEAD, Database, insert
from triage.store.moves import add_audit
from triage.store.schema import audit, meta

log = structlog.get_logger()

RESTORE_MODE = timedelta(hours=48)
FORGET = timedelta(days=30)  # heartbeats of folders that nobody uses any more
CONTAINER = (Path("/.dockerenv"), Path("/run/.containerenv"))
MACHINE = Path("/etc/machine-id")

# What differs between a home and the place where the store is now, and what that tells.
_TELLS = {
    "kind": "it was moved to another kind of database",
    "token": "the file that tells where it belongs is missing beside it, or is another store's",
    "inode": "its folder was copied",
    "machine": "it is on another machine than before",
    "system": "it is on another PostgreSQL server than before",
    "database": "it is another database than before",
    "table": "its tables were made anew",
}


@dataclass(frozen=True, slots=True)
class Stand:
    """What this process has to know before it sends anything.

    `newer` and `copied` are reasons, empty where all is well: the schema is newer than this program, which then leaves
    everything alone; the store is a copy, which sends nothing but alerts. `until` is the end of restore mode, None while it is
    off; `since` is from when on a store in restore mode may have forgotten what it sent.
    """

    secret: bytes
    newer: str = ""
    copied: str = ""
    since: datetime | None = None
    until: datetime | None = None


def newer(schema: str, head: str) -> str:
    """Why a program that knows the schemas up to `head` must leave this one alone; empty when it need not. Numbers of four digits."""
    if schema <= head:
        return ""
    return f"the database is at schema {schema} and this program knows {head}: restart it with the triage that is installed now"


def copied(home: Mapping[str, str], here: Mapping[str, str]) -> str:
    """Why a store whose home is `home` is a copy when it finds itself at `here`; empty when it is at home.

    What either side does not know is passed over, but for the token: its file is always there.
    """
    for name, tells in _TELLS.items():
        before, now = home.get(name, ""), here.get(name, "")
        if before != now and (name == "token" or (before and now)):
            return tells
    return ""


def restored(told: datetime | None, beat: datetime | None, now: datetime) -> str:
    """Why a store whose last heartbeat was at `told` is older than its state folder, which says `beat`; empty when it is not."""
    if beat is None or now - beat > FORGET or (told is not None and beat <= told):
        return ""
    knows = f"knows of nothing after {told:%Y-%m-%d %H:%M:%S} UTC" if told else "knows nothing of it"
    return f"a worker was at work here at {beat:%Y-%m-%d %H:%M:%S} UTC, and the database {knows}: an older one was put back"


class Place:
    """The store's home, its heartbeat and its restore mode. `folder` is the state folder, None where there is none."""

    def __init__(self, database: Database, folder: Path | None) -> None:
        self._database = database
        self._heartbeat = folder / "heartbeat.json" if folder is not None else None
        self._here: Mapping[str, str] | None = None
        self._said: set[str] = set()
        self._guard = Lock()

    def furnish(self) -> None:
        """Give a new store its id and its install secret, which lie in it and so in every backup.

        In a transaction of its own: a marker must never be made with a secret that was rolled back.
        """
        with self._database.write() as connection:
            for name, value in (("install_secret", secrets.token_hex(32)), ("store_id", secrets.token_hex(16))):
                connection.execute(insert(connection, meta).values(name=name, value=value).on_conflict_do_nothing())

    # What holds now

    def check(self, now: datetime) -> Stand:
        """Look around: once a sweep, and before each batch that is sent. What it finds is written down and said once."""
        beat = self._read_heartbeat()
        with self._database.read() as connection:
            version, known = self._version(connection), self._meta(connection)
            self._here = self._look_around(connection)
        if not newer(version, HEAD) and ("home" not in known or _waits(known) or self._was_restored(known, now, beat)):
            with self._database.write() as connection:
                known = self._meta(connection)
                self._here = self._look_around(connection)  # another process may have settled it just now
                if "home" not in known:
                    self._settle(connection, self._here)
                if why := self._was_restored(known, now, beat):
                    self.begin_in(connection, now, why)
                    known = self._meta(connection)
                if _waits(known):  # the first worker is here: from now on it is asked
                    mode = json.loads(known["restore_mode"]) | {"waits": False, "until": (now + RESTORE_MODE).isoformat()}
                    put(connection, "restore_mode", json.dumps(mode))
                known = self._meta(connection)
        stand = self._stand(version, known, self._here, now)
        if stand.newer:
            self._say(stand.newer)
        if stand.copied:
            self._say(f"nothing is sent: this database is a copy ({stand.copied}). When the original is off: triage adopt")
        if stand.until is not None:
            self._say(f"restore mode until {stand.until:%Y-%m-%d %H:%M} UTC: the far side is asked before anything is sent")
        return stand

    def stand(self, now: datetime) -> Stand:
        """The same for whoever only looks at the service: it writes and says nothing."""
        with self._database.read() as connection:
            here, version, known = self._look_around(connection), self._version(connection), self._meta(connection)
        return self._stand(version, known, here, now)

    def stand_in(self, connection: Connection, now: datetime) -> Stand:
        """The same within a transaction of the caller's, which claims something: nothing can change in between."""
        if self._here is None:
            self._here = self._look_around(connection)
        return self._stand(self._version(connection), self._meta(connection), self._here, now)

    def _stand(self, version: str, known: Mapping[str, str], here: Mapping[str, str], now: datetime) -> Stand:
        mode = json.loads(known.get("restore_mode", "{}"))
        until = (now + RESTORE_MODE if mode.get("waits") else datetime.fromisoformat(mode["until"])) if mode else None
        is_on = until is not None and now < until
        return Stand(
            secret=bytes.fromhex(known.get("install_secret", "")),
            newer=newer(version, HEAD),
            copied=copied(json.loads(known["home"]), here) if "home" in known else "",
            since=datetime.fromisoformat(mode["since"]) if is_on else None,
            until=until if is_on else None,
        )

    def _meta(self, connection: Connection) -> dict[str, str]:
        names = ["install_secret", "store_id", "home", "restore_mode"]
        beat = self._read_heartbeat()
        wanted = meta.c.name.in_([*names, f"heartbeat/{beat['folder']}"] if beat else names)
        return {row.name: row.value for row in connection.execute(sa.select(meta.c.name, meta.c.value).where(wanted))}

    def _version(self, connection: Connection) -> str:
        return connection.scalar(sa.text("SELECT version_num FROM alembic_version")) or ""

    def _say(self, what: str) -> None:
        with self._guard:
            new = what not in self._said
            self._said.add(what)
        if new:
            log.error(what)

    # The home

    @property
    def _home_file(self) -> Path | None:
        path = self._database.path
        return path.with_name(path.name + ".home") if path is not None else None

    def _look_around(self, connection: Connection) -> dict[str, str]:
        file = self._home_file
        if file is not None:
            here = {"kind": "sqlite", "machine": _machine()}
            with suppress(FileNotFoundError):
                here |= {"token": file.read_text().strip(), "inode": str(file.stat().st_ino)}
            return here
        oid = connection.scalar(sa.text("SELECT oid::text FROM pg_database WHERE datname = current_database()"))
        here = {"kind": "postgresql", "database": oid or ""}
        if connection.scalar(sa.text("SELECT has_function_privilege('pg_control_system()', 'execute')")):
            here["system"] = connection.scalar(sa.text("SELECT system_identifier::text FROM pg_control_system()")) or ""
        else:  # two servers may give the same number to their first database; hardly to this table as well
            here["table"] = connection.scalar(sa.text("SELECT 'meta'::regclass::oid::text")) or ""
        return here

    def _settle(self, connection: Connection, here: Mapping[str, str], *, again: bool = False) -> None:
        """This is its home from now on."""
        file = self._home_file
        if file is not None and (again or not here.get("token")):
            try:
                file.unlink(missing_ok=True)
                with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
                    out.write(secrets.token_hex(16) + "\n")
            except OSError as error:
                raise StoreError(f"{file} can't be written ({error.strerror}); check the owner and rights of its folder") from None
            here = self._look_around(connection)
        self._here = here
        put(connection, "home", json.dumps(here))

    def adopt(self, now: datetime, by: str) -> None:
        """A person says that the original is off: this is the store from now on. It may be the older one, so restore mode begins."""
        with self._database.write() as connection:
            self._settle(connection, self._look_around(connection), again=True)
            add_audit(connection, now, by, "adopted the copy", detail="the original is off; this store sends from now on")
            self.begin_in(connection, now, f"{by} adopted a copy, which may be older than the original")
        self._said.clear()

    # Restore mode

    def begin_restore(self, now: datetime, why: str) -> datetime:
        """Ask the far side before anything is sent, for 48 hours from a worker's first sweep. Returns the end, were that now."""
        with self._database.write() as connection:
            return self.begin_in(connection, now, why)

    def begin_in(self, connection: Connection, now: datetime, why: str) -> datetime:
        """The same within a transaction of the caller's."""
        until = now + RESTORE_MODE
        last = connection.scalar(sa.select(audit.c.at).order_by(audit.c.id.desc()).limit(1))
        beats = connection.execute(sa.select(meta.c.value).where(meta.c.name.like("heartbeat/%"))).scalars()
        known = [datetime.fromisoformat(beat) for beat in beats] + ([last] if last else [])
        before = json.loads(self._meta(connection).get("restore_mode", "{}"))
        if before and (before.get("waits") or now < datetime.fromisoformat(before["until"])):
            known.append(datetime.fromisoformat(before["since"]))
            since = min(known)
        else:
            since = max(known, default=now)
        # It may lie for days before a worker runs: until then no time passes.
        put(connection, "restore_mode", json.dumps({"since": since.isoformat(), "until": until.isoformat(), "why": why, "waits": True}))
        beat = self._read_heartbeat()
        if beat is not None:  # it has been noticed
            put(connection, f"heartbeat/{beat['folder']}", beat["at"])
        add_audit(connection, now, "triage", "restore mode begins", detail=f"{why}. For 48 hours from a worker's first sweep")
        return until

    def end_restore(self, now: datetime) -> int:
        """Note the end of restore mode in the trail, once. Returns how many ended."""
        with self._database.read() as connection:
            found = self._meta(connection).get("restore_mode")
        if found is None or json.loads(found).get("waits") or now < datetime.fromisoformat(json.loads(found)["until"]):
            return 0
        with self._database.write() as connection:
            gone = connection.execute(sa.delete(meta).where(meta.c.name == "restore_mode", meta.c.value == found)).rowcount
            if gone:
                add_audit(connection, now, "triage", "restore mode ends", detail=json.loads(found)["why"])
        return gone

    # The heartbeat

    def beat(self, now: datetime) -> None:
        """Note that a worker is at work: in the store, and only then in the state folder."""
        if self._heartbeat is None:
            return
        old = self._read_heartbeat()  # before the store's own word, which another worker of this folder may raise meanwhile
        with self._database.write() as connection:
            known = self._meta(connection)
            if why := self._was_restored(known, now, old):  # put back since the last check: this beat would cover it up
                self.begin_in(connection, now, why)
            store = known["store_id"]
            folder = old["folder"] if old is not None and old["store"] == store else secrets.token_hex(8)
            name, at = f"heartbeat/{folder}", now.isoformat()
            connection.execute(insert(connection, meta).values(name=name, value=at).on_conflict_do_nothing())
            connection.execute(sa.update(meta).where(meta.c.name == name, meta.c.value < at).values(value=at))
            forgotten = sa.and_(meta.c.name.like("heartbeat/%"), meta.c.value < (now - FORGET).isoformat())
            connection.execute(sa.delete(meta).where(forgotten))
        try:
            fresh = self._heartbeat.with_name(f"{self._heartbeat.name}.{os.getpid()}")
            fresh.parent.mkdir(parents=True, exist_ok=True, mode=0o700)  # a team's worker on PostgreSQL has had no use for it so far
            fresh.write_text(json.dumps({"store": store, "folder": folder, "at": at}))
            fresh.replace(self._heartbeat)
        except OSError as error:
            self._say(f"{self._heartbeat} can't be written ({error.strerror}): a backup that is put back by hand would go unnoticed")

    def _read_heartbeat(self) -> dict[str, str] | None:
        if self._heartbeat is None:
            return None
        try:
            found = json.loads(self._heartbeat.read_text())
            datetime.fromisoformat(found["at"])
            return {name: str(found[name]) for name in ("store", "folder", "at")}
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def _was_restored(self, known: Mapping[str, str], now: datetime, beat: Mapping[str, str] | None) -> str:
        if beat is None or beat["store"] != known.get("store_id"):
            return ""
        told = known.get(f"heartbeat/{beat['folder']}")
        return restored(datetime.fromisoformat(told) if told else None, datetime.fromisoformat(beat["at"]), now)


def put(connection: Connection, name: str, value: str) -> None:
    """Write one value that belongs to the installation."""
    statement = insert(connection, meta).values(name=name, value=value)
    connection.execute(statement.on_conflict_do_update(index_elements=[meta.c.name], set_={"value": value}))


def _waits(known: Mapping[str, str]) -> bool:
    """Whether restore mode is on, and no worker has been at work in it."""
    return bool(json.loads(known.get("restore_mode", "{}")).get("waits"))


def _machine() -> str:
    """The machine's id; empty in a container, whose id is the image's or nobody's."""
    if any(path.exists() for path in CONTAINER) or {"container", "KUBERNETES_SERVICE_HOST"} & set(os.environ):
        return ""
    try:
        return MACHINE.read_text().strip()
    except OSError:
        return ""

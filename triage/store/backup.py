"""A backup is one tar file: a JSON-lines file for each table, the classifier's files, and a manifest with their digests.

It is written from one snapshot while workers go on, needs nothing but the driver, and is the same for both databases, so it
goes back into either. It goes back in one transaction: whatever happens on the way, the target is as it was before.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import tarfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from triage import __version__
from triage.errors import StoreError, UserError
from triage.failpoint import hit
from triage.store.database import HEAD, Database, revisions
from triage.store.owners import Owners
from triage.store.place import Place
from triage.store.schema import FTS, Utc, metadata

FORMAT = 1
MANIFEST = "manifest.json"
MEMBER = re.compile(r"tables/[a-z_]{1,40}\.jsonl|model/\w[\w.-]{0,80}|manifest\.json", re.ASCII)
MOST_MEMBERS = 200
LARGEST_MANIFEST = 1024 * 1024
ROWS = 500  # at a time
BLOCK = 1024 * 1024

# What stands in a line of a table, by the kind of its column. The types are those of a column that is written back.
TYPES: Mapping[str, Any] = {
    "time": Utc(),
    "bytes": sa.LargeBinary(),
    "json": sa.JSON(none_as_null=True),
    "bool": sa.Boolean(),
    "int": sa.BigInteger(),
    "float": sa.Float(),
    "text": sa.Text(),
}
_OUT: Mapping[str, Callable[[Any], Any]] = {
    "time": lambda value: value.isoformat(),
    "bytes": lambda value: base64.b64encode(value).decode(),
}
_IN: Mapping[str, Callable[[Any], Any]] = {
    "time": datetime.fromisoformat,
    "bytes": lambda value: base64.b64decode(value, validate=True),
}
_EXPECTED: Mapping[str, tuple[type, ...]] = {"bool": (bool,), "int": (int,), "float": (float, int), "text": (str,)}


class Member(BaseModel):
    """A file in a backup: its length in bytes and its digest. `rows` is for tables."""

    model_config = ConfigDict(frozen=True)

    size: int = Field(ge=0)
    sha256: str
    rows: int = 0


class Manifest(BaseModel):
    """What a backup says of itself. `shipped_model` is the digest of the classifier that came with the program, where no other was used."""

    model_config = ConfigDict(frozen=True)

    format: int
    version: str
    schema_: str = Field(alias="schema")
    store_id: str
    made_at: datetime
    database: str
    shipped_model: str = ""
    members: dict[str, Member]

    def rows(self, table: str) -> int:
        """How many rows of a table it holds."""
        member = self.members.get(f"tables/{table}.jsonl")
        return member.rows if member else 0


# Writing


def write(database: Database, file: Path, now: datetime, *, model: Path | None, shipped: str, force: bool) -> Manifest:
    """Back the store up into `file`, with the classifier in the folder `model`, else the digest `shipped` of the one that came with us.

    `UserError` when the file is there already (but for `force`) or can't be written; a file that was there is then as before.
    """
    if database.path is not None and file.resolve().parent == database.path.resolve().parent and file.name.startswith(database.path.name):
        raise UserError(f"{file} is the store itself, or a file that belongs to it; choose another name")
    if file.exists() and not force:
        raise UserError(f"{file} is there already; choose another name, or overwrite it with --force")
    fresh = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        try:
            with os.fdopen(os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600), "w+b") as out:
                manifest = _write(database, out, now, model, shipped)
                out.flush()
                os.fsync(out.fileno())
            fresh.replace(file)
        finally:
            fresh.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"{file} can't be written ({error.strerror}); choose a place with room and rights") from None
    return manifest


def _write(database: Database, out: IO[bytes], now: datetime, model: Path | None, shipped: str) -> Manifest:
    members: dict[str, Member] = {}
    with database.snapshot() as connection:
        store_id = connection.scalar(sa.text("SELECT value FROM meta WHERE name = 'store_id'")) or ""
        for table in metadata.sorted_tables:
            with _member(out, f"tables/{table.name}.jsonl", members) as put:
                rows = 0
                kinds = {column.name: _kind(column) for column in table.columns}
                put(json.dumps({"columns": kinds}).encode() + b"\n")
                for row in connection.execute(sa.select(table).order_by(*table.primary_key.columns)):
                    values = [None if value is None else _OUT.get(kinds[name], _same)(value) for name, value in row._mapping.items()]
                    put(json.dumps(values).encode() + b"\n")
                    rows += 1
                    if rows % ROWS == 0:
                        hit("mid_backup")
            members[f"tables/{table.name}.jsonl"] = members[f"tables/{table.name}.jsonl"].model_copy(update={"rows": rows})
    for path in sorted(model.iterdir()) if model is not None else ():
        if path.is_file() and MEMBER.fullmatch(f"model/{path.name}"):
            with _member(out, f"model/{path.name}", members) as put, path.open("rb") as content:
                while block := content.read(BLOCK):
                    put(block)
    manifest = Manifest(
        format=FORMAT,
        version=__version__,
        schema=HEAD,
        store_id=store_id,
        made_at=now,
        database="sqlite" if database.is_sqlite else "postgresql",
        shipped_model=shipped if model is None else "",
        members=members,
    )
    with _member(out, MANIFEST, {}) as put:  # the last one: an archive that was cut off has none
        put(manifest.model_dump_json(by_alias=True, indent=1).encode())
    out.write(b"\0" * 2 * tarfile.BLOCKSIZE)
    return manifest


@contextmanager
def _member(out: IO[bytes], name: str, members: dict[str, Member]) -> Iterator[Callable[[bytes], None]]:
    """A file in the archive, as long as what is put into it: its header is written last."""
    start, digest, size = out.tell(), hashlib.sha256(), 0
    out.write(b"\0" * tarfile.BLOCKSIZE)

    def put(block: bytes) -> None:
        nonlocal size
        out.write(block)
        digest.update(block)
        size += len(block)

    yield put
    out.write(b"\0" * (-size % tarfile.BLOCKSIZE))
    end = out.tell()
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = size, 0o600, int(datetime.now(UTC).timestamp())
    out.seek(start)
    out.write(info.tobuf(tarfile.GNU_FORMAT))
    out.seek(end)
    members[name] = Member(size=size, sha256=digest.hexdigest())


def _kind(column: sa.Column[Any]) -> str:
    for kind, type_ in (("time", Utc), ("bytes", sa.LargeBinary), ("json", sa.JSON), ("bool", sa.Boolean)):
        if isinstance(column.type, type_):
            return kind
    return "int" if isinstance(column.type, sa.Integer) else "float" if isinstance(column.type, sa.Float) else "text"


def _same(value: Any) -> Any:
    return value


# Reading


class Backup:
    """An archive that was checked: what it is made of and the digest of each file. `open` makes one; a context manager."""

    def __init__(self, file: Path, content: IO[bytes], archive: tarfile.TarFile, manifest: Manifest) -> None:
        self.file = file
        self.manifest = manifest
        self._content = content
        self._archive = archive

    @classmethod
    @contextmanager
    def open(cls, file: Path) -> Iterator[Backup]:
        """Check the whole of it. `UserError` for what is no backup, was cut off or changed, or needs a newer program."""
        try:
            with file.open("rb") as content:
                try:
                    archive = tarfile.open(fileobj=content, mode="r:")  # noqa: SIM115 - it ends with the file
                    manifest = _checked(file, content, archive)
                except (tarfile.TarError, ValueError, RecursionError, EOFError) as error:
                    raise UserError(f"{file} is no backup of triage, or was cut off ({error}); take another one") from None
                yield cls(file, content, archive, manifest)
        except OSError as error:
            raise UserError(f"{file} can't be read ({error.strerror}); check its name and rights") from None

    @property
    def model(self) -> list[str]:
        """The names of the classifier's files in it; empty when it was the one that came with the program."""
        return [name.removeprefix("model/") for name in self.manifest.members if name.startswith("model/")]

    def unpack_model(self, folder: Path) -> None:
        """Write the classifier's files into a new folder. `UserError` when that can't be done."""
        try:
            folder.mkdir(parents=True)
            for name in self.model:
                with self._open(f"model/{name}") as content, (folder / name).open("xb") as out:
                    while block := content.read(BLOCK):
                        out.write(block)
        except OSError as error:
            raise UserError(f"{folder} can't be written ({error.strerror}); the classifier was not restored") from None

    def _open(self, name: str) -> IO[bytes]:
        content = self._archive.extractfile(name)
        assert content is not None  # only plain files passed the check
        return content

    # Into a database

    def restore(self, url: str, place_of: Callable[[Database], Place], now: datetime, by: str, *, force: bool) -> tuple[int, str]:
        """Put it into the store at `url` in one transaction, at this version's schema and in restore mode.

        Returns how many rows it has, and why the store is a copy now (empty when it is where it was backed up). `UserError`
        when the store is not empty (but for `force`), when a process works on it, or when it can't be written: it is then as before.
        """
        database = Database(url)
        made = database.path is not None and database.path.stat().st_size == 0
        try:
            try:
                with database.write() as connection:
                    rows = self._restore(connection, database, force=force)
                    place = place_of(database)
                    place.begin_in(
                        connection, now, f"restored by {by} from {self.file.name}, made {self.manifest.made_at:%Y-%m-%d %H:%M} UTC"
                    )
                    hit("before_restore_commit")
            except DBAPIError as error:
                said = " ".join(str(error.orig).split())[:200]
                raise UserError(f"{self.file} holds what the database refuses ({said}); nothing was restored") from None
            except (ValueError, TypeError, KeyError, RecursionError) as error:
                raise UserError(f"{self.file} is damaged ({error}); nothing was restored") from None
            made = False
            return rows, place.stand(now).copied
        finally:
            database.close()
            if made and database.path is not None:
                for ending in ("", "-wal", "-shm"):
                    database.path.with_name(database.path.name + ending).unlink(missing_ok=True)

    def _restore(self, connection: Connection, database: Database, *, force: bool) -> int:
        if self.manifest.schema_ not in revisions():
            raise ValueError("there never was its schema")
        database.lock_schema(connection)
        _make_room(connection, database, force=force)
        database.upgrade(connection, self.manifest.schema_)
        rows = 0
        with _any_order(connection):
            for name in self.manifest.members:
                if name.startswith("tables/"):
                    rows += self._load(connection, name)
        if not database.is_sqlite:
            _number_on(connection)
        database.upgrade(connection, "head")
        return rows

    def _load(self, connection: Connection, member: str) -> int:
        name = member.removeprefix("tables/").removesuffix(".jsonl")
        inspector = sa.inspect(connection)
        known = inspector.get_columns(name) if inspector.has_table(name) else ()
        there = {column["name"] for column in known if "computed" not in column}  # which the database fills by itself
        count = 0
        with self._open(member) as content:
            kinds: dict[str, str] = json.loads(content.readline())["columns"]
            if set(kinds) != there:
                raise ValueError(f"the columns of {name} are not those of schema {self.manifest.schema_}")
            table = sa.table(name, *(sa.column(column, TYPES[kind]) for column, kind in kinds.items()))
            batch: list[dict[str, Any]] = []
            for number, line in enumerate(content, 2):
                batch.append(_row(json.loads(line), kinds, f"{name}, line {number}"))
                if len(batch) == ROWS:
                    connection.execute(sa.insert(table), batch)
                    count += len(batch)
                    batch = []
                    hit("mid_restore")
            if batch:
                connection.execute(sa.insert(table), batch)
        return count + len(batch)


def _checked(file: Path, content: IO[bytes], archive: tarfile.TarFile) -> Manifest:
    length = os.fstat(content.fileno()).st_size
    found: dict[str, tarfile.TarInfo] = {}
    for info in archive:
        if not info.isreg() or info.issparse() or not MEMBER.fullmatch(info.name) or info.name in found or len(found) == MOST_MEMBERS:
            raise UserError(f"{file} holds {ascii(info.name)[:80]}, which no backup of triage does; nothing was restored")
        if info.size > length:
            raise ValueError("a file in it is longer than the whole")
        found[info.name] = info
    if MANIFEST not in found:
        raise ValueError("it has no manifest")
    if found[MANIFEST].size > LARGEST_MANIFEST:
        raise ValueError("its manifest is too long")
    listed = archive.extractfile(found.pop(MANIFEST))
    assert listed is not None
    told = json.loads(listed.read())
    if isinstance(told, dict) and (told.get("format") != FORMAT or str(told.get("schema", "")) > HEAD):
        raise UserError(
            f"{file} was made by triage {ascii(told.get('version'))[:40]} at schema {ascii(told.get('schema'))[:20]}, which is newer "
            f"than this one ({__version__}, schema {HEAD}); install that version, then restore"
        )
    try:
        manifest = Manifest.model_validate(told)
    except ValidationError as error:
        raise ValueError(f"its manifest can't be read: {error.errors()[0]['msg']}") from None
    if set(manifest.members) != set(found):
        raise ValueError("its manifest lists other files than it holds")
    for name, info in found.items():
        member, digest = archive.extractfile(info), hashlib.sha256()
        assert member is not None
        while block := member.read(BLOCK):
            digest.update(block)
        if info.size != manifest.members[name].size or digest.hexdigest() != manifest.members[name].sha256:
            raise UserError(f"{file} is damaged: {name} is not what its manifest says; nothing was restored")
    return manifest


def _row(values: Any, kinds: Mapping[str, str], where: str) -> dict[str, Any]:
    if not isinstance(values, list) or len(values) != len(kinds):
        raise ValueError(f"{where} has another number of columns")
    row = {}
    for (name, kind), value in zip(kinds.items(), values, strict=True):
        if value is not None and kind in _EXPECTED and not isinstance(value, _EXPECTED[kind]):
            raise ValueError(f"{where}: {name} is no {kind}")
        row[name] = value if value is None else _IN.get(kind, _same)(value)
    return row


def _make_room(connection: Connection, database: Database, *, force: bool) -> None:
    """Take the old tables away. `StoreError` when they hold something, or when a process works on them."""
    there = [name for name in (*metadata.tables, "alembic_version") if sa.inspect(connection).has_table(name)]
    if "owners" in there:
        if not database.is_sqlite:
            connection.execute(sa.text("LOCK TABLE owners IN ACCESS EXCLUSIVE MODE"))
        owners = Owners(database, "restore")
        for owner in connection.execute(sa.text("SELECT id, role, host, pid FROM owners")).all():
            if owners.is_alive(owner.id, connection):
                raise StoreError(f"a {owner.role} (process {owner.pid} on {owner.host}) works on this store; stop it, then restore again")
    for name in ("mentions", "actions", "problems"):
        if name in there and not force and connection.execute(sa.text(f"SELECT 1 FROM {name} LIMIT 1")).first():  # noqa: S608 - our own names
            raise StoreError("the store is not empty; restore into another one, or replace all that it holds with --force")
    if database.is_sqlite:
        connection.execute(sa.text(f"DROP TABLE IF EXISTS {FTS}"))  # its triggers go with the table of mentions
    old = sa.MetaData()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sa.exc.SAWarning)  # of an index that it can't describe; it goes with its table
        old.reflect(connection, only=there)
    old.drop_all(connection)


@contextmanager
def _any_order(connection: Connection) -> Iterator[None]:
    """Let rows refer to rows that come later; all must be there at the end."""
    if connection.dialect.name == "sqlite":
        connection.execute(sa.text("PRAGMA defer_foreign_keys = ON"))
        yield
        return
    inspector = sa.inspect(connection)
    keys = [
        (table, key["name"])
        for table in inspector.get_table_names()
        if table in metadata.tables
        for key in inspector.get_foreign_keys(table)
    ]
    quote = connection.dialect.identifier_preparer.quote
    for table, key in keys:
        connection.execute(sa.text(f"ALTER TABLE {quote(table)} ALTER CONSTRAINT {quote(str(key))} DEFERRABLE INITIALLY DEFERRED"))
    yield
    connection.execute(sa.text("SET CONSTRAINTS ALL IMMEDIATE"))
    for table, key in keys:
        connection.execute(sa.text(f"ALTER TABLE {quote(table)} ALTER CONSTRAINT {quote(str(key))} NOT DEFERRABLE"))


def _number_on(connection: Connection) -> None:
    """PostgreSQL's sequences know nothing of the rows that came with their numbers. A backup of an older schema may lack a table."""
    there = sa.inspect(connection).get_table_names()
    for table in metadata.sorted_tables:
        if table.name in there and "id" in table.c and isinstance(table.c.id.type, sa.Integer):
            sequence = connection.scalar(sa.select(sa.func.pg_get_serial_sequence(table.name, "id")))
            last = connection.scalar(sa.select(sa.func.max(table.c.id)))
            if sequence is not None and last is not None:
                connection.execute(sa.select(sa.func.setval(sequence, last)))


def digest(file: Path) -> str:
    """The sha256 of a file; `OSError` when it can't be read."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()

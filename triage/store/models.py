"""The models that were trained here, which of them acts, what the one in the shadow would have said, and the posts that nobody labelled.

A model lies in its row whole, so every worker on every host and every backup has it. What its files are worth is judged by who
loads them (`triage/classifier/archive.py`); here they are bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping

from triage.errors import ModelError, StoreError, UserError
from triage.mention import ActionKind, Mention, Verdict
from triage.store import rows
from triage.store.database import HEAD, Database, insert, revisions
from triage.store.moves import add_audit
from triage.store.place import put
from triage.store.schema import actions, disagreements, mentions, meta, models, samples, sightings, verdicts

FILES_KEPT = 10
"""So many models keep their files; of older ones only card and gate are left, but for those that act or run in the shadow."""

_REFUSED = "model_refused"  # in `meta`: the model that should act and can't be used, why, and on which host
_ABOUT = (
    models.c.version,
    models.c.state,
    models.c.card,
    models.c.gate,
    models.c.compared,
    models.c.made_at,
    models.c.made_by,
    models.c.changed_at,
    models.c.changed_by,
    (sa.func.length(models.c.files) > 0).label("has_files"),
)
# Word for word the condition of the partial indexes: SQLite takes them for nothing else.
_ACTIVE, _SHADOW = sa.text("state = 'active'"), sa.text("state = 'shadow'")


@dataclass(frozen=True, slots=True)
class Kept:
    """A model as the store keeps it. `state` is candidate, shadow, active, retired or refused; `gate` is None before its first gate.

    `compared` counts the mentions that it judged in the shadow, `has_files` is False when its files were dropped.
    """

    version: str
    state: str
    card: Mapping[str, Any]
    gate: Mapping[str, Any] | None
    compared: int
    made_at: datetime
    made_by: str
    changed_at: datetime
    changed_by: str
    has_files: bool


@dataclass(frozen=True, slots=True)
class Standing:
    """The versions that the store says should act (None: the one that ships) and run in the shadow (None: none)."""

    active: str | None
    shadow: str | None


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A mention of which the model in the shadow thinks something else. `label`, `confidence` and `sure` are what was said."""

    mention_id: int
    text: str
    label: str
    confidence: float
    sure: bool
    shadow_label: str
    shadow_confidence: float
    shadow_sure: bool
    at: datetime


@dataclass(frozen=True, slots=True)
class Unlabelled:
    """A mention that no person has labelled, with the newest verdict on it."""

    id: int
    mention: Mention
    verdict: Verdict


class Models:
    """The table of models. `by` is the person's name; a refusal is a `UserError` that ends with the next step."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def standing(self) -> Standing:
        """Which models should act now: asked every few seconds by every worker, so it reads two small indexes."""
        with self._database.read() as connection:
            return Standing(*(connection.scalar(sa.select(models.c.version).where(which)) for which in (_ACTIVE, _SHADOW)))

    def all(self) -> list[Kept]:
        """All of them, newest first."""
        with self._database.read() as connection:
            newest_first = sa.select(*_ABOUT).order_by(models.c.made_at.desc(), models.c.version)
            return [Kept(**row) for row in connection.execute(newest_first).mappings()]

    def get(self, version: str) -> Kept | None:
        """One of them; None when there is none of that version."""
        with self._database.read() as connection:
            row = connection.execute(sa.select(*_ABOUT).where(models.c.version == version)).mappings().first()
        return Kept(**row) if row is not None else None

    def files(self, version: str, largest: int) -> tuple[bytes, Mapping[str, Any]]:
        """The zip of a model and its card; no bytes where it was dropped, or is larger than `largest`. `ModelError` when there is none."""
        fit = sa.case((sa.func.length(models.c.files) <= largest, models.c.files), else_=sa.literal(b"", sa.LargeBinary))
        with self._database.read() as connection:
            row = connection.execute(sa.select(fit.label("files"), models.c.card).where(models.c.version == version)).mappings().first()
        if row is None:
            raise ModelError(f"there is no model {version!r}. Next: triage models lists those that there are")
        return bytes(row["files"]), row["card"]

    def add(self, version: str, card: Mapping[str, Any], files: bytes, by: str, now: datetime) -> None:
        """Keep a new model as a candidate; of the oldest ones the files are dropped."""
        row = {
            "version": version,
            "state": "candidate",
            "card": rows.clean_json(card),
            "files": files,
            "made_at": now,
            "made_by": rows.clean(by),
            "changed_at": now,
            "changed_by": rows.clean(by),
        }
        with self._database.write() as connection:
            added = insert(connection, models).values(row).on_conflict_do_nothing().returning(models.c.version)
            if connection.execute(added).first() is None:
                raise UserError(f"the model {version} is kept already. Next: triage models show {version}")
            add_audit(connection, now, by, "trained a model", detail=version)
            newest = sa.select(models.c.version).order_by(models.c.made_at.desc(), models.c.version).limit(FILES_KEPT)
            old = sa.update(models).where(models.c.version.not_in(newest), models.c.state.not_in(("active", "shadow")))
            connection.execute(old.where(sa.func.length(models.c.files) > 0).values(files=b""))

    def judged(self, version: str, gate: Mapping[str, Any], *, refused: bool, by: str, now: datetime) -> None:
        """Keep what the gate said of a model. One that it refused is refused for good; a model that acts is never changed here."""
        with self._database.write() as connection:
            this = sa.update(models).where(models.c.version == version, models.c.state != "active")
            values: dict[str, Any] = {"gate": rows.clean_json(gate), "changed_at": now, "changed_by": rows.clean(by)}
            if connection.execute(this.values(values | ({"state": "refused"} if refused else {}))).rowcount != 1:
                raise UserError(f"the model {version} has just changed. Next: look at it again with triage models")
            add_audit(connection, now, by, f"the gate: {gate['outcome']}", detail=f"{version} against {gate['today']}: {gate['reason']}")

    def activate(self, version: str | None, *, over: str | None, by: str, now: datetime, what: str) -> None:
        """Let a model act (None: the one that ships) in place of `over`. Of two processes that do so at once one wins.

        `UserError` when another one than `over` acts by now, or when the model can't be let in.
        """
        with self._database.write() as connection:
            self._alone(connection)
            acting = connection.scalar(sa.select(models.c.version).where(_ACTIVE))
            if acting != over:
                raise UserError(
                    f"somebody was faster: {acting or 'the model that ships'} acts since a moment ago, not {over or 'the one that ships'}; "
                    "nothing was changed. Next: look at triage models, then ask again"
                )
            if acting is not None:
                self._change(connection, acting, "retired", by, now)
            if version is not None:
                this = sa.select(models.c.state, sa.func.length(models.c.files)).where(models.c.version == version)
                state, size = connection.execute(this).one()
                if state == "refused" or not size:
                    raise UserError(f"the model {version} can't act: it is refused, or its files were dropped. Next: triage models")
                self._change(connection, version, "active", by, now)
            connection.execute(sa.delete(meta).where(meta.c.name == _REFUSED))
            shown = version or "the model that ships"
            add_audit(connection, now, by, what, detail=f"{shown} in place of {over or 'the model that ships'}")

    def _change(self, connection: Connection, version: str, state: str, by: str, now: datetime) -> None:
        values = {"state": state, "changed_at": now, "changed_by": rows.clean(by)}
        connection.execute(sa.update(models).where(models.c.version == version).values(values))

    def _alone(self, connection: Connection) -> None:
        """One process at a time changes which models act. On SQLite writing is that lock."""
        if not self._database.is_sqlite:
            connection.execute(sa.text("LOCK TABLE models IN SHARE ROW EXCLUSIVE MODE"))

    # A model that should act and can't

    def note_refusal(self, version: str, why: str, host: str) -> None:
        """A process could not load the model that should act: `triage status` tells it."""
        with self._database.write() as connection:
            put(connection, _REFUSED, json.dumps({"version": version, "why": rows.clean(why), "host": host}))

    def clear_refusal(self, version: str, host: str) -> None:
        """This host can use it after all."""
        if (noted := self.refusal()) is not None and (noted["version"], noted["host"]) == (version, host):
            with self._database.write() as connection:
                connection.execute(sa.delete(meta).where(meta.c.name == _REFUSED))

    def refusal(self) -> dict[str, str] | None:
        """The version that can't be used, why, and the host that says so; None when all is well."""
        with self._database.read() as connection:
            text = connection.scalar(sa.select(meta.c.value).where(meta.c.name == _REFUSED))
        found: dict[str, str] | None = json.loads(text) if text else None
        return found

    # The shadow

    def begin_shadow(self, version: str, by: str, now: datetime) -> None:
        """Run a candidate or a retired model beside the one that acts; what it said before is forgotten. One at a time."""
        with self._database.write() as connection:
            self._alone(connection)
            beside = connection.scalar(sa.select(models.c.version).where(_SHADOW))
            if beside is not None:
                raise UserError(f"{beside} is in the shadow already, and one at a time can be. Next: triage shadow stop")
            wanted = sa.update(models).where(
                models.c.version == version, models.c.state.in_(("candidate", "retired")), sa.func.length(models.c.files) > 0
            )
            values = {"state": "shadow", "compared": 0, "changed_at": now, "changed_by": rows.clean(by)}
            if connection.execute(wanted.values(values)).rowcount != 1:
                raise UserError(
                    f"{version} can't run in the shadow: only a candidate or a retired model whose files are kept can. Next: triage models"
                )
            connection.execute(sa.delete(disagreements).where(disagreements.c.version == version))
            add_audit(connection, now, by, "began a shadow", detail=version)

    def end_shadow(self, by: str, now: datetime) -> str:
        """Stop it; it is a candidate again. Returns its version; `UserError` when there is none."""
        with self._database.write() as connection:
            self._alone(connection)
            version: str | None = connection.scalar(sa.select(models.c.version).where(_SHADOW))
            if version is None:
                raise UserError("no model is in the shadow. Next: triage shadow start VERSION")
            self._change(connection, version, "candidate", by, now)
            add_audit(connection, now, by, "ended a shadow", detail=version)
        return version

    def compare(self, version: str, compared: int, others: Sequence[tuple[int, Verdict]], now: datetime) -> None:
        """Count the mentions that the model in the shadow judged, and keep those (by their ids) of which it thinks something else."""
        with self._database.write() as connection:
            this = sa.update(models).where(models.c.version == version, models.c.state == "shadow")
            if connection.execute(this.values(compared=models.c.compared + compared)).rowcount != 1 or not others:
                return  # it was stopped in the meantime
            found = [
                {
                    "version": version,
                    "mention_id": id_,
                    "label": str(verdict.label),
                    "confidence": float(verdict.confidence),
                    "sure": verdict.sure,
                    "at": now,
                }
                for id_, verdict in others
            ]
            connection.execute(insert(connection, disagreements).on_conflict_do_nothing(), found)

    def disagreements(self, version: str, limit: int) -> tuple[int, int, list[Disagreement]]:
        """How many there are, in how many of them the label is another one, and the newest; deleted posts are counted, not shown."""
        said = sa.alias(verdicts, "said")
        inner = verdicts.alias("newest")
        newest = (  # what was said at the time: people's words came later
            sa.select(sa.func.max(inner.c.id))
            .where(inner.c.mention_id == disagreements.c.mention_id, inner.c.by_person.is_(False), inner.c.at <= disagreements.c.at)
            .correlate(disagreements)
            .scalar_subquery()
        )
        both = disagreements.join(said, said.c.id == newest)
        other = sa.func.coalesce(sa.func.sum(sa.case((said.c.label != disagreements.c.label, 1), else_=0)), 0)
        counts = sa.select(sa.func.count(), other).select_from(both).where(disagreements.c.version == version)
        shown = (
            sa.select(
                disagreements.c.mention_id,
                mentions.c.text,
                said.c.label,
                said.c.confidence,
                said.c.sure,
                disagreements.c.label.label("shadow_label"),
                disagreements.c.confidence.label("shadow_confidence"),
                disagreements.c.sure.label("shadow_sure"),
                disagreements.c.at,
            )
            .select_from(both.join(mentions, mentions.c.id == disagreements.c.mention_id))
            .where(disagreements.c.version == version, mentions.c.deleted_at.is_(None))
            .order_by(disagreements.c.mention_id.desc())
            .limit(limit)
        )
        with self._database.read() as connection:
            count, labels = connection.execute(counts).one()
            found = [Disagreement(**row) for row in connection.execute(shown).mappings()]
        return int(count), int(labels), found

    # Posts that nobody labelled

    def unlabelled(self, limit: int) -> list[Unlabelled]:
        """The newest mentions that were judged and that no person has labelled, newest first.

        Not those that are deleted or quarantined, nor those that wait for a blind audit, since who labels here sees the labels.
        """
        said = sa.alias(verdicts, "said")
        inner = verdicts.alias("newest")
        newest = sa.select(sa.func.max(inner.c.id)).where(inner.c.mention_id == mentions.c.id).correlate(mentions).scalar_subquery()
        by_person = sa.exists().where(verdicts.c.mention_id == mentions.c.id, verdicts.c.by_person)
        audited = sa.exists().where(samples.c.mention_id == mentions.c.id, samples.c.answer.is_(None))
        wanted = sa.and_(mentions.c.deleted_at.is_(None), mentions.c.quarantined.is_(None), mentions.c.platform != "", ~by_person, ~audited)
        columns = (said.c.label, said.c.confidence, said.c.sure, said.c.by, said.c.by_person, said.c.data.label("verdict_data"))
        statement = (
            sa.select(mentions, *columns)
            .select_from(mentions.join(said, said.c.id == newest))
            .where(wanted, said.c.revision == mentions.c.revision)
            .order_by(mentions.c.id.desc())
            .limit(limit)
        )
        with self._database.read() as connection:
            return [Unlabelled(row["id"], rows.to_mention(row), _verdict(row)) for row in connection.execute(statement).mappings()]

    def parent(self, source: str, parent_id: str) -> tuple[str, str] | None:
        """The author and text of the post that a mention answers, where the store knows it: a mention, or an answer of ours."""
        seen = (
            sa.select(mentions.c.author, mentions.c.text)
            .join(sightings, sightings.c.mention_id == mentions.c.id)
            .where(sightings.c.source == source, sightings.c.remote_id == parent_id, mentions.c.deleted_at.is_(None))
        )
        ours = sa.select(actions.c.payload).where(
            actions.c.via == source, actions.c.remote_id == parent_id, actions.c.kind == str(ActionKind.REPLY)
        )
        with self._database.read() as connection:
            if (row := connection.execute(seen.limit(1)).first()) is not None:
                return row[0], row[1]
            reply = connection.scalar(ours.limit(1))
        return ("us", str(reply.get("text", ""))) if reply else None


def _verdict(row: RowMapping) -> Verdict:
    names = ("label", "confidence", "sure", "by", "by_person")
    columns: Any = {name: row[name] for name in names} | {"data": row["verdict_data"]}
    return rows.to_verdict(columns)


@contextmanager
def looked_into(url: str) -> Iterator[Models | None]:
    """The models of the store at `url` as it lies there: it is not made, and not brought to this version's schema.

    None where there is no store yet, or one from before it held models. `StoreError` where it can't be read, or is of a newer version.
    """
    path = Path(sa.make_url(url).database or "") if url.startswith("sqlite") else None
    if path is not None and not (path.is_file() and path.stat().st_size):
        yield None
        return
    database = Database(url)
    try:
        version = database.version()
        if version not in ("", HEAD) and version not in revisions():
            raise StoreError(f"the database is at schema {version}, which this version of triage does not know; install the newer triage")
        with database.read() as connection:
            known = sa.inspect(connection).has_table(models.name)
        yield Models(database) if known else None
    finally:
        database.close()

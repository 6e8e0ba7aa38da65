"""What was, as it can be judged again: each mention with its last verdict, and who was first. Nothing here writes."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import RowMapping

from triage.mention import ActionKind, Mention, State, Verdict, Visibility
from triage.store import batch, rows
from triage.store.board import LIVE, Claimed
from triage.store.database import Database
from triage.store.schema import actions, mentions, problems, verdicts

PAGE = 1_000
_FILED = tuple(str(state) for state in (*LIVE, State.OBSERVED))


@dataclass(frozen=True, slots=True)
class Past:
    """A stored mention and what was last said of it; `rule` and `reason` are those that it was routed by, `at` tells when.

    `claimed.new_author` is as of then. All but `claimed` is empty or None while nobody has judged it.
    """

    claimed: Claimed
    deleted: bool
    thread: str
    problem_id: int | None
    verdict: Verdict | None
    at: datetime | None
    rule: str
    reason: str


@dataclass(frozen=True, slots=True)
class Corrected:
    """A mention as a person labelled it last."""

    mention_id: int
    mention: Mention
    label: str


class History:
    """Read-only questions about what was."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def past(self, mention_id: int) -> Past:
        """One mention, by its number."""
        with self._database.read() as connection:
            row = connection.execute(_statement().where(mentions.c.id == mention_id)).one()
        return _past(row._mapping)

    def pages(self, since: datetime, until: datetime, size: int = PAGE) -> Iterator[list[Past]]:
        """What was posted from `since` to before `until`, oldest first, a page at a time. What could never be read is left out."""
        last: tuple[datetime, int] | None = None
        while True:
            statement = _statement().where(mentions.c.created_at >= (last[0] if last else since), mentions.c.created_at < until)
            statement = statement.where(mentions.c.platform != "").order_by(mentions.c.created_at, mentions.c.id).limit(size)
            if last is not None:
                statement = statement.where(
                    sa.or_(mentions.c.created_at > last[0], sa.and_(mentions.c.created_at == last[0], mentions.c.id > last[1]))
                )
            with self._database.read() as connection:
                page = [_past(row._mapping) for row in connection.execute(statement)]
            if not page:
                return
            last = page[-1].claimed.mention.created_at, page[-1].claimed.id
            yield page

    def filed(self, problem_ids: Collection[int], before: datetime) -> dict[int, str]:
        """Of these problems those that had a ticket, or one on its way, by a post from before that time; with its tracker."""
        with self._database.read() as connection:
            statement = (
                sa.select(actions.c.problem_id, actions.c.via, problems.c.tracker)
                .join(mentions, mentions.c.id == actions.c.mention_id)
                .join(problems, problems.c.id == actions.c.problem_id)
                .where(
                    batch.among(connection, actions.c.problem_id, problem_ids),
                    actions.c.kind == str(ActionKind.TICKET),
                    actions.c.state.in_(_FILED),
                    mentions.c.created_at < before,
                )
            )
            return {problem_id: tracker or via for problem_id, via, tracker in connection.execute(statement)}

    def reported_again(self, problem_ids: Collection[int]) -> set[int]:
        """Of these problems those that more than one mention belongs to."""
        with self._database.read() as connection:
            these = batch.among(connection, mentions.c.problem_id, problem_ids)
            statement = sa.select(mentions.c.problem_id).where(these).group_by(mentions.c.problem_id).having(sa.func.count() > 1)
            return set(connection.execute(statement).scalars())

    def corrections(self) -> Iterator[Corrected]:
        """What people labelled, with the last label of each, but for private posts: those are shown with themselves alone."""
        newest = sa.select(sa.func.max(verdicts.c.id)).where(verdicts.c.by_person).group_by(verdicts.c.mention_id)
        private = [str(one) for one in Visibility if one.is_private]
        statement = (
            sa.select(mentions, verdicts.c.label)
            .join(verdicts, verdicts.c.mention_id == mentions.c.id)
            .where(verdicts.c.id.in_(newest), mentions.c.visibility.not_in(private), mentions.c.deleted_at.is_(None))
            .order_by(verdicts.c.id)
        )
        with self._database.read() as connection:
            found = connection.execute(statement).mappings().all()
        for row in found:
            yield Corrected(row["id"], rows.to_mention(row), row["label"])


def _statement() -> sa.Select[Any]:
    """Mentions with their last verdicts, and the first mention by each one's author."""
    others, newest = mentions.alias("others"), verdicts.alias("newest")
    first = sa.select(sa.func.min(others.c.id)).where(others.c.author == mentions.c.author).scalar_subquery()
    last = sa.select(sa.func.max(newest.c.id)).where(newest.c.mention_id == mentions.c.id).correlate(mentions).scalar_subquery()
    said = [column.label(f"verdict_{column.name}") for column in verdicts.c]
    return sa.select(mentions, first.label("first"), *said).select_from(mentions.outerjoin(verdicts, verdicts.c.id == last))


def _past(row: RowMapping) -> Past:
    said = {name.removeprefix("verdict_"): row[name] for name in row if name.startswith("verdict_")}
    judged = said["id"] is not None
    claimed = Claimed(
        row["id"], row["attempt"], row["revision"], rows.to_mention(row), row["observe"], row["first"] == row["id"], row["stored_at"]
    )
    return Past(
        claimed=claimed,
        deleted=row["deleted_at"] is not None,
        thread=row["thread"] or row["uri"],
        problem_id=row["problem_id"],
        verdict=rows.to_verdict(said) if judged else None,
        at=said["at"],
        rule=said["data"].get("rule", "") if judged else "",
        reason=said["data"].get("reason", "") if judged else "",
    )

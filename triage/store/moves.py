"""Changes of an action's or an alert's state that happen within somebody else's transaction, and the trail of them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping

from triage.errors import UserError
from triage.mention import HUMAN, ActionKind, State
from triage.store import batch, rows
from triage.store.schema import actions, alerts, approvals, audit, mentions

BY_OWN_WORD = "needed no approval"
"""The line of the trail where somebody answers by hand who may approve such answers."""

INHERITED = "it became the ticket's own report"


def add_audit(
    connection: Connection,
    now: datetime,
    who: str,
    what: str,
    *,
    mention_id: int | None = None,
    action_id: int | None = None,
    detail: str = "",
) -> None:
    """One line of the trail that `triage show` prints."""
    connection.execute(
        sa.insert(audit).values(
            at=now, who=rows.clean(who), what=what, mention_id=mention_id, action_id=action_id, detail=rows.clean(detail)
        )
    )


def cancel(connection: Connection, action_id: int, now: datetime, why: str, by: str = "triage") -> bool:
    """planned (or parked, rejected, observed by a person's word) → cancelled, with everything that waits for it."""
    allowed = [str(s) for s in (State.PLANNED, State.PARKED, State.REJECTED, State.OBSERVED)]
    statement = sa.update(actions).where(actions.c.id == action_id, actions.c.state.in_(allowed))
    if (
        connection.execute(
            statement.values(state=str(State.CANCELLED), due_at=None, error=rows.clean(why), closed_at=now, closed_by=by)
        ).rowcount
        != 1
    ):
        return False
    mention_id = connection.scalar(sa.select(actions.c.mention_id).where(actions.c.id == action_id))
    add_audit(connection, now, by, "cancelled", mention_id=mention_id, action_id=action_id, detail=why)
    subjects = [connection.scalar(sa.select(actions.c.key).where(actions.c.id == action_id))]
    kind = connection.scalar(sa.select(actions.c.kind).where(actions.c.id == action_id))
    if kind == ActionKind.REPLY:
        open_approval = sa.update(approvals).where(approvals.c.action_id == action_id, approvals.c.decision.is_(None))
        connection.execute(open_approval.values(decision="void", decided_by=by, decided_at=now, why=rows.clean(why)))
    if kind == ActionKind.TASK:
        subjects.append(connection.scalar(sa.select(mentions.c.uri).where(mentions.c.id == mention_id)))
    for (alert_id,) in connection.execute(sa.select(alerts.c.id).where(alerts.c.subject.in_(subjects), alerts.c.closed_at.is_(None))).all():
        close_alert(connection, now, alert_id)
    for (waiting,) in connection.execute(sa.select(actions.c.id).where(actions.c.after_id == action_id)).all():
        cancel(connection, waiting, now, why, by)
    return True


def withdraw_ticket(connection: Connection, action_id: int, now: datetime, why: str) -> None:
    """A planned ticket loses its report. Another report of the same problem takes it over; without one it is cancelled."""
    ticket = connection.execute(sa.select(actions).where(actions.c.id == action_id)).mappings().one()
    heirs = (
        sa.select(actions)
        .where(
            actions.c.problem_id == ticket["problem_id"],
            actions.c.kind == str(ActionKind.COMMENT),
            actions.c.state == str(State.PLANNED),
            actions.c.mention_id != ticket["mention_id"],
        )
        .order_by(actions.c.id)
    )
    heir = next((row for row in connection.execute(heirs).mappings().all() if row["payload"].get("what") == "report"), None)
    if heir is None or ticket["state"] != State.PLANNED:
        cancel(connection, action_id, now, why)
        return
    connection.execute(
        sa.update(actions).where(actions.c.id == action_id).values(mention_id=heir["mention_id"], reason=heir["reason"], rule=heir["rule"])
    )
    blank = sa.select(actions.c.id).where(actions.c.after_id == action_id, actions.c.kind == str(ActionKind.BLANK))
    for blank_id in connection.execute(blank).scalars().all():  # the ticket won't hold what that was to take out
        cancel(connection, blank_id, now, why)
    connection.execute(sa.update(actions).where(actions.c.id == heir["id"]).values(after_id=None))
    cancel(connection, heir["id"], now, INHERITED)
    add_audit(connection, now, "triage", "ticket passed to the next report", mention_id=heir["mention_id"], action_id=action_id, detail=why)


def give_ticket_back(connection: Connection, ticket_id: int, mention_id: int, now: datetime) -> None:
    """A ticket that had passed on is there after all, with its first report's words: the heir's report becomes its comment again."""
    heir = connection.scalar(sa.select(actions.c.mention_id).where(actions.c.id == ticket_id))
    if heir == mention_id:
        return
    connection.execute(sa.update(actions).where(actions.c.id == ticket_id).values(mention_id=mention_id))
    of_heir = sa.and_(actions.c.mention_id == heir, actions.c.kind == str(ActionKind.COMMENT), actions.c.error == INHERITED)
    again = {"state": str(State.PLANNED), "after_id": ticket_id, "due_at": now, "error": "", "closed_at": None, "closed_by": ""}
    connection.execute(sa.update(actions).where(of_heir, actions.c.state == str(State.CANCELLED)).values(again))
    add_audit(connection, now, "triage", "ticket is the first report's after all", mention_id=heir, action_id=ticket_id)


def open_alerts(connection: Connection, now: datetime, wanted: Mapping[tuple[str, str], Mapping[str, Any]]) -> dict[tuple[str, str], int]:
    """The ids of the open alerts of these names and subjects; new ones where there is none.

    The values hold `severity` and `summary`, and may hold `labels` and `url`.
    """
    if not wanted:
        return {}
    new = [
        {
            "name": name,
            "subject": subject,
            "severity": alert["severity"],
            "summary": rows.clean(alert["summary"]),
            "data": rows.clean_json({"labels": alert.get("labels", {}), "url": alert.get("url", "")}),
            "opened_at": now,
        }
        for (name, subject), alert in sorted(wanted.items())
    ]
    batch.add(connection, alerts, new)
    subjects = batch.among(connection, alerts.c.subject, {subject for _, subject in wanted})
    names = alerts.c.name.in_({name for name, _ in wanted})
    same = sa.select(alerts.c.name, alerts.c.subject, alerts.c.id).where(names, subjects, alerts.c.closed_at.is_(None))
    return {(name, subject): id_ for name, subject, id_ in connection.execute(same).all()}


def close_alert(connection: Connection, now: datetime, alert_id: int) -> None:
    """It is over: every notifier that was told is told so."""
    connection.execute(sa.update(alerts).where(alerts.c.id == alert_id, alerts.c.closed_at.is_(None)).values(closed_at=now))
    told = sa.update(actions).where(actions.c.alert_id == alert_id, actions.c.state.in_([str(State.DONE), str(State.PLANNED)]))
    connection.execute(told.values(state=str(State.PLANNED), due_at=now))


def raise_again(connection: Connection, mention_id: int, ended_at: datetime, now: datetime) -> None:
    """A task that ended at this moment is open again, so the alerts of its post that were over with it are raised anew.

    Each is a new alert of the same name and labels, with keys of its own: who drops repetitions by the key must not drop it.
    """
    over = (
        sa.select(actions, alerts.c.name, alerts.c.subject, alerts.c.severity, alerts.c.summary, alerts.c.data)
        .join(alerts, alerts.c.id == actions.c.alert_id)
        .where(actions.c.mention_id == mention_id, actions.c.kind == str(ActionKind.ALERT), alerts.c.closed_at == ended_at)
        .where(actions.c.state != str(State.CANCELLED))
        .order_by(actions.c.id)
    )
    for old in connection.execute(over).mappings().all():
        this = (old["name"], old["subject"])
        values = {"severity": old["severity"], "summary": old["summary"], **old["data"]}
        alert_id = open_alerts(connection, now, {this: values})[this]
        told = sa.select(actions.c.id).where(actions.c.alert_id == alert_id, actions.c.via == old["via"])
        if connection.execute(told).first() is not None:
            continue  # of another task of the post, or by a later verdict
        row = {name: old[name] for name in ("kind", "via", "mention_id", "problem_id", "reason", "payload")} | {
            "key": f"{old['key'].removesuffix('/' + str(old['alert_id']))}/{alert_id}",
            "state": str(State.PLANNED),
            "alert_id": alert_id,
            "rule": "",  # no verdict asked for it, and none takes it back: it is over with the task
            "due_at": now,
            "created_at": now,
        }
        connection.execute(sa.insert(actions).values(row))
        add_audit(connection, now, "triage", "alert raised again", mention_id=mention_id, detail=f"{old['name']} at {old['via']}")


def open_task(connection: Connection, task_id: int) -> RowMapping:
    """A person's task that is open, its row locked; a `UserError` says who was first where it no longer is."""
    row = connection.execute(sa.select(actions).where(actions.c.id == task_id).with_for_update()).mappings().first()
    if row is None or row["via"] != HUMAN:
        raise UserError(f"there is no task {task_id}; triage queue lists the open ones")
    if row["state"] != State.PLANNED:
        when = f" at {row['closed_at']:%Y-%m-%d %H:%M} UTC" if row["closed_at"] else ""
        why = f" ({row['error']})" if row["error"] else ""
        raise UserError(f"task {task_id} is {row['state']} by {row['closed_by'] or 'triage'}{when}{why}; nothing was sent")
    return row


def refuse_undecided(connection: Connection, row: RowMapping) -> None:
    """`UserError` where an action is an answer, or a part of one, that waits for an approval: that is decided first."""
    if row["kind"] != ActionKind.REPLY:
        return
    first = row["payload"].get("first", row["id"])
    waits = sa.select(approvals.c.role).where(approvals.c.action_id == first, approvals.c.decision.is_(None))
    if (role := connection.scalar(waits)) is not None:
        raise UserError(f"answer {first} waits for approval by {role}; nothing was changed. Not wanted: triage drop {first}")


def locked(connection: Connection, action_id: int) -> RowMapping | None:
    """An action with its post's row and its own locked, in the order of everybody else; None when there is none."""
    mention = sa.select(mentions.c.id).join(actions, actions.c.mention_id == mentions.c.id).where(actions.c.id == action_id)
    connection.execute(mention.with_for_update(of=mentions))
    return connection.execute(sa.select(actions).where(actions.c.id == action_id).with_for_update()).mappings().first()


def close_task(connection: Connection, task_id: int, by: str, now: datetime) -> RowMapping:
    """planned → done for a person's task, and the alert about it is over. Of two people one wins, the other gets a `UserError`."""
    row = open_task(connection, task_id)
    refuse_undecided(connection, row)
    statement = sa.update(actions).where(actions.c.id == task_id, actions.c.state == str(State.PLANNED))
    if connection.execute(statement.values(state=str(State.DONE), closed_at=now, closed_by=by, error="")).rowcount != 1:
        raise UserError(f"somebody else has just closed task {task_id}; nothing was sent")
    uri = connection.scalar(sa.select(mentions.c.uri).where(mentions.c.id == row["mention_id"]))
    raised = sa.select(alerts.c.id).where(alerts.c.subject.in_([uri, row["key"]]), alerts.c.closed_at.is_(None))
    for (alert_id,) in connection.execute(raised).all():
        close_alert(connection, now, alert_id)
    return row

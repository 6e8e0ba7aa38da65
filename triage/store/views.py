"""What people and machines look at: plain data, ready to be printed or turned into JSON. Nothing here writes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import RowMapping

from triage.budget import Budget
from triage.details import details
from triage.mention import HUMAN, ActionKind, State, Verdict
from triage.store import rows
from triage.store.accounts import HELD, STOPPED
from triage.store.database import Database
from triage.store.schema import OPEN, accounts, actions, alerts, attempts, audit, mentions, owners, problems, revisions, verdicts
from triage.store.seen import Seen
from triage.store.totals import totals
from triage.text import classifier_input

STUCK = tuple(str(state) for state in (State.DOUBT, State.PARKED, State.REJECTED))


def _last_verdict() -> Any:
    """The id of a mention's newest verdict."""
    inner = verdicts.alias("newest")
    return sa.select(sa.func.max(inner.c.id)).where(inner.c.mention_id == mentions.c.id).correlate(mentions).scalar_subquery()


class Views:
    """Read-only questions to the store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def queue(self, limit: int = 10_000) -> list[dict[str, Any]]:
        """Open human tasks, urgent ones first, then oldest first; and actions that wait for a decision, an approval, or a spent limit."""
        open_task = sa.and_(actions.c.via == HUMAN, actions.c.state == str(State.PLANNED))
        held = sa.and_(actions.c.state == str(State.PLANNED), actions.c.error.like(f"{HELD}%"))
        statement = (
            sa.select(
                actions,
                mentions,
                verdicts.c.label,
                verdicts.c.confidence,
                verdicts.c.sure,
                verdicts.c.by_person,
                verdicts.c.data.label("verdict_data"),
                problems.c.ticket_id,
                problems.c.ticket,
            )
            .select_from(
                actions.outerjoin(mentions, mentions.c.id == actions.c.mention_id)
                .outerjoin(verdicts, verdicts.c.id == _last_verdict())
                .outerjoin(problems, problems.c.id == actions.c.problem_id)
            )
            .where(OPEN, sa.or_(open_task, actions.c.state.in_(STUCK), held))
            .order_by(actions.c.created_at, actions.c.id)
            .limit(limit)
        )
        with self._database.read() as connection:
            found = [_queue_row(row) for row in (r._mapping for r in connection.execute(statement))]
        return sorted(found, key=lambda row: (not row["urgent"], row["since"], row["id"]))

    def quarantined(self, limit: int = 200) -> list[dict[str, Any]]:
        """What could not be read or judged, newest first."""
        statement = sa.select(mentions).where(mentions.c.quarantined.is_not(None)).order_by(mentions.c.id.desc()).limit(limit)
        with self._database.read() as connection:
            return [
                {
                    "id": row["id"],
                    "source": row["source"],
                    "why": row["quarantined"],
                    "stored_at": row["stored_at"],
                    "url": row["data"].get("url", ""),
                }
                for row in connection.execute(statement).mappings()
            ]

    def status(self, now: datetime) -> dict[str, Any]:
        """The service at a glance."""
        with self._database.read() as connection:
            total = totals(connection, now)
            waiting = connection.scalar(sa.select(sa.func.count()).where(mentions.c.due_at.is_not(None)))
            quarantined = connection.scalar(sa.select(sa.func.count()).where(mentions.c.quarantined.is_not(None)))
            oldest = connection.scalar(
                sa.select(sa.func.min(actions.c.created_at)).where(OPEN, actions.c.via == HUMAN, actions.c.state == str(State.PLANNED))
            )
            people = connection.execute(sa.select(accounts).order_by(accounts.c.role, accounts.c.name)).mappings().all()
            raised = connection.execute(sa.select(alerts).where(alerts.c.closed_at.is_(None)).order_by(alerts.c.opened_at)).mappings().all()
            alive = sa.and_(owners.c.role == "worker", owners.c.seen_at > now - timedelta(minutes=2))
            working = connection.execute(sa.select(owners).where(alive)).mappings().all()
        counts: dict[str, dict[str, int]] = {}
        for (kind, state), count in total.actions.items():
            counts.setdefault(kind, {})[state] = count
        return {
            "mentions": {"stored": total.mentions, "waiting": waiting, "quarantined": quarantined, "labels": dict(total.labels)},
            "actions": counts,
            "open_tasks": counts.get("task", {}).get("planned", 0),
            "in_doubt": sum(states.get("doubt", 0) for states in counts.values()),
            "parked": sum(states.get("parked", 0) + states.get("rejected", 0) for states in counts.values()),
            "oldest_open_seconds": round((now - oldest).total_seconds()) if oldest else None,
            "accounts": [_account(row, now) for row in people],
            "alerts": [
                {
                    "name": row["name"],
                    "subject": row["subject"],
                    "severity": row["severity"],
                    "summary": row["summary"],
                    "since": row["opened_at"],
                }
                for row in raised
            ],
            "workers": [{"role": row["role"], "host": row["host"], "pid": row["pid"]} for row in working],
        }

    def show(self, mention_id: int) -> dict[str, Any]:
        """Everything that happened to a mention, and why, in the order of time."""
        with self._database.read() as connection:
            row = connection.execute(sa.select(mentions).where(mentions.c.id == mention_id)).mappings().one()
            found = (
                connection.execute(sa.select(verdicts).where(verdicts.c.mention_id == mention_id).order_by(verdicts.c.id)).mappings().all()
            )
            done = connection.execute(sa.select(actions).where(actions.c.mention_id == mention_id).order_by(actions.c.id)).mappings().all()
            texts = (
                connection.execute(sa.select(revisions).where(revisions.c.mention_id == mention_id).order_by(revisions.c.number))
                .mappings()
                .all()
            )
            ids = [action["id"] for action in done]
            tries = (
                connection.execute(sa.select(attempts).where(attempts.c.action_id.in_(ids)).order_by(attempts.c.started_at))
                .mappings()
                .all()
            )
            about = sa.or_(audit.c.mention_id == mention_id, audit.c.action_id.in_(ids))
            trail = connection.execute(sa.select(audit).where(about).order_by(audit.c.id)).mappings().all()
            problem = connection.execute(sa.select(problems).where(problems.c.id == row["problem_id"])).mappings().first()
        mention = rows.to_mention(row) if row["platform"] else None
        events = [
            {"at": row["stored_at"], "who": "triage", "what": "stored", "detail": f"via {row['data'].get('via', '?')} on {row['source']}"}
        ]
        events += [
            {"at": text["seen_at"], "who": row["author"], "what": f"text of revision {text['number']}", "detail": text["text"]}
            for text in texts[1:]
        ]
        events += [_judged(verdict) for verdict in found]
        events += [_planned(action) for action in done]
        events += [
            {
                "at": attempt["started_at"],
                "who": "triage",
                "what": f"action {attempt['action_id']}, attempt {attempt['number']}",
                "detail": "begun",
            }
            for attempt in tries
        ]
        events += [_line(line) for line in trail]
        events.sort(key=lambda event: event["at"])
        ticket = rows.to_ticket(problem["ticket_id"], problem["ticket"]) if problem else None
        return {
            "id": mention_id,
            "seen": str(Seen(row["revision"], found[-1]["id"] if found else 0)),
            "uri": row["uri"],
            "url": row["data"].get("url", ""),
            "author": row["author"],
            "text": row["text"],
            "warning": row["data"].get("warning", ""),
            "visibility": row["visibility"],
            "language": row["language"],
            "created_at": row["created_at"],
            "deleted_at": row["deleted_at"],
            "quarantined": row["quarantined"],
            "status": _mention_status(row, done),
            "verdict": _verdict(rows.to_verdict(found[-1])) if found else None,
            "details": {name.lower(): values for name, values in details(row["text"]).facts()},
            "thread": row["thread"],
            "thread_why": found[-1]["data"].get("thread_why", "") if found else "",
            "problem": row["problem_id"],
            "ticket": _ticket(ticket),
            "attachments": [a.url for a in mention.attachments] if mention else [],
            "raw": _raw(texts[-1]["raw"]) if texts and not row["platform"] else None,
            "actions": [_action(action) for action in done],
            "events": events,
        }

    def export(self) -> Iterator[dict[str, Any]]:
        """All mentions with their last verdict, oldest first, a thousand at a time."""
        last = 0
        while True:
            statement = (
                sa.select(
                    mentions,
                    verdicts.c.label,
                    verdicts.c.confidence,
                    verdicts.c.sure,
                    verdicts.c.by,
                    verdicts.c.by_person,
                    problems.c.ticket_id,
                    problems.c.ticket,
                )
                .select_from(
                    mentions.outerjoin(verdicts, verdicts.c.id == _last_verdict()).outerjoin(
                        problems, problems.c.id == mentions.c.problem_id
                    )
                )
                .where(mentions.c.id > last)
                .order_by(mentions.c.id)
                .limit(1000)
            )
            with self._database.read() as connection:
                page = [r._mapping for r in connection.execute(statement)]
                states: dict[int, list[RowMapping]] = {}
                for action in connection.execute(
                    sa.select(actions).where(actions.c.mention_id.in_([row["id"] for row in page]))
                ).mappings():
                    states.setdefault(action["mention_id"], []).append(action)
            if not page:
                return
            for row in page:
                ticket = rows.to_ticket(row["ticket_id"], row["ticket"])
                yield {
                    "id": row["id"],
                    "uri": row["uri"],
                    "url": row["data"].get("url", ""),
                    "source": row["source"],
                    "author": row["author"],
                    "created_at": row["created_at"],
                    "visibility": row["visibility"],
                    "language": row["language"],
                    "text": row["text"],
                    "label": row["label"],
                    "confidence": row["confidence"],
                    "sure": row["sure"],
                    "by": row["by"],
                    "by_person": row["by_person"],
                    "problem": row["problem_id"],
                    "ticket": ticket.key if ticket else None,
                    "status": _mention_status(row, states.get(row["id"], [])),
                }
            last = page[-1]["id"]

    def count(self) -> int:
        """How many mentions are stored."""
        with self._database.read() as connection:
            return int(connection.scalar(sa.select(sa.func.count()).select_from(mentions)) or 0)

    def corrections(self) -> list[tuple[str, str]]:
        """What people labelled, as (what the classifier reads, label): the last word on each mention, in the order of those words.

        Training data. What was deleted is none.
        """
        newest = sa.select(sa.func.max(verdicts.c.id)).where(verdicts.c.by_person).group_by(verdicts.c.mention_id)
        statement = (
            sa.select(mentions, verdicts.c.label)
            .join(verdicts, verdicts.c.mention_id == mentions.c.id)
            .where(verdicts.c.id.in_(newest), mentions.c.deleted_at.is_(None))
        )
        with self._database.read() as connection:
            found = connection.execute(statement.order_by(verdicts.c.id)).mappings()
            return [(text, row["label"]) for row in found if (text := classifier_input(rows.to_mention(row)))]


def _queue_row(row: Any) -> dict[str, Any]:
    ticket = rows.to_ticket(row["ticket_id"], row["ticket"])
    payload = row[actions.c.payload]
    human = row["via"] == HUMAN
    held = not human and row["state"] == State.PLANNED
    return {
        "id": row[actions.c.id],
        "kind": row["kind"] if not human or row["kind"] != ActionKind.REPLY else "post by hand",
        "state": "open" if human and row["state"] == State.PLANNED else "held" if held else row["state"],
        "what": payload.get("what", ""),
        "urgent": bool(payload.get("urgent")) or not (human or held),
        "reason": row["reason"] if human else f"{row['error'] or row['reason']}".removeprefix(HELD),
        "rule": row["rule"],
        "since": row[actions.c.created_at],
        "mention": row[actions.c.mention_id],
        "author": row["author"],
        "text": row["text"],
        "warning": (row["data"] or {}).get("warning", ""),
        "url": (row["data"] or {}).get("url", ""),
        "visibility": row["visibility"],
        "language": row["language"],
        "source": row["source"],
        "label": row["label"],
        "confidence": row["confidence"],
        "sure": row["sure"],
        "likely": _likely(row),
        "judged_language": (row["verdict_data"] or {}).get("language"),
        "draft": payload.get("draft") or payload.get("text") or "",
        "suggest": [plan.get("kind") for plan in payload.get("suggest", ())],
        "ticket": _ticket(ticket),
    }


def _likely(row: Any) -> list[dict[str, Any]]:
    """The two likeliest labels where the verdict was not sure, the likelier one first; else none."""
    if row["label"] is None or row["sure"]:
        return []
    ranked = sorted(row["verdict_data"]["scores"].items(), key=lambda pair: (pair[0] != row["label"], -pair[1]))
    return [{"label": label, "score": score} for label, score in ranked[:2]]


def _judged(verdict: RowMapping) -> dict[str, Any]:
    sure = "" if verdict["sure"] else ", not sure"
    detail = f"{verdict['confidence']:.0%}{sure}; rule {verdict['data'].get('rule') or 'none'}: {verdict['data'].get('reason', '')}"
    return {"at": verdict["at"], "who": verdict["by"], "what": f"judged {verdict['label']}", "detail": detail}


def _planned(action: RowMapping) -> dict[str, Any]:
    what = "observed" if action["state"] == State.OBSERVED else "planned"
    return {"at": action["created_at"], "who": "triage", "what": f"{action['kind']} {action['id']} {what}", "detail": action["reason"]}


def _revised(text: RowMapping, author: str) -> dict[str, Any]:
    return {"at": text["seen_at"], "who": author, "what": f"text of revision {text['number']}", "detail": text["text"]}


def _begun(attempt: RowMapping) -> dict[str, Any]:
    return {
        "at": attempt["started_at"],
        "who": "triage",
        "what": f"action {attempt['action_id']}, attempt {attempt['number']}",
        "detail": "begun",
    }


def _line(line: RowMapping) -> dict[str, Any]:
    what = f"{line['what']} (action {line['action_id']})" if line["action_id"] else line["what"]
    return {"at": line["at"], "who": line["who"], "what": what, "detail": line["detail"]}


def _ticket(ticket: Any) -> dict[str, Any] | None:
    if ticket is None:
        return None
    return {
        "key": ticket.key,
        "url": ticket.url,
        "status": ticket.status,
        "resolution": ticket.resolution,
        "fix_versions": list(ticket.fix_versions),
    }


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return {
        "label": str(verdict.label),
        "confidence": verdict.confidence,
        "sure": verdict.sure,
        "scores": dict(verdict.scores),
        "by": verdict.by,
        "by_person": verdict.by_person,
        "signals": sorted(verdict.signals),
        "evidence": list(verdict.evidence),
    }


def _action(row: RowMapping) -> dict[str, Any]:
    names = ("id", "kind", "via", "state", "reason", "rule", "attempt", "remote_key", "url", "error", "closed_by")
    return {name: row[name] for name in names} | {"text": row["payload"].get("text", "")}


def _mention_status(row: Any, done: Sequence[RowMapping]) -> str:
    """One word for where a mention is; computed, never stored."""
    states = {(action["kind"], action["state"]) for action in done}
    if row["quarantined"]:
        return "quarantined"
    if row["deleted_at"]:
        return "deleted"
    if any(state in ("parked", "rejected") for _, state in states):
        return "needs a person"
    if any(action["via"] == HUMAN and action["state"] == "planned" for action in done):
        return "in the queue"
    if any(state == "doubt" for _, state in states):
        return "in doubt"
    if any(state in ("planned", "sending") for kind, state in states if kind != "alert"):
        return "on its way"
    if any(state == "observed" for _, state in states):
        return "observed"
    if row["due_at"] is not None:
        return "waiting"
    if ("archive", "done") in states:
        return "archived"
    return "closed" if done or not row["platform"] else "waiting"


def _account(row: RowMapping, now: datetime) -> dict[str, Any]:
    paused = row["paused_until"] if row["paused_until"] and row["paused_until"] > now else None
    tried = row["probe_at"] if row["probe_at"] and row["probe_at"] > now and not paused else None
    return {
        "name": row["name"],
        "role": row["role"],
        "state": "paused" if paused else ("failing" if row["failures"] else "ok"),
        "paused_until": None if paused is not None and paused >= STOPPED else paused,
        "tried_at": tried,
        "why": row["paused_why"] if paused else row["last_error"],
        "last_success": row["last_success_at"],
        "held_back": row["held_back"],
        "late_found": row["late_found"],
        "requests": _budget(Budget(row["budget_limit"], row["budget_left"], row["budget_reset_at"]).at(now)),
        "posts": _budget(Budget(row["posts_limit"], row["posts_left"], row["posts_reset_at"]).at(now)),
    }


def _budget(known: Budget) -> dict[str, Any] | None:
    return None if known.limit is None else {"limit": known.limit, "left": known.left, "reset_at": known.reset_at}


def _raw(stored: bytes) -> str:
    text = rows.unpack(stored).decode("utf-8", "replace")
    try:
        return json.dumps(json.loads(text), ensure_ascii=False)[:4000]
    except (ValueError, RecursionError):
        return text[:4000]

"""Answers from the moment that a person sends them until a worker takes them: planned, held, taken back, closed by hand."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping

from triage.errors import UserError
from triage.mention import HUMAN, ActionKind, State, Visibility
from triage.replies import Answered, Given, Post, Situation
from triage.store import approvals as approval
from triage.store import drafts as draft
from triage.store import returns, rows
from triage.store.accounts import HELD
from triage.store.changes import tasks_of, whole, withdraw
from triage.store.database import Database, insert
from triage.store.moves import BY_OWN_WORD, add_audit, close_task
from triage.store.schema import accounts, actions, approvals, audit, forms, items, mentions, problems, verdicts

NEWEST = 2_000  # answers that a suggestion is looked for in
TICKETS = 5_000  # newest tickets among which the one of a prepared answer is looked for
THREAD = 200  # posts of a thread that are read
TAKEN_BACK = "taken back before it was sent"
LIVE = tuple(str(state) for state in State if state is not State.CANCELLED)


@dataclass(frozen=True, slots=True)
class Written:
    """An answer as a person sends it.

    `text` is the whole, `parts` the posts that it makes. `via` is the source that posts them; None where a person has to, who has
    done so already with `by_hand`. `hold` is for how many seconds it can be taken back. `approve` names who must let it go.
    `once` names the form, which is carried out once. `known` is the id of the newest answer that the person had seen. `passed` names
    whose approval the rule asks for, where the person needs none.
    """

    text: str
    parts: Sequence[str]
    via: str | None
    hold: float = 0.0
    approve: str = ""
    once: str = ""
    known: int | None = None
    by_hand: bool = False
    passed: str = ""


class Replies:
    """A person's answers. `by` is the person's name; a refusal is a `UserError` that says who was first."""

    def __init__(self, database: Database, *, site: str) -> None:
        self._database = database
        self._site = site

    # Sending

    def answer(self, mention_id: int, written: Written, by: str, now: datetime, *, task: int | None = None) -> list[int]:
        """Close every open task of the mention and plan the answer, one action a post, each after the one before.

        Where no task is open, one is made and closed in the same breath; `task` names one that must be. Of two people one wins. A form
        that was carried out already changes nothing: the ids are those of the first time. One that was carried out for another post is
        refused. Returns the ids of the actions.
        """
        with self._database.write() as connection:
            # The mention first, as everywhere: who takes the task first and then the mention waits for a worker that waits for it.
            mention = self._locked(connection, mention_id)
            if written.once and not self._first_time(connection, written.once, by, now):
                made = [row["id"] for row in _replies_to(connection, mention_id) if row["payload"].get("once") == written.once]
                if not made:
                    raise UserError("this form was sent for another post; nothing was sent. Each answer needs a form (`once`) of its own")
                return made
            newer = [row for row in _replies_to(connection, mention_id) if row["id"] > (written.known or 0) and row["state"] in LIVE]
            if written.known is not None and newer:
                first = newer[0]
                who, at = first["payload"].get("by", "somebody"), _clock(first["created_at"])
                raise UserError(f"{who} answered at {at}; nothing was sent, and your draft is kept")
            tasks = self._closed_tasks(connection, mention, by, now, task)
            return self._plan(connection, mention, tasks, written, by, now)

    def _first_time(self, connection: Connection, once: str, by: str, now: datetime) -> bool:
        made = insert(connection, forms).values(once=once, person=by, at=now).on_conflict_do_nothing().returning(forms.c.once)
        if connection.execute(made).first() is not None:
            return True
        if connection.scalar(sa.select(forms.c.person).where(forms.c.once == once)) != by:
            raise UserError("this form was sent by somebody else; reload the page, your draft is kept")
        return False

    def _closed_tasks(self, connection: Connection, mention: RowMapping, by: str, now: datetime, named: int | None) -> list[RowMapping]:
        """The mention's open tasks, closed, `named` first; without one its own task, which is made where there never was one."""
        first = [] if named is None else [close_task(connection, named, by, now)]
        if any(row["kind"] != ActionKind.TASK or row["mention_id"] != mention["id"] for row in first):
            raise UserError(f"task {named} asks for no answer to this post; close it: triage close {named}")
        of_mention = sa.select(actions).where(actions.c.mention_id == mention["id"], actions.c.kind == str(ActionKind.TASK))
        is_open = of_mention.where(actions.c.state == str(State.PLANNED)).order_by(actions.c.id)
        rest = [close_task(connection, row["id"], by, now) for row in connection.execute(is_open).mappings().all()]
        return [*first, *rest] or [self._own_task(connection, mention, by, now)]

    def _own_task(self, connection: Connection, mention: RowMapping, by: str, now: datetime) -> RowMapping:
        key = f"{self._site}/{mention['uri']}/task"
        row = {
            "key": key,
            "kind": str(ActionKind.TASK),
            "via": HUMAN,
            "state": str(State.DONE),
            "mention_id": mention["id"],
            "problem_id": mention["problem_id"],
            "reason": f"{by} answered it",
            "rule": "",
            "payload": {"what": "answer"},
            "created_at": now,
            "closed_at": now,
            "closed_by": by,
        }
        connection.execute(insert(connection, actions).values(row).on_conflict_do_nothing())
        closed = {"state": str(State.DONE), "closed_at": now, "closed_by": by, "error": ""}
        connection.execute(sa.update(actions).where(actions.c.key == key).values(closed))
        return connection.execute(sa.select(actions).where(actions.c.key == key)).mappings().one()

    def _plan(
        self, connection: Connection, mention: RowMapping, tasks: Sequence[RowMapping], written: Written, by: str, now: datetime
    ) -> list[int]:
        task = tasks[0]
        if mention["deleted_at"] is not None:
            raise UserError(f"the post was deleted by its author; close the task: triage close {task['id']}")
        earlier = sa.select(sa.func.count()).where(actions.c.mention_id == mention["id"], actions.c.kind == str(ActionKind.REPLY))
        number = connection.scalar(earlier) or 0
        before = [row["payload"] for row in _replies_to(connection, mention["id"]) if row["state"] in LIVE]
        answers = sorted({*(row["id"] for row in tasks), *(id_ for payload in before for id_ in tasks_of(payload))})
        made: list[int] = []
        for part in written.parts:
            number += 1
            row = self._reply(
                mention, task, answers, written, part, by, now, first=made[0] if made else None, before=made[-1] if made else None
            )
            row["key"] = f"{task['key']}/reply/{number}"
            made.append(int(connection.execute(sa.insert(actions).values(row).returning(actions.c.id)).scalar_one()))
        if written.approve:
            approval.ask(connection, made[0], written.approve, by, mention["revision"], now)
        draft.drop(connection, mention["id"], by)
        returns.answered(connection, mention["id"], by, now)
        said = "answered by hand" if written.by_hand else "answered"
        detail = " / ".join(written.parts)
        if written.passed:
            why = f"the rule asks for approval by {written.passed}, and {by} may give it; nobody else read the answer first"
            add_audit(connection, now, by, BY_OWN_WORD, mention_id=mention["id"], action_id=made[0], detail=why)
        add_audit(connection, now, by, said, mention_id=mention["id"], action_id=task["id"], detail=detail)
        return made

    def _reply(
        self,
        mention: RowMapping,
        task: RowMapping,
        answers: Sequence[int],
        written: Written,
        part: str,
        by: str,
        now: datetime,
        *,
        first: int | None,
        before: int | None,
    ) -> dict[str, Any]:
        via = written.via
        payload: dict[str, Any] = {"text": rows.clean(part), "by": by, "by_person": True, "task_id": task["id"], "task_ids": list(answers)}
        if first is not None and via:
            payload["first"] = first
        elif len(written.parts) > 1:
            payload["whole"] = rows.clean(written.text)
        if written.once:
            payload["once"] = written.once
        if written.hold and via:
            payload["held_until"] = (now + timedelta(seconds=written.hold)).isoformat()
        if not via:
            payload["what"] = "answered by hand" if written.by_hand else "post by hand"
        reason = f"answered by {by}"
        if written.approve:
            reason = f"answered by {by}; waits for approval by {written.approve}"
        elif not via and not written.by_hand:
            reason = f"{by} answered; {approval.by_hand(mention)}"
        goes = via and before is None and not written.approve
        done = {"closed_at": now, "closed_by": by} if written.by_hand else {}
        return {
            "kind": str(ActionKind.REPLY),
            "via": via or HUMAN,
            "state": str(State.DONE if written.by_hand else State.PLANNED),
            "mention_id": mention["id"],
            "problem_id": task["problem_id"],
            "after_id": before if via else None,
            "reason": reason,
            "rule": "",
            "error": f"{HELD}{approval.HELD_FOR} by {written.approve}" if written.approve and before is None else "",
            "payload": payload,
            "due_at": now + timedelta(seconds=written.hold) if goes else None,
            "created_at": now,
        } | done

    # Taking back

    def unsend(self, mention_id: int, by: str, now: datetime, *, answer: int | None = None) -> str:
        """Take back an answer that no worker has touched: it is cancelled, its task is open again, its text is its writer's draft.

        `answer` is the id of its first action, for None that of the newest one of their own. All in one transaction: a worker that
        claims meanwhile wins or loses as a whole. `UserError` says what became of it when it is too late. Returns the text.
        """
        with self._database.write() as connection:
            self._locked(connection, mention_id)
            given = _answers(_replies_to(connection, mention_id, lock=True))
            if answer is None:
                own = (first for first, parts in given.items() if parts[0]["state"] in LIVE and parts[0]["payload"].get("by") == by)
                answer = max(own, default=None)
            parts = given.get(answer) if answer is not None else None
            if not parts:
                raise UserError("there is no answer to take back; nothing was changed")
            for part in parts:
                if part["state"] != State.PLANNED or part["attempt"]:
                    raise UserError(_too_late(part))
            return withdraw(connection, parts, TAKEN_BACK, by, now)

    def refuse(self, action_id: int, by: str, now: datetime, why: str) -> int:
        """A second person does not let an answer go: it is its writer's draft again, and the task is open. Returns the mention's id."""
        with self._database.write() as connection:
            row = approval.locked(connection, action_id)
            approval.decide(connection, action_id, approval.REFUSED, by, now, why)
            parts = _answers(_replies_to(connection, row["mention_id"], lock=True))[action_id]
            said = f"{by} did not approve the answer" + (f": {rows.clean(why)}" if why else "")
            withdraw(connection, parts, said, by, now)
            return int(row["mention_id"])

    def posted(self, mention_id: int, action_id: int, by: str, now: datetime) -> None:
        """An answer that waited to be posted by hand was posted."""
        with self._database.write() as connection:
            self._locked(connection, mention_id)
            row = close_task(connection, action_id, by, now)
            if row["kind"] != ActionKind.REPLY or row["mention_id"] != mention_id:
                raise UserError(f"action {action_id} is no answer to this post")
            text = row["payload"].get("text", "")
            add_audit(connection, now, by, "answered by hand", mention_id=mention_id, action_id=action_id, detail=text)

    def _locked(self, connection: Connection, mention_id: int) -> RowMapping:
        row = connection.execute(sa.select(mentions).where(mentions.c.id == mention_id).with_for_update()).mappings().first()
        if row is None:
            raise UserError(f"there is no mention {mention_id}; the queue lists those that there are")
        return row

    # Looking

    def situation(self, mention_id: int) -> tuple[Situation, dict[str, Any]]:
        """What the store knows that a person must know before they answer; and label, language and ticket of the post.

        `UserError` when there is no such mention, or one that could not be read.
        """
        with self._database.read() as connection:
            row = connection.execute(sa.select(mentions).where(mentions.c.id == mention_id)).mappings().first()
            if row is None or not row["platform"]:
                raise UserError(f"there is no mention {mention_id} that could be answered; the queue lists those that there are")
            elsewhere = self._elsewhere(connection, mention_id)
            given = self._given(connection, row, elsewhere)
            whys = {returns.stopped_by(by) for by, _ in elsewhere}
            stopped = [one for one in _replies_to(connection, mention_id) if one["state"] == State.CANCELLED and one["error"] in whys]
            item = connection.execute(sa.select(items).where(items.c.mention_id == mention_id)).mappings().first()
            account = connection.execute(sa.select(accounts).where(accounts.c.name == row["source"], accounts.c.role == "source"))
            health = account.mappings().first()
            last = sa.select(verdicts).where(verdicts.c.mention_id == mention_id).order_by(verdicts.c.id.desc()).limit(1)
            verdict = connection.execute(last).mappings().first()
            problem = connection.execute(sa.select(problems).where(problems.c.id == row["problem_id"])).mappings().first()
            posts = self._thread(connection, row)
            blocked = self._blocked(connection, row["author"])
        colleague = item["answered_by"] if item and item["answered_by"] not in {one.by for one in given} else ""
        refused = health["paused_why"] or health["last_error"] if health and health["refusals"] and health["paused_until"] else ""
        situation = Situation(
            mention=rows.to_mention(row),
            mention_id=mention_id,
            deleted_at=row["deleted_at"],
            refused_token=refused,
            paused_until=health["paused_until"] if health and not refused else None,
            given=given,
            blocked=blocked,
            colleague=colleague,
            colleague_at=item["answered_at"] if item and colleague else None,
            stopped=sorted({one["payload"].get("by", "somebody") for one in stopped}),
            posts=posts,
            signals=frozenset(verdict["data"].get("signals", ())) if verdict else frozenset(),
        )
        ticket = rows.to_ticket(problem["ticket_id"], problem["ticket"]) if problem else None
        more = {
            "label": verdict["label"] if verdict else None,
            "rule": verdict["data"].get("rule", "") if verdict else "",
            "language": row["language"],
            "ticket": ticket.key if ticket else "",
            "newest": max((one.action_id for one in given if one.mention_id == mention_id), default=0),
        }
        return situation, more

    def _elsewhere(self, connection: Connection, mention_id: int) -> list[tuple[str, datetime]]:
        """Who of us has answered the post on the platform itself, and when we saw it; oldest first."""
        told = sa.select(audit.c.who, audit.c.at).where(audit.c.mention_id == mention_id, audit.c.what == returns.ELSEWHERE)
        return [(who, at) for who, at in connection.execute(told.order_by(audit.c.id))]

    def _given(self, connection: Connection, mention: RowMapping, elsewhere: Sequence[tuple[str, datetime]]) -> list[Given]:
        """Our answers to the post, and those to others of its thread that came after it; newest first."""
        mine = _answers(_replies_to(connection, mention["id"]))
        found = [_given_of(connection, parts) for parts in mine.values()]
        if elsewhere:
            by, at = elsewhere[-1]
            found = [one if one.state is State.DONE else replace(one, elsewhere=by, elsewhere_at=at) for one in found]
        if mention["problem_id"] is not None:
            of_thread = (
                sa.select(actions)
                .join(mentions, mentions.c.id == actions.c.mention_id)
                .where(
                    actions.c.problem_id == mention["problem_id"],
                    actions.c.kind == str(ActionKind.REPLY),
                    actions.c.mention_id != mention["id"],
                    actions.c.created_at >= mention["created_at"],
                    mentions.c.author == mention["author"],  # to somebody else of the thread it is no answer to this one
                )
                .order_by(actions.c.id.desc())
                .limit(THREAD)
            )
            others = _answers(list(connection.execute(of_thread).mappings().all())[::-1])
            found += [_given_of(connection, parts) for parts in others.values()]
        return sorted((one for one in found if one.state is not State.CANCELLED), key=lambda one: -one.action_id)

    def _thread(self, connection: Connection, mention: RowMapping) -> list[Post]:
        if mention["problem_id"] is None:
            return []
        after = (
            sa.select(mentions)
            .where(mentions.c.problem_id == mention["problem_id"], mentions.c.created_at >= mention["created_at"])
            .order_by(mentions.c.created_at, mentions.c.id)
            .limit(THREAD)
        )
        return [
            Post(row["author"], row["text"], row["created_at"], row["parent_id"], row["data"].get("url", ""))
            for row in connection.execute(after).mappings()
            if row["thread"] == mention["thread"] and row["deleted_at"] is None and row["id"] != mention["id"]
        ]

    def _blocked(self, connection: Connection, author: str) -> Given | None:
        """Our last answer to the author that had an end, where their server refused it for who we are."""
        theirs = sa.select(mentions.c.id).where(mentions.c.author == author).order_by(mentions.c.id.desc()).limit(THREAD)
        ended = [str(State.DONE), str(State.REJECTED)]
        last = (
            sa.select(actions)
            .where(actions.c.mention_id.in_(theirs), actions.c.kind == str(ActionKind.REPLY), actions.c.state.in_(ended))
            .where(actions.c.via != HUMAN)
            .order_by(actions.c.id.desc())
            .limit(1)
        )
        row = connection.execute(last).mappings().first()
        if row is None or row["state"] != State.REJECTED or not re.search(r"\b403\b", row["error"]):
            return None
        return _given_of(connection, [row])

    def prepared(self, mention_id: int) -> str:
        """The draft that a rule has prepared in the mention's open task."""
        task = sa.select(actions.c.payload).where(
            actions.c.mention_id == mention_id, actions.c.kind == str(ActionKind.TASK), actions.c.state == str(State.PLANNED)
        )
        with self._database.read() as connection:
            payload = connection.scalar(task.order_by(actions.c.id).limit(1))
        return str(payload.get("draft", "")) if payload else ""

    def carried_out(self, once: str) -> bool:
        """Whether a form was carried out already."""
        with self._database.read() as connection:
            return connection.scalar(sa.select(forms.c.once).where(forms.c.once == once)) is not None

    def rule(self, mention_id: int, *, without: str = "") -> str | None:
        """The name of the rule that took a mention last; None until it is judged, and while it waits to be judged anew.

        Verdicts by the person `without` do not count.
        """
        judged = sa.and_(verdicts.c.mention_id == mention_id, verdicts.c.by != without)
        last = sa.select(verdicts.c.data).where(judged).order_by(verdicts.c.id.desc()).limit(1)
        waits = sa.select(mentions.c.due_at).where(mentions.c.id == mention_id)
        with self._database.read() as connection:
            if (data := connection.scalar(last)) is None or connection.scalar(waits) is not None:
                return None
        return str(data.get("rule", ""))

    def answered(self, label: str | None, language: str | None) -> list[Answered]:
        """Questions of that label and language that we answered, newest first; public ones alone: what was said in private stays so."""
        newest = (
            sa.select(actions.c.id, actions.c.mention_id, actions.c.state, actions.c.after_id, actions.c.first_intent_at)
            .where(actions.c.kind == str(ActionKind.REPLY), actions.c.first_intent_at.is_not(None))
            .order_by(actions.c.first_intent_at.desc())
            .limit(NEWEST)
            .subquery("newest")
        )
        said = sa.select(verdicts.c.label).where(verdicts.c.mention_id == mentions.c.id).order_by(verdicts.c.id.desc()).limit(1)
        of_its_kind = (mentions.c.language == language, mentions.c.deleted_at.is_(None), said.scalar_subquery() == label)
        public = mentions.c.visibility.not_in([str(one) for one in Visibility if one.is_private])
        statement = (
            sa.select(mentions.c.id, mentions.c.text, actions.c.payload, actions.c.closed_at, actions.c.created_at)
            .select_from(newest.join(mentions, mentions.c.id == newest.c.mention_id).join(actions, actions.c.id == newest.c.id))
            .where(newest.c.state == str(State.DONE), newest.c.after_id.is_(None), public, *of_its_kind)
            .order_by(newest.c.first_intent_at.desc())
        )
        with self._database.read() as connection:
            found = connection.execute(statement).all()
        return [
            Answered(row.id, row.text, _text_of(row.payload), row.payload.get("by", ""), row.closed_at or row.created_at) for row in found
        ]

    def solved(self, keys: Sequence[str]) -> dict[str, str]:
        """Of these tickets of ours those that are solved, with the solution; looked for among the newest 5,000."""
        if not keys:
            return {}
        newest = (
            sa.select(actions.c.remote_key, actions.c.problem_id)
            .where(actions.c.kind == str(ActionKind.TICKET), actions.c.first_intent_at.is_not(None))
            .order_by(actions.c.first_intent_at.desc())
            .limit(TICKETS)
            .subquery()
        )
        statement = sa.select(problems.c.ticket_id, problems.c.ticket).join(newest, newest.c.problem_id == problems.c.id)
        with self._database.read() as connection:
            found = connection.execute(statement.where(newest.c.remote_key.in_(keys))).all()
        tickets = [ticket for id_, data in found if (ticket := rows.to_ticket(id_, data)) is not None]
        return {ticket.key: ticket.resolution for ticket in tickets if ticket.resolution}


def _replies_to(connection: Connection, mention_id: int, *, lock: bool = False) -> list[RowMapping]:
    statement = sa.select(actions).where(actions.c.mention_id == mention_id, actions.c.kind == str(ActionKind.REPLY)).order_by(actions.c.id)
    return list(connection.execute(statement.with_for_update() if lock else statement).mappings().all())


def _answers(replies: Sequence[RowMapping]) -> dict[int, list[RowMapping]]:
    """Replies by the first post of the answer that they are part of."""
    firsts: dict[int, int] = {}
    found: dict[int, list[RowMapping]] = {}
    for row in replies:
        firsts[row["id"]] = firsts.get(row["after_id"], row["id"])
        found.setdefault(firsts[row["id"]], []).append(row)
    return found


def _text_of(payload: Mapping[str, Any]) -> str:
    return str(payload.get("whole") or payload.get("text", ""))


def _given_of(connection: Connection, parts: Sequence[RowMapping]) -> Given:
    """An answer as a whole: in the state of its first part that is not done."""
    first = parts[0]
    row = next((part for part in parts if part["state"] != State.DONE), parts[-1])
    waits = connection.scalar(sa.select(approvals.c.role).where(approvals.c.action_id == first["id"], approvals.c.decision.is_(None)))
    return Given(
        action_id=first["id"],
        mention_id=first["mention_id"],
        by=first["payload"].get("by", "somebody"),
        text=whole(parts),
        state=State(row["state"]),
        at=row["closed_at"] or row["created_at"],
        url=first["url"],
        error="" if waits else row["error"],
        via_human=row["via"] == HUMAN,
        waits_for=waits or "",
        refused=bool(re.search(r"\b403\b", row["error"])),
        attempted=any(part["attempt"] for part in parts),
        stuck_id=row["id"],
        due_at=row["due_at"],
    )


def _too_late(part: RowMapping) -> str:
    """Why an answer can't be taken back, by the part that is in the way."""
    at = _clock(part["closed_at"] or part["intent_at"] or part["created_at"])
    match part["state"]:
        case State.DONE:
            return f"it was sent at {at}: {part['url'] or part['remote_key']}".rstrip(": ")
        case State.SENDING:
            return "it is being sent at this very moment; look again in some seconds"
        case State.DOUBT:
            return f"it was sent at {at}, and the server did not say whether it took it; triage looks"
        case State.CANCELLED:
            return f"it was cancelled at {at} by {part['closed_by']}: {part['error']}"
        case State.PLANNED:
            return f"it was tried at {at} and may be sent again at any moment; drop it if it shall not be"
    return f"it is {part['state']}: {part['error']}"


def _clock(moment: datetime) -> str:
    return f"{moment:%H:%M} UTC on {moment:%Y-%m-%d}"

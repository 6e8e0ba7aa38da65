"""answer, boost, accept, relabel, close, retry, park, found, drop: what a person does with tasks and actions."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from triage.cli.common import by, opened, person, safe

if TYPE_CHECKING:
    from triage.app import App

NUMBER = click.IntRange(1, 2**62)
LABELS = ("bug_report", "support_question", "praise", "noise")


@click.command()
@click.argument("task", type=NUMBER)
@click.argument("text", required=False)
@click.option("--draft", is_flag=True, help="Send the task's draft instead of TEXT.")
@click.option("--now", is_flag=True, help="Send it at once: it can't be taken back.")
@click.option("--again", is_flag=True, help="Although the post was answered already.")
@by
def answer(task: int, text: str | None, draft: bool, now: bool, again: bool, by: str | None) -> None:
    """Answer TASK with TEXT: it is posted in the thread, no more public than the post that it answers. `-` reads standard input.

    It is held for `web.hold`, in which it can be taken back; then a worker sends it.
    """
    from triage.errors import UserError
    from triage.pipeline import replying

    with opened() as app:
        if draft and not text:
            text = app.store.desk.task(task)["payload"].get("draft")
            if not text:
                raise UserError(f"task {task} has no draft; write the answer: triage answer {task} TEXT")
        if text == "-":
            text = sys.stdin.read()
        if not text:
            raise UserError(f'there is no text; write it in quotes: triage answer {task} "text"')
        ids = replying.send_task(app, task, text, person(by), again=again, hold=0.0 if now else None)
        mention = app.store.views.show(app.store.outbox.row(ids[0])["mention_id"])
        click.echo(f"to {safe(mention['author'])}, mention {mention['id']}: {' '.join(safe(mention['text']).split())[:80]}")
        if now or not app.config.web.hold:
            _send(app, ids)
        _tell(app, ids)


@click.command()
@click.argument("mention")
@click.option("--sure", is_flag=True, help="Although its author is not on the list `boosts.allies`.")
@click.option("--undo", is_flag=True, help="Take the boost back, while it is held.")
@by
def boost(mention: str, sure: bool, undo: bool, by: str | None) -> None:
    """Boost MENTION (its number or link), which is praise, to those who follow us.

    It is held for `web.hold`, in which it can be taken back; then a worker sends it.
    """
    from triage.pipeline import boosting

    with opened() as app:
        mention_id = app.store.desk.mention_id(mention)
        if undo:
            boosting.take_back(app, mention_id, person(by))
            click.echo(f"mention {mention_id} is not boosted")
            return
        ids = [boosting.ask(app, mention_id, person(by), sure=sure)]
        if not app.config.web.hold:
            _send(app, ids)
        _tell(app, ids)


@click.command()
@click.argument("task", type=NUMBER)
@by
def accept(task: int, by: str | None) -> None:
    """Carry out what a rule suggested in TASK."""
    from triage.pipeline import judge

    with opened() as app:
        ids = judge.accept(app, task, person(by))
        click.echo(f"accepted; {len(ids)} to be sent")
        _send(app, ids)
        _tell(app, ids)


@click.command()
@click.argument("mention")
@click.argument("label", type=click.Choice(LABELS))
@by
def relabel(mention: str, label: str, by: str | None) -> None:
    """Say that MENTION (its number or link) is a LABEL. Tasks and ticket follow, and the classifier learns from it."""
    from triage.pipeline import judge

    with opened() as app:
        mention_id = app.store.desk.mention_id(mention)
        ids = judge.relabel(app, mention_id, label, person(by))
        click.echo(f"mention {mention_id} is a {label.replace('_', ' ')} now")
        _send(app, ids)
        _tell(app, ids)


@click.command()
@click.argument("mention")
@by
def file(mention: str, by: str | None) -> None:
    """File MENTION (its number or link) as a bug by hand. The ticket of a private post holds nothing but our number of it."""
    from triage.pipeline import judge

    with opened() as app:
        ids = judge.file(app, app.store.desk.mention_id(mention), person(by))
        _send(app, ids)
        _tell(app, ids)


@click.command()
@click.argument("task", type=NUMBER)
@click.option("--why", default="", help="A word for the trail.")
@by
def close(task: int, why: str, by: str | None) -> None:
    """Close TASK without an answer of ours."""
    with opened() as app:
        mention = app.store.desk.task(task)["mention_id"]
        app.store.desk.close(task, person(by), app.clock.now(), why)
    click.echo(f"task {task} is closed" + (f" (mention {mention})" if mention else ""))


@click.command()
@click.argument("action", type=NUMBER)
@by
def retry(action: int, by: str | None) -> None:
    """ACTION is not there: send it (again). For parked, rejected and observed actions."""
    with opened() as app:
        app.store.desk.retry(action, person(by), app.clock.now())
        _send(app, [action])
        _tell(app, [action])


@click.command()
@click.argument("action", type=NUMBER)
@by
def park(action: int, by: str | None) -> None:
    """Leave a planned or doubtful ACTION alone until somebody decides."""
    with opened() as app:
        app.store.desk.park(action, person(by), app.clock.now())
    click.echo(
        f"action {action} is parked; send it: triage retry {action} · it exists: triage found {action} KEY "
        f"· not wanted: triage drop {action}"
    )


@click.command()
@click.argument("action", type=NUMBER)
@click.argument("key")
@by
def found(action: int, key: str, by: str | None) -> None:
    """ACTION happened: KEY is the ticket's key or the post's link."""
    with opened() as app:
        app.store.desk.found(action, key, person(by), app.clock.now())
    click.echo(f"action {action} is done: {key}")


@click.command()
@click.argument("action", type=NUMBER)
@by
def drop(action: int, by: str | None) -> None:
    """A planned, parked, rejected or observed ACTION is not wanted any more."""
    with opened() as app:
        app.store.desk.drop(action, person(by), app.clock.now())
    click.echo(f"action {action} is cancelled")


@click.command()
@click.argument("mention")
@by
def dismiss(mention: str, by: str | None) -> None:
    """A quarantined MENTION (its number) was looked at, and nothing is to be done."""
    with opened() as app:
        mention_id = app.store.desk.mention_id(mention)
        app.store.desk.dismiss(mention_id, person(by), app.clock.now())
    click.echo(f"mention {mention_id} is dismissed")


def _send(app: App, ids: Sequence[int]) -> None:
    """Send at once what a person has just asked for; what is left the workers do."""
    from triage.pipeline.deliver import deliver

    todo = list(ids)
    for _ in range(20):  # each part of a long answer waits for the one before
        if not deliver(app, todo):
            break


def _tell(app: App, ids: Sequence[int]) -> None:
    for action_id in ids:
        row = app.store.outbox.row(action_id)
        words = {
            "done": f"done: {row['remote_key'] or row['remote_id']} {row['url']}".rstrip(),
            "planned": _planned(dict(row), app.clock.now()),
            "doubt": "the server did not tell the outcome; triage waits, looks, and keeps it in the queue meanwhile",
        }
        click.echo(f"{row['kind']} {action_id}: {words.get(row['state'], row['state'] + ': ' + row['error'])}")


def _planned(row: Mapping[str, Any], now: datetime) -> str:
    if row["via"] == "human" or "waits for approval" in row["reason"]:
        return str(row["reason"])
    if "held_until" in row["payload"] and row["due_at"] is not None and row["due_at"] > now:
        back = f"triage boost {row['mention_id']} --undo" if row["kind"] == "boost" else f"triage drop {row['id']}"
        return f"held until {row['due_at']:%H:%M:%S} UTC, then a worker sends it; take it back: {back}"
    return "planned; a worker sends it"

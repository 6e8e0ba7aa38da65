"""replay: what changed rules or another model would have done with the past."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from triage.cli.common import as_json, load_config, moment, opened, safe

if TYPE_CHECKING:
    from triage.config import Config
    from triage.pipeline.replay import Act, Difference, Outcome, Tally


@click.command()
@click.option("--config", "changed", type=click.Path(path_type=Path), default=None, help="The changed config; else the one in use.")
@click.option("--since", default="30d", show_default=True, help="From when on: 7d, 12h, or a date.")
@click.option("--until", default=None, help="Before when: 7d, 12h, or a date; else now.")
@click.option("--model", default=None, help="Another model: a folder, a version in the store, or default; else as the configs say.")
@as_json
def replay(changed: Path | None, since: str, until: str | None, model: str | None, as_json: bool) -> None:
    """What would have been done with the posts of the past by a changed config or another model. Sends and stores nothing."""
    from triage.cli.data import progress
    from triage.errors import UserError
    from triage.pipeline import replay as pipeline

    if changed is None and model is None:
        raise UserError("nothing is changed: name a changed config (--config new.yaml), another model (--model FOLDER), or both")
    start, end = moment(since), moment(until) if until is not None else datetime.now(UTC)
    if start >= end:
        raise UserError(f"nothing lies between {start:%Y-%m-%d %H:%M} and {end:%Y-%m-%d %H:%M} UTC; --since must be before --until")
    config = _without_secrets(changed) if changed is not None else load_config()
    tally = pipeline.Tally()
    judged = f"the verdicts of {model}" if model else "the same verdicts, but for what it changes"
    about = {
        "since": start,
        "until": end,
        "before": "the config in use, and the verdicts as they were recorded",
        "after": f"{changed or 'the config in use'}, and {judged}",
    }
    with opened() as app, progress("replaying") as advance:
        found = _counted(pipeline.replay(app, config, start, end, tally, model=model), tally, advance)
        (_print_json if as_json else _print)(about, found, tally)


def _without_secrets(path: Path) -> Config:
    """The changed config. It is only compared: its secrets need not be there, nor the database and the broker that it names."""
    from triage import config

    nowhere = {"DATABASE_URL": "sqlite:///unused.db", "REDIS_URL": "redis://unused"}
    return config.load(path, {**os.environ, **nowhere})


def _counted(found: Iterator[Difference], tally: Tally, advance: Any) -> Iterator[Difference]:
    """The same, while the bar moves."""
    seen = 0
    for one in found:
        advance(tally.read - seen)
        seen = tally.read
        yield one


def _print_json(about: dict[str, Any], found: Iterator[Difference], tally: Tally) -> None:
    """One document, written as it goes: nothing is gathered."""
    head = json.dumps(about, default=lambda one: one.isoformat(), ensure_ascii=False)
    click.echo(f'{head[:-1]}, "differences": [', nl=False)
    for number, one in enumerate(found):
        row = {
            "mention": one.past.claimed.id,
            "created_at": one.past.claimed.mention.created_at.isoformat(),
            "before": _outcome(one.before),
            "after": _outcome(one.after),
            "gained": [act._asdict() for act in one.gained],
            "lost": [act._asdict() for act in one.lost],
        }
        click.echo(("," if number else "") + "\n" + json.dumps(row, ensure_ascii=False), nl=False)
    click.echo('\n], "totals": ' + json.dumps(_totals(tally), ensure_ascii=False) + "}")


def _outcome(one: Outcome) -> dict[str, Any]:
    verdict = one.verdict
    return {
        "label": str(verdict.label),
        "confidence": verdict.confidence,
        "sure": verdict.sure,
        "by": verdict.by,
        "by_person": verdict.by_person,
        "rule": one.rule,
    }


def _totals(tally: Tally) -> dict[str, Any]:
    return {
        "mentions": tally.read,
        "differ": tally.differ,
        "not judged yet": tally.unjudged,
        "deleted": tally.deleted,
        "acts": {
            name: {"before": tally.before[name], "after": tally.after[name], "gained": tally.gained[name], "lost": tally.lost[name]}
            for name in sorted({*tally.before, *tally.after})
        },
        "labels": {f"{old} → {new}": count for (old, new), count in sorted(tally.labels.items())},
    }


def _print(about: dict[str, Any], found: Iterator[Difference], tally: Tally) -> None:
    click.echo(f"from    {about['since']:%Y-%m-%d %H:%M} to {about['until']:%Y-%m-%d %H:%M} UTC, by when it was posted")
    click.echo(f"before  {about['before']}")
    click.echo(f"after   {safe(about['after'])}")
    for one in found:
        mention, before, after = one.past.claimed.mention, one.before, one.after
        click.echo(
            f"mention {one.past.claimed.id}  {mention.created_at:%Y-%m-%d %H:%M}  {_said(before)}"
            + (f" → {_said(after)}" if _said(after) != _said(before) else "")
        )
        click.echo(f'    "{safe(before.rule)}" → "{safe(after.rule)}"' if before.rule != after.rule else f'    "{safe(after.rule)}"')
        for sign, acts, colour in (("+", one.gained, "green"), ("-", one.lost, "red")):
            for act in acts:
                click.echo(click.style(f"    {sign} {_act(act)}", fg=colour))
    totals = _totals(tally)
    click.echo(f"{tally.differ} of {tally.read} mentions would differ")
    for name, row in totals["acts"].items():
        click.echo(f"  {name:<20} {row['before']:>7} before {row['after']:>7} after   +{row['gained']} -{row['lost']}")
    for name, count in totals["labels"].items():
        click.echo(f"  {name}: {count}")
    if tally.unjudged or tally.deleted:
        click.echo(f"left out: {tally.unjudged} that nobody has judged yet, {tally.deleted} deleted by their authors")


def _said(one: Outcome) -> str:
    verdict = one.verdict
    if verdict.by_person:
        return f"{verdict.label}, says {safe(verdict.by)}"
    return f"{verdict.label} {verdict.confidence:.0%}{'' if verdict.sure else ', not sure'}"


def _act(act: Act) -> str:
    words = [act.kind if act.kind in ("task", "archive") else f"{act.kind} ({safe(act.via)})"]
    words += ["urgent"] * act.urgent + ["suggested"] * act.suggested
    return ", ".join(words)

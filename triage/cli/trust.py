"""audit, autonomy: what people say of posts whose label they don't see, and which rules may act alone by it."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from triage.cli.common import ago, by, opened, person, print_json, safe
from triage.cli.people import LABELS

if TYPE_CHECKING:
    from triage.app import App
    from triage.store.samples import Question

KEYS = {str(number): label for number, label in enumerate(LABELS, 1)}
PROMPT = " · ".join([*(f"{key} {label.replace('_', ' ')}" for key, label in KEYS.items()), "s skip", "q quit", "? help"])
HELP = """Say what the post is, by what is written: the one label that tells what should be done next.
  1 bug report        something of ours does not do what it should
  2 support question  the writer wants something from us: help, an answer, a feature
  3 praise            it speaks well of us or of the product
  4 noise             none of these
  s                   you can't tell, or can't read it: it stays for another time or person
What was made of the post is not shown, so that your answer counts. Yours is its label from now on."""

as_format = click.option(
    "--format", "as_format", type=click.Choice(["text", "json"]), default="text", show_default=True, help="How to print."
)


@click.command()
@click.option("--report", is_flag=True, help="Print what the audits have shown, and ask nothing.")
@as_format
@by
def audit(report: bool, as_format: str, by: str | None) -> None:
    """Say what posts are that were drawn by lot, without seeing what triage made of them. One key a post; or a line each, from a pipe."""
    from triage.pipeline import trust

    with opened() as app:
        if report or as_format == "json":
            found = trust.report(app)
            print_json(found) if as_format == "json" else _print_report(found)
            return
        _ask(app, person(by))


def _ask(app: App, who: str) -> None:
    from triage.errors import UserError
    from triage.pipeline import trust
    from triage.pipeline.deliver import deliver

    todo: list[int] = []
    answered, passed = 0, set[int]()
    for question in _questions(app, who, passed):
        _print_question(question)
        key = _key()
        if key == "q":
            break
        passed.add(question.id)
        if key == "s":
            continue
        try:
            todo += trust.answer(app, question.id, KEYS[key], who)
            answered += 1
        except UserError as error:
            click.echo(f"not counted: {error}")
    if todo:
        deliver(app, todo)
    left = app.store.samples.count()
    click.echo(f"{answered} answered, {left} wait" + (". What came of it: triage audit --report" if answered else ""))


def _questions(app: App, who: str, passed: set[int]) -> Iterator[Question]:
    """All that wait for this person. In no order that would tell what they have in common."""
    while found := app.store.samples.waiting(who, passed):
        random.shuffle(found)
        yield from found


def _key() -> str:
    """The key that was pressed, or the line of a pipe; its end quits."""
    while True:
        if sys.stdin.isatty():
            key = click.getchar().lower()
        else:
            line = sys.stdin.readline()
            key = line.strip().lower() if line else "q"
        if key in KEYS or key in ("s", "q"):
            return key
        click.echo(HELP if key == "?" else f"{safe(key)!r} is no answer; {PROMPT}")


def _print_question(question: Question) -> None:
    mention = question.mention
    language = f", {mention.language}" if mention.language else ""
    click.echo(
        f"\n{safe(mention.author.handle)}, {mention.visibility}, on {mention.source}{language}, {mention.created_at:%Y-%m-%d %H:%M} UTC"
    )
    if mention.warning:
        click.echo(f"  [{safe(mention.warning)}]")
    for line in safe(mention.text).splitlines():
        click.echo(f"  | {line}")
    click.echo(click.style(f"  {mention.url or mention.uri}", dim=True))
    click.echo(PROMPT)


def _print_report(found: dict[str, Any]) -> None:
    click.echo("handled alone, by the label that it was given; errors with their 95 % interval")
    _print_rows([{"label": "all"} | found["alone"], *found["labels"]], "label")
    if found["rules"]:
        click.echo("by rule, suggestions of rules that earn included")
        _print_rows(found["rules"], "rule")
    click.echo(f"{found['waiting']} wait for an answer" + (": triage audit" if found["waiting"] else ""))


def _print_rows(rows: list[dict[str, Any]], name: str) -> None:
    width = max(len(row[name]) for row in rows)
    for row in rows:
        error = row["error"]
        said = "not known yet" if error["rate"] is None else f"{error['rate']:6.1%} wrong ({error['low']:.1%} to {error['high']:.1%})"
        really = ", ".join(f"{count} {label.replace('_', ' ')}" for label, count in row["really"].items())
        click.echo(
            f"  {safe(row[name]).replace('_', ' '):<{width}}  {row['right']:>4} of {row['audited']:<4} right  {said}"
            + (f"; really {really}" if really else "")
        )


@click.command()
@as_format
def autonomy(as_format: str) -> None:
    """Which rules with `mode: earn` act alone, and what the others still have to show."""
    from triage.pipeline import trust

    with opened() as app:
        found = trust.standings(app)
        waiting = app.store.samples.count()
    if as_format == "json":
        print_json(found)
        return
    if not found:
        click.echo("no rule earns its autonomy; give one `mode: earn`")
        return
    for row in found:
        click.echo(
            f"{safe(row['rule'])}: {row['state']}. {row['right']} of {row['n']} audits right, "
            f"lower bound {row['bound']:.3f}, target {row['target']:g}" + _missing(row)
        )
        since = f"since {row['since']:%Y-%m-%d %H:%M} UTC ({ago(row['since'])} ago): " if row["since"] else ""
        click.echo(click.style(f"  {since}{safe(row['why'])}", dim=True))
    click.echo(f"{waiting} posts wait to be audited" + (": triage audit" if waiting else ""))


def _missing(row: dict[str, Any]) -> str:
    if row["state"] == "acts alone":
        return ""
    return f"; {row['needed']} more right ones in a row would do" if row["needed"] else "; the next answer settles it"

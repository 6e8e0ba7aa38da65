"""audit, autonomy: what people say of posts whose label they don't see, and which rules may act alone by it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from triage.cli.common import KEYS, MEANINGS, ago, as_json, by, key_of, label_words, opened, person, print_json, safe

if TYPE_CHECKING:
    from triage.app import App
    from triage.store.samples import Question

PROMPT = " · ".join([*(f"{key} {label_words(label)}" for key, label in KEYS.items()), "s skip", "q quit", "? help"])
MANUAL = f"""Say what the post is, by what is written: the one label that tells what should be done next.
{MEANINGS}
  s                   you can't tell, or can't read it: it stays for another time or person
What was made of the post is not shown, so that your answer counts. Yours is its label from now on."""


@click.command()
@click.option("--report", is_flag=True, help="Print what the audits have shown, and ask nothing.")
@as_json
@by
def audit(report: bool, as_json: bool, by: str | None) -> None:
    """Say what posts are that were drawn by lot, without seeing what triage made of them. One key a post."""
    from triage.pipeline import trust

    with opened() as app:
        if report or as_json:
            found = trust.report(app)
            print_json(found) if as_json else _print_report(found)
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
        key = key_of((*KEYS, "s", "q"), PROMPT, MANUAL)
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
        really = ", ".join(f"{count} {label_words(label)}" for label, count in row["really"].items())
        click.echo(
            f"  {safe(row[name]).replace('_', ' '):<{width}}  {row['right']:>4} of {row['audited']:<4} right  {said}"
            + (f"; really {really}" if really else "")
        )


@click.command()
@as_json
def autonomy(as_json: bool) -> None:
    """Which rules with `mode: earn` act alone, and what the others still have to show."""
    from triage.pipeline import trust

    with opened() as app:
        found = trust.standings(app)
        waiting = app.store.samples.count()
    if as_json:
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
        since = f"since {row['since']:%Y-%m-%d %H:%M} UTC ({ago(row['since'])} ago); today: " if row["since"] else ""
        click.echo(click.style(f"  {since}{safe(row['why'])}", dim=True))
    click.echo(f"{waiting} posts wait to be audited" + (": triage audit" if waiting else ""))


def _missing(row: dict[str, Any]) -> str:
    if row["state"] == "acts alone":
        return ""
    return f"; {row['needed']} more right ones in a row would do" if row["needed"] else "; the next answer settles it"

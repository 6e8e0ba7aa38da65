"""privacy: what is held of one person, out and away."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from triage.cli.common import as_json, by, opened, person, print_json, safe


@click.group()
def privacy() -> None:
    """What is held of one person whose posts came in. HANDLE is the whole one, name@host, as the queue shows it."""


@privacy.command()
@click.argument("handle")
@as_json
def preview(handle: str, as_json: bool) -> None:
    """What is held of HANDLE, table by table, and what an erasure could not reach. Nothing is changed."""
    from triage.store.privacy import UNREACHED

    with opened() as app:
        held = app.store.privacy.preview(handle)
    if as_json:
        print_json({name: getattr(held, name) for name in held.__slots__} | {"unreached": UNREACHED})
        return
    _print_counts(held.counts)
    _print_tickets(held.tickets)
    for url in held.answers:
        click.echo(f"our answer {safe(url)}")
    if held.busy:
        click.echo(f"{held.busy} of the mentions can't be erased now: something of theirs is being sent, in doubt, or an alert is open")
    _print_unreached(UNREACHED)


@privacy.command()
@click.argument("handle")
@click.option("--out", type=click.Path(path_type=Path), default=None, help="A new file, readable for you alone; else standard output.")
@by
def export(handle: str, out: Path | None, by: str | None) -> None:
    """Write all that is held of HANDLE as JSON."""
    from triage.errors import UserError
    from triage.store.rows import dumps

    with opened() as app:
        document = app.store.privacy.export(handle, person(by), app.clock.now())
    if out is None:
        print_json(document)
        return
    try:
        with open(os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as stream:
            stream.write(dumps(document) + "\n")
    except OSError as error:
        raise UserError(f"{out} can't be written ({error.strerror}); name another file with --out") from None
    click.echo(f"{len(document['mentions'])} mentions written to {out}")


@privacy.command()
@click.argument("handle")
@click.option("--yes", is_flag=True, help="Don't ask.")
@by
def erase(handle: str, yes: bool, by: str | None) -> None:
    """Erase what is held of HANDLE. It can't be undone. Exit code 1: some of it is under way and was left; run it again later."""
    from triage.pipeline import privacy as verbs

    with opened() as app:
        held = app.store.privacy.preview(handle)
        _print_counts(held.counts)
        if not yes and not click.confirm(f"Erase all of it? {held.counts['mentions']} mentions lose their text and their author for ever"):
            raise click.Abort
        receipt = verbs.erase(app, handle, person(by))
    click.echo(f"\nreceipt {receipt.number}")
    _print_counts(receipt.counts)
    _print_tickets(receipt.tickets)
    _print_unreached(receipt.unreached)
    if receipt.left:
        click.echo(
            f"{receipt.left} mentions were left, since something of theirs is under way or an alert is open. Next: the same again later"
        )
        sys.exit(1)


def _print_counts(counts: Mapping[str, int]) -> None:
    for name, count in counts.items():
        click.echo(f"{count:>8} {name}")


def _print_tickets(tickets: Sequence[tuple[str, str]]) -> None:
    for key, url in tickets:
        click.echo(f"ticket {safe(key)} {safe(url)}".rstrip())


def _print_unreached(words: Sequence[str]) -> None:
    click.echo("not reached:")
    for word in words:
        click.echo(f"  - {word}")

"""people: who has a log-in. What needs no password is done here; passwords are chosen in the browser."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from triage.cli.common import ago, as_json, by, opened, person, print_json, safe

if TYPE_CHECKING:
    from triage.app import App

ROLES = ("viewer", "trainee", "triager", "approver", "admin")


@click.group(invoke_without_command=True)
@click.pass_context
def people(context: click.Context) -> None:
    """Who has a log-in to the pages, and what they may do there. Without a command: list."""
    if context.invoked_subcommand is None:
        context.invoke(list_, as_json=False)


@people.command("list")
@as_json
def list_(as_json: bool) -> None:
    """Everybody, with role, whether they are away or disabled, and when they were last seen."""
    with opened() as app:
        found = app.store.people.all()
    if as_json:
        print_json([{name: getattr(one, name) for name in one.__slots__} for one in found])
        return
    for one in found:
        state = "disabled" if one.disabled_at else "away" if one.away else ""
        click.echo(f"{one.name:<20} {one.role:<9} {state:<9} {ago(one.seen_at):<8} {safe(one.shown)}".rstrip())
    if not found:
        click.echo("nobody has a log-in yet. Next: triage people invite admin")


@people.command()
@click.argument("role", type=click.Choice(ROLES))
@by
def invite(role: str, by: str | None) -> None:
    """Print a link by which somebody new makes their log-in as ROLE. It works once, for three days."""
    from triage.person import Role

    with opened() as app:
        _print_link(app, app.store.people.invite(Role(role), person(by), app.clock.now()))


@people.command()
@click.argument("name")
@by
def password(name: str, by: str | None) -> None:
    """Print a link by which NAME chooses a new password; it ends their sessions. It works once, for three days."""
    with opened() as app:
        role = app.store.people.named(name).role
        _print_link(app, app.store.people.invite(role, person(by), app.clock.now(), name=name))


@people.command()
@click.argument("name")
@click.argument("role", type=click.Choice(ROLES))
@by
def role(name: str, role: str, by: str | None) -> None:
    """Give NAME another ROLE, from their next click on. The last admin stays one."""
    from triage.person import Role

    _change(name, by, f"is {role} now", role=Role(role))


@people.command()
@click.argument("name")
@by
def logout(name: str, by: str | None) -> None:
    """End all sessions of NAME. Tokens stay; `disable` ends both."""
    with opened() as app:
        ended = app.store.sessions.end_all(app.store.people.named(name), app.clock.now(), person(by))
    click.echo(f"{ended} sessions of {name} ended")


@people.command()
@click.argument("name")
@by
def disable(name: str, by: str | None) -> None:
    """NAME can't log in any more: sessions, tokens and open invitations end at once. The trail keeps the name."""
    _change(name, by, "can't log in any more", disabled=True)


@people.command()
@click.argument("name")
@by
def enable(name: str, by: str | None) -> None:
    """NAME may log in again, with the password that they had."""
    _change(name, by, "can log in again", disabled=False)


def _change(name: str, by: str | None, said: str, **what: Any) -> None:
    with opened() as app:
        app.store.people.change(name, person(by), app.clock.now(), **what)
    click.echo(f"{name} {said}")


def _print_link(app: App, token: str) -> None:
    web = app.config.web
    click.echo(f"{web.url or f'http://{web.host}:{web.port}'}/welcome?token={token}")
    click.echo("it works once, for three days; send it to nobody else", err=True)

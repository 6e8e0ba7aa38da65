"""backup, restore, restored, adopt, rotate: what keeps a store safe, and what is done when it was moved."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from triage.cli.common import by, load_config, opened, person

if TYPE_CHECKING:
    from triage.config import Config
    from triage.store.backup import Backup

FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument("file", type=FILE)
@click.option("--force", is_flag=True, help="Overwrite FILE.")
def backup(file: Path, force: bool) -> None:
    """Write the store, its install secret and the model into FILE, while workers run. Config and tokens are not in it."""
    from triage.classifier import checked_card, model_folder
    from triage.store.backup import write

    with opened() as app:
        own = app.config.model
        shipped = checked_card(own or model_folder()).model.sha256
        made = write(app.store.database, file, app.clock.now(), model=own, shipped=shipped, force=force)
    click.echo(
        f"{file}: {made.rows('mentions')} mentions, {made.rows('actions')} actions, schema {made.schema_}, "
        f"{file.stat().st_size / 1e6:.1f} MB. It holds what people wrote, and the install secret: keep it like a password"
    )


@click.command()
@click.argument("file", type=FILE)
@click.option("--force", is_flag=True, help="Replace all that the store holds.")
@by
def restore(file: Path, force: bool, by: str | None) -> None:
    """Put the backup in FILE into the store of the config, of either kind, and turn restore mode on. No worker may run."""
    from triage.store.backup import Backup
    from triage.store.place import Place

    config = load_config()
    with Backup.open(file) as found:
        rows, copied = found.restore(
            config.store, lambda database: Place(database, config.folder), datetime.now(UTC), person(by), force=force
        )
        made = found.manifest
        click.echo(
            f"restored {rows} rows of {made.made_at:%Y-%m-%d %H:%M} UTC: {made.rows('mentions')} mentions, {made.rows('actions')} actions"
        )
        _restore_model(found, config)
    click.echo("for 48 hours the far side is asked before anything is sent; what people answered since the backup is in the queue again")
    if copied:
        click.echo(f"this is not where it was backed up ({copied}): nothing is sent until you say that the original is off: triage adopt")


def _restore_model(found: Backup, config: Config) -> None:
    from triage.classifier import checked_card, model_folder
    from triage.errors import ModelError
    from triage.store.backup import digest

    if not found.model:
        if config.model is None and checked_card(model_folder()).model.sha256 != found.manifest.shipped_model:
            click.echo("the classifier that ships has changed since the backup: labels may differ from what they were")
        return
    folder = config.model or config.folder / "model"
    try:
        same = all(digest(folder / name) == found.manifest.members[f"model/{name}"].sha256 for name in found.model)
    except (OSError, ModelError):
        same = False
    if not same:
        if folder.exists():
            folder = folder.with_name(f"{folder.name}-{found.manifest.made_at:%Y%m%d-%H%M%S}")
        found.unpack_model(folder)
        click.echo(f"its classifier is in {folder}")
    if config.model != folder:
        click.echo(f"to use it, set `model: {folder}` in the config")


@click.command()
@by
def restored(by: str | None) -> None:
    """The store was put back by other means than triage restore: ask before everything that is sent, for 48 hours."""
    with opened() as app:
        until = app.store.place.begin_restore(app.clock.now(), f"{person(by)} says that an older store was put back")
    click.echo(f"restore mode is on until {until:%Y-%m-%d %H:%M} UTC: the far side is asked before anything is sent")


@click.command()
@click.option("--yes", is_flag=True, help="Don't ask: the original is off.")
@by
def adopt(yes: bool, by: str | None) -> None:
    """This copy of a store is the one that sends from now on; the original is off, for good. Turns restore mode on."""
    with opened() as app:
        stand = app.store.place.stand(app.clock.now())
        if not stand.copied:
            click.echo("this store is no copy: it is where it was, and may send. Nothing was changed")
            return
        click.echo(f"this store is a copy: {stand.copied}")
        if not yes:
            click.confirm("If the original still runs, both send, and everything is sent twice. Is it off, for good?", abort=True)
        app.store.place.adopt(app.clock.now(), person(by))
    click.echo("this store sends from now on; for 48 hours the far side is asked before anything is sent")


@click.command()
@by
def rotate(by: str | None) -> None:
    """Make a new install secret, from which markers are derived. What was sent keeps its marker; workers of this version may run."""
    with opened() as app:
        count = app.store.markers.rotate(app.clock.now(), person(by))
    click.echo(
        f"markers are made with a new secret from now on; {count} old ones were written down. Make a backup: older ones lack the secret"
    )

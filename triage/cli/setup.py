"""init, doctor: the way to a config that works."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from triage.cli.common import as_json, load_config, print_json

if TYPE_CHECKING:
    from triage.app import App
    from triage.contracts import Finding


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("config.yaml"), show_default=True)
@click.option("--force", is_flag=True, help="Replace an existing file.")
@click.option("--yes", is_flag=True, help="Ask nothing: take what the options say, and the sample for the rest.")
@click.option("--mastodon", help="The address of your Mastodon server.")
@click.option("--jira", help="The address of your Jira; `none` for no tracker.")
@click.option("--deployment", type=click.Choice(["cloud", "data_center"]), help="Which Jira it is.")
@click.option("--user", help="Jira Cloud: the e-mail address of the account.")
@click.option("--project", help="The key of the Jira project.")
def init(
    out: Path, force: bool, yes: bool, mastodon: str | None, jira: str | None, deployment: str | None, user: str | None, project: str | None
) -> None:
    """Write a commented config.yaml that begins in observe mode: it shows what would be done and sends nothing."""
    from triage import config
    from triage.errors import UserError

    if out.exists() and not force:
        raise UserError(f"{out} exists; edit it, or write another one: triage init --out other.yaml (or --force to replace it)")
    if not yes:
        mastodon = mastodon or click.prompt("Your Mastodon server", default="https://mastodon.social")
        jira = jira or click.prompt("Your Jira (none: without a tracker)", default="none")
        if jira != "none":
            guess = "cloud" if "atlassian.net" in jira else "data_center"
            deployment = deployment or click.prompt(
                "Is it cloud or data_center", type=click.Choice(["cloud", "data_center"]), default=guess
            )
            if deployment == "cloud":
                user = user or click.prompt("The e-mail address of its account")
            project = project or click.prompt("The key of the project")
    text = _fill(config.sample(), mastodon, jira, deployment, user, project)
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{out} can't be written ({error.strerror}); name another place: triage init --out FILE") from None
    click.echo(f"{out} is written, in observe mode. Next:")
    click.echo("  1. Mastodon: Preferences > Development > New application, scopes read and write:statuses; then")
    click.echo("     export MASTODON_TOKEN=...   (its access token)")
    if jira != "none":
        click.echo("  2. Jira: make an API token (Cloud) or a personal access token (Data Center); then export JIRA_TOKEN=...")
    click.echo(f"  3. triage {'' if out == Path('config.yaml') else f'-c {out} '}doctor")
    click.echo(
        f"  4. triage {'' if out == Path('config.yaml') else f'-c {out} '}up, and look: triage queue. "
        "When you like what you see, set mode: act"
    )


def _fill(text: str, mastodon: str | None, jira: str | None, deployment: str | None, user: str | None, project: str | None) -> str:
    """The sample with the answers put in; its comments stay."""
    head, rest = text.split("\ntrackers:\n", 1)
    tracker, tail = rest.split("\n# Where alerts go.", 1)
    if mastodon:
        head = _set(head, "url", mastodon if "://" in mastodon else f"https://{mastodon}")
    if jira == "none":
        tracker = "\n".join("#" + line if line.strip() else line for line in ("trackers:\n" + tracker).split("\n"))
        return f"{head}\n{tracker}\n# Where alerts go.{tail}"
    if jira:
        tracker = _set(tracker, "url", jira if "://" in jira else f"https://{jira}")
    if deployment:
        tracker = _set(tracker, "deployment", deployment)
    if deployment == "data_center":
        tracker = re.sub(r"^    user: ", "    #user: ", tracker, flags=re.MULTILINE)
    elif user:
        tracker = _set(tracker, "user", user)
    if project:
        tracker = _set(tracker, "project", project)
    return f"{head}\ntrackers:\n{tracker}\n# Where alerts go.{tail}"


def _set(text: str, key: str, value: str) -> str:
    import json

    plain = re.fullmatch(r"[\w.@:/+-]+", value) and not value.isdecimal()
    return re.sub(
        rf"^(    {key}: ).*$", lambda match: match[1] + (value if plain else json.dumps(value)), text, count=1, flags=re.MULTILINE
    )


@click.command()
@as_json
def doctor(as_json: bool) -> None:
    """Check the config against the real servers. Changes nothing there; every finding that is not ok ends with the next step."""
    found = [(part, finding) for part, finding in _examine()]
    worst = "fail" if any(f.level == "fail" for _, f in found) else "warn" if any(f.level == "warn" for _, f in found) else "ok"
    if as_json:
        print_json(
            {"worst": worst, "findings": [{"part": p, "level": f.level, "what": f.what, "next_step": f.next_step} for p, f in found]}
        )
    else:
        for part, finding in found:
            sign = {
                "ok": click.style("ok  ", fg="green"),
                "warn": click.style("warn", fg="yellow"),
                "fail": click.style("FAIL", fg="red", bold=True),
            }
            click.echo(f"{sign[finding.level]}  {part}: {finding.what}")
            if finding.next_step:
                click.echo(f"      next: {finding.next_step}")
    sys.exit(1 if worst == "fail" else 0)


def _examine() -> Iterator[tuple[str, Finding]]:
    """Every part in turn; one that fails does not keep the others from being looked at."""
    from triage import broker
    from triage.app import App
    from triage.classifier import checked_card, model_folder
    from triage.contracts import Finding
    from triage.errors import RemoteError, UserError
    from triage.store import settings

    config = load_config()
    yield (
        "config",
        Finding(
            "ok",
            f"{len(config.sources)} sources, {len(config.trackers)} trackers, {len(config.notifiers)} notifiers, {len(config.rules)} rules",
        ),
    )
    if config.mode == "observe":
        yield "config", Finding("ok", "mode is observe: nothing is sent. When the queue looks right, set mode: act")
    if not config.sources:
        yield "config", Finding("warn", "no source is configured, so nothing comes in", "Add one under `sources`, or run `triage init`.")
    if not config.trackers:
        yield "config", Finding("warn", "no tracker is configured: every ticket becomes a task for a person", "Add one under `trackers`.")
    if not config.notifiers:
        yield "config", Finding("warn", "no notifier is configured: an alert wakes nobody", "Add one under `notifiers`.")
    try:
        card = checked_card(config.model or model_folder())
        yield "model", Finding("ok", f"{card.version}, trained on {card.trained_at}")
    except UserError as error:
        yield "model", Finding("fail", str(error), "Correct `model` in the config, or take the line out.")
    try:
        app = App(config)
    except UserError as error:
        yield "store", Finding("fail", str(error), "Mend this first; the servers are looked at after it.")
        return
    try:
        yield "store", Finding("ok", f"{app.store.views.count()} mentions, schema {app.store.database.version()}")
        yield from (("model", finding) for finding in _of_the_store(app))
        yield from (("store", finding) for finding in settings.check(app.store.database))
        if config.broker:
            yield from (("broker", finding) for finding in broker.check(config.broker))
        for kind, names, get in (
            ("source", app.sources, app.platform),
            ("tracker", app.trackers, app.tracker),
            ("notifier", app.notifiers, app.notifier),
        ):
            for name in names:
                try:
                    well = True
                    for finding in get(name).check():
                        well = well and finding.level != "fail"
                        yield f"{kind} {name}", finding
                    if well:  # a token that was renewed: no need to wait for the end of the pause
                        app.store.accounts.unpause(app.clock.now(), name)
                except RemoteError as error:
                    yield (
                        f"{kind} {name}",
                        Finding("fail", str(error), "See that the address is right and the server is up, then run triage doctor again."),
                    )
                except UserError as error:
                    yield f"{kind} {name}", Finding("fail", str(error), "Correct this, then run triage doctor again.")
    finally:
        app.close()


def _of_the_store(app: App) -> Iterator[Finding]:
    """Whether the models that were trained here, and that should act or run in the shadow, can be used on this machine."""
    from triage.contracts import Finding
    from triage.errors import ModelError

    standing = app.store.models.standing()
    for version, what in ((standing.active, "acts"), (standing.shadow, "runs in the shadow")):
        if version is None:
            continue
        try:
            app.registry.load(version)
        except ModelError as error:
            said, _, step = str(error).partition(" Next: ")
            yield Finding("fail", f"{said.rstrip('.')}; another one stands in", f"{step[:1].upper()}{step[1:]}.")
            continue
        if what == "acts" and app.config.model is not None:
            yield Finding(
                "warn", f"{version} was promoted, but the config pins another one", "Take `model` out of the config, or roll back."
            )
        else:
            yield Finding("ok", f"{version} {what}")

"""classify, listen, backfill, import, export: posts in and out."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from triage.cli.common import acting_model, config_or_sample, moment, opened, safe

if TYPE_CHECKING:
    from triage.classifier import Classifier
    from triage.mention import Mention, Verdict


@contextmanager
def progress(what: str, total: int | None = None) -> Iterator[Any]:
    """A bar on standard error; silent when that is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(what, total=total)
        yield lambda count: bar.advance(task, count)


def _open(file: str) -> IO[str]:
    from triage.errors import UserError

    if file == "-":
        return io.TextIOWrapper(sys.stdin.buffer, encoding="utf-8", errors="replace")
    try:
        return Path(file).open(encoding="utf-8-sig", errors="replace", newline="")
    except OSError as error:
        raise UserError(f"{file} can't be read ({error.strerror}); give the name of a file, or - for standard input") from None


@click.command()
@click.argument("file", default="-")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "jsonl"]),
    default="text",
    show_default=True,
    help='One post a line, or {"text": …} a line, with "id" and "lang" if you like.',
)
@click.option("--model", type=click.Path(path_type=Path), default=None, help="A model's folder; else the one that acts.")
def classify(file: str, form: str, model: Path | None) -> None:
    """Judge the posts of FILE (`-` or nothing: standard input). With jsonl, lines come out as they went in, in order.

    Blank lines are passed over. A line of JSON that holds no post has an "error" in its place, and the exit code is then 1.
    """
    from triage.cli import lines

    with _bytes_of(file) as stream:
        judge = acting_model(model)
        seen = bad = 0
        with progress("classifying") as advance:
            for batch in lines.batches(stream, jsonl=form == "jsonl"):
                found = list(lines.judged(judge, batch))
                click.echo("\n".join(lines.as_json(*one) if form == "jsonl" else _line(one[1], one[0].text) for one in found))
                seen, bad = seen + len(found), bad + sum(verdict is None for _, verdict in found)
                advance(len(found))
    if bad:
        click.echo(f'{bad} of {seen} lines could not be judged; each has its "error" in its place', err=True)
        sys.exit(1)


def _bytes_of(file: str) -> IO[bytes]:
    from triage.errors import UserError

    if file == "-":
        return sys.stdin.buffer
    try:
        return Path(file).open("rb")
    except OSError as error:
        raise UserError(f"{file} can't be read ({error.strerror}); give the name of a file, or - for standard input") from None


def _line(verdict: Verdict | None, text: str) -> str:
    assert verdict is not None  # any line of text is a post
    colour = {"bug_report": "red", "support_question": "yellow", "praise": "green", "noise": "white"}[verdict.label]
    label = click.style(f"{verdict.label:<16}", fg=colour)
    sure = "    " if verdict.sure else " ?  "
    short = " ".join(safe(text).split())
    return f"{label} {verdict.confidence:4.0%}{sure}{short if len(short) <= 110 else short[:109] + '…'}"


@click.command()
@click.argument("feed")
@click.option("--dry-run", is_flag=True, required=True, help="Say so: nothing is stored and nothing is sent.")
@click.option("--since", default="1d", show_default=True, help="From when on: 2h, 7d, or a date.")
@click.option("--follow", is_flag=True, help="Go on with what is posted from now on, until Ctrl-C.")
@click.option("--limit", default=200, show_default=True, help="Stop after so many posts.")
def listen(feed: str, dry_run: bool, since: str, follow: bool, limit: int) -> None:
    """Read the public timeline of FEED ('#hashtag@instance') without an account, and print verdicts and what would be done."""
    import time

    from triage.app import manifest
    from triage.errors import UserError
    from triage.platforms.mastodon import MastodonOptions

    match = re.fullmatch(r"#?([^\s#@]+)@((?:https?://)?[^\s@/]+)/?", feed.strip())
    if match is None:
        raise UserError(f"{feed!r} is no feed; write it like '#python@mastodon.social', in quotes")
    tag, host = match.groups()
    options = MastodonOptions.model_validate({"url": host if "://" in host else f"https://{host}", "hashtags": [tag], "own_posts": False})
    platform = manifest("platforms", "mastodon").build("listen", options)
    judge = acting_model()
    seen: set[str] = set()
    start = moment(since)
    while True:
        for page in platform.history(start):
            fresh = [item.mention for item in page.items if item.mention is not None and item.mention.uri not in seen]
            seen |= {mention.uri for mention in fresh}
            _tell(fresh[: max(0, limit - len(seen) + len(fresh))], judge)
            if len(seen) >= limit:
                return
        if not follow:
            break
        start = datetime.now(UTC) - timedelta(minutes=5)
        time.sleep(platform.manifest.interval)
    if not seen:
        click.echo(f"nobody has posted #{tag} since {start:%Y-%m-%d %H:%M} UTC, as far as {host} shows; try --since 7d")


def _tell(mentions: list[Mention], judge: Classifier) -> None:
    from triage.mention import Problem
    from triage.rules import Facts, route
    from triage.text import classifier_input

    if not mentions:
        return
    own = config_or_sample()
    for mention, verdict in zip(
        mentions, judge.classify([classifier_input(m) for m in mentions], [m.language for m in mentions]), strict=True
    ):
        facts = Facts("triage", "tracker", ("oncall",), new_author=False, mention_id=0, components=own.components)
        decision = route(mention, verdict, Problem(0, mention.uri), own.rules, facts)
        click.echo(_line(verdict, mention.text))
        steps = ", ".join(dict.fromkeys(str(plan.kind) for plan in decision.plans))
        click.echo(
            click.style(
                f"      {safe(mention.author.handle)}  {safe(mention.url)}\n      would: {steps}: {safe(decision.reason)}", dim=True
            )
        )


def _wait(until: datetime, why: str) -> None:
    """Somebody asked for it and sees it wait; the service goes on beside it with what is left."""
    import time

    click.echo(f"waits until {until:%H:%M:%S} UTC: {why}", err=True)
    time.sleep(max((until - datetime.now(UTC)).total_seconds(), 1.0))


@click.command()
@click.option("--since", required=True, help="From when on: 7d, 12h, or a date.")
@click.option("--source", default=None, help="Only this source; else all.")
@click.option("--act", is_flag=True, help="Do what the rules say, as for new posts. Without it they are only observed.")
def backfill(since: str, source: str | None, act: bool) -> None:
    """Store what the sources still show from some time on. Only observes: triage show tells what would have been done."""
    from triage.classifier import checked_card, model_folder
    from triage.errors import UserError
    from triage.pipeline import intake, judge

    start = moment(since)
    with opened() as app:
        checked_card(app.config.model or model_folder())  # before anything is stored
        if source and source not in app.sources:
            raise UserError(f"the config has no source {source!r}; it has {', '.join(app.sources) or 'none'}")
        names = [source] if source else list(app.sources)
        if not names:
            raise UserError("the config has no sources; add one, or run triage init")
        with progress("fetching") as advance:
            new = [id_ for name in names for id_ in intake.backfill(app, name, start, act=act, progress=advance, wait=_wait)]
        with progress("judging", total=len(new)) as advance:
            judge.process(app)
            advance(len(new))
    done = "they are handled like new ones" if act else "they are only observed; release one: triage retry ACTION"
    click.echo(f"{len(new)} new mentions since {start:%Y-%m-%d %H:%M} UTC; {done}")


@click.command("import")
@click.argument("file")
@click.option(
    "--format", "form", type=click.Choice(["jsonl", "csv"]), default=None, help="Else by the file's name; jsonl for standard input."
)
def import_(file: str, form: str | None) -> None:
    """Store posts from FILE (JSONL or CSV, `-`: standard input): text, link, author, date. The same link is never taken in twice."""
    from triage.app import IMPORTED
    from triage.classifier import checked_card, model_folder
    from triage.pipeline import intake, judge
    from triage.platforms.imported import items

    form = form or ("csv" if file.lower().endswith(".csv") else "jsonl")
    with opened() as app:
        checked_card(app.config.model or model_folder())  # before anything is stored
        with _open(file) as lines, progress("importing") as advance:
            rows = items(lines, form=form, source=IMPORTED, now=app.clock.now())
            new, broken = intake.take_in(app, IMPORTED, rows, progress=advance)
        with progress("judging", total=len(new)) as advance:
            judge.process(app)
            advance(len(new))
    click.echo(f"{len(new)} new mentions" + (f", {broken} rows could not be read: triage queue --quarantined" if broken else ""))


@click.command()
@click.option("--format", "form", type=click.Choice(["jsonl", "csv"]), required=True)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), default=None, help="A file; else standard output.")
def export(form: str, out: Path | None) -> None:
    """Write all mentions with their verdicts, tickets and states, oldest first."""
    from triage.errors import UserError

    with opened() as app:
        try:
            target = out.open("w", encoding="utf-8", newline="") if out else sys.stdout
        except OSError as error:
            raise UserError(f"{out} can't be written ({error.strerror}); name another file") from None
        try:
            with progress("exporting", total=app.store.views.count()) as advance:
                writer: Any = None
                for row in app.store.views.export():
                    if form == "jsonl":
                        target.write(json.dumps(row, ensure_ascii=False, default=lambda v: v.isoformat()) + "\n")
                    else:
                        if writer is None:
                            writer = csv.DictWriter(target, list(row))
                            writer.writeheader()
                        writer.writerow({name: _cell(value) for name, value in row.items()})
                    advance(1)
        finally:
            if out:
                target.close()


def _cell(value: Any) -> Any:
    """A cell that no spreadsheet takes for a formula."""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return "'" + value
    return value

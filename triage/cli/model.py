"""train, evaluate, models, shadow: the classifier, and those that were trained here."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from triage.cli.common import acting_model, as_json, by, opened, person, print_json, safe

if TYPE_CHECKING:
    from triage.classifier.gate import Gate
    from triage.store.models import Kept

WIDTH = 100  # characters of a post that a list shows


@click.command()
@click.option("--corpus", type=click.Path(path_type=Path), default=None, help="A folder of *.jsonl files; else the one that ships.")
@click.option(
    "--out", type=click.Path(path_type=Path), default=None, help="A folder for the model, in place of the store; then no gate is asked."
)
@click.option(
    "--corrections/--no-corrections", default=None, help="Learn from what people labelled in this store. Yes, but not with --out."
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--encoder", is_flag=True, help="Join it with the encoder that ships, for English. Needs the extra: triage-inbox[encoder].")
@click.option("--promote", is_flag=True, help="Let it act at once if it passes the gate.")
@by
def train(corpus: Path | None, out: Path | None, corrections: bool | None, seed: int, encoder: bool, promote: bool, by: str | None) -> None:
    """Train a classifier, keep it in the store as a candidate, and show what the gate says of it. Exit code 1: it is refused.

    With --out it is written into a folder: use it with `model: FOLDER` in the config. It then learns from all corrections, those too
    that the gate holds back.
    """
    from triage.classifier import corpus_folder
    from triage.errors import UserError

    if out is not None:
        if promote:
            raise UserError(
                "a model in a folder is not promoted: it acts when the config says `model: FOLDER`. Leave out --out or --promote"
            )
        _train_into(corpus or corpus_folder(), out, seed, corrections=bool(corrections), encoder=encoder)
        return
    from triage.pipeline import learning

    with opened() as app:
        if promote:
            learning.pinned(app)
        name = person(by)
        card = learning.train(
            app, corpus or corpus_folder(), name, corrections=corrections is not False, seed=seed, encoder=encoder, progress=_step
        )
        click.echo(
            f"{card.version}: {card.data.posts} posts, {card.data.corrections} of them people's corrections, "
            f"macro-F1 {card.scores.macro_f1:.3f} by cross-validation"
        )
        found = learning.examine(app, card.version, name)
        _print_gate(found)
        if promote and found.passed:
            learning.promote(app, card.version, name)
    if found.passed:
        click.echo(
            _ACTS if promote else f"let it act: triage models promote {card.version} · watch it first: triage shadow start {card.version}"
        )
    elif found.outcome == "refused":
        click.echo("it is refused, and nothing changes. Label more posts of the labels on which it is worse: triage label")
    else:
        click.echo(f"it is kept as a candidate. Label posts (triage label), then: triage models promote {card.version}")
    sys.exit(1 if found.outcome == "refused" or (promote and not found.passed) else 0)


_ACTS = "it acts now; every worker takes it within some seconds. Back: triage models rollback"


def _train_into(corpus: Path, out: Path, seed: int, *, corrections: bool, encoder: bool) -> None:
    from triage.classifier import describe
    from triage.classifier import train as run

    learned: list[tuple[str, str]] = []
    if corrections:
        with opened() as app:
            learned = app.store.views.corrections()
        click.echo(f"{len(learned)} corrections by people", err=True)
    card = run(corpus, out, corrections=learned, seed=seed, encoder=encoder, progress=_step)
    click.echo(describe(card))


def _step(done: int, steps: int, what: str) -> None:
    click.echo(f"{done}/{steps} {what}", err=True)


def _print_gate(found: Gate) -> None:
    from triage.classifier.gate import table

    for line in table(found):
        click.echo(line)


@click.command()
@click.option("--model", type=click.Path(path_type=Path), default=None, help="A model's folder; else the one that acts.")
@click.option("--data", type=click.Path(path_type=Path), default=None, help="A labelled set (.jsonl), or a folder of them, to score it on.")
def evaluate(model: Path | None, data: Path | None) -> None:
    """The classifier's scores: from its card, and on labelled sets where you have them.

    A set has one JSON object a line with the keys text, label, label_source and, if known, lang. Only rows with the label_source
    human count.
    """
    from triage.classifier import evaluate as run

    click.echo(run(acting_model(model), data))


@click.group(invoke_without_command=True)
@as_json
@click.pass_context
def models(context: click.Context, as_json: bool) -> None:
    """The models that were trained here, newest first, and which one acts.

    VERSION may be any part of a version that no other one has; `default` is the one that ships.
    """
    if context.invoked_subcommand is None:
        _print_models(as_json=as_json)


@models.command("list")
@as_json
@click.pass_context
def list_models(context: click.Context, as_json: bool) -> None:
    """The same as `triage models`."""
    _print_models(as_json=as_json or (context.parent is not None and context.parent.params["as_json"]))


def _print_models(*, as_json: bool) -> None:
    from triage.pipeline import learning

    with opened() as app:
        acts, found = learning.acting(app), app.store.models.all()
    if as_json:
        print_json(
            {"acting": {"version": acts.version, "origin": acts.origin, "fault": acts.fault}, "models": [_plain(kept) for kept in found]}
        )
        return
    click.echo(f"acts      {acts.version}, {safe(acts.origin)}")
    if acts.fault:
        click.echo(f"          {safe(acts.fault)}")
    if not found:
        click.echo("none was trained here yet. Label some posts: triage label. Then: triage train")
        return
    row = "{:<28} {:<10} {:<17} {:<12} {:>6} {:>12} {:>9}  {}"
    click.echo(row.format("version", "state", "made", "by", "posts", "corrections", "macro-F1", "gate"))
    for kept in found:
        one = _plain(kept)
        gate = f"{one['gate']['outcome']} against {one['gate']['today']}" if one["gate"] else "not asked yet"
        score = f"{one['macro_f1']:.3f}" if one["macro_f1"] is not None else "-"
        files = "" if kept.has_files else "; its files were dropped"
        click.echo(
            row.format(
                kept.version,
                kept.state,
                f"{kept.made_at:%Y-%m-%d %H:%M}",
                safe(kept.made_by)[:12],
                one["posts"],
                one["corrections"],
                score,
                gate,
            )
            + files
        )


def _plain(kept: Kept) -> dict[str, Any]:
    """A model for machines, and for a line of the list. A card of another version of the program may lack something."""
    data, scores = kept.card.get("data", {}), kept.card.get("scores", {})
    return {
        "version": kept.version,
        "state": kept.state,
        "made_at": kept.made_at,
        "made_by": kept.made_by,
        "changed_at": kept.changed_at,
        "changed_by": kept.changed_by,
        "posts": data.get("posts", 0),
        "corrections": data.get("corrections", 0),
        "macro_f1": scores.get("macro_f1"),
        "gate": kept.gate,
        "compared": kept.compared,
        "has_files": kept.has_files,
    }


@models.command()
@click.argument("version")
def show(version: str) -> None:
    """The card of VERSION, its state, and what the gate said of it."""
    from pydantic import ValidationError

    from triage.classifier import describe, model_folder
    from triage.classifier.card import Card, read_card
    from triage.classifier.gate import Gate
    from triage.errors import UserError
    from triage.pipeline import learning

    with opened() as app:
        found = learning.version_of(app, version)
        kept = app.store.models.get(found) if found is not None else None
    if kept is None:
        click.echo(describe(read_card(model_folder())))
        return
    try:
        click.echo(describe(Card.model_validate(kept.card)))
    except ValidationError:
        raise UserError(f"the card of {kept.version} is not one of this version's. Next: train again (triage train)") from None
    click.echo(f"{kept.state} since {kept.changed_at:%Y-%m-%d %H:%M} UTC, by {safe(kept.changed_by)}")
    if kept.gate:
        click.echo()
        _print_gate(Gate.from_json(kept.gate))


@models.command()
@click.argument("today")
@click.argument("challenger")
def compare(today: str, challenger: str) -> None:
    """What the gate would say of CHALLENGER if TODAY acted; nothing is changed."""
    from triage.pipeline import learning

    with opened() as app:
        _print_gate(learning.compare(app, learning.version_of(app, today), learning.version_of(app, challenger)))


@models.command()
@click.argument("version")
@by
def promote(version: str, by: str | None) -> None:
    """Let VERSION act, if it has passed the gate against the model that acts now; the gate is asked again where it has not."""
    from triage.errors import UserError
    from triage.pipeline import learning

    with opened() as app:
        wanted = learning.version_of(app, version)
        if wanted is None:
            raise UserError("the model that ships needs no promotion. Next: triage models rollback default")
        found = learning.promote(app, wanted, person(by))
    _print_gate(found)
    if not found.passed:
        click.echo(
            f"{wanted} does not act. " + ("Train again: triage train" if found.outcome == "refused" else "Label more posts: triage label")
        )
        sys.exit(1)
    click.echo(_ACTS)


@models.command()
@click.argument("to", required=False, default="", type=click.Choice(["", "default"]), metavar="[default]")
@by
def rollback(to: str, by: str | None) -> None:
    """Let the model act again that acted before today's was promoted; with `default` at once the one that ships."""
    from triage.pipeline import learning

    with opened() as app:
        version = learning.rollback(app, person(by), to)
    click.echo(f"{version} acts again; every worker takes it within some seconds")


@click.group()
def shadow() -> None:
    """A challenger beside today's model: it judges every new mention too, and only where it thinks something else is kept."""


@shadow.command()
@click.argument("version")
@by
def start(version: str, by: str | None) -> None:
    """Put VERSION into the shadow, a candidate or a retired model. What it said before is forgotten."""
    from triage.errors import UserError
    from triage.pipeline import learning

    with opened() as app:
        wanted = learning.version_of(app, version)
        if wanted is None:
            raise UserError("the model that ships can't run in the shadow. Next: triage models compare default VERSION")
        app.store.models.begin_shadow(wanted, person(by), app.clock.now())
    click.echo(f"{wanted} judges every new mention beside today's model from now on, and nothing hangs on it. Look: triage shadow list")


@shadow.command()
@by
def stop(by: str | None) -> None:
    """Take the challenger out of the shadow."""
    with opened() as app:
        version = app.store.models.end_shadow(person(by), app.clock.now())
    click.echo(f"{version} is a candidate again. What it said is kept: triage shadow list {version}")


@shadow.command("list")
@click.argument("version", required=False)
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="How many at most.")
@as_json
def list_(version: str | None, limit: int, as_json: bool) -> None:
    """Where the model in the shadow (or VERSION) thinks something else than what was said, newest first."""
    from triage.errors import UserError
    from triage.pipeline import learning
    from triage.trust import share

    with opened() as app:
        wanted = learning.version_of(app, version) if version else app.store.models.standing().shadow
        kept = app.store.models.get(wanted) if wanted is not None else None
        if kept is None:
            raise UserError("no model is in the shadow. Next: triage shadow start VERSION")
        count, labels, found = app.store.models.disagreements(kept.version, limit)
    other = share(count, kept.compared)
    if as_json:
        rows = [{name: getattr(one, name) for name in one.__slots__} for one in found]
        print_json({"version": kept.version, "compared": kept.compared, "other": count, "other_label": labels, "newest": rows})
        return
    for one in found:
        text = " ".join(safe(one.text).split())
        click.echo(f"mention {one.mention_id}  {text if len(text) <= WIDTH else text[: WIDTH - 1] + '…'}")
        said = _said(one.label, one.confidence, one.sure)
        click.echo(f"    today {said}, challenger {_said(one.shadow_label, one.shadow_confidence, one.shadow_sure)}")
    said = f": {other.rate:.1%} (95 % interval {other.low:.1%} to {other.high:.1%})" if other.rate is not None else ""
    click.echo(
        f"{kept.version} thinks something else of {count} of {kept.compared} mentions{said}; "
        f"of {labels} another label, of {count - labels} only whether it is sure"
    )


def _said(label: str, confidence: float, sure: bool) -> str:
    return f"{label} {confidence:.0%}{'' if sure else ' (not sure)'}"

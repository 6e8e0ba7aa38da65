"""train, evaluate: the classifier."""

from __future__ import annotations

from pathlib import Path

import click

from triage.cli.common import opened


@click.command()
@click.option("--corpus", type=click.Path(path_type=Path), default=None, help="A folder of *.jsonl files; else the one that ships.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The folder for the model, its card and its recipe.")
@click.option("--corrections/--no-corrections", default=False, help="Also learn from what people relabelled in this store.")
@click.option("--seed", default=0, show_default=True)
def train(corpus: Path | None, out: Path, corrections: bool, seed: int) -> None:
    """Train a classifier. Use it with `model: FOLDER` in the config."""
    from triage.classifier import corpus_folder, describe
    from triage.classifier import train as run

    learned: list[tuple[str, str]] = []
    if corrections:
        with opened() as app:
            learned = app.store.views.corrections()
        click.echo(f"{len(learned)} corrections by people", err=True)
    card = run(corpus or corpus_folder(), out, corrections=learned, seed=seed, progress=_step)
    click.echo(describe(card))


def _step(done: int, steps: int, what: str) -> None:
    click.echo(f"{done}/{steps} {what}", err=True)


@click.command()
@click.option("--model", type=click.Path(path_type=Path), default=None, help="A model's folder; else the one that ships.")
@click.option("--data", type=click.Path(path_type=Path), default=None, help="A folder of labelled sets (*.jsonl) to score it on as well.")
def evaluate(model: Path | None, data: Path | None) -> None:
    """The classifier's scores: from its card, and on labelled sets where you have them."""
    from triage.classifier import evaluate as run
    from triage.classifier import model_folder

    click.echo(run(model or model_folder(), data))

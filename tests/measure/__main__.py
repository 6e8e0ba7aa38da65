"""Measure, print the tables, and write them into docs/model.md when asked. The exit code is 0 whatever the figures are."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from tests.measure import learning, page, projects, recipe, reference, transfer
from tests.measure.ground import Ground, NoSet
from tests.measure.report import Section, machine, text
from triage.classifier import model_folder
from triage.errors import TriageError

MEASURES: dict[str, Callable[[Ground], Section]] = {
    "transfer": transfer.transfer,
    "calibration": transfer.calibration,
    "surest": transfer.surest,
    "reference": reference.reference,
    "kinds": transfer.kinds,
    "dialogs": projects.dialogs,
    "issues": projects.issues,
    "learning": learning.learning,
    "curve": transfer.curve,
}


def main(argv: list[str] | None = None) -> int:
    """Measure what was asked for, one after the other; each is written as soon as it is there."""
    parser = argparse.ArgumentParser(prog="python -m tests.measure", description="Measure the classifier beside its bars and a baseline.")
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="where the labelled sets are; without it, what needs them is left out")
    parser.add_argument(
        "--only", action="append", choices=list(MEASURES), metavar="NAME", help=f"one of {', '.join(MEASURES)}; may be repeated"
    )
    parser.add_argument(
        "--model", type=Path, default=model_folder(), metavar="FOLDER", help="the model to measure (default: the one that ships)"
    )
    parser.add_argument(
        "--quick", action="store_true", help="a part of everything: shows that it can be measured, the figures mean nothing"
    )
    parser.add_argument("--write", action="store_true", help="write tables and plots into docs/model.md")
    options = parser.parse_args(argv)
    if options.quick and options.write:
        parser.error("--quick gives figures that mean nothing, so they are not written. Next: leave out one of the two")
    if options.write and options.model != model_folder():
        parser.error("docs/model.md tells of the model that ships alone. Next: leave out --write or --model")
    if options.data is not None and not options.data.is_dir():
        parser.error(f"there is no folder {options.data}. Next: name the one where the labelled sets are, or leave --data out")
    ground = Ground(options.data, options.model, quick=options.quick)
    try:
        print(f"{datetime.now(UTC):%Y-%m-%d}, {machine()}, {ground.classifier.card.version}")
        if not ground.is_of_this_corpus():
            said = "the model was made from another corpus than the one that is here, which the measures that train learn from"
            if options.write:
                parser.error(f"{said}. Next: run `make train`")
            print(said)
    except TriageError as error:
        print(f"the model can't be measured: {error}", file=sys.stderr)
        return 2
    left_out: dict[str, str] = {}
    for name in options.only or MEASURES:
        began = time.perf_counter()
        try:
            section = MEASURES[name](ground)
        except NoSet as missing:
            left_out[name] = str(missing)
            continue
        print(f"\n{section.title} ({name}, {time.perf_counter() - began:.0f} s)\n{section.note}\n\n{text(section.figures)}", flush=True)
        if options.write:
            now = f"{datetime.now(UTC):%Y-%m-%d}"
            page.keep({name: page.Kept(section, now, machine(), ground.classifier.card.version)}, recipe.corpus(), list(MEASURES))
    if left_out:
        where = f"{options.data} doesn't hold" if options.data else "no folder was given (make evaluate DATA=folder) with"
        print("\nLeft out: " + "; ".join(f"{name}: {where} {missing}.jsonl" for name, missing in left_out.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The classifier alone: posts a CPU second beside a plain baseline in the same run, and what it costs to load.

CPU seconds, so that other programs on the machine disturb less. Both learned from the project's corpus; posts come from it too, each with
words of its own at its end, so that neither can know all of a batch from the one before.
"""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median

from tests.bench.process import IMPORTS
from tests.bench.report import Row
from tests.bench.stage import environment, posts, tell
from triage.classifier import Classifier, model_folder

BATCH = 256
TIMES = 2.5  # of the baseline's speed
LOAD_SECONDS = 1.0
LOAD_MEGABYTES = 60.0

# Prints the seconds and the resident kilobytes that loading and one verdict add to scikit-learn.
_LOADING = """
import os, subprocess, time
{imports}
from pathlib import Path
from triage.classifier import Classifier
def resident():
    return int(subprocess.check_output(["ps", "-o", "rss=", "-p", str(os.getpid())]))
before, began = resident(), time.perf_counter()
model = Classifier.load(Path({folder!r}))
model.classify(["it works"])
took, after = time.perf_counter() - began, resident()
print(took, after - before)
"""


def classifier(folder: Path, *, count: int, rounds: int) -> Iterator[Row]:
    """The speed of `Classifier.classify` with languages given, and of reading the texts alone, on `count` posts in batches."""
    from tests.measure.recipe import corpus, fit_baseline

    ours, theirs = Classifier.load(model_folder()), fit_baseline(corpus())
    texts, languages = _texts(count)
    judged, read, baseline = [], [], []
    for _ in range(rounds):  # in turns, so that a slow moment of the machine meets all of them
        judged.append(_speed(texts, lambda start, end: ours.classify(texts[start:end], languages[start:end])))
        read.append(_speed(texts, lambda start, end: ours._reader.read(texts[start:end])))
        baseline.append(_speed(texts, lambda start, end: theirs.predict_proba(texts[start:end])))
    beside, bar = median(baseline), f"at least {TIMES:g}"
    for name, speeds in (("classifier, batches of 256", judged), ("classifier, reading alone", read)):
        figure = median(speeds)
        yield Row(name, figure, "posts/CPU s", beside, "TF-IDF and logistic regression", bar, figure / beside >= TIMES)
    yield from _loading(rounds)


def _texts(count: int) -> tuple[Sequence[str], Sequence[str | None]]:
    """Posts with a language each. Every third has a word that nobody has written before, as posts have names and typos."""
    written, draw = posts(), random.Random(3)
    drawn = [written[number % len(written)] for number in range(count)]
    texts = [
        post.text if number % 3 else f"{post.text} {''.join(draw.choices('abcdefghijklmnopqrstuvwxyz', k=7))}"
        for number, post in enumerate(drawn)
    ]
    return texts, [post.language or None for post in drawn]


def _speed(texts: Sequence[str], judge: Callable[[int, int], object]) -> float:
    """Texts a CPU second."""
    began = time.process_time()
    for start in range(0, len(texts), BATCH):
        judge(start, start + BATCH)
    return len(texts) / (time.process_time() - began)


def _loading(rounds: int) -> Iterator[Row]:
    code = _LOADING.format(imports=IMPORTS, folder=str(model_folder()))
    found = []
    for _ in range(rounds):
        said = subprocess.run([sys.executable, "-c", code], env=environment(), check=True, capture_output=True, text=True).stdout
        found.append([float(number) for number in said.split()])
    seconds, megabytes = median(one for one, _ in found), median(one for _, one in found) * 1024 / 1e6
    tell(f"  loading and one verdict: {seconds:.2f} s, {megabytes:.0f} MB beyond scikit-learn")
    name, bar = "classifier, loading beyond scikit-learn", "at most {:g} {}"
    yield Row(f"{name}, time", seconds, "s", bar=bar.format(LOAD_SECONDS, "s"), met=seconds <= LOAD_SECONDS)
    yield Row(f"{name}, memory", megabytes, "MB", bar=bar.format(LOAD_MEGABYTES, "MB"), met=megabytes <= LOAD_MEGABYTES)

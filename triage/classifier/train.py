"""Making a model from a corpus, with an honest measure of it.

    posts ──▶ n-grams and form ──▶ logistic regression ──▶ divided by a temperature ──▶ the model
      └── five parts by kind of text: learned on four of them, judged on the fifth ──▶ temperature, thresholds, scores ──▶ the card

A corpus file is one kind of text (forum sentences, reviews, whole issues ...), and all of it goes to the same side of a split: a model
that is asked about text of a kind that it has not met is less right than it believes, and the temperature must know. Everything is drawn
from one seed: the same corpus, seed and package versions give the same scores.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
import shutil
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from triage import __version__
from triage.classifier.calibration import calibration_error
from triage.classifier.card import CARD, MODEL, Card, Data, File, Joined, LabelScore, Scores, describe, licence
from triage.classifier.corpus import CORRECTION, LEAST_POSTS, Corpus, Post, check_corpus, digest_of, read_corpus
from triage.classifier.encoder import Encoder, encoder_folder, reads
from triage.classifier.model import Classifier
from triage.errors import ModelError
from triage.mention import Label

Progress = Callable[[int, int, str], None]
"""Called with the steps done, the steps in all, and what was done."""

PRECISION_WANTED = 0.9  # of the verdicts called sure; below it a person's time is better spent on looking than on mending
_FOLDS = 5
_LEAST_SURE = 20  # posts that a threshold must rest on
_LEAST_OF_A_LANGUAGE = 50  # posts, for a score of its own
_DESCRIPTION = (
    "Tells bug reports, support questions, praise and noise apart in short posts to or about a product. Logistic regression over n-grams "
    "of words and letters and the form of the text, with calibrated probabilities. It learned from posts written for this project in "
    "English, French, German and Spanish, with a few in Portuguese, Italian and Dutch; of other languages it knows nothing and is never "
    "sure about a text without a word that it knows. It reads a post alone, without its thread, and is weak at irony."
)
_PARAMETERS: dict[str, dict[str, Any]] = {
    "terms": {"letters": 5, "words_least": 2, "letters_least": 5, "power": 0.35, "weight": 0.33},
    "form": {"weight": 1.0},
    "regression": {"C": 0.6, "solver": "newton-cg", "tol": 5e-4},  # newton-cg: several times as fast here as the default
    "heat": {"short": 40, "power": 0.4},
}
_EMPHASIS = {Label.BUG_REPORT: 1.6}
"""Labels weigh the same whatever their number of posts, but for this: a bug that is filed as noise is a customer lost in silence."""
_MODESTY = 1.1
"""What people really write is harder to judge than a corpus, and the longer the harder. This, times the temperature of held-back kinds of
text, and the two numbers of "heat" (see `triage.classifier.judge`) were chosen by the calibration error on four fetched sets and the
reference set, leaving each out in turn; docs/model.md tells how."""
_CORRECTION = 3.0  # a post that people here corrected weighs as much as so many of the corpus


@dataclass(frozen=True, slots=True)
class Judged:
    """The held-back posts: what they are, and the probability of each label.

    `sure` and `told` are what a post of this part would have got from a temperature and thresholds chosen on the other parts
    alone: whether its verdict is sure, and with which confidence. The card's figures are made of these.
    """

    truth: list[Label]
    languages: list[str]
    scores: list[list[float]]  # in the order of Label
    given: list[Label]
    sure: list[bool]
    told: list[float]

    @property
    def confidences(self) -> list[float]:
        """The probability of the label that was given, for each post."""
        return [max(row) for row in self.scores]


def train(
    corpus: Path,
    out: Path,
    *,
    corrections: Sequence[tuple[str, str]] = (),
    seed: int = 0,
    least: int = LEAST_POSTS,
    encoder: bool = False,
    progress: Progress | None = None,
) -> Card:
    """Train a model on the corpus in the folder `corpus` and put it into the folder `out`; takes about half a minute.

    `corrections` are (text, label) pairs by people; the last word on a text counts. `least` is the number of posts that the
    corpus must hold. With `encoder` it is joined with the encoder that is installed, which learns nothing itself. The files in `out`
    are replaced one by one, the card last, so that a reader in between refuses what doesn't belong together. Raises ModelError when
    the corpus fails its check, `out` can't be written or there is no such encoder.
    """
    tell = progress or (lambda done, steps, what: None)
    steps = _FOLDS + 3
    beside = Encoder.load(encoder_folder()) if encoder else None
    found = read_corpus(corpus)
    findings = check_corpus(found, least=least)
    if findings:
        raise ModelError(
            f"the corpus in {corpus} would teach the wrong thing: {'; '.join(findings)}. Next: mend these lines, then train again"
        )
    corrected = _corrections(corrections)
    posts = [*found.posts, *corrected]
    if len({post.topic for post in posts}) < 2 * _FOLDS:
        raise ModelError(
            f"the corpus in {corpus} has fewer than {2 * _FOLDS} topics: too few to hold some back. Next: add posts on other topics"
        )
    try:
        out.mkdir(parents=True, exist_ok=True)  # before the work, not after it
    except OSError as error:
        raise _unwritable(out, error) from None
    tell(1, steps, f"{len(posts)} posts read and checked")
    judged, pipeline, joined = _learned(posts, seed, beside, lambda done, what: tell(1 + done, steps, what))
    thresholds = {label: threshold(judged.truth, judged.given, judged.confidences, label) for label in Label}
    card = _saved(pipeline, joined, out, posts, found, corrected, judged, thresholds, seed)
    tell(steps, steps, f"the model is in {out}")
    return card


def _corrections(pairs: Sequence[tuple[str, str]]) -> list[Post]:
    """People's corrections as posts; each is a topic of its own."""
    last = {text: label for text, label in pairs if text.strip()}
    for label in last.values():
        if label not in list(Label):
            raise ModelError(
                f"a correction has the label {label!r}, which is none of {', '.join(Label)}. Next: correct it with `triage relabel`"
            )
    names = {text: f"correction-{hashlib.sha256(text.encode('utf-8', 'replace')).hexdigest()[:12]}" for text in last}
    return [Post(names[text], text, Label(label), "", names[text], "post", CORRECTION) for text, label in sorted(last.items())]


def _learned(
    posts: Sequence[Post], seed: int, encoder: Encoder | None, tell: Callable[[int, str], None]
) -> tuple[Judged, Any, Joined | None]:
    """The posts judged by models that had not seen their kind of text, the pipeline fitted on all of them, and how it is joined."""
    import numpy as np
    from sklearn.pipeline import FeatureUnion, Pipeline

    from triage.classifier.features import Form, Terms
    from triage.classifier.form import NAMES
    from triage.classifier.judge import form_of

    features = FeatureUnion([("terms", Terms(**_PARAMETERS["terms"])), ("form", Form(**_PARAMETERS["form"]))])
    rows = features.fit_transform([post.text for post in posts])  # once: which n-grams there are says nothing of the labels
    labels = np.array([str(post.label) for post in posts])
    weights = np.array(_weights(posts))
    order = sorted(map(str, Label))
    worth = np.zeros((len(posts), len(order)))
    parts = np.zeros(len(posts), dtype=int)
    terms = rows.shape[1] - len(NAMES)
    for part, (learn, held_back) in enumerate(_splits(posts, seed), start=1):
        judge = fitted(rows[learn], terms, labels[learn], weights[learn])
        worth[held_back] = judge.decision_function(rows[held_back])
        parts[held_back] = part
        tell(part, f"part {part} of {_FOLDS} judged")
    truth = np.array([order.index(label) for label in labels])
    heat = _MODESTY * _temperature(worth, truth)
    joined = None
    if encoder is not None:
        joined, worth = _joined(encoder, posts, worth, truth, heat)
    judge = fitted(rows, terms, labels, weights)
    judge.temper(**_PARAMETERS["heat"])
    heats = judge.heat(form_of(rows))
    judge.coef_ = np.round(judge.coef_ / heat, 5)  # what is left of the digits is noise, and half of the file
    judge.intercept_ = judge.intercept_ / heat
    tell(_FOLDS + 1, "the model is fitted")
    scores = _softmax(worth / heat / heats[:, None])[:, [order.index(str(label)) for label in Label]].tolist()
    given = [list(Label)[row.index(max(row))] for row in scores]
    judged = Judged([post.label for post in posts], [post.lang for post in posts], scores, given, *told(worth, truth, parts, heats))
    return judged, Pipeline([("features", features), ("judge", judge)]), joined


def _joined(encoder: Encoder, posts: Sequence[Post], worth: Any, truth: Any, heat: float) -> tuple[Joined, Any]:
    """How much the n-grams and the encoder count where it reads, and `worth` of both together.

    The two numbers are those by which the held-back labels are likeliest, as the temperature is. No post is judged by an encoder that
    has learned from its kind of text; `heat` is what the n-grams alone are divided by.
    """
    import numpy as np
    from scipy.optimize import minimize

    own = [row for row, post in enumerate(posts) if reads(post.text, post.lang or None)]
    said = encoder.unseen([posts[row].text for row in own])
    mine, labels = worth[own], truth[own]

    def loss(shares: Any) -> float:
        return float(-np.log(_softmax(shares[0] * mine + shares[1] * said)[np.arange(len(own)), labels] + 1e-12).mean())

    # L-BFGS-B finds the lowest point of a bowl; neither may speak against itself.
    found = minimize(loss, (0.5, 0.5), method="L-BFGS-B", bounds=((0.0, 10.0), (0.0, 10.0)))
    words, of_encoder = round(float(found.x[0]) * heat / _MODESTY, 3), round(float(found.x[1]) / _MODESTY, 3)
    both = worth.copy()
    both[own] = words * mine + of_encoder * heat * said
    return Joined(version=encoder.version, sha256=encoder.digest, words=words, encoder=of_encoder), both


def told(worth: Any, truth: Any, parts: Any, heats: Any) -> tuple[list[bool], list[float]]:
    """For each post whether its verdict is sure and with which confidence, by what the other parts alone would have chosen.

    `heats` is what the length of each divides by, beside the temperature.

    What is chosen on posts looks better on these very posts than on others. (The models of the parts share what they learned from, so
    this is nearly, not wholly, apart.)
    """
    import numpy as np

    order = [Label(name) for name in sorted(map(str, Label))]
    given = worth.argmax(axis=1)
    sure, confidence = np.zeros(len(truth), dtype=bool), np.zeros(len(truth))
    for part in np.unique(parts):
        here, others = parts == part, parts != part
        heat = _MODESTY * _temperature(worth[others], truth[others])
        confidences = _softmax(worth / heat / heats[:, None]).max(axis=1)
        rest = ([order[at] for at in truth[others]], [order[at] for at in given[others]], confidences[others].tolist())
        from_ = np.array([threshold(*rest, label) for label in order])
        confidence[here] = confidences[here]
        sure[here] = confidences[here] >= from_[given[here]]
    return sure.tolist(), confidence.tolist()


def fitted(rows: Any, terms: int, labels: Any, weights: Any, strength: float = 1.0) -> Any:
    """A logistic regression on `rows`, of which the first `terms` columns are n-grams. `labels` and `weights` are arrays, one a row.

    The larger `strength`, the more it believes what it learns from.

    While it learns, an n-gram weighs as much as it tells a label from the others by itself: the largest log-ratio of its rates, as in
    Wang and Manning, "Baselines and Bigrams" (2012). What it learned is then told in terms of the rows: judging knows nothing of it.
    """
    import numpy as np
    from scipy import sparse

    from triage.classifier.judge import Judge

    most = np.zeros(terms)
    for label in np.unique(labels):
        own = np.asarray(rows.T @ (weights * (labels == label))).ravel()[:terms] + 1.0
        others = np.asarray(rows.T @ (weights * (labels != label))).ravel()[:terms] + 1.0
        most = np.maximum(most, np.abs(np.log(own / own.sum()) - np.log(others / others.sum())))
    telling = np.ones(rows.shape[1])
    telling[:terms] = most / max(np.sqrt((most**2).mean()), 1e-9)
    given = _PARAMETERS["regression"]
    judge = Judge(**{**given, "C": given["C"] * strength})
    judge.fit(rows @ sparse.diags(telling), labels, sample_weight=weights)
    judge.coef_ = judge.coef_ * telling
    return judge


def _weights(posts: Sequence[Post]) -> list[float]:
    """What each post weighs: labels alike, but for `_EMPHASIS`, and people's corrections more."""
    counts = Counter(post.label for post in posts)
    return [
        len(posts) / len(counts) / counts[post.label] * _EMPHASIS.get(post.label, 1.0) * (_CORRECTION if post.kind == CORRECTION else 1.0)
        for post in posts
    ]


def _softmax(worth: Any) -> Any:
    import numpy as np

    raised = np.exp(worth - worth.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)


def _temperature(worth: Any, truth: Any) -> float:
    """What to divide by, so that the held-back labels are likeliest: one number for all labels, which never changes a label."""
    import numpy as np
    from scipy.optimize import minimize_scalar

    rows = np.arange(len(truth))
    found = minimize_scalar(lambda heat: -np.log(_softmax(worth / heat)[rows, truth] + 1e-12).mean(), bounds=(0.2, 5.0), method="bounded")
    return float(found.x)


def _splits(posts: Sequence[Post], seed: int) -> list[Any]:
    """Five times (rows to learn from, rows to judge), the labels spread evenly.

    All posts of a kind are on one side; where there are too few kinds, all posts of a topic.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    kinds = {post.kind for post in posts if post.kind != CORRECTION}
    groups = [post.topic if post.kind == CORRECTION or len(kinds) < _FOLDS else post.kind for post in posts]
    folds = StratifiedGroupKFold(_FOLDS, shuffle=True, random_state=seed)
    try:
        return list(folds.split(posts, [str(post.label) for post in posts], groups))
    except ValueError as error:
        raise ModelError(f"the corpus can't be split into {_FOLDS} parts: {error}. Next: add posts of the rarest label") from None


def threshold(truth: Sequence[Label], given: Sequence[Label], confidences: Sequence[float], label: Label) -> float:
    """The confidence from which the verdicts `label` are right often enough; 1.0 where it is never reached."""
    called = (at for at, name in enumerate(given) if name == label)
    ranked = sorted(((confidences[at], truth[at] == label) for at in called), reverse=True)
    best, right = 1.0, 0
    for count, (confidence, is_right) in enumerate(ranked, start=1):
        right += is_right
        if count >= _LEAST_SURE and right / count >= PRECISION_WANTED:
            best = math.floor(confidence * 1e6) / 1e6
    return best


def label_scores(truth: Sequence[Label], given: Sequence[Label], label: Label) -> tuple[float, float, float]:
    """Precision, recall and F1 of one label."""
    hits = sum(t == g == label for t, g in zip(truth, given, strict=True))
    called, there = sum(g == label for g in given), sum(t == label for t in truth)
    return hits / max(called, 1), hits / max(there, 1), 2 * hits / max(called + there, 1)


def macro_f1(truth: Sequence[Label], given: Sequence[Label]) -> float:
    """The mean F1 of the labels that occur in `truth`."""
    there = sorted(set(truth))
    return sum(label_scores(truth, given, label)[2] for label in there) / max(len(there), 1)


def _scores(judged: Judged) -> Scores:
    truth, given = judged.truth, judged.given
    right = [t == g for t, g in zip(truth, given, strict=True)]
    labels = {}
    for label in Label:
        precision, recall, f1 = label_scores(truth, given, label)
        called = [(s, r) for s, r, g in zip(judged.sure, right, given, strict=True) if g == label]
        sure = [r for s, r in called if s]
        labels[label] = LabelScore(
            precision=round(precision, 4),
            recall=round(recall, 4),
            f1=round(f1, 4),
            posts=truth.count(label),
            sure_share=round(len(sure) / max(len(called), 1), 4),
            sure_precision=round(sum(sure) / max(len(sure), 1), 4),
        )
    languages = {}
    for language, count in Counter(judged.languages).most_common():
        if language and count >= _LEAST_OF_A_LANGUAGE:
            rows = [row for row, found in enumerate(judged.languages) if found == language]
            languages[language] = round(macro_f1([truth[row] for row in rows], [given[row] for row in rows]), 4)
    return Scores(
        folds=_FOLDS,
        macro_f1=round(macro_f1(truth, given), 4),
        accuracy=round(sum(right) / len(right), 4),
        ece=round(calibration_error(judged.told, right), 4),
        labels=labels,
        languages=languages,
        confusion=[[sum(t == row and g == column for t, g in zip(truth, given, strict=True)) for column in Label] for row in Label],
    )


def _saved(
    pipeline: Any,
    joined: Joined | None,
    out: Path,
    posts: Sequence[Post],
    corpus: Corpus,
    corrected: Sequence[Post],
    judged: Judged,
    thresholds: dict[Label, float],
    seed: int,
) -> Card:
    """Write the model, its recipe and its card beside `out`, load them as a user would, then move them in, the card last."""
    import numpy
    import scipy
    import sklearn
    import skops
    from skops.io import dumps

    content = dumps(pipeline, compression=zipfile.ZIP_DEFLATED, compresslevel=9)
    digest = hashlib.sha256(content).hexdigest()
    named = digest if joined is None else hashlib.sha256(f"{digest} {joined.model_dump_json()}".encode()).hexdigest()
    today = datetime.now(UTC).date().isoformat()
    versions = {
        "python": platform.python_version(),
        "scikit-learn": sklearn.__version__,
        "skops": skops.__version__,
        "numpy": numpy.__version__,
        "scipy": scipy.__version__,
        "triage": __version__,
    }
    card = Card(
        version=f"model-{today}-{named[:8]}",
        description=_DESCRIPTION,
        trained_at=today,
        labels=tuple(Label),
        versions=versions,
        seed=seed,
        data=Data(
            digest=digest_of((post.text, post.label) for post in posts),
            posts=len(posts),
            corrections=len(corrected),
            labels={label: sum(post.label == label for post in posts) for label in Label},
            languages=dict(Counter(post.lang for post in posts if post.lang).most_common()),
        ),
        model=File(name=MODEL, sha256=digest, size=len(content)),
        encoder=joined,
        precision_wanted=PRECISION_WANTED,
        thresholds=thresholds,
        scores=_scores(judged),
    )
    recipe = {
        "command": f"triage train --corpus FOLDER --seed {seed}" + (" --encoder" if joined is not None else ""),
        "sources": [{"file": name, "sha256": sha256, "licence": licence(name, sha256)} for name, sha256 in corpus.files.items()],
        "corrections": {"posts": len(corrected), "sha256": digest_of((post.text, post.label) for post in corrected)},
        "seed": seed,
        "folds": _FOLDS,
        "parameters": {
            **_PARAMETERS,
            "n-grams weigh": "largest log-ratio of their rates, smoothed by 1",
            "modesty": _MODESTY,
            "emphasis": _EMPHASIS,
            "correction": _CORRECTION,
            "calibration": {"method": "temperature", "groups": "kind of text"},
        },
        "encoder": joined.model_dump() if joined is not None else None,
        "versions": versions,
    }
    files = {
        MODEL: content,
        "recipe.json": _json(recipe),
        "CARD.md": describe(card).encode(),
        CARD: _json(card.model_dump(mode="json")),
    }
    try:
        staging = Path(tempfile.mkdtemp(prefix=".new-", dir=out))
        try:
            for name, data in files.items():
                with (staging / name).open("wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
            Classifier.load(staging)
            for name in files:
                (staging / name).replace(out / name)
        finally:
            shutil.rmtree(staging)
    except OSError as error:
        raise _unwritable(out, error) from None
    return card


def _unwritable(out: Path, error: OSError) -> ModelError:
    return ModelError(f"the model can't be written to {out}: {error.strerror}. Next: check the path, your rights and the disk")


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()

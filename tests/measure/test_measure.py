"""The arithmetic of the measures, the splits that must not leak, and the page that is written from the figures."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import f1_score

from tests.measure import learning, page, plots, projects, recipe, scoring, sets, transfer
from tests.measure.__main__ import MEASURES, main
from tests.measure.ground import Ground, NoSet
from tests.measure.report import Curve, Figure, Section, markdown, text
from triage.classifier import model_folder
from triage.classifier.calibration import calibration_error
from triage.classifier.card import read_card
from triage.classifier.corpus import Post
from triage.mention import Label


def row(words: str, label: Label | None = Label.BUG_REPORT, group: str = "") -> sets.Row:
    return sets.Row(words, label, str(label), group)


# -- sets


def test_a_text_counts_once_whatever_its_case_signs_and_numbers() -> None:
    rows = [row("It crashed 3 times!"), row("it CRASHED, 17 times"), row("It hangs."), row("it hangs again")]
    assert [one.text for one in sets.different(rows)] == ["It crashed 3 times!", "It hangs.", "it hangs again"]
    assert [one.text for one in sets.different(rows, known=frozenset({sets.bare("It HANGS")}))] == ["It crashed 3 times!", "it hangs again"]


def test_only_what_a_person_labelled_is_read(tmp_path: Path) -> None:
    given = [
        {"text": "a", "label": "bug_report", "label_source": "human", "orig_label": "Bug", "group": "p", "lang": "en"},
        {"text": "b", "label": "praise", "label_source": "human + stars>=4", "orig_label": "Rating", "group": "p", "lang": "en"},
        {"text": "c", "label": None, "label_source": "maintainer issue label", "orig_label": "feature"},
    ]
    path = tmp_path / "deep" / "one.jsonl"
    path.parent.mkdir()
    path.write_text("\n".join(map(json.dumps, given)) + "\n")
    assert sets.find(tmp_path, "one") == path
    assert sets.find(tmp_path, "two") is None
    assert sets.read(path) == [sets.Row("a", Label.BUG_REPORT, "Bug", "p", "en"), sets.Row("c", None, "feature", "")]


def test_a_line_that_is_none_is_named(tmp_path: Path) -> None:
    path = tmp_path / "one.jsonl"
    path.write_text('{"label_source": "other"}\n{"label_source": "human", "label": "bug"}\n')
    with pytest.raises(ValueError, match=r"one\.jsonl, line 2"):
        sets.read(path)


def test_what_the_model_learned_from_is_not_measured(tmp_path: Path) -> None:
    known = recipe.corpus()[0]
    lines = [
        {"text": found, "label": "noise", "label_source": "human", "orig_label": "", "group": "", "lang": "en"}
        for found in (known.text.upper(), "words that no post of the corpus has in this order")
    ]
    (tmp_path / "some.jsonl").write_text("\n".join(map(json.dumps, lines)))
    ground = Ground(tmp_path, model_folder())
    assert [one.text for one in ground.rows("some", [Label.NOISE])] == [lines[1]["text"]]
    with pytest.raises(NoSet, match="other"):
        ground.rows("other")


def test_a_label_near_a_bug_is_no_negative() -> None:
    assert transfer.is_near_a_bug("Bug|Rating")
    assert transfer.is_near_a_bug("Expected Behaviour")
    assert not transfer.is_near_a_bug("feature request")


# -- arithmetic


def test_macro_f1_is_that_of_scikit_learn() -> None:
    draw = np.random.default_rng(1)
    truth, given = draw.integers(0, 3, 300), draw.integers(0, 4, 300)  # 3 is given and never true
    expected = f1_score(truth, given, labels=[0, 1, 2], average="macro")
    assert scoring.macro_f1(truth, given, [0, 1, 2]) == pytest.approx(expected)


def test_the_calibration_error_is_that_of_the_bins() -> None:
    draw = np.random.default_rng(2)
    confidence = draw.uniform(0.25, 1.0, 500)
    right = draw.uniform(size=500) < confidence**2
    held = scoring.bins(confidence, right)
    assert sum(one.rows for one in held) == 500
    assert calibration_error(confidence, right) == pytest.approx(sum(abs(one.confidence - one.right) * one.rows for one in held) / 500)
    assert calibration_error(np.full(10, 1.0), np.zeros(10, bool)) == pytest.approx(1.0)


def test_the_surest_come_first() -> None:
    confidence, right = np.array([0.5, 0.9, 0.8, 0.6]), np.array([False, True, True, False])
    assert scoring.precision_of_surest(confidence, right, 0.5) == 1.0
    assert scoring.precision_of_surest(confidence, right, 1.0) == 0.5
    assert scoring.precision_of_surest(np.array([]), np.array([], bool), 0.7) == 0.0


def test_the_best_threshold_is_that_of_trying_each() -> None:
    draw = np.random.default_rng(3)
    for _ in range(50):
        score, truth = draw.integers(0, 6, 20) / 5, draw.uniform(size=20) < 0.4  # many ties
        threshold, f1 = scoring.best_threshold(score, truth)
        assert f1 == pytest.approx(max(scoring.f1(truth, score >= one, 1) for one in score))
        assert scoring.f1(truth, score >= threshold, 1) == pytest.approx(f1)


def test_the_interval_covers_the_true_rate() -> None:
    draw = np.random.default_rng(4)
    covered = 0
    for seed in range(200):
        right = draw.uniform(size=150) < 0.7

        def share(drawn: scoring.Array, right: scoring.Array = right) -> float:
            return float(right[drawn].mean())

        low, high = scoring.interval(share, 150, times=200, seed=seed)
        covered += low <= 0.7 <= high
    assert 176 <= covered <= 199  # 95 %, within what 200 runs vary


def test_blocks_are_drawn_each_within_itself() -> None:
    seen: list[tuple[int, int]] = []

    def largest(one: scoring.Array, other: scoring.Array) -> float:
        seen.append((len(one), int(other.max())))
        return 0.0

    assert scoring.interval(largest, 5, 3, times=20) == (0.0, 0.0)
    assert {size for size, _ in seen} == {5}
    assert max(number for _, number in seen) <= 2


# -- splits


class Spy(recipe.Ours):
    """Notes what features were made from and what was judged with them."""

    def __init__(self) -> None:
        self.seen: list[tuple[set[str], set[str]]] = []

    def features(self) -> Any:
        spy, made = self, super().features()

        class Noting:
            def fit_transform(self, texts: Sequence[str]) -> Any:
                self.learned = set(texts)
                return made.fit_transform(texts)

            def transform(self, texts: Sequence[str]) -> Any:
                spy.seen.append((self.learned, set(texts)))
                return made.transform(texts)

        return Noting()


def made_up(count: int, names: Sequence[str], where: str = "here") -> projects.Texts:
    draw = random.Random(5)
    words = ["crash", "hang", "menu", "file", "open", "save", "print"]
    texts = [f"{' '.join(draw.choices(words, k=6))} {where}{number}" for number in range(count)]
    return projects.Texts(texts, np.array([names[number % len(names)] for number in range(count)], dtype="<U32"))


def test_a_left_out_project_is_never_learned_from() -> None:
    found, groups = made_up(36, ("True", "False")), ["a", "a", "a", "b", "b", "b", "c", "c", "d"] * 4
    spy = Spy()
    outcome = projects._left_out(spy, found, groups, made_up(4, ("True", "False"), "elsewhere"))
    of_group = {name: {found.texts[one] for one in rows} for name, _, rows in sets.leave_one_out(groups)}
    assert sorted(row for part in outcome.parts for row in part) == list(range(36))
    assert len(spy.seen) == 16
    # To choose for a project the three others are judged, one by one; then it is judged itself. None of that learns from it.
    for number, (_, own) in enumerate(sorted(of_group.items())):
        four = spy.seen[4 * number : 4 * number + 4]
        assert not any(learned & own for learned, _ in four)
        assert not any(learned & judged for learned, judged in four)
        assert [judged == own for _, judged in four] == [False, False, False, True]


@pytest.mark.parametrize("with_others", [False, True])
def test_a_part_of_a_repository_is_never_learned_from(with_others: bool) -> None:
    found, groups, spy = made_up(60, ("bug", "feature", "question")), ["a"] * 30 + ["b"] * 30, Spy()
    outcome = projects._within(spy, found, groups, with_others=with_others)
    assert set(outcome.given.tolist()) <= {"bug", "feature", "question"}
    assert len(spy.seen) == len(outcome.inner) == 10
    assert all(len(learned) == (54 if with_others else 24) and not learned & judged for learned, judged in spy.seen)
    assert sorted(one for _, judged in spy.seen for one in judged) == sorted(found.texts)


def test_the_way_is_chosen_part_by_part_on_what_was_learned_from() -> None:
    one = projects.Outcome(np.array(["a", "a", "a", "a"]), [[0, 2], [1, 3]], [0.5, 0.7])
    other = projects.Outcome(np.array(["b", "b", "b", "b"]), [[0, 2], [1, 3]], [0.6, 0.7])
    given, chosen = projects.best_of(one, other)
    assert given.tolist() == ["b", "a", "b", "a"]
    assert chosen == [1, 0]


def test_corrections_and_what_is_judged_are_different_rows() -> None:
    rows = [row(f"post {'x' * number}") for number in range(30)]
    pool, rest = learning.split(rows, 200, 1)
    assert len(pool) == 15
    assert not {one.text for one in pool} & {one.text for one in rest}
    assert len(learning.split(rows, 10, 1)[1]) == 20


def test_a_part_of_the_corpus_holds_whole_topics() -> None:
    posts = [Post(str(number), "x", Label.NOISE, "en", f"topic{number // 5}", "post") for number in range(100)]
    part = transfer.by_topics(posts, 0.4, 7)
    assert len(part) == 40
    assert all(sum(one.topic == topic for one in part) == 5 for topic in {one.topic for one in part})
    assert transfer.by_topics(posts, 1.0, 0) == posts


# -- figures and page


def test_a_figure_says_which_bar_it_meets() -> None:
    assert Figure("f1", 0.86, floor=0.85, stretch=0.9).met == "floor"
    assert Figure("f1", 0.9, floor=0.85, stretch=0.9).met == "stretch"
    assert Figure("f1", 0.84, floor=0.85, stretch=0.9).met == "no"
    assert Figure("ece", 0.06, floor=0.08, stretch=0.05, less=True).met == "floor"
    assert Figure("ece", 0.06).met == ""


SECTION = Section(
    "transfer",
    "Text from elsewhere",
    "How it was done.",
    [Figure("one", 0.81234, 1_200, between=(0.7, 0.9), baseline=0.5, floor=0.8, stretch=0.9), Figure("other", 0.1, 40)],
    [Curve("coverage", "one", [0.1, 0.5, 1.0], [0.9, 0.85, 0.8], [0.8, 0.8, 0.7], [1.0, 0.9, 0.9])],
)


def test_tables_leave_out_what_no_figure_has() -> None:
    lines = text(SECTION.figures).splitlines()
    assert lines[0].split() == ["what", "rows", "figure", "95", "%", "interval", "baseline", "floor", "stretch", "met"]
    assert lines[2].split() == ["one", "1,200", "0.812", "0.700", "to", "0.900", "0.500", "0.800", "0.900", "floor"]
    assert markdown(SECTION.figures[1:]).splitlines() == ["| what | rows | figure |", "|---|---|---|", "| other | 40 | 0.100 |"]


def test_the_page_and_its_plots_are_written_from_the_figures_alone(tmp_path: Path) -> None:
    where, folder = tmp_path / "model.md", tmp_path / "model"
    where.write_text(f"# Model\n\n{page.BEGIN}\nold\n{page.END}\n\nafter\n")
    posts = [Post("1", "x", Label.NOISE, "en", "t", "post", "chat"), Post("2", "y", Label.PRAISE, "de", "t", "post", "chat")]
    kept = page.Kept(SECTION, "2026-01-02", "a machine", "model-x")
    page.keep({"transfer": kept}, posts, list(MEASURES), where, folder)
    written, plot = where.read_text(), (folder / "coverage.svg").read_bytes()
    assert "old" not in written
    assert "| `chat.jsonl` | 2 | 0 | 0 | 1 | 1 | en 1, de 1 |" in written
    assert written.endswith("\n\nafter\n")
    assert "Measured on 2026-01-02, a machine, with `model-x`." in written
    assert "| one | 1,200 | 0.812 | 0.700 to 0.900 | 0.500 | 0.800 | 0.900 | floor |" in written
    assert "](model/coverage.svg)" in written
    other = Section("reference", "The reference set", "Note.", [Figure("third", 0.3)])
    page.keep({"reference": page.Kept(other, "2026-01-03", "a machine", "model-x")}, posts, list(MEASURES), where, folder)
    assert "| one |" in where.read_text()
    assert "third" in where.read_text()
    assert (folder / "coverage.svg").read_bytes() == plot
    assert len(plot) < 60_000
    with pytest.raises(ValueError, match="the page has no"):
        page.between("no markers", "new")


def test_the_page_of_the_repository_holds_its_figures() -> None:
    text_ = page.PAGE.read_text(encoding="utf-8")
    assert page.between(text_, page.written(page.read())) == text_
    for name in {curve.plot for one in page.read().measured.values() for curve in one.section.curves}:
        assert (page.FOLDER / f"{name}.svg").is_file()
    assert set(page.read().measured) <= set(MEASURES)
    assert set(plots.PLOTS) == {"calibration", "coverage", "learning", "transfer"}


def test_the_figures_are_those_of_the_model_that_ships() -> None:
    """After a training: `python -m tests.measure --data FOLDER --write`, at least for these."""
    version = read_card(model_folder()).version
    measured = page.read().measured
    assert not [name for name in ("transfer", "calibration", "surest", "reference") if name in measured and measured[name].model != version]


# -- the command


def test_without_the_sets_it_says_what_it_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--quick", "--only", "transfer", "--only", "calibration"]) == 0
    said = capsys.readouterr().out
    assert "Left out: transfer: no folder was given (make evaluate DATA=folder) with intention_mining.jsonl" in said
    assert "Left out, since the set is not there: intention_mining, " in said
    assert "reference set  640" in said


def test_what_would_mean_nothing_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--quick", "--write"])
    assert "mean nothing" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["--write", "--model", "other"])
    assert "the model that ships alone" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["--data", "/no/such/folder"])
    assert "there is no folder /no/such/folder" in capsys.readouterr().err

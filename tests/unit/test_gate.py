"""The gate's rule, on answers that are made up: what refuses, what passes, and that the same answers give the same table."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triage.classifier import gate
from triage.classifier.gate import Answers, Gate, Row, decide, is_held_back, split
from triage.errors import ModelError
from triage.mention import Label

LABELS = list(Label)


def said(truth: Sequence[Label], right: float, seed: int) -> list[Label]:
    """Answers of which a share is right, and the others are the next label."""
    chance = random.Random(seed)
    return [label if chance.random() < right else LABELS[(LABELS.index(label) + 1) % 4] for label in truth]


def answered(posts: int, today: float, challenger: float, *, confidence: tuple[float, float] = (0.8, 0.8), seed: int = 1) -> Answers:
    """Both models on `posts` posts, with such shares of right answers."""
    truth = [LABELS[number % 4] for number in range(posts)]
    one, other = said(truth, today, seed), said(truth, challenger, seed + 1)
    return Answers(truth, one, [confidence[0]] * posts, other, [confidence[1]] * posts)


def decided(**sets: Answers) -> Gate:
    """The gate over these sets."""
    return decide(sets, today="old", challenger="new")


def row(found: Gate, name: str, label: str) -> Row:
    """One row of the table."""
    [one] = [row for row in found.rows if (row.set, row.label) == (name, label)]
    return one


def test_a_worse_challenger_is_refused_with_the_labels_on_which_it_is_worse() -> None:
    """The reason names set, label, both scores and the interval."""
    found = decided(reference=answered(400, 0.9, 0.6))
    assert (found.outcome, found.passed) == ("refused", False)
    assert {one.verdict for one in found.rows if one.label != gate.CALIBRATION} == {"worse"}
    worse = row(found, "reference", "praise")
    assert f"F1 of praise on reference is {worse.challenger:.3f} where it was {worse.today:.3f}" in found.reason


def test_a_better_and_an_equal_challenger_pass() -> None:
    """Not worse is enough; where it is better beyond doubt the reason says so."""
    found = decided(reference=answered(400, 0.6, 0.9))
    assert found.passed
    assert "and better: F1 of bug_report on reference" in found.reason
    same = answered(400, 0.8, 0.8)
    assert decided(reference=Answers(same.truth, same.today, same.today_confidence, same.today, same.today_confidence)).passed


def test_one_worse_label_refuses_whatever_the_others_gain() -> None:
    """It finds all the praise and all the noise at last, and half of the bugs no more."""
    truth = [LABELS[number % 4] for number in range(400)]
    today = [Label.SUPPORT_QUESTION if label in (Label.PRAISE, Label.NOISE) else label for label in truth]
    other = [Label.NOISE if label is Label.BUG_REPORT and number % 8 else label for number, label in enumerate(truth)]
    found = decided(reference=Answers(truth, today, [0.9] * 400, other, [0.9] * 400))
    assert found.outcome == "refused"
    assert [one.label for one in found.rows if one.verdict == "worse"] == ["bug_report"]
    assert row(found, "reference", "praise").verdict == "better"


def test_a_label_with_few_posts_refuses_nothing() -> None:
    """Nine posts of each label, all wrong, are too few; with the tenth they are enough."""
    assert [one.verdict for one in decided(corrections=answered(36, 1.0, 0.0)).rows] == ["too few"] * 5
    assert decided(corrections=answered(40, 1.0, 0.0)).outcome == "refused"


def test_it_says_of_which_labels_nothing_is_known() -> None:
    """Passing on one label alone is told as what it is."""
    truth = [Label.NOISE] * 20 + [Label.PRAISE] * 9
    found = decided(corrections=Answers(truth, truth, [0.9] * 29, truth, [0.9] * 29))
    assert (found.outcome, len(found.notes)) == ("passed", 1)
    assert found.notes[0].startswith("too few posts to say anything of bug_report, support_question, praise: ")


@pytest.mark.parametrize("sets", [{}, {"corrections": answered(36, 0.5, 1.0)}], ids=["no set", "few posts"])
def test_nothing_passes_unmeasured(sets: dict[str, Answers]) -> None:
    """A gate without anything to measure lets nobody in, and refuses nobody for good."""
    found = decided(**sets)
    assert (found.outcome, found.passed) == ("unmeasured", False)
    assert "no label has 10 posts" in found.reason


def test_a_single_post_more_that_is_wrong_refuses_nothing() -> None:
    """It may be chance: a resample without that post comes up too often."""
    truth = [LABELS[number % 4] for number in range(80)]
    other = [Label.NOISE, *truth[1:]]
    assert decided(reference=Answers(truth, truth, [0.99] * 80, other, [0.99] * 80)).passed


def test_confidence_that_means_less_is_refused() -> None:
    """The labels are the same; one says 0.8 and is right in 0.8, the other says 1.0."""
    truth = [LABELS[number % 4] for number in range(400)]
    given_ = said(truth, 0.8, 3)
    found = decided(reference=Answers(truth, given_, [0.8] * 400, given_, [1.0] * 400))
    assert found.outcome == "refused"
    assert found.reason.startswith("it is worse than old: the calibration error on reference is 0.2")
    assert decided(reference=Answers(truth, given_, [1.0] * 400, given_, [0.8] * 400)).passed
    few = slice(0, 80)
    assert decided(reference=Answers(truth[few], given_[few], [0.8] * 80, given_[few], [1.0] * 80)).passed


def test_a_little_less_calibrated_is_no_reason() -> None:
    """Within two hundredths nothing is refused, however sure the difference is."""
    truth = [LABELS[number % 4] for number in range(2000)]
    given_ = said(truth, 0.8, 3)
    right = sum(one == other for one, other in zip(truth, given_, strict=True)) / 2000
    found = decided(reference=Answers(truth, given_, [right] * 2000, given_, [right + 0.015] * 2000))
    assert found.passed
    assert row(found, "reference", gate.CALIBRATION).difference == pytest.approx(0.015, abs=0.001)


def test_the_scores_are_the_usual_ones() -> None:
    """F1 and calibration error by hand."""
    truth = [Label.PRAISE, Label.PRAISE, Label.NOISE, Label.NOISE]
    found = decided(tiny=Answers(truth, truth, [1.0] * 4, [Label.PRAISE, Label.NOISE, Label.NOISE, Label.PRAISE], [0.9, 0.9, 0.9, 0.9]))
    praise = row(found, "tiny", "praise")
    assert (praise.posts, praise.today, praise.challenger, praise.difference) == (2, 1.0, 0.5, -0.5)
    assert (row(found, "tiny", gate.CALIBRATION).today, row(found, "tiny", gate.CALIBRATION).challenger) == (0.0, 0.4)
    assert row(found, "tiny", "bug_report").posts == 0


def test_the_interval_is_that_of_posts_drawn_again() -> None:
    """The eight cells give what a bootstrap over the posts themselves gives."""
    import numpy as np

    from triage.classifier.train import label_scores

    found = answered(60, 0.85, 0.7)
    generator = np.random.default_rng(5)
    differences = []
    for _ in range(1_000):
        rows = generator.integers(0, 60, 60)
        truth, one, other = ([labels[index] for index in rows] for labels in (found.truth, found.today, found.challenger))
        differences.append(label_scores(truth, other, Label.NOISE)[2] - label_scores(truth, one, Label.NOISE)[2])
    low, high = np.percentile(differences, [2.5, 97.5])
    noise = row(decided(x=found), "x", "noise")
    assert noise.low == pytest.approx(low, abs=0.05)
    assert noise.high == pytest.approx(high, abs=0.05)


def test_an_equal_challenger_is_seldom_refused() -> None:
    """Two models that are equally good and err on different posts: what the four intervals allow, and not much more."""
    refused = sum(decided(reference=answered(200, 0.8, 0.8, seed=seed * 7)).outcome == "refused" for seed in range(20))
    assert refused <= 5


def test_the_same_answers_give_the_same_table_and_it_survives_the_store() -> None:
    """Every draw is seeded; JSON and back is the same gate."""
    sets = {"corrections": answered(40, 0.7, 0.8), "reference": answered(120, 0.8, 0.7)}
    found = decide(sets, today="old", challenger="new", notes=["a note"])
    assert found == decide(sets, today="old", challenger="new", notes=["a note"])
    assert Gate.from_json(json.loads(json.dumps(found.as_json()))) == found
    lines = gate.table(found)
    assert lines[0] == "new (challenger) against old (today)"
    assert len([line for line in lines if line.startswith(("corrections", "reference"))]) == 10
    assert lines[-2:] == ["a note", f"{found.outcome}: {found.reason}"]


@given(st.text())
def test_holding_back_hangs_on_the_words_alone(text: str) -> None:
    """Case, signs and blanks do not move a post to the other side."""
    if any(map(str.isalnum, text)):
        assert is_held_back(text) == is_held_back(f"  {text} … ") == is_held_back(text.casefold())


def test_three_in_ten_are_held_back_and_the_last_word_counts() -> None:
    """Each text is on one side, with its newest label."""
    pairs = [(f"post number {number} is about something", "noise") for number in range(4_000)]
    learn, held = split([*pairs, ("Post number 7 is about something!", "praise"), (pairs[9][0], "praise")])
    assert 0.27 < len(held) / 4_000 < 0.33
    both = dict([*learn, *held])
    assert len(both) == len(learn) + len(held) == 4_001
    assert both[pairs[9][0]] == "praise"
    assert is_held_back(pairs[7][0]) == is_held_back("Post number 7 is about something!")


def test_a_reference_set_is_read_like_a_corpus(tmp_path: Path) -> None:
    """None where there is no folder; a faulty line is named."""
    assert gate.read_reference(tmp_path / "none") == []
    line = {
        "id": "a-1",
        "text": "Lumen crashes when I rotate a page",
        "label": "bug_report",
        "lang": "en",
        "topic": "lumen",
        "form": "post",
    }
    (tmp_path / "a.jsonl").write_text(json.dumps(line))
    assert gate.read_reference(tmp_path) == [("Lumen crashes when I rotate a page", Label.BUG_REPORT, "en")]
    (tmp_path / "b.jsonl").write_text("{}")
    with pytest.raises(ModelError, match=r"b.jsonl, line 1.* Next: mend these lines"):
        gate.read_reference(tmp_path)


def test_the_reference_folder_is_beside_the_corpus() -> None:
    """In a checkout, below `models`; a wheel has it in the package."""
    from triage.classifier import corpus_folder

    assert gate.reference_folder() == corpus_folder().parent / "reference"

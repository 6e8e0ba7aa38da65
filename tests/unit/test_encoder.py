"""The encoder beside the n-grams: its pieces of words, what it refuses to load, and what a model that is joined with it promises."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from triage.classifier import Classifier, checked_card, corpus_folder, encoder, model, model_folder, read_corpus, train
from triage.classifier.card import describe, read_card
from triage.classifier.encoder import FILES, HELD_BACK, LABELS, MODEL, RECIPE, VOCABULARY, Encoder, Pieces, encoder_folder, reads, text_key
from triage.errors import ModelError
from triage.mention import Label

extra = pytest.mark.skipif(importlib.util.find_spec("onnxruntime") is None, reason="the extra `encoder` is not installed (onnxruntime)")

TEXTS = [
    "The app crashes every time I open the calendar",
    "wont open",
    "Seit dem Update stürzt die App beim Start ab",
    "",
    "How do I log in?",
]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the shipped encoder that a test may spoil."""
    return Path(shutil.copytree(encoder_folder(), tmp_path / "encoder"))


@pytest.fixture(scope="module")
def joined(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped model with a card that joins it with the shipped encoder."""
    folder = Path(shutil.copytree(model_folder(), tmp_path_factory.mktemp("joined") / "model"))
    card = json.loads((folder / "card.json").read_text())
    digest = hashlib.sha256((encoder_folder() / RECIPE).read_bytes()).hexdigest()
    card |= {"version": "joined", "encoder": {"version": "encoder-x", "sha256": digest, "words": 0.5, "encoder": 0.4}}
    (folder / "card.json").write_text(json.dumps(card))
    return folder


# Pieces


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("It crashes!", [2009, 19119, 999]),
        ("naïve Ünïcode", [15743, 27260]),
        ("don't_do a.b@c $5", [2123, 1005, 1056, 1035, 2079, 1037, 1012, 1038, 1030, 1039, 1002, 1019]),
        ("你好 ok", [100, 100, 7929]),
        ("x" * 101, [100]),
        ("a\u200bb \x00\ufffd 🧑\u200d💻\ufe0f", [11113, 100]),
        ("", []),
    ],
)
def test_pieces_are_those_that_the_vocabulary_was_made_for(text: str, numbers: list[int]) -> None:
    """As the library splits them with which the encoder was trained."""
    words = (encoder_folder() / VOCABULARY).read_text(encoding="utf-8").split("\n")
    assert Pieces(words, 64).of(text) == [101, *numbers, 102]


def test_a_long_text_is_cut_and_a_mark_in_a_text_is_none() -> None:
    """What somebody writes in brackets is words; the last piece is always the last mark."""
    pieces = Pieces(["[CLS]", "[SEP]", "[UNK]", "a", "[", "]", "sep"], 8)
    assert pieces.of("a " * 20) == [0, *[3] * 6, 1]
    assert pieces.of("[SEP] b") == [0, 4, 6, 5, 2, 1]


@pytest.mark.parametrize(
    ("text", "tag", "asked"),
    [
        ("The app crashes when I open it", None, True),
        ("The app crashes when I open it", "en-GB", True),
        ("The app crashes when I open it", "de", False),
        ("wont open", None, True),
        ("wont open", "fr", False),
        ("Die App ist nach dem Update nicht mehr zu öffnen", "en", False),
    ],
)
def test_only_what_may_be_english_is_read(text: str, tag: str | None, asked: bool) -> None:
    """By its words and by what the platform says."""
    assert reads(text, tag) is asked


# Loading


def test_without_the_extra_a_joined_model_is_refused_with_the_next_step(joined: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By `triage train --encoder` too; a model without an encoder works."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name, package=None: None)
    for refused in (Classifier.load, checked_card, lambda folder: train(corpus_folder(), folder / "new", encoder=True)):
        with pytest.raises(ModelError, match=r"Next: pip install 'triage-inbox\[encoder\]'"):
            refused(joined)
    assert checked_card(model_folder()).encoder is None


@extra
def test_the_shipped_encoder_is_the_one_that_its_recipe_vouches_for() -> None:
    """Each file, the labels, and where its weights are from."""
    found = Encoder.load(encoder_folder())
    recipe, digest = encoder.read_recipe(encoder_folder())
    assert (found.version, found.digest) == (recipe.version, digest)
    assert recipe.made["from"]["licence"] == "Apache-2.0"
    held = json.loads((encoder_folder() / HELD_BACK).read_text())
    posts = [post for post in read_corpus(corpus_folder()).posts if post.lang == "en"]
    assert set(held) <= {text_key(post.text) for post in posts}, "what was written later it has not learned from"
    assert len(held) == recipe.made["learned"]["posts"]


@extra
@pytest.mark.parametrize("name", FILES)
def test_a_changed_file_is_refused(copy: Path, name: str) -> None:
    """One byte is enough."""
    with (copy / name).open("r+b") as file:
        first = file.read(1)
        file.seek(0)
        file.write(bytes([first[0] ^ 1]))
    with pytest.raises(ModelError, match=f"{name} is not the file that its recipe vouches for.*Next: "):
        Encoder.load(copy)


@extra
@pytest.mark.parametrize("name", [RECIPE, *FILES])
def test_a_missing_file_is_refused(copy: Path, name: str) -> None:
    """By its name."""
    (copy / name).unlink()
    with pytest.raises(ModelError, match=f"{name}.*No such file.*Next: "):
        Encoder.load(copy)


@extra
@pytest.mark.parametrize(
    "change", [{"labels": ["a", "b"]}, {"files": {MODEL: "0" * 64}}, {"longest": 0}, {"strange": 1}, {"files": {"../x": "0"}}]
)
def test_a_recipe_that_says_something_else_is_refused(copy: Path, change: dict[str, object]) -> None:
    """Labels, files and numbers are those of this program."""
    recipe = json.loads((copy / RECIPE).read_text())
    (copy / RECIPE).write_text(json.dumps(recipe | change))
    with pytest.raises(ModelError, match="Next: "):
        Encoder.load(copy)


@extra
def test_what_is_no_encoder_is_refused(copy: Path) -> None:
    """Even where the recipe vouches for it."""
    (copy / MODEL).write_bytes(b"nothing")
    recipe = json.loads((copy / RECIPE).read_text())
    recipe["files"][MODEL] = hashlib.sha256(b"nothing").hexdigest()
    (copy / RECIPE).write_text(json.dumps(recipe))
    with pytest.raises(ModelError, match=r"can't be used: .*Next: "):
        Encoder.load(copy)


@extra
def test_a_model_that_was_joined_with_another_encoder_is_refused(joined: Path, copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When it is loaded, and by the cheap look as well."""
    (copy / RECIPE).write_text((copy / RECIPE).read_text() + "\n")
    monkeypatch.setattr(model, "encoder_folder", lambda: copy)
    for refused in (Classifier.load, checked_card):
        with pytest.raises(ModelError, match=r"joined with encoder-x, .* is another one.*Next: train again"):
            refused(joined)


# Judging


@extra
def test_a_text_gets_the_same_in_any_batch() -> None:
    """Though the numbers inside are rounded."""
    found = Encoder.load(encoder_folder())
    together = found.read(TEXTS)
    assert together.shape == (len(TEXTS), len(LABELS))
    assert np.array_equal(together, np.vstack([found.read([text]) for text in TEXTS]))
    assert found.read([]).shape == (0, len(LABELS))


@extra
def test_english_is_judged_by_both_and_other_languages_as_before(joined: Path) -> None:
    """What the two say is added up as the card says; a text in German has the scores of the n-grams alone."""
    alone, both = Classifier.load(model_folder()), Classifier.load(joined)
    said = Encoder.load(encoder_folder()).read(TEXTS)
    for text, worth, one, other in zip(TEXTS, said, alone.classify(TEXTS), both.classify(TEXTS), strict=True):
        if not text or not reads(text):
            assert one.scores == other.scores
            continue
        assert one.scores != other.scores
        if one.sure and len(text) <= 40:  # neither halved nor divided for its length
            raised = np.exp([0.5 * np.log(one.scores[Label(name)]) + 0.4 * part for name, part in zip(LABELS, worth, strict=True)])
            assert [other.scores[Label(name)] for name in LABELS] == pytest.approx(list(raised / raised.sum()))
    assert both.weigh(TEXTS[0], Label.BUG_REPORT).speaks_for


@extra
def test_training_joins_and_keeps_what_was_held_back_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the encoder says counts as much as it helped on posts that it had not seen, and the outcome loads."""
    posts = [post for post in read_corpus(corpus_folder()).posts if post.kind in ("apps", "plain")][:400]
    (tmp_path / "corpus").mkdir()
    rows = [json.dumps({name: str(getattr(post, name)) for name in ("id", "text", "label", "lang", "topic", "form")}) for post in posts]
    (tmp_path / "corpus" / "some.jsonl").write_text("\n".join(rows), encoding="utf-8")
    asked: list[str] = []

    def read(self: Encoder, texts: Sequence[str]) -> np.ndarray:
        asked.extend(texts)
        return real(self, texts)

    real = Encoder.read
    monkeypatch.setattr(Encoder, "read", read)
    card = train(tmp_path / "corpus", tmp_path / "out", corrections=[("it eats my tabs again", "bug_report")], least=100, encoder=True)
    assert set(asked) == {"it works", "it eats my tabs again"}  # each load tries one; the corpus was read by others
    assert card.encoder is not None
    assert card.encoder.words > 0
    assert card.encoder.encoder > 0
    assert card.encoder.version in describe(card)
    assert read_card(tmp_path / "out") == card
    assert Classifier.load(tmp_path / "out").classify(["it crashes"])[0].by == card.version

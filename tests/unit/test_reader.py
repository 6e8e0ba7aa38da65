"""Reading fast gives what the pipeline gives."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triage.classifier import Classifier, corpus_folder, model_folder, read_corpus
from triage.classifier.reader import Reader


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    """The model that ships."""
    return Classifier.load(model_folder())


def both(classifier: Classifier, texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """The probabilities by the slow way and by the fast one."""
    rows = classifier._features.transform(texts)
    found, _ = classifier._reader.read(texts)
    return classifier._judge.predict_proba(rows), found


def test_the_table_of_words_says_what_the_pipeline_says(classifier: Classifier) -> None:
    """On posts of every kind, by every label."""
    slow, fast = both(classifier, [post.text for post in read_corpus(corpus_folder()).posts[::11]])
    assert np.allclose(slow, fast, atol=1e-9)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(max_size=200), min_size=1, max_size=5))
def test_whatever_the_text(classifier: Classifier, texts: list[str]) -> None:
    """Signs, emoji, control characters and nothing at all."""
    slow, fast = both(classifier, texts)
    assert np.allclose(slow, fast, atol=1e-9)


def test_a_batch_of_the_longest_texts_is_read_in_pieces(classifier: Classifier) -> None:
    """The sums of a text do not depend on where a piece ends."""
    long = "the export of all my notes is broken since version 3.2, can you help? " * 110
    one, _ = classifier._reader.read([long])
    many, _ = classifier._reader.read([long] * 40)
    assert (many == one).all()


def test_the_memory_of_words_starts_anew(classifier: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    """A flood of new words does not grow it without end, and changes no verdict."""
    from triage.classifier import reader

    monkeypatch.setattr(reader, "_MOST_WORDS", 50)
    text = "It crashes when I open the calendar"
    before, _ = classifier._reader.read([text])
    for start in range(0, 400, 100):
        classifier._reader.read([" ".join(f"zq{chr(97 + n % 26)}{chr(97 + n // 26)}" for n in range(start, start + 100))])
    assert len(classifier._reader._words) <= 200
    after, _ = classifier._reader.read([text])
    assert (after == before).all()


def test_a_long_text_is_believed_less_and_gets_the_same_label(classifier: Classifier) -> None:
    """The model as it ships beside the same numbers in a plain regression, as models of earlier versions hold them: a short post has the
    same scores, and a long one the same label with less confidence."""
    from sklearn.linear_model import LogisticRegression

    plain = LogisticRegression()
    plain.__dict__.update({name: value for name, value in vars(classifier._judge).items() if name not in ("short_", "power_")})
    (_, terms), (_, form) = classifier._features.transformer_list
    before = Reader(terms, form, plain)
    texts = [post.text for post in read_corpus(corpus_folder()).posts[::23]]
    now, _ = classifier._reader.read(texts)
    then, _ = before.read(texts)
    assert (now.argmax(axis=1) == then.argmax(axis=1)).all()
    short = np.array([len(text) < classifier._judge.short_ for text in texts])
    assert short.any()
    assert (now[short] == then[short]).all()
    assert (now[~short].max(axis=1) <= then[~short].max(axis=1)).all()
    long = np.array([len(text) > 500 for text in texts])
    assert long.any()
    assert now[long].max(axis=1).mean() < then[long].max(axis=1).mean() - 0.1
    assert np.allclose(before.read(texts)[0], plain.predict_proba(classifier._features.transform(texts)), atol=1e-9)

"""The classifier: what it refuses to load, what its verdicts promise, and that training makes what loading accepts."""

from __future__ import annotations

import hashlib
import json
import pickle
import shutil
import subprocess
import sys
import threading
import tomllib
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.shared import ROOT, shared
from triage.classifier import Card, Classifier, check_corpus, checked_card, corpus_folder, evaluate, model_folder, read_corpus, train
from triage.classifier import model as model_module
from triage.classifier.calibration import calibration_error
from triage.classifier.card import LICENCE, describe, licence, read_card
from triage.classifier.language import language_of
from triage.classifier.train import macro_f1, threshold, told
from triage.errors import ModelError
from triage.mention import Label, Verdict

PLAIN = {
    "The app crashes every time I open the calendar": Label.BUG_REPORT,
    "Login has been broken since the update, I only get an error": Label.BUG_REPORT,
    "Seit dem Update stürzt die App beim Start ab": Label.BUG_REPORT,
    "How can I change the language of the menus?": Label.SUPPORT_QUESTION,
    "Is there a way to import my old bookmarks?": Label.SUPPORT_QUESTION,
    "¿Cómo puedo cambiar mi correo?": Label.SUPPORT_QUESTION,
    "I love this tool, it is fantastic, thank you so much": Label.PRAISE,
    "Merci à toute l'équipe, votre application est géniale": Label.PRAISE,
    "We are hiring two backend developers, apply here: https://example.com/jobs": Label.NOISE,
    "Follow me and I follow back, link in bio": Label.NOISE,
}
SMALL_TOPICS = 14  # of the shipped corpus: enough to train on in two seconds


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    """The model that ships."""
    return Classifier.load(model_folder())


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the shipped model that a test may spoil."""
    return Path(shutil.copytree(model_folder(), tmp_path / "model"))


@pytest.fixture(scope="module")
def small_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The posts of the largest topics of the shipped corpus."""
    topics: dict[str, list[dict[str, str]]] = defaultdict(list)
    for post in read_corpus(corpus_folder()).posts:
        topics[post.topic].append({name: str(getattr(post, name)) for name in ("id", "text", "label", "lang", "topic", "form")})
    largest = sorted(topics.values(), key=len, reverse=True)[:SMALL_TOPICS]
    folder = tmp_path_factory.mktemp("corpus")
    (folder / "small.jsonl").write_text("\n".join(json.dumps(row) for rows in largest for row in rows), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def trained(small_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Card]:
    """A model trained on the small corpus, and the card that training returned."""
    out = tmp_path_factory.mktemp("out") / "deeper" / "model"
    return out, train(small_corpus, out, least=100)


def refusal(folder: Path) -> str:
    """What loading says when it refuses; every refusal ends with the next step."""
    with pytest.raises(ModelError) as caught:
        Classifier.load(folder)
    assert "Next: " in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def change_card(folder: Path, **changes: Any) -> None:
    """Put other values onto a card."""
    path = folder / "card.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def vouch(folder: Path, content: bytes, **changes: Any) -> None:
    """Put another file into the place of the model and let the card vouch for it."""
    (folder / "model.skops").write_bytes(content)
    change_card(folder, model={"name": "model.skops", "sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}, **changes)


# -- loading


def test_the_shipped_model_loads_without_a_warning(classifier: Classifier) -> None:
    """The model in the repository was made with the locked scikit-learn, from the corpus in the repository."""
    assert classifier.warning == ""
    assert classifier.card.data.digest == read_corpus(corpus_folder()).digest


def test_the_shipped_model_is_as_small_as_promised() -> None:
    """It stays below 10 MB on disk."""
    assert sum(path.stat().st_size for path in model_folder().iterdir()) < 10_000_000


def test_the_shipped_card_is_told_in_words() -> None:
    """CARD.md says what card.json says."""
    assert (model_folder() / "CARD.md").read_text(encoding="utf-8") == describe(read_card(model_folder()))


def test_the_trusted_types_are_those_of_the_shipped_model() -> None:
    """The list of trusted types holds what the model needs and nothing more."""
    from skops.io import get_untrusted_types

    assert set(get_untrusted_types(data=(model_folder() / "model.skops").read_bytes())) == set(model_module.TRUSTED)


def test_importing_the_classifier_does_not_import_scikit_learn() -> None:
    """Only loading and training pay for it."""
    slow = ["sklearn", "numpy", "scipy", "skops", "rapidfuzz"]
    code = f"import sys, triage.classifier; print([name for name in {slow} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    """A path where no model is says so."""
    assert "there is no model in" in refusal(tmp_path / "nowhere")


def test_a_missing_card_is_refused(copy: Path) -> None:
    """A model that nobody vouches for is not loaded."""
    (copy / "card.json").unlink()
    assert "has no card that can be read" in refusal(copy)


def test_a_missing_file_is_refused(copy: Path) -> None:
    """A card without its model says which file is missing."""
    (copy / "model.skops").unlink()
    assert "model.skops is missing" in refusal(copy)


@pytest.mark.parametrize("place", [10, 0.5, -10])
def test_a_changed_byte_is_refused(copy: Path, place: float) -> None:
    """One bit flipped anywhere in the file is found by its digest."""
    content = bytearray((copy / "model.skops").read_bytes())
    content[int(place * len(content)) if place == 0.5 else int(place)] ^= 1
    (copy / "model.skops").write_bytes(content)
    assert "is not the file that its card vouches for" in refusal(copy)


def test_a_swapped_card_is_refused(copy: Path, trained: tuple[Path, Card]) -> None:
    """The card of another model does not vouch for this one."""
    shutil.copy(trained[0] / "card.json", copy / "card.json")
    assert "is not the file that its card vouches for" in refusal(copy)


@pytest.mark.parametrize("ending", [".pkl", ".pickle", ".joblib"])
def test_a_pickle_beside_the_card_is_never_loaded(copy: Path, ending: str) -> None:
    """A folder that holds a pickle in place of the model says why it is not loaded."""
    (copy / "model.skops").rename(copy / f"model{ending}")
    assert "is a pickle, which can run anything, and is never loaded" in refusal(copy)


class Trap:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self.path,)


def test_a_pickle_under_the_right_name_is_never_loaded(copy: Path, tmp_path: Path) -> None:
    """A pickle that the card vouches for is refused by its first bytes, and nothing in it runs."""
    sprung = tmp_path / "sprung"
    vouch(copy, pickle.dumps(Trap(sprung)))
    assert "pickle and joblib files can run anything and are never loaded" in refusal(copy)
    assert not sprung.exists()


def test_an_archive_that_is_no_model_is_refused(copy: Path) -> None:
    """A file that begins like an archive and is none is refused."""
    vouch(copy, b"PK\x03\x04 and then nothing of the kind")
    assert "is no skops file" in refusal(copy)


def test_an_archive_without_a_schema_is_refused(copy: Path, tmp_path: Path) -> None:
    """A real archive that skops did not write is refused."""
    (tmp_path / "some").mkdir()
    content = Path(shutil.make_archive(str(tmp_path / "other"), "zip", tmp_path / "some")).read_bytes()
    vouch(copy, content)
    assert "can't be read" in refusal(copy)


def test_an_archive_that_unpacks_to_too_much_is_refused(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The unpacked size is looked at before anything is unpacked."""
    monkeypatch.setattr(model_module, "_LARGEST_UNPACKED", 1024)
    assert "unpacks to more than" in refusal(copy)


def test_a_huge_file_is_refused(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file beyond the limit is not even read."""
    monkeypatch.setattr(model_module, "_LARGEST_MODEL", 1024)
    assert "is larger than" in refusal(copy)


def test_untrusted_types_are_refused_by_name(copy: Path) -> None:
    """A well-formed skops file that holds a stranger's type is refused, and the type is named."""
    from fractions import Fraction

    from skops.io import dumps

    vouch(copy, dumps({"model": Fraction(1, 3)}))
    assert "holds types that are not trusted: fractions.Fraction" in refusal(copy)


def test_something_else_in_a_skops_file_is_refused(copy: Path) -> None:
    """A skops file with trusted types that is no pipeline of ours is refused."""
    from skops.io import dumps

    vouch(copy, dumps({"just": ["a", "list"]}))
    assert "can't be used" in refusal(copy)


def test_a_model_for_other_labels_is_refused(copy: Path) -> None:
    """A model that gives labels which nobody knows is refused, and they are named."""
    import numpy as np
    from skops.io import dumps, loads

    pipeline = loads((copy / "model.skops").read_bytes(), trusted=list(model_module.TRUSTED))
    pipeline[1].classes_ = np.array(["bug_report", "ham", "praise", "spam"])
    vouch(copy, dumps(pipeline))
    assert "gives other labels than its card: bug_report, ham, praise, spam" in refusal(copy)


def test_a_model_with_other_features_is_refused(copy: Path) -> None:
    """A model made by another version of the features is refused rather than misread."""
    from skops.io import dumps, loads

    pipeline = loads((copy / "model.skops").read_bytes(), trusted=list(model_module.TRUSTED))
    form = pipeline[0].transformer_list[1][1]
    form.names_ = form.names_.replace("asks", "begs", 1)
    vouch(copy, dumps(pipeline))
    assert "made with other features of form" in refusal(copy)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"labels": ["bug_report", "praise"]}, "is for other labels"),
        ({"labels": ["bug_report", "praise", "noise", "rant"]}, "is no card of this program's: labels"),
        ({"thresholds": {"bug_report": 0.5}}, "is for other labels"),
        ({"thresholds": dict.fromkeys(Label, 1.5)}, "a threshold that is not between 0 and 1"),
        ({"thresholds": dict.fromkeys(Label, float("nan"))}, "a threshold that is not between 0 and 1"),
        ({"model": {"name": "../model.skops", "sha256": "0" * 64, "size": 1}}, "only model.skops is loaded"),
        ({"model": {"name": "model.skops", "sha256": "abc", "size": 1}}, "model.sha256"),
        ({"scores": None}, "scores"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_spoilt_card_is_refused(copy: Path, changes: dict[str, Any], said: str) -> None:
    """A card that is not what a card must be is refused, and the place is named."""
    change_card(copy, **changes)
    assert said in refusal(copy)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000, b" " * 1_000_000])
def test_a_card_that_is_no_json_is_refused(copy: Path, content: bytes) -> None:
    """Garbage, nesting without end and a huge file in the card's place are refused."""
    (copy / "card.json").write_bytes(content)
    assert "is no card of this program's" in refusal(copy)


def test_another_version_of_scikit_learn_is_a_warning(copy: Path) -> None:
    """A model that still loads under another version works and says so."""
    versions = read_card(copy).versions
    change_card(copy, versions={**versions, "scikit-learn": "1.0.0"})
    loaded = Classifier.load(copy)
    assert "made with scikit-learn 1.0.0" in loaded.warning
    assert len(loaded.classify(["it works"])) == 1


def test_another_version_is_named_when_loading_fails(copy: Path) -> None:
    """Where loading fails under another version, the message tells both versions."""
    from skops.io import dumps

    vouch(copy, dumps({"just": "a dictionary"}), versions={"scikit-learn": "1.0.0"})
    assert "it was made with scikit-learn 1.0.0, this is" in refusal(copy)


def test_a_card_is_checked_without_loading_the_model(copy: Path) -> None:
    """The cheap check finds a changed file as loading does."""
    assert checked_card(copy) == read_card(copy)
    (copy / "model.skops").write_bytes(b"PK")
    with pytest.raises(ModelError, match="is not the file that its card vouches for"):
        checked_card(copy)


# -- verdicts


@pytest.mark.parametrize(("text", "label"), PLAIN.items())
def test_a_plain_post_gets_its_label(classifier: Classifier, text: str, label: Label) -> None:
    """What nobody would argue about is told rightly."""
    assert classifier.classify([text])[0].label == label


def test_verdicts_come_in_order_and_are_the_same_in_any_batch(classifier: Classifier) -> None:
    """A text is judged alike alone, in a batch, in another order, and next to a giant."""
    texts = [*PLAIN, "x " * 5_000, ""]
    together = classifier.classify(texts)
    assert together == classifier.classify(texts)
    assert together == [classifier.classify([text])[0] for text in texts]
    assert together == classifier.classify(texts[::-1])[::-1]


def test_a_long_list_is_worked_in_batches(classifier: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    """More texts than a batch holds come back complete and in order, with their languages."""
    monkeypatch.setattr(model_module, "_BATCH", 3)
    texts = list(PLAIN)
    languages = [str(number) * 2 if number % 2 else "en" for number in range(len(texts))]
    cut = classifier.classify(texts, languages)
    monkeypatch.undo()
    assert cut == classifier.classify(texts, languages)


def test_no_texts_no_verdicts(classifier: Classifier) -> None:
    """An empty batch is answered with an empty list."""
    assert classifier.classify([]) == []


def check(verdict: Verdict, classifier: Classifier) -> None:
    """What holds for each verdict."""
    assert set(verdict.scores) == {str(label) for label in Label}
    assert sum(verdict.scores.values()) == pytest.approx(1.0)
    assert all(0.0 <= score <= 1.0 for score in verdict.scores.values())
    assert verdict.confidence == verdict.scores[verdict.label] == max(verdict.scores.values())
    assert verdict.by == classifier.card.version
    assert not verdict.by_person
    assert not verdict.sure or verdict.confidence >= classifier.thresholds[verdict.label]
    json.dumps(dict(verdict.scores))


@settings(deadline=None, max_examples=150)
@given(text=st.text(alphabet=st.characters(exclude_categories=()), max_size=300), language=st.none() | st.text(max_size=8))
@example(text="\ud800", language="en")
@example(text="\x00" * 50, language="\x00")
@example(text="a\u0301" * 200, language="pt-BR")
@example(text="👩‍👩‍👧‍👦" * 50, language=None)
@example(text="\u202eevil\u202c @a@b.c " * 20, language="")
def test_any_text_gets_a_verdict(classifier: Classifier, text: str, language: str | None) -> None:
    """Lone surrogates, control and bidi characters, emoji, any alphabet: always a well-formed verdict, and an explanation."""
    (verdict,) = classifier.classify([text], [language], evidence=True)
    check(verdict, classifier)
    assert all(word in text for word in verdict.evidence)


@pytest.mark.parametrize("text", ["", "   ", "\n\t", "...", "——", "\u200b\u200b"])
def test_a_text_without_words_is_never_sure(classifier: Classifier, text: str) -> None:
    """Nothing to read is a quarter for each label."""
    (verdict,) = classifier.classify([text])
    assert set(verdict.scores.values()) == {0.25}
    assert not verdict.sure


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("東京に近いリージョンの予定はありますか？", "ja"),
        ("東京に近いリージョンの予定はありますか？", None),
        ("Почему приложение не работает???", None),
        ("Strona nie działa i zwraca błąd", "pl"),
        ("zxqv wqrtz pflgx", None),
    ],
)
def test_what_the_model_cannot_read_is_never_sure(text: str, language: str | None) -> None:
    """With thresholds of zero all is sure but a text without a known word, or in a language that was not measured."""
    eager = Classifier.load(model_folder(), dict.fromkeys(Label, 0.0))
    assert not eager.classify([text], [language])[0].sure
    assert eager.classify(["the app crashes", text], ["en", language])[0].sure


def test_a_wrong_language_tag_does_not_make_an_english_post_unsure() -> None:
    """People's clients say a wrong language; a post that reads as English counts as English."""
    eager = Classifier.load(model_folder(), dict.fromkeys(Label, 0.0))
    (verdict,) = eager.classify(["The app crashes when I open the list of all my notes"], ["pl"])
    assert verdict.sure
    assert verdict.language == "pl"


def test_a_megabyte_is_judged_by_its_beginning(classifier: Classifier) -> None:
    """A huge text is read up to a limit: what follows changes nothing."""
    start = "The app crashes every time I open the calendar. " * 200
    short, long, longer = classifier.classify([start[:8000], start[:8000] + "x" * 1_000_000, start[:8000] + "Thanks, love it! " * 60_000])
    assert short == long == longer
    check(long, classifier)


SIGNS = [
    "a",
    "@",
    "a@",
    "a.b@",
    "1.",
    "0 ",
    "-",
    "\n",
    "\n at ",
    "'",
    "`",
    "https://",
    "@a@",
    "#",
    "can't ",
    "/a",
    "_",
    "Error",
    "?!",
    "data gone not ",
]


@pytest.mark.parametrize("sign", SIGNS)
def test_a_sign_repeated_a_million_times_is_judged(classifier: Classifier, sign: str) -> None:
    """Any sign repeated without end is judged: no pattern looks at a text more often than a few times."""
    check(classifier.classify([sign * (1_000_000 // len(sign))], evidence=True)[0], classifier)


def test_thresholds_can_be_overridden() -> None:
    """The config's thresholds stand in for the card's, label by label."""
    text = "The app crashes every time I open the calendar"
    never = Classifier.load(model_folder(), {"bug_report": 1.0})
    always = Classifier.load(model_folder(), {"bug_report": 0.0})
    assert (never.classify([text])[0].sure, always.classify([text])[0].sure) == (False, True)
    assert never.thresholds[Label.NOISE] == never.card.thresholds[Label.NOISE]


@pytest.mark.parametrize("thresholds", [{"bug": 0.5}, {"noise": 1.01}, {"noise": -0.1}, {"noise": float("nan")}])
def test_a_wrong_threshold_is_refused(thresholds: dict[str, float]) -> None:
    """A threshold for an unknown label, or outside 0 to 1, is refused by name."""
    with pytest.raises(ModelError, match=rf"the threshold {next(iter(thresholds))}: .* Next: "):
        Classifier.load(model_folder(), thresholds)


def test_the_shipped_model_is_sure_of_some_and_unsure_of_others(classifier: Classifier) -> None:
    """An honest "not sure" occurs among plain posts and half sentences, and so does sureness."""
    verdicts = classifier.classify(
        [*PLAIN, "the export since Tuesday", "that button, well", "again the sync, wow", "love the new login page?"]
    )
    assert {verdict.sure for verdict in verdicts} == {True, False}


def test_the_evidence_is_words_of_the_text(classifier: Classifier) -> None:
    """Up to five words, as they stand in the text, and only when they are asked for."""
    text = "Since Friday the EXPORT crashes: https://example.com/secret 502 and a blank page @someone"
    (plain,), (explained,) = classifier.classify([text]), classifier.classify([text], evidence=True)
    assert plain.evidence == ()
    assert 1 <= len(explained.evidence) <= 5
    assert all(word in text for word in explained.evidence)
    assert "crashes" in explained.evidence
    assert not any("secret" in word or "example" in word or "someone" in word for word in explained.evidence)


def test_each_label_has_its_own_evidence(classifier: Classifier) -> None:
    """The words for one label are not those for another."""
    text = "I love the editor, but it crashes"
    assert classifier.explain(text, "praise")[0] == "love"
    assert "crashes" in classifier.explain(text, "bug_report")[:2]


def test_a_text_without_words_has_no_evidence(classifier: Classifier) -> None:
    """Nothing speaks for any label of nothing."""
    assert classifier.explain("", Label.NOISE) == ()


@pytest.mark.parametrize(
    "text", ["aplikacija ne radi", "apka crash", "アプリ crash", "aplikasi error terus min tolong", "приложение не работает"]
)
def test_words_that_it_does_not_know_in_an_unknown_language_are_no_ground(classifier: Classifier, text: str) -> None:
    """A bug report in a language without corpus must not be put away as sure noise; its confidence is halfway to not knowing."""
    [verdict] = classifier.classify([text])
    assert not verdict.sure
    assert verdict.confidence <= 0.625
    assert classifier.doubts(text, verdict)


def test_a_short_text_in_words_that_are_known_is_read(classifier: Classifier) -> None:
    """Two words tell no language; known ones are enough."""
    assert language_of("app crashes") is None
    assert classifier.knows("app crashes")


def test_verdicts_carry_signals_and_language(classifier: Classifier) -> None:
    """What is found beside the label comes with it; the language is given or guessed."""
    lost, guessed, tagged = classifier.classify(
        ["All my notes are gone!", "Seit gestern ist die Seite nicht mehr da", "ok"], [None, None, "pt-BR"]
    )
    assert lost.signals == {"data_loss"}
    assert (lost.language, guessed.language, tagged.language) == ("en", "de", "pt")


def test_threads_agree(classifier: Classifier) -> None:
    """Several threads that ask one model at once get what one gets alone."""
    texts = [post.text for post in read_corpus(corpus_folder()).posts][:120]
    alone = classifier.classify(texts)
    answers: list[list[Verdict]] = []
    fresh = Classifier.load(model_folder())
    threads = [threading.Thread(target=lambda: answers.append(fresh.classify(texts))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [alone] * 4


# -- language


@pytest.mark.parametrize(
    ("text", "given", "language"),
    [
        ("the export is empty since we have the new version", None, "en"),
        ("je ne peux plus ouvrir mes notes depuis hier", None, "fr"),
        ("ich kann die Datei nicht mehr öffnen", None, "de"),
        ("no puedo abrir los archivos desde ayer", None, "es"),
        ("não consigo abrir o arquivo desde ontem", None, "pt"),
        ("non si apre più il file che ho salvato", None, "it"),
        ("ik kan het bestand niet meer openen", None, "nl"),
        ("ok", None, None),
        ("", None, None),
        ("Привет, как дела", None, None),
        ("ich kann die Datei nicht öffnen", "en", "en"),
        ("hello", "EN-us", "en"),
        ("hello", "zh_Hant", "zh"),
        ("ich kann die Datei nicht öffnen", "no language at all", "de"),
        ("ich kann die Datei nicht öffnen", "", "de"),
    ],
)
def test_a_language_is_given_or_guessed(text: str, given: str | None, language: str | None) -> None:
    """A tag is cut to its language; without a good one the commonest words tell, and silence is None."""
    assert language_of(text, given) == language


# -- training


def test_training_makes_a_model_that_loads(trained: tuple[Path, Card], small_corpus: Path) -> None:
    """The folder holds model, card and recipe, and what loads is what was returned."""
    out, card = trained
    assert {path.name for path in out.iterdir()} == {"model.skops", "card.json", "recipe.json", "CARD.md"}
    loaded = Classifier.load(out)
    assert loaded.card == card
    assert (out / "CARD.md").read_text(encoding="utf-8") == describe(card)
    for verdict in loaded.classify(list(PLAIN)):
        check(verdict, loaded)
    recipe = json.loads((out / "recipe.json").read_text())
    digest = hashlib.sha256((small_corpus / "small.jsonl").read_bytes()).hexdigest()
    assert recipe["sources"] == [{"file": "small.jsonl", "sha256": digest, "licence": "not stated"}]
    assert recipe["seed"] == card.seed == 0


def test_the_shipped_recipe_names_each_source_with_digest_and_licence() -> None:
    """They are the files of the corpus that ships, under the project's licence; what was changed in a file is not ours any more."""
    sources = json.loads((model_folder() / "recipe.json").read_text())["sources"]
    files = read_corpus(corpus_folder()).files
    assert sources == [{"file": name, "sha256": digest, "licence": LICENCE} for name, digest in files.items()]
    assert all(licence(name, digest) == LICENCE for name, digest in files.items())
    assert licence("apps.jsonl", "0" * 64) == licence("mine.jsonl", files["apps.jsonl"]) == "not stated"
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["license"] == LICENCE


def test_the_card_adds_up(trained: tuple[Path, Card], small_corpus: Path) -> None:
    """Counts, confusion and thresholds agree with each other and with the corpus."""
    card = trained[1]
    posts = read_corpus(small_corpus).posts
    assert card.data.posts == len(posts) == sum(card.data.labels.values()) == sum(map(sum, card.scores.confusion))
    for row, label in zip(card.scores.confusion, card.labels, strict=True):
        assert sum(row) == card.data.labels[label] == card.scores.labels[label].posts
    assert card.scores.accuracy == pytest.approx(sum(card.scores.confusion[at][at] for at in range(4)) / len(posts), abs=1e-3)


def test_the_same_seed_gives_the_same_scores(trained: tuple[Path, Card], small_corpus: Path, tmp_path: Path) -> None:
    """Training again gives the same card but for the file's digest, and the same verdicts; it tells each step."""
    steps: list[tuple[int, int]] = []
    again = train(small_corpus, tmp_path / "again", least=100, progress=lambda done, of, what: steps.append((done, of)))
    assert (again.scores, again.thresholds, again.data) == (trained[1].scores, trained[1].thresholds, trained[1].data)
    first, second = (
        [verdict.scores for verdict in Classifier.load(folder).classify(list(PLAIN))] for folder in (trained[0], tmp_path / "again")
    )
    assert first == second
    assert steps == [(done, len(steps)) for done in range(1, len(steps) + 1)]


def test_corrections_are_learned(trained: tuple[Path, Card], small_corpus: Path, tmp_path: Path) -> None:
    """A correction changes the model's mind about its text; the last word on a text counts; no text of one is written down."""
    text = "hmpf klonk klonk, the wobblegast is wobbling"
    before = Classifier.load(trained[0]).classify([text])[0].scores["praise"]
    pairs = [(text, "noise"), (text, "praise"), (f"{text} again", "praise"), ("   ", "praise")]
    card = train(small_corpus, tmp_path / "out", least=100, corrections=pairs)
    assert Classifier.load(tmp_path / "out").classify([text])[0].scores["praise"] > before
    assert (card.data.corrections, card.data.posts) == (2, trained[1].data.posts + 2)
    for path in (tmp_path / "out").glob("*.json"):
        assert "wobblegast is" not in path.read_text()


def test_a_correction_with_an_unknown_label_is_refused(small_corpus: Path, tmp_path: Path) -> None:
    """The label is named, and nothing is written."""
    with pytest.raises(ModelError, match=r"a correction has the label 'rant'.* Next: "):
        train(small_corpus, tmp_path / "out", least=100, corrections=[("some text", "rant")])
    assert not (tmp_path / "out").exists()


def test_a_corpus_that_fails_its_check_is_not_learned(small_corpus: Path, copy: Path) -> None:
    """Training refuses with the finding, and the model that was there stays as it was."""
    before = {path.name: path.read_bytes() for path in copy.iterdir()}
    assert check_corpus(read_corpus(small_corpus)) != []
    with pytest.raises(ModelError, match=r"would teach the wrong thing: the corpus holds \d+ posts; at least 1200 are needed\. Next: "):
        train(small_corpus, copy)
    assert {path.name: path.read_bytes() for path in copy.iterdir()} == before


def test_too_few_topics_are_refused(small_corpus: Path, tmp_path: Path) -> None:
    """A corpus whose posts are all about a few things can't be judged by topics held back."""
    rows = [json.loads(line) for line in (small_corpus / "small.jsonl").read_text().split("\n")]
    few = tmp_path / "few"
    few.mkdir()
    lines = [json.dumps({**row, "topic": f"t{number % 9}"}) for number, row in enumerate(rows)]
    (few / "few.jsonl").write_text("\n".join(lines))
    with pytest.raises(ModelError, match=r"fewer than 10 topics.* Next: "):
        train(few, tmp_path / "out", least=100)


def test_a_folder_that_cannot_be_written_is_told(small_corpus: Path, tmp_path: Path) -> None:
    """A file in the folder's place is an error with a next step."""
    (tmp_path / "out").write_text("in the way")
    with pytest.raises(ModelError, match=r"can't be written to .* Next: "):
        train(small_corpus, tmp_path / "out", least=100)


def test_training_over_a_model_replaces_it(trained: tuple[Path, Card], small_corpus: Path, copy: Path) -> None:
    """The new model stands in the old one's place, other files there are left alone, and nothing is left over."""
    (copy / "mine.txt").write_text("keep me")
    card = train(small_corpus, copy, least=100, seed=1)
    assert Classifier.load(copy).card == card
    assert card.seed == 1
    assert {path.name for path in copy.iterdir()} == {"model.skops", "card.json", "recipe.json", "CARD.md", "mine.txt"}


# -- measures


def judged(*rows: tuple[Label, Label, float]) -> tuple[list[Label], list[Label], list[float]]:
    """Posts as (truth, given, confidence), column by column."""
    return [row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows]


def test_a_threshold_is_the_lowest_that_keeps_the_precision() -> None:
    """Above it nine in ten are right; one step lower they would not be."""
    right = [(Label.NOISE, Label.NOISE, 0.99 - at / 1000) for at in range(90)]
    wrong = [(Label.PRAISE, Label.NOISE, 0.80 - at / 1000) for at in range(40)]
    assert threshold(*judged(*right, *wrong), Label.NOISE) == pytest.approx(0.80 - 9 / 1000, abs=1e-6)


def test_a_threshold_that_is_never_reached_is_one() -> None:
    """Where no confidence is precise enough, or too few posts carry it, nothing is sure."""
    wrong = [(Label.PRAISE, Label.NOISE, 0.9)] * 30
    few = [(Label.NOISE, Label.NOISE, 0.9)] * 19
    assert threshold(*judged(*wrong), Label.NOISE) == threshold(*judged(*few), Label.NOISE) == 1.0


def test_what_is_told_of_a_part_was_chosen_on_the_others() -> None:
    """One part is right whenever it is sure and the other never: neither may count itself sure by its own hits."""
    import numpy as np

    order = sorted(map(str, Label))
    noise, praise = order.index("noise"), order.index("praise")
    worth = np.zeros((200, 4))
    worth[:, noise] = np.linspace(1.0, 4.0, 200)
    truth = np.array([noise if number % 2 else praise for number in range(200)])
    parts = np.array([1 if number % 2 else 2 for number in range(200)])
    sure, confidences = told(worth, truth, parts, np.ones(200))
    assert not any(sure[at] for at in range(200) if parts[at] == 1)  # the second part's verdicts were all wrong
    assert all(sure[at] for at in range(1, 199) if parts[at] == 2)  # and this is what it costs to learn from the first alone
    assert all(0.25 <= one <= 1.0 for one in confidences)
    _, lower = told(worth, truth, parts, np.full(200, 2.0))  # of long posts
    assert all(low < one for low, one in zip(lower, confidences, strict=True))


def test_the_calibration_error_is_the_gap_between_confidence_and_hits() -> None:
    """Nine of ten right at 0.9 is no error; five of ten is 0.4; two bins count by their size."""
    assert calibration_error([0.9] * 10, [True] * 9 + [False]) == pytest.approx(0.0)
    assert calibration_error([0.9] * 10, [True] * 5 + [False] * 5) == pytest.approx(0.4)
    assert calibration_error([0.9] * 10 + [0.5] * 30, [True] * 15 + [False] * 25) == pytest.approx((0.1 * 10 + (0.5 - 5 / 30) * 30) / 40)
    assert calibration_error([1.0], [True]) == 0.0


def test_macro_f1_weighs_labels_alike() -> None:
    """A rare label that is never found halves the score of two."""
    truth = [Label.NOISE] * 9 + [Label.PRAISE]
    assert macro_f1(truth, truth) == 1.0
    assert macro_f1(truth, [Label.NOISE] * 10) == pytest.approx((18 / 19) / 2)


# -- evaluate


def test_the_report_tells_the_card(classifier: Classifier) -> None:
    """Without data the report holds the card's scores."""
    report = evaluate(classifier)
    assert classifier.card.version in report
    assert f"macro-F1 {classifier.card.scores.macro_f1:.3f}" in report
    assert all(label in report for label in Label)


def test_only_rows_that_people_labelled_are_scored(classifier: Classifier, tmp_path: Path) -> None:
    """Rows with a derived label, an unknown one or none are left out, and each set has its line."""
    rows: list[dict[str, str | None]] = [
        {"text": text, "label": label, "label_source": "human", "lang": "en"} for text, label in PLAIN.items()
    ]
    rows += [
        {"text": "x", "label": "praise", "label_source": "stars"},
        {"text": "x", "label": None, "label_source": "human"},
        {"text": "x", "label": "rant", "label_source": "human"},
        {"label": "noise", "label_source": "human"},
    ]
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "first.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "second.jsonl").write_text(json.dumps(rows[0]) + "\n\n")
    (tmp_path / "third.jsonl").write_text(json.dumps(rows[-1]))
    lines = {line.split("  ")[0]: line.split() for line in evaluate(classifier, tmp_path).splitlines()}
    assert lines["first"][1:4] == [str(len(PLAIN)), "1.000", "1.000"]
    assert lines["second"][1] == "1"
    assert "third" not in lines
    assert lines["all together"][2] == str(len(PLAIN) + 1)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("some.jsonl", "{", "line 1 is no JSON"),
        ("some.jsonl", "text,label\nit crashes,bug_report\n", "line 1 is no JSON"),
        ("some.jsonl", "", "holds no row that a person labelled; it is empty"),
        ("some.jsonl", "{}\n[1]\n", 'none of its 2 rows can be used: 2 with no "text"'),
        ("some.jsonl", '{"text": "x"}\n{"text": "x", "label": "rant"}', '1 with no "label", 1 with no label of ours'),
        ("some.jsonl", '{"text": "x", "label": "noise"}', '1 with another "label_source" than "human"'),
        ("some.csv", "text,label\n", "holds no .jsonl file"),
    ],
)
@pytest.mark.parametrize("alone", [True, False], ids=["file", "folder"])
def test_data_that_cannot_be_scored_is_refused(
    classifier: Classifier, tmp_path: Path, name: str, content: str, said: str, *, alone: bool
) -> None:
    """It says what is wrong with the data, and what they should look like, with an example that is taken."""
    (tmp_path / name).write_text(content)
    if alone and name == "some.csv":
        said = "line 1 is no JSON"
    with pytest.raises(ModelError) as caught:
        evaluate(classifier, tmp_path / name if alone else tmp_path)
    told, _, example = str(caught.value).partition("For example: ")
    assert said in told
    assert " Next: give a .jsonl file, or a folder of them" in told
    (tmp_path / "example.jsonl").write_text(example)
    assert "example " in evaluate(classifier, tmp_path / "example.jsonl")


def test_data_that_cannot_be_read_is_refused(classifier: Classifier, tmp_path: Path) -> None:
    """A path that is not there, and a file in another encoding."""
    with pytest.raises(ModelError, match=r"nowhere can't be read: No such file.* Next: give"):
        evaluate(classifier, tmp_path / "nowhere")
    (tmp_path / "some.jsonl").write_text("{}", encoding="utf-16")
    with pytest.raises(ModelError, match=r"some.jsonl can't be read: it is no UTF-8. Next: give"):
        evaluate(classifier, tmp_path)


@pytest.mark.shared
def test_the_shipped_model_holds_up_on_posts_by_strangers(classifier: Classifier) -> None:
    """On thousands of texts that people labelled for other purposes it finds far more than chance would."""
    report = evaluate(classifier, shared("data/classification"))
    columns = {words[0]: words for line in report.splitlines() if (words := line.split())}
    assert float(columns["intention_mining"][2]) > 0.65
    assert min(float(columns[name][2]) for name in ("minibar_en", "minibar_fr", "scalabrino2017_rq1")) > 0.6

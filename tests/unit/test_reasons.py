"""Why the classifier says what it says: the words that spoke for a label do speak for it, and the nearest posts are near."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from triage.classifier import Classifier, corpus_folder, model_folder, read_corpus
from triage.classifier.features import spans, tokens
from triage.classifier.form import NAMES
from triage.classifier.reasons import _FORM, Labelled, Neighbours, Reason, odds
from triage.mention import Label

TEXTS = [
    "Since the update the export crashes every time I click on it",
    "The calendar is broken again, nothing loads and the page stays blank",
    "I get an error when I upload a photo larger than a few megabytes",
    "login fails with a 500 on the new version, worked yesterday",
    "How do I move my boards to another account?",
    "Is there a way to print only the second page?",
    "Where can I find the invoice of last month, please?",
    "Could you add a dark theme for the night shift?",
    "I love the new editor, it is fast and beautiful. Well done!",
    "Best tool I have used in years, thank you so much",
    "great work on the search, it finally finds everything",
    "We are hiring two engineers for our team in the north, apply now",
    "Join our webinar on Thursday and win a free ticket",
    "Depuis la mise à jour, l'application plante au démarrage",
    "La synchronisation ne marche plus, erreur à chaque envoi",
    "Comment puis-je changer l'adresse de mon compte ?",
    "Est-ce qu'il y a un moyen d'exporter en tableau ?",
    "J'adore cette application, bravo à toute l'équipe",
    "Merci pour la nouvelle version, c'est vraiment super",
    "On recrute une développeuse, offre en lien",
    "Seit dem Update stürzt die App beim Start immer ab",
    "Der Export ist kaputt, die Datei bleibt leer",
    "Wie kann ich meine Notizen in einen anderen Ordner verschieben?",
    "Gibt es eine Möglichkeit, den Ton leiser zu stellen?",
    "Tolle App, ich bin begeistert. Danke an das Team!",
    "Wirklich großartig, läuft schnell und zuverlässig",
    "Wir suchen Verstärkung für unser Team, jetzt bewerben",
    "Desde la actualización la aplicación se cierra sola",
    "La exportación no funciona, me sale un error cada vez",
    "¿Cómo puedo cambiar la contraseña de mi cuenta?",
    "¿Hay alguna forma de ordenar las notas por fecha?",
    "Me encanta la nueva versión, buen trabajo",
    "Excelente herramienta, la recomiendo a todos, gracias",
    "Buscamos una persona para nuestro equipo, oferta en el enlace",
]


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return Classifier.load(model_folder())


@pytest.fixture(scope="module")
def neighbours(classifier: Classifier) -> Neighbours:
    posts = read_corpus(corpus_folder()).posts
    return classifier.neighbours([Labelled(post.text, post.label, post.id) for post in posts])


def without(text: str, word: str) -> str:
    """The text without the word, wherever and however it stands in it."""
    [token] = {token for shown, token in spans(text) if shown == word}
    kept = text
    for shown in {shown for shown, other in spans(text) if other == token}:
        kept = re.sub(rf"(?<!\w){re.escape(shown)}(?!\w)" if shown[0].isalnum() else re.escape(shown), " ", kept)
    return " ".join(kept.split())


def falls(classifier: Classifier, text: str) -> Iterator[float]:
    """By how much the confidence of the text's label falls when the strongest words are taken out, one more each time."""
    [verdict] = classifier.classify([text])
    words = [one.what for one in classifier.weigh(text, verdict.label).speaks_for if one.kind == "word"]
    left = text
    for word in words[:2]:
        left = without(left, word)
        yield verdict.confidence - classifier.classify([left])[0].scores[verdict.label]


def test_without_its_strongest_word_a_text_is_less_of_its_label(classifier: Classifier) -> None:
    """In four languages and for each label: the confidence falls without the first word, and falls further without the second."""
    found = [tuple(falls(classifier, text)) for text in TEXTS]
    assert all(fall[0] > 0 for fall in found)
    first, second = zip(*(fall for fall in found if len(fall) == 2), strict=True)
    assert len(first) >= len(TEXTS) - 2, "of an advert in French one word speaks for it, and its form"
    assert sum(later > fall for later, fall in zip(second, first, strict=True)) >= 0.8 * len(TEXTS)
    assert sum(second) > sum(first) > 0.05 * len(TEXTS)


def test_a_word_that_spoke_against_makes_the_label_stronger_when_it_goes(classifier: Classifier) -> None:
    """The other side is told as truly."""
    gains = []
    for text in TEXTS:
        [verdict] = classifier.classify([text])
        words = [one.what for one in classifier.weigh(text, verdict.label).against if one.kind == "word"]
        if words:
            weighed = classifier.weigh(text, verdict.label)
            gains.append(classifier.weigh(without(text, words[0]), weighed.label).log_odds - weighed.log_odds)
    assert len(gains) > len(TEXTS) / 2
    assert all(gain > 0 for gain in gains)


@pytest.mark.parametrize("text", TEXTS)
def test_shares_are_of_all_that_is_told(classifier: Classifier, text: str) -> None:
    """They sum up to one, and the other side is that of the second likeliest label."""
    [verdict] = classifier.classify([text])
    weighed = classifier.weigh(text, verdict.label)
    assert sum(one.share for one in (*weighed.speaks_for, *weighed.against)) == pytest.approx(1.0)
    assert weighed.log_odds == pytest.approx(odds(verdict.scores, weighed.label))
    assert weighed.other == sorted(verdict.scores, key=lambda name: -verdict.scores[name])[1]


def well_formed(classifier: Classifier, text: str) -> None:
    """Both sides are disjoint, ordered, and their words stand in the text."""
    [verdict] = classifier.classify([text])
    weighed = classifier.weigh(text, verdict.label)
    ours, theirs = ({(one.kind, one.what) for one in side} for side in (weighed.speaks_for, weighed.against))
    assert not ours & theirs
    for side, sign in ((weighed.speaks_for, 1), (weighed.against, -1)):
        assert all(one.log_odds * sign > 0 for one in side)
        assert [one.share for one in side] == sorted((one.share for one in side), reverse=True)
        assert all(one.what in text for one in side if one.kind == "word")
    assert all(isinstance(one, Reason) and one.what for one in (*weighed.speaks_for, *weighed.against))
    assert verdict.sure == (not classifier.doubts(text, verdict))


@pytest.mark.parametrize("text", TEXTS)
def test_what_spoke_for_and_against_is_in_the_text_and_on_one_side(classifier: Classifier, text: str) -> None:
    """No word is on both sides."""
    well_formed(classifier, text)


@settings(max_examples=60)
@given(st.text(alphabet=st.characters(exclude_categories=()), max_size=200))
@example("")
@example("\ud800\x00\u202e")
@example("a b a b a b " * 400)
@example("https://x.example/crash?crash=1 crash @crash crash@crash.example 500 v1.2.3 42 ??? !!!")
def test_any_text_is_explained(classifier: Classifier, text: str) -> None:
    """Hostile ones too: nothing raises, and what is said holds."""
    well_formed(classifier, text)


def test_links_addresses_and_names_are_no_words(classifier: Classifier) -> None:
    """What the model does not read as words is not told as words."""
    weighed = classifier.weigh("the export to https://x.example/crashed fails with 502 in 3.2.1 for @crashy", Label.BUG_REPORT)
    words = {one.what for one in (*weighed.speaks_for, *weighed.against) if one.kind == "word"}
    assert "fails" in words
    assert words <= {"the", "export", "to", "fails", "with", "in", "for"}
    assert "has a link" in {one.what for one in (*weighed.speaks_for, *weighed.against)}


def test_a_label_that_was_not_given_has_its_reasons_too(classifier: Classifier) -> None:
    """Praise with a but: what spoke for the one is not what spoke for the other."""
    text = "I love the editor, but it crashes"
    praise, bug = classifier.weigh(text, Label.PRAISE), classifier.weigh(text, Label.BUG_REPORT)
    assert "love" in {one.what for one in praise.speaks_for}
    assert "crashes" in {one.what for one in bug.speaks_for}
    assert not {"love"} & {one.what for one in bug.speaks_for}


def test_every_feature_of_form_is_told_in_words() -> None:
    """No name of ours reaches a reader."""
    assert all(re.fullmatch(r"[a-z][a-z, ]+", words) for words in _FORM.values())
    assert [name for name in NAMES if name not in _FORM] == []


def test_a_doubt_is_told_for_each_reason_not_to_be_sure(classifier: Classifier) -> None:
    """Below the threshold, a language that nobody measured, no word that is known."""
    eager = Classifier.load(model_folder(), dict.fromkeys(Label, 0.0))
    strict = Classifier.load(model_folder(), dict.fromkeys(Label, 1.0))
    text = "the app crashes"
    [verdict] = strict.classify([text])
    assert eager.doubts(text, eager.classify([text])[0]) == []
    assert strict.doubts(text, verdict) == [f"{verdict.confidence:.2f} is below the threshold of {verdict.label}, 1.00"]
    foreign = "Strona nie działa i zwraca błąd"
    assert "the model was not measured in the language pl" in eager.doubts(foreign, eager.classify([foreign], ["pl"])[0], "pl")
    assert eager.doubts("42", eager.classify(["42"])[0]) == ["it has no word that the model knows"]


def test_a_post_of_the_corpus_is_nearest_to_itself(classifier: Classifier, neighbours: Neighbours) -> None:
    """The exact text gives itself, alike to the full, and all that is found is of the corpus."""
    posts = read_corpus(corpus_folder()).posts
    known = {post.id: post for post in posts}
    for post in posts[:: max(len(posts) // 40, 1)]:
        if len(tokens(post.text)) < 3:
            continue
        found = neighbours.near(post.text)
        assert found[0].alike == pytest.approx(1.0)
        assert post.id in {one.post.where for one in found if one.alike == pytest.approx(1.0)}
        assert all(known[one.post.where].text == one.post.text for one in found[:20])
        assert [one.alike for one in found] == sorted((one.alike for one in found), reverse=True)


def test_what_shares_nothing_is_not_near(neighbours: Neighbours, classifier: Classifier) -> None:
    """An empty text is near nothing, and with no labelled posts nothing is near."""
    assert neighbours.near("") == []
    assert neighbours.near("the export crashes", least=1.01) == []
    assert classifier.neighbours([]).near("the export crashes") == []

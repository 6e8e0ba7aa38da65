"""Each signal in each of the four languages: what carries it and what only looks like it."""

from __future__ import annotations

import pytest

from triage.classifier import Classifier, model_folder
from triage.signals import ANGER, DATA_LOSS, FEATURE_REQUEST, OUTAGE, PAYMENT, SECURITY, SIGNALS, beside, raised_by, signals

FOUND = {
    (DATA_LOSS, "en"): ["every photo of mine is gone since the update", "your sync wiped all my folders"],
    (DATA_LOSS, "fr"): ["toutes mes notes ont disparu hier soir", "la mise à jour a supprimé mes fichiers"],
    (DATA_LOSS, "de"): ["meine Bilder sind seit heute weg", "das Update hat meine Dateien gelöscht"],
    (DATA_LOSS, "es"): ["han desaparecido todas mis fotos", "la actualización ha borrado mis archivos"],
    (SECURITY, "en"): ["I can see other users' messages in my inbox", "passwords are stored in plain text"],
    (SECURITY, "fr"): ["il y a une faille dans votre formulaire", "je vois les factures d'autres clients dans mon compte"],
    (SECURITY, "de"): ["da ist eine Sicherheitslücke im Login", "ich sehe die Rechnungen anderer Kunden in meinem Konto"],
    (SECURITY, "es"): ["hay un agujero de seguridad en el acceso", "veo los datos de otro cliente en mi cuenta"],
    (PAYMENT, "en"): ["I was charged twice for one order", "please refund my last invoice"],
    (PAYMENT, "fr"): ["j'ai été prélevé deux fois ce mois-ci", "mon paiement est refusé à chaque fois"],
    (PAYMENT, "de"): ["mir wurde zweimal abgebucht", "die Zahlung wird immer abgelehnt"],
    (PAYMENT, "es"): ["me han cobrado dos veces", "el pago falla siempre con mi tarjeta"],
    (OUTAGE, "en"): ["the whole site is down since noon", "nobody can reach it, service unavailable"],
    (OUTAGE, "fr"): ["le serveur est en panne", "votre site est inaccessible ce matin"],
    (OUTAGE, "de"): ["gibt es gerade einen Ausfall?", "eure Seite ist nicht erreichbar"],
    (OUTAGE, "es"): ["el servidor está caído", "la web no responde desde ayer"],
    (ANGER, "en"): ["this is ridiculous, fix it", "I am fed up with your support"],
    (ANGER, "fr"): ["c'est inadmissible, trois semaines", "ras le bol de ces publicités"],
    (ANGER, "de"): ["das ist eine Frechheit", "ich habe die Nase voll von euch"],
    (ANGER, "es"): ["es una vergüenza lo vuestro", "estoy harta de esperar"],
    (FEATURE_REQUEST, "en"): ["please add a search by colour", "any plans for a version for tablets?"],
    (FEATURE_REQUEST, "fr"): ["ce serait génial d'avoir un thème sombre", "est-il possible d'ajouter le tri par date ?"],
    (FEATURE_REQUEST, "de"): ["es wäre toll, wenn man sortieren könnte", "könntet ihr eine Suche einbauen?"],
    (FEATURE_REQUEST, "es"): ["me gustaría poder ordenar por fecha", "estaría bien tener un modo oscuro"],
}

NOT_FOUND = {
    (DATA_LOSS, "en"): ["how can I delete my old files?", "not one file was lost in the move"],
    (DATA_LOSS, "fr"): ["comment supprimer mes fichiers ?", "aucune perte de données depuis un an"],
    (DATA_LOSS, "de"): ["wie lösche ich meine Dateien?", "kein Datenverlust seit zwei Jahren"],
    (DATA_LOSS, "es"): ["¿cómo borro mis archivos?", "nunca he perdido un archivo con vosotros"],
    (SECURITY, "en"): ["how do I change my password?", "a good talk about security at the meetup"],
    (SECURITY, "fr"): ["comment changer mon mot de passe ?", "comment partager un dossier avec d'autres clients ?"],
    (SECURITY, "de"): ["wie ändere ich mein Passwort?", "wie teile ich einen Ordner mit anderen Nutzern?"],
    (SECURITY, "es"): ["¿cómo cambio mi contraseña?", "quiero compartir una carpeta con otros usuarios"],
    (PAYMENT, "en"): ["how much does it cost a month?", "never charged wrongly in five years"],
    (PAYMENT, "fr"): ["combien coûte la version payante ?", "quelle carte acceptez-vous ?"],
    (PAYMENT, "de"): ["was kostet die Vollversion?", "welche Karten nehmt ihr?"],
    (PAYMENT, "es"): ["¿cuánto cuesta la versión completa?", "¿qué tarjetas aceptáis?"],
    (OUTAGE, "en"): ["scroll down to the end", "not one outage this year, well done"],
    (OUTAGE, "fr"): ["le prix a baissé", "jamais de panne en trois ans, bravo"],
    (OUTAGE, "de"): ["der Preis ist gefallen", "kein Ausfall seit Jahren, danke"],
    (OUTAGE, "es"): ["baja hasta el final de la página", "los precios han bajado"],
    (ANGER, "en"): ["fucking great release", "could you help me, please?"],
    (ANGER, "fr"): ["merci pour votre patience", "comment exporter la liste ?"],
    (ANGER, "de"): ["unfassbar gut gemacht", "wie exportiere ich die Liste?"],
    (ANGER, "es"): ["gracias por la paciencia", "¿cómo exporto la lista?"],
    (FEATURE_REQUEST, "en"): ["the new search is lovely", "the export is empty since the update"],
    (FEATURE_REQUEST, "fr"): ["l'export est vide depuis la mise à jour", "merci pour le thème sombre"],
    (FEATURE_REQUEST, "de"): ["der Export ist seit dem Update leer", "danke für den dunklen Modus"],
    (FEATURE_REQUEST, "es"): ["la exportación sale vacía desde ayer", "gracias por el modo oscuro"],
}


@pytest.mark.parametrize("table", [FOUND, NOT_FOUND], ids=["found", "not found"])
def test_each_signal_has_examples_in_each_language(table: dict[tuple[str, str], list[str]]) -> None:
    """Two at least, and no sentence twice."""
    assert set(table) == {(signal, language) for signal in SIGNALS for language in ("en", "fr", "de", "es")}
    texts = [text for some in table.values() for text in some]
    assert all(len(some) >= 2 for some in table.values())
    assert len(texts) == len(set(texts))


@pytest.mark.parametrize(("signal", "text"), [(signal, text) for (signal, _), texts in FOUND.items() for text in texts])
def test_it_is_found_and_its_words_are_told(signal: str, text: str) -> None:
    """The words stand in the text, and carry the signal by themselves."""
    assert signal in signals(text)
    words = raised_by(text)[signal]
    assert all(word in text.lower() for word in words.split())
    assert signal in signals(words)


@pytest.mark.parametrize(("signal", "text"), [(signal, text) for (signal, _), texts in NOT_FOUND.items() for text in texts])
def test_a_lookalike_is_left_alone(signal: str, text: str) -> None:
    """The same words in another sense."""
    assert signal not in signals(text)
    assert signal not in raised_by(text)


def test_what_raised_a_signal_is_told_for_just_those_that_there_are() -> None:
    """Both ways to ask agree."""
    for texts in (*FOUND.values(), *NOT_FOUND.values()):
        for text in texts:
            assert set(raised_by(text)) == signals(text)


def test_a_wish_for_a_feature_is_a_signal_on_a_question_alone() -> None:
    """The others go with any label."""
    found = frozenset(SIGNALS)
    assert beside("support_question", found) == found
    for label in ("bug_report", "praise", "noise"):
        assert beside(label, found) == found - {FEATURE_REQUEST}


def test_verdicts_carry_a_wish_on_questions_alone() -> None:
    """By the model that ships."""
    classifier = Classifier.load(model_folder())
    texts = [text for (signal, _), texts in FOUND.items() if signal == FEATURE_REQUEST for text in texts]
    texts += ["it would be great if it did not crash on every start", "I'd love to thank you, best tool ever"]
    verdicts = classifier.classify(texts)
    assert all((FEATURE_REQUEST in one.signals) <= (one.label == "support_question") for one in verdicts)
    assert sum(FEATURE_REQUEST in one.signals for one in verdicts) >= 5

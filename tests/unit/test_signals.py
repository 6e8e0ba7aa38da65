"""Signals: each is found in plain sentences of four languages, and is not found in what only looks like it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triage.signals import _GROUPS, ANGER, DATA_LOSS, FEATURE_REQUEST, OUTAGE, PAYMENT, SECURITY, SIGNALS, raised_by, signals

FOUND = {
    DATA_LOSS: [
        "All my notes are gone after the sync.",
        "your update wiped our whole project history",
        "I lost three years of photos this morning",
        "the importer corrupts the database every single time",
        "half of the records vanished overnight, nobody touched them",
        "your tool overwrote my files without asking",
        "this is data loss, plain and simple",
        "the nightly job deleted every backup older than a day",
        "Toutes mes photos ont disparu depuis la mise à jour",
        "J'ai perdu mes documents en changeant de téléphone",
        "Nach dem Update sind alle meine Notizen weg",
        "Der Assistent hat die ganze Datenbank gelöscht",
        "He perdido todos mis archivos con la nueva versión",
        "La sincronización ha borrado mis carpetas",
    ],
    SECURITY: [
        "I can see other customers' invoices in my account",
        "your installer has a remote code execution bug, CVE number pending",
        "the agent prints our database password in plain text",
        "stored XSS in the comment field, how do I report it privately",
        "API keys leaked into the public build page",
        "my account was hacked last night through your app",
        "Logged in and got somebody else's dashboard",
        "anyone can read the files of a private project by guessing the number",
        "SQL injection in the search box",
        "session tokens are exposed in the url",
        "Une faille permet de lire les messages",
        "Le mot de passe est envoyé en clair dans le mail",
        "Ihr habt eine Sicherheitslücke im Formular",
        "Das Passwort steht im Klartext in der Konfiguration",
        "Hay un fallo de seguridad en la página de acceso",
        "Veo las facturas de otro cliente en mi panel",
    ],
    PAYMENT: [
        "you charged me twice this month",
        "I want a refund for last year",
        "I was billed again although I cancelled in May",
        "my payment failed but the money left my account",
        "overcharged by forty euros, please check",
        "checkout rejects every card, an error each time",
        "still being charged after I closed the account",
        "there is a double charge on my statement",
        "our payouts are stuck since Monday",
        "J'ai été débité deux fois pour la même commande",
        "Je demande le remboursement de mon abonnement",
        "Mir wurde der Betrag doppelt abgebucht",
        "Die Zahlung ist fehlgeschlagen, das Geld aber fort",
        "Me habéis cobrado dos veces la cuota",
        "Quiero la devolución de mi dinero, no lo pedí",
    ],
    OUTAGE: [
        "Is your site down? Nothing loads here.",
        "the API is down again",
        "we can't reach any of our servers since ten",
        "502 on every page",
        "another outage in the north region",
        "your login has been down for an hour",
        "getting 503 from all endpoints of ours",
        "bad gateway everywhere",
        "the whole cluster is unreachable",
        "Votre service est en panne depuis ce matin",
        "Le site est inaccessible pour tout le bureau",
        "Euer Server ist nicht erreichbar",
        "Schon wieder ein Ausfall bei euch",
        "El servicio está caído desde las nueve",
        "¿Se ha caído la web? Me da 503",
    ],
    ANGER: [
        "this is unacceptable, I have written four times",
        "worst company ever",
        "are you fucking kidding me",
        "your support is a joke",
        "I'm sick of these updates",
        "what a useless piece of software",
        "shame on you for hiding the price",
        "absolutely furious about the new plan",
        "wtf happened to my settings",
        "C'est une honte, dix jours sans réponse",
        "J'en ai marre de vos mises à jour",
        "Was für eine Frechheit",
        "So ein Saftladen, nie wieder",
        "Qué vergüenza de servicio",
        "Estoy harto de llamar cada semana",
    ],
    FEATURE_REQUEST: [
        "Please add a dark mode",
        "it would be great if boards could be nested",
        "any plans for a Linux client?",
        "I wish I could sort by colour",
        "Feature request: export as CSV",
        "Ce serait génial, un mode hors ligne, ajoutez-le",
        "Es wäre toll, wenn man Ordner teilen könnte",
        "Me gustaría poder cambiar el tipo de letra",
        "Could you add support for two accounts",
        "Would love to see tabs on the tablet",
        "can we get a quieter sound",
        "Echo de menos un buscador",
    ],
}

NOT_FOUND = {
    DATA_LOSS: [
        "How do I delete my files for good?",
        "I got lost in the docs, where is the part on backups?",
        "We moved to your backup service and never lost a file.",
        "restored everything without losing any data",
        "no data loss in two years, well done",
        "the save button is gone in the new design",
        "lost my password, how can I reset it",
        "I deleted my old notes and feel so much lighter",
        "A backup a day keeps the worries away",
        "the bug is gone since the last release, thanks",
        "can I recover a deleted message?",
        "we lost the match but the stream was great",
        "Comment effacer mes données ?",
        "Wie kann ich meine Dateien löschen?",
        "¿Cómo puedo borrar mis archivos?",
    ],
    SECURITY: [
        "the latest security update is great",
        "how do I change my password?",
        "your security audit reads well",
        "nice talk about vulnerabilities at the meetup yesterday",
        "there is a memory leak in the worker",
        "how do I share a board with other users?",
        "does the token expire?",
        "we hacked together a small demo",
        "please add support for security keys",
        "the water leaked into my keyboard",
        "has someone else seen this error?",
        "no vulnerability was found in our review",
        "J'ai oublié mon mot de passe",
        "Wie ändere ich mein Passwort?",
        "¿Dónde cambio la contraseña?",
    ],
    PAYMENT: [
        "how much do you charge for ten people?",
        "the battery is charged in an hour",
        "is there a free plan?",
        "the refund endpoint of the API needs a longer description",
        "worth every cent",
        "the card on the board has the wrong colour",
        "we pay gladly for this",
        "who is in charge of the docs?",
        "how can I change my billing address?",
        "a webhook for each charge would help",
        "never charged twice, always correct, thank you",
        "your pricing page is clear",
        "Combien coûte l'abonnement ?",
        "Was kostet das im Monat?",
        "¿Cuánto cuesta la versión de pago?",
    ],
    OUTAGE: [
        "calm down everyone",
        "please slow down the animation",
        "the price is down to nine euros",
        "no outage since March, impressive",
        "scroll down to the end of the page",
        "I wrote it down for later",
        "your talk about last year's outages was excellent",
        "the memory usage is down by half",
        "how do I set up an uptime check?",
        "the battery went flat",
        "press the down key twice",
        "we have 1503 users now",
        "Le prix est en baisse",
        "Der Preis ist gesunken",
        "Baja el volumen un poco",
    ],
    ANGER: [
        "no worst case here, all fine",
        "this is fucking great",
        "holy shit, that is fast and beautiful",
        "the scam filter works",
        "thank you for the kind answer",
        "how do I sort by date?",
        "the export is empty since the update",
        "we used to hate mondays and now we have boards",
        "please fix the rounding error",
        "a good joke in the changelog",
        "version 3 is out",
        "it is not the worst idea",
        "Merci beaucoup pour votre aide",
        "Vielen Dank, läuft wieder",
        "Muchas gracias por todo",
    ],
    FEATURE_REQUEST: [
        "thank you for the dark mode",
        "the export is empty",
        "how do I log in?",
        "the new feature is lovely",
        "please restart the server and try again",
        "Danke für die schnelle Antwort",
    ],
}


@pytest.mark.parametrize(("signal", "text"), [(signal, text) for signal, texts in FOUND.items() for text in texts])
def test_a_signal_is_found(signal: str, text: str) -> None:
    """A plain sentence that carries a signal is given it."""
    assert signal in signals(text)


@pytest.mark.parametrize(("signal", "text"), [(signal, text) for signal, texts in NOT_FOUND.items() for text in texts])
def test_a_lookalike_is_left_alone(signal: str, text: str) -> None:
    """A sentence that holds a signal's words in another sense is not given it."""
    assert signal not in signals(text)


def test_a_post_may_carry_several_signals() -> None:
    """Anger and data loss in one post are both found."""
    assert {ANGER, DATA_LOSS} <= signals("Worst update ever. All my recordings are gone.")


def test_words_of_two_sentences_are_not_put_together() -> None:
    """A thing in one sentence and a loss in the next are no loss of the thing."""
    assert DATA_LOSS not in signals("I keep my notes here. Gone are the days of paper!")


def test_capital_letters_and_typographic_signs_make_no_difference() -> None:
    """The same sentence is read alike in capitals and with curly apostrophes."""
    assert DATA_LOSS in signals("ALL MY NOTES ARE GONE")
    assert signals("I’d love to see tabs") == signals("I'd love to see tabs") == {FEATURE_REQUEST}


@given(st.text(max_size=400))
def test_any_text_is_read(text: str) -> None:
    """Whatever the text, the answer is a subset of the known signals, and the same each time."""
    assert signals(text) <= set(SIGNALS)
    assert signals(text) == signals(text)


@given(st.lists(st.sampled_from([word for texts in FOUND.values() for text in texts for word in text.split()]), max_size=60))
def test_words_in_any_order_are_read(words: list[str]) -> None:
    """The words of the lists in any order make no error."""
    assert signals(" ".join(words)) <= set(SIGNALS)


def test_only_the_beginning_of_a_huge_text_is_read() -> None:
    """A megabyte of words is read up to a limit: what stands at its end is not found, what stands at its beginning is."""
    filler = "and so on it goes with this and that, " * 30_000
    assert signals("All my notes are gone. " + filler) == {DATA_LOSS}
    assert signals(filler + " All my notes are gone.") == frozenset()


_WORDS = sorted({word.replace("_", " ").replace("*", "es") for words in _GROUPS.values() for word in words.split()})


@given(st.lists(st.sampled_from([*_WORDS, ".", ",", "l'", "d'accès", "the", "\n"]), max_size=12))
def test_looking_at_the_words_first_misses_no_signal(words: list[str]) -> None:
    """Most texts are let go by their words alone, before anybody looks where these stand; telling what raised a signal always looks."""
    text = " ".join(words).replace("l' ", "l'")
    assert signals(text) == frozenset(raised_by(text))

"""Which language a text is written in, by its commonest words: enough for seven languages, without a dependency."""

from __future__ import annotations

import re

_COMMON = {
    "en": """the and is are was of to in it that this for on with not be have has you my i'm it's don't can't an at by from they we
        what how there just but
        been would your when after does any every all here out into than then who why
        me as do no or am did which their its someone other two""",
    "fr": """le la les un une des est et dans pour sur pas que qui vous je j'ai c'est ce cette avec mon ma mes du au aux ne plus depuis
        mais ça sont nous
        on être fait très tout sans chez quand même merci bonjour l'app d'un d'une n'est qu'il""",
    "de": """der die das und ist nicht ein eine einen ich zu mit auf für den dem von im es sich auch bei aus wie noch nach mir mein
        meine wir ihr seit
        hab habe hat kann wird sind oder aber wenn nur schon beim zum zur danke immer mal""",
    "es": """el la los las un una es y en que de del por para con no se mi me lo al pero como más ya está están muy cuando desde qué
        sin hay os gracias
        tengo tiene puede esto esta este ha he nos sale hola""",
    "pt": """o os as um uma é e em que do da dos das por para com não se meu minha eu mas mais já está muito quando desde sem tem você
        isso esse essa
        ao na no nas nos obrigado obrigada são foi vocês""",
    "it": """il lo gli un una è e in che di del della dei per con non si mi mio mia ma più già sono molto quando senza ho hai ha questo
        questa al nel
        nella alla grazie ciao anche come perché da""",
    "nl": """de het een en is niet van in op voor met dat die ik je mijn te zijn maar nog ook aan als bij naar er wat heeft heb kan
        wordt sinds geen
        wij jullie bedankt deze dit""",
}
_WORDS: dict[str, tuple[str, ...]] = {}
for _language, _list in _COMMON.items():
    for _word in set(_list.split()):
        _WORDS[_word] = (*_WORDS.get(_word, ()), _language)
_LETTERS = {"ß": "de", "ä": "de", "ñ": "es", "¿": "es", "¡": "es", "ã": "pt", "õ": "pt", "œ": "fr", "ê": "fr", "è": "fr", "ù": "fr"}
_TAG = re.compile(r"[a-z]{2,3}(?=$|[-_])")
_LOOKED_AT = 1_000  # characters
_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*")
_STRANGERS = re.compile(r"https?://\S+|[@#]\w[\w.@-]*|`[^`]*`")


def language_of(text: str, given: str | None = None) -> str | None:
    """The language as two (or three) letters: `given` (a tag such as `pt-BR`) where there is one, else a guess, else None.

    A guess needs two common words of the language, and more of them than of any other.
    """
    if given and (tag := _TAG.match(given.lower())):
        return tag[0]
    text = _STRANGERS.sub(" ", text[:_LOOKED_AT].lower().replace("’", "'"))
    votes: dict[str, float] = {}
    for word in filter(_WORDS.__contains__, _WORD.findall(text)):
        languages = _WORDS[word]
        for language in languages:
            votes[language] = votes.get(language, 0.0) + 1 / len(languages)
    for letter, language in () if text.isascii() else _LETTERS.items():
        if letter in text:
            votes[language] = votes.get(language, 0.0) + 1
    ranked = sorted(votes.items(), key=lambda item: -item[1])
    if not ranked or ranked[0][1] < 1.5 or (len(ranked) > 1 and ranked[0][1] <= ranked[1][1]):
        return None
    return ranked[0][0]

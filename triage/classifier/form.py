"""The form of a text, apart from its topic: does it ask, complain, thank, tell, sell, show a stack trace?

Word lists and patterns; `triage.classifier.features.Form` makes a row of numbers between 0 and 1 of them, one for each of `NAMES`. The
lists are in English, French, German and Spanish, with the commonest words of Portuguese, Italian and Dutch: they carry over to products
and topics that the corpus has never seen.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from itertools import pairwise

# Single words, in lower case, by what they do in a sentence. A word may do two things.
_WORDS = {
    "asks": """
        how what why where when which who whose anyone anybody somebody someone wondering curious comment pourquoi où quand quel quelle
        quels quelles combien quelqu'un est-ce wie was warum wieso weshalb wo wann welche welcher welches wer jemand ob cómo como qué cuál
        cuáles cuándo dónde cuánto alguien quién como onde quando qual alguém come perché dove quale qualcuno hoe waarom waar wanneer
        welke iemand
    """,
    "wants": """
        please pls plz could can need needs want wish wishing want help looking request requesting suggest suggestion feature hope hoping
        planned plans roadmap possible allow option support supported able merci svp stp voudrais voudrait aimerais pouvez peut-on besoin
        cherche souhaite serait possible envisagez bitte brauche möchte könnt könntet gibt hätte wünsche wunsch suche kann geht möglich
        geplant würde favor necesito quisiera querría pueden podríais podrían busco falta hay posible puedo puede ayuda agradecería
        gustaría preciso gostaria posso vorrei possibile bisogno graag kunnen
    """,
    "negates": """
        not no never nothing none nobody cannot can't cant won't wont don't dont doesn't doesnt didn't didnt isn't isnt aren't wasn't
        weren't wouldn't couldn't haven't hasn't without neither nor ne pas plus jamais rien aucun aucune sans ni nicht kein keine keinen
        keiner nie nichts ohne nix no nunca nada ningún ninguna sin tampoco não sem non niente mai niet geen
    """,
    "breaks": """
        bug bugs buggy glitch glitches glitchy crash crashes crashed crashing freeze freezes freezing frozen froze error errors broken
        broke breaks fail fails failed failing failure failures hang hangs hanging stuck regression segfault exception traceback panic
        panicked unusable timeout timeouts corrupt corrupted unable malfunction bogue bogues bug bugs plante plantage plantages planté
        erreur erreurs panne cassé cassée bloqué régression fige figé buggé fehler absturz abstürze abgestürzt stürzt kaputt hängt
        funktioniert streikt spinnt defekt abbruch fallo fallos falla fallan error errores cuelga colgado roto rota rompe rompió bloquea
        bloqueado bug bugs erro erros falha quebrou travou errore errori crasha fout fouten kapot bug
    """,
    "goes wrong": """
        wrong incorrect incorrectly missing empty blank stops stopped dead dies died refuses ignores ignored ignoring forgets forgot lost
        loses losing vanished disappeared disappears gone garbage garbled duplicate duplicated twice drops dropped dropping reset resets
        leak leaks invalid unexpected impossible rejected rejects returns shows nothing instead weird strange slow slower lag laggy drains
        random overwrites overwritten wiped deleted black vide disparu disparaît perdu perdus faux fausse manque boucle refuse échoue
        marche fonctionne impossible doublon lent falsch fehlt fehlen leer weg verschwunden verschwindet verloren bricht geht doppelt
        ignoriert bleibt zeigt langsam plötzlich vacío vacía vacías desaparece desaparecido desapareció perdido mal duplica duplicado
        cierra carga sale funciona llega imposible lento werkt
    """,
    "blames": """
        bad terrible awful horrible worst worse annoying annoyed annoys frustrating frustrated frustration disappointed disappointing
        disappointment useless sucks poor poorly lame hate hated angry sad sadly unfortunately pity nightmare ridiculous unacceptable joke
        pathetic mess waste garbage ugh argh nul nulle mauvais mauvaise décevant déçu déçue dommage horrible lent pénible agaçant
        catastrophe pire honte ras-le-bol schlecht schlechter leider schade nervt nervig ärgerlich enttäuscht enttäuschend mies
        katastrophe furchtbar schlimm frechheit malo mala pésimo pésima peor decepción decepcionado lástima fatal horrible vergüenza asco
        desastre
    """,
    "turns": """
        but however except although though yet unfortunately otherwise mais sauf pourtant cependant malheureusement hormis aber jedoch
        leider außer dennoch pero aunque excepto salvo mas porém però ma maar
    """,
    "mends": """
        fix fixed fixing fixes repair resolve resolved solve solved corrigez corriger corrigé réparez réparer résolu behebt beheben
        behoben repariert arreglad arreglen arreglar arreglado solucionen solucionar
    """,
    "changes": """
        since after update updated updating upgrade upgraded upgrading yesterday today tonight morning suddenly anymore again still always
        keeps until before longer randomly sometimes every depuis après jour hier matin encore toujours soudain désormais chaque seit nach
        update gestern heute plötzlich immer wieder mehr früher jedes desde tras después ayer hoy actualización actualizar vez siempre
        sigue cada depois dopo sinds
    """,
    "praises": """
        love loved loving lovely great awesome amazing excellent fantastic brilliant superb wonderful beautiful best perfect perfectly
        nice neat elegant delightful impressed impressive happy glad joy pleasure fast smooth smoothly flawless flawlessly solid reliable
        rocks kudos bravo chapeau hats props congrats congratulations recommend recommended saved saves favourite favorite gem magic
        incredible finally works enjoy enjoying pleased thrilled painless effortless sold grateful génial géniale super excellent parfait
        parfaite adore bravo magnifique top impeccable ravi ravie formidable bluffé bluffant recommande nickel chapeau enfin heureux régal
        bijou toll großartig klasse genial prima perfekt wunderbar liebe begeistert danke lob spitze hervorragend empfehlen empfehle
        freude endlich herrlich schön stark respekt genial excelente increíble perfecto perfecta maravilla encanta encantado encantada
        estupendo fantástico enhorabuena mejor recomiendo gustado joya felicidades bonito fenomenal olé ótimo excelente adoro maravilhoso
        parabéns ottimo perfetto fantastico bellissimo complimenti geweldig fijn mooi
    """,
    "thanks": """
        thanks thank thankyou thx ty cheers appreciated appreciate grateful merci remercie danke dankeschön gracias obrigado obrigada
        grazie bedankt
    """,
    "sells": """
        free discount offer sale giveaway promo followers earn income profit crypto airdrop token nft casino click subscribe webinar
        workshop conference meetup talk tickets register join hiring jobs job vacancy salary remote newsletter podcast episode article
        blog launch launching released release announcing introducing available beta tutorial video course gratuit promo offre webinaire
        conférence embauche recrute poste inscription épisode article disponible sortie kostenlos angebot rabatt webinar konferenz
        stellenangebot gesucht anmeldung folge artikel verfügbar veröffentlicht vortrag gratis oferta descuento charla taller empleo
        contratamos inscripciones episodio artículo disponible publicado
    """,
    "advises": """
        try use set run check make add put remove delete install enable disable restart turn open go click see switch move should
        workaround instead simply just docs settings try essaie essayez utilise mets mettez vérifie lance ajoute désactive suffit regarde
        versuch probier nimm setz stell schau mach prüf einfach hilft prueba usa pon mira ejecuta añade quita desactiva basta
    """,
    "i": """
        i i'm i've i'd i'll my me mine we our us je j'ai mon ma mes nous notre ich mein meine mir mich wir unser yo mi mis nos nuestro eu
        meu io mio ik mijn
    """,
    "you": """
        you your you're yours guys folks team devs vous votre vos tu ton ta ihr euer eure euch sie du dein deine vosotros vuestro vuestra
        ustedes tu tus você voi jullie
    """,
    "laughs": "lol lmao haha hahaha hehe rofl mdr jaja jajaja jeje ptdr kek",
}
# Runs of two or three words, one run a line or between commas.
_PHRASES = {
    "cannot": """
        can not, unable to, won't let, doesn't work, does not work, did not work, didn't work, not working, isn't working, no longer,
        not anymore, doesn't show, doesn't load, won't load, won't open, won't start, can't open, can't log, can't login, can't see,
        can't save, can't connect, fails to, failed to, stopped working, gives me, keeps crashing, keeps saying, instead of, used to,
        supposed to, should be, even though, nothing happens, goes blank, the wrong, out of sync, all of them, says it's, ends up, as if,
        at random, every time, each time, ever since, since the update, after the update, since this morning, since yesterday, for hours,
        is down, are down, down again, is dead, is broken, are broken, is gone, are gone, is missing, are missing, ne marche plus,
        ne fonctionne plus, marche plus, marche pas, fonctionne plus, fonctionne pas, plus rien, plus aucun, plus moyen, plus de,
        au lieu de, alors que, à chaque fois, depuis la, depuis ce, depuis hier, en panne, par erreur, n'est plus, n'ont plus, n'affiche,
        s'affiche pas, geht nicht, geht nichts, nicht mehr, kein mehr, keine mehr, funktioniert nicht, lässt sich nicht, seit dem,
        seit heute, seit gestern, jedes mal, statt, obwohl, ständig, immer wieder, bleibt leer, schon wieder, nix mehr, zeigt falsch,
        stürzt ab, hängt sich, no funciona, no carga, no deja, no me deja, no abre, no se abre, no puedo entrar, no sale, no llega,
        no llegan, no arranca, no aparece, ya no, dejó de, dejado de, en vez de, en lugar de, cada vez que, desde ayer, desde la,
        desde que, desde el, se cuelga, se cierra, se queda, me sale, otra vez, por error, não funciona, parou de, não abre, non funziona,
        non si, werkt niet, doet het niet
    """,
    "asking": """
        how do, how can, how to, how would, how does, how come, how long, how many, how much, is there, is it possible, is it ok,
        is it safe, is it normal, are there, can i, can we, can you, can someone, can anyone, can it, could you, could we, could i,
        does it, do you, does anyone, do i, does the, anyone know, any way, any chance, any plans, any plan, any idea, any ideas,
        any news, any eta, any update on, any pointers, what's the, what is the, what are the, what do, what would, what happens,
        where do, where can, where is, where are, which one, which of, should i, should we, would it, would you, has anyone, am i, who do,
        when will, when is, is this, will it, will there, what does, why does, why is, why do, tell me, point me, i wonder, wondering if,
        not sure if, no idea how, figure out, work out, don't understand, don't get, looking for, y a-t-il, est-ce que, est-il possible,
        comment faire, comment on, comment je, peut-on, je cherche, je trouve pas, quelqu'un sait, quelqu'un a, c'est quoi, à quoi,
        c'est possible, vous avez, c'est prévu, où est, où trouver, où se, ça marche comment, pour quand, faut-il, dois-je, puis-je,
        pourriez-vous, gibt es, gibt's, kann man, kann ich, kann mir, wie kann, wie geht, wie bekomme, wie mache, wo finde, wo ist,
        wo steht, weiß jemand, hat jemand, ist es möglich, wäre es, was kostet, was passiert, muss ich, darf ich, brauche ich,
        komme nicht, blick nicht, steht irgendwo, ist geplant, hay alguna, hay alguna manera, hay manera, hay forma, hay algún, se puede,
        cómo puedo, cómo se, cómo hago, dónde está, dónde puedo, dónde se, alguien sabe, no encuentro, no entiendo, no sé cómo,
        qué pasa si, es posible, tenéis, para cuándo, me podéis, podéis, qué hago, cuánto cuesta, tem como, alguém sabe, é possível,
        c'è modo, si può, come si, is er, hoe kan, kan ik, weet iemand
    """,
    "wish": """
        would be, would love, would like, wish it, wish there, wish you, i wish, feature request, please add, please make, please let,
        please give, please bring, please consider, please allow, please support, it'd be, i'd love, i'd like, i'd pay, need a, need an,
        need to, could use, add support, support for, make it possible, option to, a way to, give us, let me, let us, asking for,
        requesting a, refund me, unlock my, my refund, begging for, be able to, be nice, serait bien, serait super, serait top,
        serait génial, ce serait, j'aimerais, il manque, il faudrait, ajoutez, rendez, besoin de, on peut avoir, mettez, wäre toll,
        wäre schön, wäre super, wäre gut, ich hätte, ich bräuchte, ich wünsche, ich möchte, wünsche mir, bitte um, hätte gern, baut bitte,
        bitte ein, estaría bien, estaría genial, me gustaría, sería genial, sería bueno, sería ideal, de menos, en falta, la leche,
        por favor, necesito, pido, solicito, exijo
    """,
    "good": """
        works great, works like, works perfectly, works fine, works flawlessly, works well, work great, just works, just worked,
        first try, first time, well done, good job, good work, great job, great work, nice work, nice job, thank you, thanks to,
        thanks for, so good, so fast, so easy, so nice, so happy, much better, hats off, huge thanks, big thanks, big fan, huge fan,
        worth every, worth it, made my, game changer, life saver, can't imagine, can't live, never going back, not going back, won't go,
        no regrets, fell in love, in love, chef's kiss, chefs kiss, take my money, keep it, five stars, 5 stars, no notes, best thing,
        best purchase, best money, the best, by far, hands down, without a hitch, without asking, in minutes, in five minutes, all i,
        i could weep, the review, zero problems, no problems, never had, never once, still going, keep up, credit where, the only one,
        the only tool, converted, convinced, merci à, merci pour, merci d', bien joué, beau travail, du premier coup, rien à dire,
        je garde, que du bonheur, j'adore, coup de coeur, tout le reste, de loin, un vrai, gute arbeit, tolle arbeit, danke an, danke für,
        gut gemacht, hut ab, auf anhieb, läuft einfach, nie wieder, will nicht mehr, kann ich nur, einfach gut, mit abstand, buen trabajo,
        gracias a, gracias por, bien hecho, de lujo, a la primera, me encanta, una maravilla, sin un, de diez, una gozada, se agradece,
        con diferencia, que gusto
    """,
    "more": """
        same here, me too, also seeing, also affected, also getting, same problem, same issue, same error, same bug, same behaviour,
        same behavior, same thing here, same with, same on, this too, this as well, still happening, still happens, still broken,
        still there, still the same, still get, still getting, still see, still seeing, still reproducible, can reproduce, am having,
        i'm having, hitting this, seeing this, having this, getting this, ran into, running into, run into, affects me, no luck,
        no change, didn't help, doesn't help, did not help, moi aussi, pareil ici, même problème, même souci, même erreur, ich auch,
        bei mir auch, gleiches problem, gleiche problem, selbe problem, gleicher fehler, a mí también, igual aquí, mismo problema,
        mismo error
    """,
    "sarcasm": """
        great another, great now, oh great, oh good, oh joy, really helpful, thanks for nothing, love when, love it when, love how,
        danke für nix, danke für nichts, merci pour rien, ganz toll, echt toll, qué bien, muy bonito, gracias por nada, merci bien
    """,
    "sells": """
        sign up, join us, call for, link in, out now, is out, read more, we're hiring, we are hiring, early bird, follow me, follow back,
        dm me, live stream, come along, entrée libre, on recrute, lien en, wir suchen, jetzt anmelden, eintritt frei, entrada libre,
        buscamos, enlace en, inscríbete
    """,
    "advises": """
        try the, try to, you can, you could, you need, you have, you want, you'll need, have you tried, make sure, in the docs, the docs,
        works for me, no need, instead of the, for the record, i use, we use, we run, we keep, our setup, what i, that's how, il suffit,
        tu peux, vous pouvez, chez nous, on utilise, nous on, du kannst, ihr könnt, kannst du, bei uns, wir haben, wir nutzen, musst du,
        puedes usar, puedes, nosotros usamos, tienes que, hay que, nosotros
    """,
}
GROUPS: tuple[str, ...] = (*_WORDS, *(f"{name} (run)" for name in _PHRASES))
"""The groups of words and of runs of words, in the order of `GRAMS`' numbers."""


def _grams() -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}
    lists = [*(words.split() for words in _WORDS.values()), *(runs.split(",") for runs in _PHRASES.values())]
    for number, grams in enumerate(lists):
        for gram in {" ".join(gram.replace("-", " ").split()) for gram in grams}:
            found[gram] = (*found.get(gram, ()), number)
    return found


GRAMS = _grams()
"""Words, and runs of two or three words, to the numbers of their groups."""

# Shapes that are no words: the signs of which one must be there before a pattern is tried (none: it always is; `_BEYOND`: any that is no
# ASCII), and the pattern.
_BEYOND = ("",)
_SHAPES: dict[str, tuple[tuple[tuple[str, ...], re.Pattern[str]], ...]] = {
    "trace": (
        ((" at ", "\tat "), re.compile(r"(?m)^[ \t]+at \S")),
        (('File "',), re.compile(r"(?m)^[ \t]*File \".+\", line \d")),
        (
            ("Error", "Exception", "panicked", "SIG", "0x", "dumped"),
            re.compile(r"\b\w+(?:Error|Exception)\b|panicked at|\bSIG[A-Z]{3}|\b0x[0-9a-f]|core dumped"),
        ),
    ),
    "status": ((tuple("45E"), re.compile(r"\b[45]\d\d\b|\bexit (?:code|status) \d|\bE[A-Z]{4,}\b|\bERR_")),),
    "version": (((".",), re.compile(r"\d\.\d")),),
    "measure": ((tuple("0123456789"), re.compile(r"\d ?(?:ms|s|sec|min|h|MB|GB|KB|fps|px|seconds?|minutes?|hours?)\b|\d ?%")),),
    "code": ((tuple("`_()-{}<>=/"), re.compile(r"`|\w_\w|\w\(\)|(?:^|\s)--?[a-z]|[{}<>=]{2}|/\w+/\w")),),
    "camel": (((), re.compile(r"[a-z][A-Z]")),),
    "steps": ((("\n",), re.compile(r"(?m)^[ \t]*(?:\d[.)]|[-*]) ")),),
    "glad": (
        (("<3", ":)", ":-)", ":D"), re.compile(r"<3|:-?\)|:D")),
        (_BEYOND, re.compile("[❤♥💚💙💜🧡💛😍🥰🎉👏🙌👍🤩😊🙏💯🚀✨🥳😀😁😘]")),
    ),
    "sad": (((":(", ":-(", ":/"), re.compile(r":-?\(|:/(?!/)")), (_BEYOND, re.compile("[😡🤬😠😤😭😢👎🙄😩😫💀🤦🔥🙃]"))),
}
# "can't open" tells of a defect; with one of these behind it the negation means something else.
_REFUSALS = "can't cant cannot won't wont doesn't doesnt don't dont didn't didnt isn't isnt aren't couldn't wouldn't wasn't hasn't"
_HARMLESS_AFTER = """
    wait believe recommend help stop imagine thank go say know understand find figure seem remember think mind care need want have get even
    a the be really just like too so i you we it that this my your anyone there only necessarily afraid regret hesitate live complain praise
    love worry
"""
_OPENINGS = """
    is are do does can could would should has have any will did am est-ce peut-on y gibt kann könnt hat ist hay se puede puedo tiene existe
"""
_NEGATED, _HARMLESS = frozenset(_REFUSALS.split()), frozenset(_HARMLESS_AFTER.split())
_ALONE = ("negated verb", "praise alone", "praise but", "break alone", "praise and break", "ask and break", "please mend", "nothing of all")
_LEADS = {
    "asks first": frozenset(_WORDS["asks"].split()) | frozenset(_OPENINGS.split()),
    "advises first": frozenset(_WORDS["advises"].split()),
}
_COUNTS = (
    "questions",
    "question last",
    "exclaims",
    "capitals",
    "links",
    "tags",
    "lines",
    "length",
    "words",
    "digits",
    "quotes",
    "dots",
    "lower",
)

NAMES: tuple[str, ...] = (*GROUPS, *_SHAPES, *_ALONE, *_LEADS, *_COUNTS)
"""The features, in the order of a row's columns."""

WORD_GROUPS = len(_WORDS)
"""So many of `GROUPS` are of single words."""

_CAPITALS, _SOME_CAPITALS = re.compile(r"\b[A-ZÄÖÜÉÈÑ]{4,}\b"), re.compile(r"[A-ZÄÖÜÉÈÑ]{4}")


def negated(tokens: Sequence[str]) -> bool:
    """Whether a verb is denied in a way that tells of a defect: "won't open", and not "can't wait"."""
    return not _NEGATED.isdisjoint(tokens) and any(word in _NEGATED and after not in _HARMLESS for word, after in pairwise(tokens))


def shapes(text: str) -> list[float]:
    """1 or 0 for each shape that is no word: a stack trace, a version, code, a smile."""
    found: list[float] = []
    plain, holds = text.isascii(), text.__contains__
    for ways in _SHAPES.values():
        there = 0.0
        for hints, shape in ways:
            if (not plain if hints is _BEYOND else not hints or any(map(holds, hints))) and shape.search(text):
                there = 1.0
                break
        found.append(there)
    return found


def leads(tokens: Sequence[str]) -> list[float]:
    """1 or 0 for each way in which a text may begin."""
    first = tokens[0] if tokens else ""
    return [1.0 if first in lead else 0.0 for lead in _LEADS.values()]


def counts(text: str, tokens: Sequence[str]) -> list[float]:
    """How much there is of signs, lines and letters, each from 0 to 1."""
    return [
        min(text.count("?"), 3) / 3,
        float(text.rstrip(" \n.)\"'»”").endswith("?")),
        min(text.count("!"), 3) / 3,
        min(len(_CAPITALS.findall(text)), 3) / 3 if _SOME_CAPITALS.search(text) else 0.0,
        float("://" in text or "www." in text or ".com/" in text),
        min(text.count("#"), 3) / 3,
        min(text.count("\n"), 10) / 10,
        min(math.log1p(len(text)) / 8, 1.0),
        min(len(tokens), 12) / 12,
        min(sum(map(text.count, "0123456789")), 10) / 10,
        float('"' in text or "“" in text or "«" in text or "„" in text),
        float("..." in text or "…" in text),
        float(text[:1].islower()),
    ]

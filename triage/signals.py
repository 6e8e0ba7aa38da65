"""What a text carries beside its label: anger, security, data loss, payment, outage, a feature request. Pure; imports nothing of ours.

A word alone ("lost", "security", "card") says little, so a rule asks for words of one or more groups near each other in one
sentence, and for no word beside them that turns the meaning round ("no data loss", "lost in the docs", "how do I delete").
The lists are in English, French, German and Spanish. A signal sends a post to a person sooner: where they err, they should
err towards finding it; the label says the rest.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from functools import lru_cache, reduce
from operator import or_

ANGER = "anger"
SECURITY = "security"
DATA_LOSS = "data_loss"
PAYMENT = "payment"
OUTAGE = "outage"
FEATURE_REQUEST = "feature_request"
SIGNALS = (ANGER, SECURITY, DATA_LOSS, PAYMENT, OUTAGE, FEATURE_REQUEST)

_LOOKED_AT = 8_000  # characters; what comes later is not the point of the post

# Words by group. `word*` is the beginning of a word, `two_words` stand next to each other. Articles that French glues to a
# word (l', d', j', n', c' ...) are cut off before the look-up.
_GROUPS = {
    # -- what turns a meaning round
    "not": """
        no not never without nothing none nobody neither zero didn't doesn't don't hasn't haven't isn't wasn't won't aren't avoid*
        prevent* against if fear afraid worried would before_i hardly sans jamais pas aucun aucune rien éviter zéro si ni ohne nie kein
        keine keinen keinerlei nichts nicht niemals falls sin nunca ningún ninguna nada evitar
    """,
    "ask": """
        how where can_i can_we can_you can_one can_someone could_i could_we could_you may_i should shall want wants what_happens like_to
        need_to will restore recover undelete comment puis-je peut-on pouvez où récupérer wie kann_ich kann_man könnt_ihr möchte wo
        wiederherstellen cómo dónde quiero se_puede se_pueden recuperar
    """,
    "ego": "i we i've we've i'd ai avons ich wir he hemos yo",
    "interface": """
        button* menu* icon* option* tab tabs toolbar sidebar dialog* cursor widget* banner* popup* bug bugs lag noise logo theme worry
        worries headache* problem problems issue issues password passphrase phone bouton bug bugs problème* menü knopf symbol botón icono
        problema*
    """,
    "talk": """
        update updates patch* fix fixes fixed audit* scanner* scan talk webinar* conference* training blog article report_on news release*
        course hacked_together workshop* atelier conférence corrigée* vortrag artikel schulung behoben geschlossen charla taller curso
        artículo corregid*
    """,
    "code": "api apis endpoint* webhook* sdk method* function* object* event events docs documentation sandbox test tests",
    "glad": """
        love loved great awesome amazing good fast brilliant beautiful cool holy nice perfect génial géniale bien super beau adore geil
        toll gut genial bueno buena bien buenísimo increíble
    """,
    # -- data loss
    "things": """
        data data's file files note notes notebook notebooks work document documents photo photos picture pictures message messages mail
        mails e-mails email emails project projects history database databases table tables row rows record records entries vault repo
        repos repository commit commits branch branches backup backups library playlist playlists recording recordings draft drafts bucket
        buckets folder folders save saves progress calendar contacts tickets everything everything's snapshot* volume* chats highlights
        bookmarks données fichier fichiers document documents travail photo photos message messages projet projets historique base tables
        lignes sauvegarde* dossier* contacts playlist brouillon* daten datei dateien notiz notizen arbeit dokument* foto fotos bilder
        nachrichten projekt* verlauf datenbank* tabelle* einträge zeilen ordner passwörter kontakte alles spielstand* sicherung* buchungen
        datos archivo archivos fichero* nota notas trabajo documento* mensajes correos proyecto proyectos historial tabla tablas filas
        registros carpeta carpetas contraseñas contactos partida* copia copias
    """,
    "gone": """
        lost loses lose losing gone vanish* disappear* corrupt corrupted corrupts corrupting corruption overwrit* overwrote eaten ate eats
        nuked destroyed destroys unrecoverable unreadable 0_bytes zero_bytes is_missing are_missing went_missing perdu perdus perdue
        perdues perd disparu* disparaî* écras* corromp* envolé* verloren verliert verlor verschw* weg überschr* zerschossen zerstört
        futsch 0_byte perdido perdida perdidos perdí perdió pierde desapare* corrupt* sobrescri*
    """,
    "deleted": """
        deleted deletes wiped wipes erased erases purged effacé* efface supprimé* supprime vidé vidée gelöscht löscht löschte borrado
        borrada borrados borró borra eliminado eliminó elimina
    """,
    "loss": """
        data_loss lost_data lost_all data_corruption corrupts_data all_gone everything_gone perte_de_données pertes_de_données tout_perdu
        perdu_tout tout_effacé tout_supprimé tout_a_disparu datenverlust* alles_weg alles_gelöscht pérdida_de_datos perdido_todo
        todo_perdido todo_borrado borrado_todo ha_borrado_todo
    """,
    "astray": """
        lost_in lost_my_way lost_track lost_patience lost_interest lost_count gone_through i_am_lost i'm_lost perdu_dans perdido_en
        verloren_in
    """,
    # -- security
    "hole": """
        cve* vulnerab* vulnérab* xss csrf ssrf rce sqli exploit exploits exploitable exploited backdoor* malware ransomware remote_code
        sql_injection code_injection command_injection script_injection privilege_escalation path_traversal buffer_overflow use_after_free
        zero_day security_hole* security_flaw* security_bug* security_issue* security_problem* security_incident* security_breach*
        security_leak* data_breach data_leak hacked breached faille failles fuite_de_données sicherheitslücke* sicherheitsloch
        schwachstelle* datenleck* gehackt fallo_de_seguridad agujero_de_seguridad brecha_de_seguridad problema_de_seguridad fuga_de_datos
        hackead* piraté* pirater
    """,
    "secret": """
        password passwords token tokens secret secrets credential* api_key api_keys private_key private_keys passphrase* env_vars
        mot_de_passe mots_de_passe jeton jetons identifiants clé_api passwort passwörter kennwort zugangsdaten contraseña contraseñas
        credenciales clave claves
    """,
    "exposed": """
        leak leaks leaked leaking exposed exposes exposing plaintext plain_text cleartext clear_text in_the_clear unencrypted
        world_readable stolen publicly in_the_log in_the_logs in_logs in_the_url in_the_job_log to_the_log to_the_logs en_clair fuite*
        exposé* klartext unverschlüsselt im_log in_logs geleakt texto_plano en_claro sin_cifrar filtra* expuest*
    """,
    "others": """
        someone_else's somebody_else's other_customer* another_customer* other_user* another_user* other_people* another_tenant*
        other_tenants another_team* other_teams another_organi* a_stranger strangers a_stranger's other_companies another_company's
        different_customer* another_account* autre_client autres_clients autre_utilisateur autres_utilisateurs quelqu'un_autre un_inconnu
        autres_gens fremde fremden fremder anderer_kunden anderen_kunden anderer_nutzer anderen_nutzern anderer_leute anderen_leuten
        otro_cliente otros_clientes otro_usuario otros_usuarios otra_persona otras_personas de_otro de_otra
    """,
    "strange": "someone_else's somebody_else's a_stranger's stranger's quelqu'un_autre un_inconnu fremden fremdes otra_persona",
    "private": """
        data invoice* account accounts address* inbox camera cameras dashboard order orders photo* message* file files document* profile*
        event events mails emails calendar record records names log logs bank vault données facture* compte* adresse* photo* message*
        fichier* commande* daten rechnung* konto konten adressen bilder fotos nachrichten dateien termine bestellungen datos factura*
        cuenta* direcci* fotos mensajes pedidos correos archivos perfil
    """,
    "see": """
        see seeing saw sees shows show showing showed read reading access opened appear* displayed getting got received gets logged
        contains have had in_my vois voir voit affiche reçois reçu accès sehe sieht sehen angezeigt bekomme bekommen zeigt lesen habe veo
        ver vemos aparece* recibo recibido sale salen muestra
    """,
    "share": "share* sharing invite* give send_to partager partage inviter teilen einladen compartir invitar",
    "bypass": """
        without_logging without_login without_a_login without_a_password without_password without_auth without_authentication
        without_authorization bypass* unauthenticated sans_mot_de_passe
        sans_authentification sans_être_connecté ohne_passwort ohne_anmeldung ohne_login sin_contraseña sin_autenticación
        sin_iniciar_sesión
    """,
    "open to all": "anyone_can anybody_can everyone_can any_user_can everybody_can importe_qui jeder_kann cualquiera_puede",
    "reach": """
        access read see delete deletes open opens admin endpoint endpoints account accounts data files users panel reset login auth
        invoices photos documents camera accès accéder lire voir données fichiers zugreifen zugriff lesen sehen einsehbar daten abrufbar
        acceder ver leer entrar datos
    """,
    # -- payment
    "refund": """
        refund refunds refunded chargeback money_back overcharged double_charge* double_charged charged_twice billed_twice twice_charged
        unauthorized_charge* rembours* débité_deux_fois débité_2_fois prélevé_deux_fois prélevé_2_fois rückerstattung erstattung erstattet
        geld_zurück doppelt_abgebucht zweimal_abgebucht reembols* devolución cobrado_dos_veces cobro_duplicado doble_cobro
    """,
    "charged": """
        charged charge charges charging fee fees billed debited deducted invoiced invoice withdrawn subscription débité* débit prélevé*
        prélèvement* facturé* facture abgebucht abbuchung* berechnet belastet rechnung abo cobrado cobraron cobran cobro cobros cargado
        cargo factura suscripción
    """,
    "wrongly": """
        twice double again wrong wrongly still cancelled canceled despite unknown mistake three_times duplicate thrice deux_fois
        trois_fois 2_fois double encore résilié malgré erreur zweimal doppelt dreimal trotz gekündigt falsch erneut obwohl dos_veces
        tres_veces doble duplicado cancelado cancelada baja mal por_error aunque
    """,
    "pay": """
        payment payments checkout my_card credit_card debit_card transfer transfers payout payouts paiement paiements carte_bancaire
        ma_carte virement* zahlung zahlungen kreditkarte meine_karte überweisung* auszahlung* pago pagos mi_tarjeta tarjeta transferencia*
    """,
    "money": "money balance salary argent solde salaire geld guthaben gehalt dinero saldo nómina",
    "fails": """
        fail fails failed failing declined declines stuck error errors rejected rejects refused refuses pending missing broken
        doesn't_work not_working won't never_arrived échoue* échoué refusé* bloqué* erreur erreurs marche_pas marche_plus fehlgeschlagen
        schlägt abgelehnt hängt fehler geht_nicht falla fallan fallo rechaza* bloquead* error no_funciona no_pasa no_llega
    """,
    # -- outage
    "out": """
        outage outages is_down are_down went_down been_down down_again is_it_down completely_down totally_down still_down bad_gateway
        gateway_timeout service_unavailable  is_offline are_offline panne injoignable* hors_service est_down
        sont_down inaccessible* est_tombé ausfall unerreichbar störung ist_down sind_down geht_gar_nichts caído caída
        caídos caídas se_ha_caído se_cayó inaccesible* fuera_de_servicio
    """,
    "down_to": """
        down_to down_from down_by down_the calm_down slow_down battery price prices usage memory traffic cost costs key arrow mouse
        tickets baisse preis chopped planned simulate* scroll press wrote last_year last_year's
    """,
    "service": """
        site website server servers api app login service dashboard everything cluster region registry status page all whole nobody anyone
        everyone serveur* tout tous quelqu'un connexion seite dienst alles alle niemand jemand anmeldung servidor servidores web servicio
        todo todos alguien nadie
    """,
    "unreached": "can't_reach cannot_reach could_not_reach not_reachable not_responding nicht_erreichbar no_responde ne_répond_plus",
    "down": "down",
    "status": "502 503 504 502s 503s 504s",
    "dead": "unreachable planté unavailable",
    # -- anger
    "swear": """
        fuck fucking fucked fucks shit shitty bullshit wtf crap crappy asshole* pissed merde putain foutage bordel chier scheiß* scheiss*
        verarsch* drecks* kotzen mierda joder coño puta gilipoll*
    """,
    "rage": """
        worst disgust* disgrac* furious livid unacceptable ridiculous pathetic thieves incompetent incompetence rip_off ripoff fed_up
        sick_of shame_on how_dare had_enough last_straw my_lawyer scammers a_scam is_a_joke are_a_joke absolute_joke what_a_joke
        complete_joke total_joke useless waste_of_money i_hate hate_this hate_you garbage_app garbage_support hot_garbage absolute_garbage
        an_insult clowns idiots honte honteux inadmissible scandaleux lamentable marre ras_le_bol arnaque voleurs pourri pourrie frechheit
        unverschämt* saftladen wütend abzocke schnauze_voll nase_voll peinlich unfassbar vergüenza inaceptable harto harta estafa ladrones
        basura asco indignante tomadura_de_pelo inútiles
    """,
    "mild": """
        worst_case no_shit used_to_hate not_the_worst phishing detection filter unfassbar_gut unfassbar_schnell nicht_peinlich worst_part
    """,
    # -- feature request
    "request": """
        feature_request please_add would_be_great would_be_nice would_be_cool would_be_lovely would_be_awesome would_be_amazing
        would_be_handy would_be_useful would_love_to would_love_a would_love_an i'd_love i_wish wish_it wish_there wish_you any_plans
        any_plan on_the_roadmap could_you_add can_you_add could_we_have can_we_get can_we_have could_we_get please_support please_bring
        please_let please_give please_consider please_make please_implement requesting any_chance_of begging_for an_option_to
        missing_feature planning_to_add plans_to_add plans_to_support serait_bien serait_super serait_top serait_génial serait_cool
        serait_pratique aimerais_pouvoir aimerais_bien possible_ajouter ajoutez rajoutez pourriez-vous_ajouter est_prévu
        une_option_pour mettez_un wäre_toll wäre_schön wäre_super wäre_cool wäre_klasse wäre_hilfreich wünsche_mir wünschte feature_wunsch
        baut_bitte bitte_baut bitte_einbauen fehlt_mir hätte_gern ist_geplant könntet_ihr könnt_ihr estaría_bien estaría_genial
        sería_genial sería_ideal sería_bueno sería_útil me_gustaría echo_de_menos echo_en_falta podríais_añadir podéis_añadir añadid
        poned_un falta_una_opción para_cuándo
    """,
    "worked": "know worked working actually thank say marchait fonctionnait funktionieren funktionierte funcionara",
}


@dataclass(frozen=True, slots=True)
class _Rule:
    """One word of each group in `near`, at most `within` words apart, and none of `unless` from `before` words ahead to `after` behind."""

    signal: str
    near: tuple[str, ...]
    unless: tuple[str, ...] = ()
    within: int = 6
    before: int = 3
    after: int = 0


_RULES = (
    _Rule(DATA_LOSS, ("things", "gone"), ("not", "ask", "interface", "astray"), within=5),
    _Rule(DATA_LOSS, ("things", "deleted"), ("not", "ask", "ego", "interface"), within=5),
    _Rule(DATA_LOSS, ("loss",), ("not", "ask", "talk")),
    _Rule(SECURITY, ("hole",), ("not", "talk"), after=2),
    _Rule(SECURITY, ("secret", "exposed"), ("not", "ask"), within=7),
    _Rule(SECURITY, ("others", "private", "see"), ("not", "ask", "share"), within=7),
    _Rule(SECURITY, ("see", "strange"), ("not", "ask", "share"), within=4),
    _Rule(SECURITY, ("bypass", "reach"), ("not", "ask", "share")),
    _Rule(SECURITY, ("open to all", "reach"), ("not", "share"), within=4),
    _Rule(PAYMENT, ("refund",), ("not", "code"), after=1),
    _Rule(PAYMENT, ("charged", "wrongly"), ("not", "ask", "code")),
    _Rule(PAYMENT, ("pay", "fails"), ("not", "ask", "code"), within=5),
    _Rule(PAYMENT, ("money", "gone"), ("not", "ask")),
    _Rule(OUTAGE, ("out",), ("not", "down_to", "talk"), after=3),
    _Rule(OUTAGE, ("unreached",), ("talk",)),
    _Rule(OUTAGE, ("service", "down"), ("not", "down_to"), within=2, after=3),
    _Rule(OUTAGE, ("status",), ("not", "code", "talk"), after=1),
    _Rule(OUTAGE, ("service", "dead"), ("not",), within=3),
    _Rule(ANGER, ("swear",), ("glad",), after=3),
    _Rule(ANGER, ("rage",), ("not", "mild")),
    _Rule(FEATURE_REQUEST, ("request",), ("worked",), after=5),
)

_WORD = re.compile(r"\d+(?:[.,]\d+)+|[^\W_]+(?:['-][^\W_]+)*|[!?;\n]|[.,:](?=\s|$)")
_GLUED = re.compile(r"(?:[cdjlmnst]|qu)'(?=\w{2})")  # l'app, d'un, n'est: French; "don't" and "it's" don't begin so
_REMEMBERED = 50_000  # words and runs; then the memory starts anew
_SENTENCE_END = 50  # words that a full stop counts for: no rule reaches across


def _index() -> tuple[dict[str, tuple[str, ...]], dict[str, tuple[tuple[str, str], ...]], dict[str, int]]:
    """Exact words and runs to their groups; beginnings by their first three letters; for a first word the longest run that it opens."""
    exact: dict[str, tuple[str, ...]] = {}
    stems: dict[str, tuple[tuple[str, str], ...]] = {}
    longest: dict[str, int] = {}
    for group, words in _GROUPS.items():
        for word in dict.fromkeys(words.split()):
            run = word.replace("_", " ").removesuffix("*")
            if word.endswith("*"):
                stems[run[:3]] = (*stems.get(run[:3], ()), (run, group))
            else:
                exact[run] = (*exact.get(run, ()), group)
            first, length = run.split(" ")[0], run.count(" ") + 1
            if length > 1:
                longest[first] = max(length, longest.get(first, 2))
    return exact, stems, longest


_EXACT, _STEMS, _LONGEST = _index()


class _Known(dict[str, tuple[str, ...]]):
    """A word, or a run of words, to its groups; what was looked up once is remembered."""

    def __missing__(self, run: str) -> tuple[str, ...]:
        if len(self) >= _REMEMBERED:
            self.clear()
        length = run.count(" ")
        stems = tuple(group for stem, group in _STEMS.get(run[:3], ()) if stem.count(" ") == length and run.startswith(stem))
        found = self[run] = (*_EXACT.get(run, ()), *stems)
        return found


_KNOWN = _Known()

_BITS = {group: 1 << number for number, group in enumerate(dict.fromkeys(group for rule in _RULES for group in rule.near))}
_NEEDS = tuple((rule, reduce(or_, (_BITS[group] for group in rule.near))) for rule in _RULES)
_RUNS = tuple((group, run.split("_")) for group in _BITS for run in dict.fromkeys(_GROUPS[group].split()) if "_" in run)
_OF_TWO = sum(1 << number for number, (_, run) in enumerate(_RUNS) if len(run) == 2)


def _parts() -> dict[str, int]:
    """Each word of a run (`word*`: what begins so) to a bit for each run and place in it, of the first three."""
    found: dict[str, int] = {}
    for number, (_, run) in enumerate(_RUNS, start=len(_BITS)):
        for place, word in enumerate(run[:3]):
            found[word] = found.get(word, 0) | 1 << number + place * len(_RUNS)
    return found


_PARTS = _parts()
_BEGINNINGS = tuple((word[:-1], bits) for word, bits in _PARTS.items() if word.endswith("*"))


class _Hints(dict[str, int]):
    """A word as it was found to what it makes possible: a bit for each group that it is of, and those of `_PARTS`."""

    def __missing__(self, found: str) -> int:
        if len(self) >= _REMEMBERED:
            self.clear()
        word = _bare(found)
        bits = reduce(or_, (_BITS.get(group, 0) for group in _KNOWN[word]), _PARTS.get(word, 0))
        self[found] = bits = reduce(or_, (more for beginning, more in _BEGINNINGS if word.startswith(beginning)), bits)
        return bits


_HINTS = _Hints()


def _possible(found: list[str]) -> tuple[_Rule, ...]:
    """The rules that may hold by the words alone, wherever they stand."""
    bits = reduce(or_, filter(None, map(_HINTS.__getitem__, found)), 0)
    words = bits >> len(_BITS)
    runs = words & words >> len(_RUNS) & (words >> 2 * len(_RUNS) | _OF_TWO) & (1 << len(_RUNS)) - 1
    return _needing(bits & (1 << len(_BITS)) - 1, runs)


@lru_cache(4096)
def _needing(groups: int, runs: int) -> tuple[_Rule, ...]:
    """The rules that need no other groups than these and those of these runs."""
    there = reduce(or_, (_BITS[group] for number, (group, _) in enumerate(_RUNS) if runs >> number & 1), groups)
    return tuple(rule for rule, need in _NEEDS if there & need == need)


def signals(text: str) -> frozenset[str]:
    """The signals of a text, a subset of `SIGNALS`. Takes some microseconds for a short post."""
    found = _found(text[:_LOOKED_AT])
    rules = _possible(found)
    if not rules:  # most posts: where their words stand need not be known
        return frozenset()
    places = _places(*_split(found))
    return frozenset(rule.signal for rule in rules if _holds(rule, places) is not None)


def raised_by(text: str) -> dict[str, str]:
    """Each signal of a text with the words that raised it, in lower case and without the signs between them."""
    words, numbers = _split(_found(text[:_LOOKED_AT]))
    places = _places(words, numbers)
    found: dict[str, str] = {}
    for rule in _RULES:
        held = _holds(rule, places) if rule.signal not in found else None
        if held is not None:
            start, last = bisect_left(numbers, held[0]), bisect_left(numbers, held[1])
            found[rule.signal] = " ".join(words[start : last + _run_at(words, last, rule.near)])
    return found


def beside(label: str, found: frozenset[str]) -> frozenset[str]:
    """The signals that a verdict carries: a wish for a feature is one on a support question, and on nothing else."""
    return found if label == "support_question" else found - {FEATURE_REQUEST}


def _run_at(words: list[str], start: int, groups: tuple[str, ...]) -> int:
    """How many words the longest run of these groups has that begins there."""
    for length in range(_LONGEST.get(words[start], 1), 1, -1):
        run = " ".join(words[start : start + length])
        if any(group in groups for group in _EXACT.get(run, ())):
            return length
    return 1


def _found(text: str) -> list[str]:
    """The words and signs of a text."""
    return _WORD.findall(text.lower().replace("’", "'"))


def _bare(word: str) -> str:
    """A word without the article that French glues to it."""
    return _GLUED.sub("", word, count=1) if "'" in word and _GLUED.match(word) else word


def _split(found: list[str]) -> tuple[list[str], list[int]]:
    """The words of a text, and the number of each: a full stop counts as many words."""
    words: list[str] = []
    numbers: list[int] = []
    number = 0
    for word in found:
        if word in "!?;\n.":
            number += _SENTENCE_END
        elif word not in ",:":
            number += 1
            words.append(_bare(word))
            numbers.append(number)
    return words, numbers


def _places(words: list[str], numbers: list[int]) -> dict[str, list[int]]:
    """Where the words of each group stand, counted in words."""
    found: dict[str, list[int]] = {}
    known = _KNOWN
    for start, first in enumerate(words):
        for group in known[first]:
            found.setdefault(group, []).append(numbers[start])
        if first in _LONGEST:
            run, place = first, numbers[start]
            for end in range(start + 1, min(start + _LONGEST[first], len(words))):
                if numbers[end] != place + end - start:
                    break
                run = f"{run} {words[end]}"
                for group in known[run]:
                    found.setdefault(group, []).append(place)
    return found


def _holds(rule: _Rule, places: dict[str, list[int]]) -> tuple[int, int] | None:
    """Where the words stand by which a rule holds, from first to last; None where it doesn't."""
    if not all(group in places for group in rule.near):
        return None
    against = sorted(place for group in rule.unless for place in places.get(group, ()))
    for first, last in sorted(_near([places[group] for group in rule.near], rule.within)):
        at = bisect_left(against, first - rule.before)
        if at == len(against) or against[at] > last + rule.after:
            return first, last
    return None


def _near(groups: list[list[int]], within: int) -> set[tuple[int, int]]:
    """One place of each group, all at most `within` words apart: the first and the last place of each such choice."""
    chosen = {(place, place) for place in groups[0]}
    for group in groups[1:]:
        chosen = {
            (min(first, place), max(last, place))
            for first, last in chosen
            for place in group[bisect_left(group, last - within) : bisect_right(group, first + within)]
        }
    return chosen

"""What a post tells about where it went wrong: product version, operating system, error text, component. Pure.

Each is read by words and shapes that stand beside it, in English, French, German and Spanish: "2.5" alone is a size, a time or a
price, "since 2.5" is a version. What could be an address, a date or a price is left alone: a wrong version costs more than none.
Posts are hostile: each pattern is bounded, so that the time grows with the length alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from triage.words import place_of

_LOOKED_AT = 8_000  # characters; what comes later is not the point of the post
_MOST = 5  # of each kind
_LONGEST_ERROR = 160  # characters
_LONGEST_NAME = 120  # characters of an exception with its package


@dataclass(frozen=True, slots=True)
class Detail:
    """`value` as it is shown; `text[start:end]` is what it was read from."""

    value: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Details:
    """What was found, each kind in the order of the text, and no value twice. `components` are names from the config."""

    versions: tuple[Detail, ...] = ()
    systems: tuple[Detail, ...] = ()
    errors: tuple[Detail, ...] = ()
    components: tuple[Detail, ...] = ()

    def facts(self) -> list[tuple[str, str]]:
        """Name and values of each kind that was found, for people."""
        named = (("Version", self.versions), ("System", self.systems), ("Error", self.errors), ("Component", self.components))
        return [(name, ", ".join(one.value for one in found)) for name, found in named if found]


def details(text: str, components: Mapping[str, Sequence[str]] | None = None) -> Details:
    """The details of a text, up to five of each kind; `components` are the words of each component, as the config names them."""
    text = text[:_LOOKED_AT]
    systems = list(_systems(text))
    errors = list(_errors(text))
    taken = [*systems, *errors, *(Detail("", *found.span()) for found in _LINK.finditer(text))]
    return Details(
        versions=_kept(one for one in _versions(text) if not _within(one, taken)),
        systems=_kept(systems),
        errors=_kept(one for one in errors if not _within(one, [other for other in errors if other is not one])),
        components=_kept(_components(text, components or {})),
    )


def _kept(found: Iterator[Detail] | Sequence[Detail]) -> tuple[Detail, ...]:
    """The first of each value, in the order of the text."""
    by_value: dict[str, Detail] = {}
    for one in sorted(found, key=lambda one: (one.start, -one.end)):
        by_value.setdefault(one.value.casefold(), one)
    return tuple(by_value.values())[:_MOST]


def _within(one: Detail, others: Sequence[Detail]) -> bool:
    """Whether it is a part of another; of two that are the same, the first stands."""
    return any(other.start <= one.start and one.end <= other.end for other in others)


_LINK = re.compile(r"(?:https?://|www\.)\S{1,2000}")


# Version

_NUMBER = re.compile(
    r"(?<![\w.,:/@$€£¥#=+-])(v\.? ?)?(\d{1,5}(?:\.\d{1,6}){0,3})([-+]?(?:alpha|beta|rc|pre|dev|preview|nightly|snapshot)[.-]?\d{0,4})?"
    r"(?:[ -](alpha|beta|rc|preview)[ .-]?(\d{1,3})?(?!\w))?(?![\w/@]|[.,:-]\d|-\w|\.[x*](?!\w))",
    re.IGNORECASE,
)
_BEFORE = 24  # characters that are looked at before a number
_AFTER = 16  # and behind it
_SAYS_VERSION = re.compile(r"(?:\b(?:versi[oó]n|versione|release|build|ver|rev)\b\.?|\bv\.)[ :#]{1,3}$", re.IGNORECASE)
_LEADS_TO_ONE = re.compile(
    r"\b(?:since|after|before|until|on|in|with|using|running|from|to|and|update|upgrade|depuis|apr[eè]s|avant|avec|sous|sur"
    r"|mise à jour|à|et|seit|nach|vor|mit|unter|auf|in|von|und|desde|tras|después de|antes de|con|en|a la|la|y) $",
    re.IGNORECASE,
)
_OTHERS = re.compile(
    r"\b(?:python|node(?:\.?js)?|java|jdk|php|ruby|golang|rust|tls|ssl|usb|bluetooth|http|https|chrome|firefox|safari|edge|opera"
    r"|postgres(?:ql)?"
    r"|mysql|mariadb|sqlite|redis|docker|kubernetes|k8s|npm|pip|git|wifi|hdmi|section|chapter|kapitel|abschnitt|chapitre|capítulo"
    r"|sección|figure|step|page|seite|rfc|cvss|ip|ipv4)[ :/]{1,2}(?:version )?$",
    re.IGNORECASE,
)
_UNIT = re.compile(
    r" ?(?:[%€$£°×\"]|(?:k|m|g|t)i?b\b|[kmgt]\b|(?:ms|s|h|x|px|fps|hz|[kmg]hz|kg|km|cm|mm|mbps|eur|euros?|usd|dollars?|gbp)\b"
    r"|pounds?\b|chf\b|francs?\b|stars?\b|sterne?\b|étoiles?\b|estrellas?\b|sec|min|hour|stunde|heure|hora|day|tag|jour|d[ií]a|week|woche"
    r"|semaine|semana|month|monat|mois|mes(?:es)?\b|year|jahr|ans?\b|año|percent|prozent|pour ?cent|por ciento|million|mio|mrd|billion"
    r"|times|mal\b|fois|veces|people|users|uhr|pm\b|am\b|gigs?\b|megs?\b|inch|zoll|points?\b|out of|von \d|sur \d|de \d|to \d|bis \d"
    r"|à \d|a \d)",
    re.IGNORECASE,
)
_YEAR = re.compile(r"(?:19|20)\d\d")


def _versions(text: str) -> Iterator[Detail]:
    for found in _NUMBER.finditer(text):
        mark, number, glued, apart, count = found.groups()
        before, after = text[max(0, found.start() - _BEFORE) : found.start()], text[found.end() : found.end() + _AFTER]
        said = bool(mark) or _SAYS_VERSION.search(before) is not None
        if _OTHERS.search(before) or not (said or apart or glued or _stands_alone(number, before, after)):
            continue
        if not said and (_is_address(number) or _is_date(number) or _is_day(number, after) or _is_thousands(number)):
            continue
        if "." not in number and not said:
            continue
        stage = glued or (f" {apart.lower()}{' ' + count if count else ''}" if apart else "")
        yield Detail(f"{number}{stage}", found.start(), found.end())


def _stands_alone(number: str, before: str, after: str) -> bool:
    """Whether a number that nothing calls a version is one: three parts are, two where words lead to one and no unit follows."""
    parts = number.count(".") + 1
    if parts < 2 or _UNIT.match(after):
        return False
    return parts > 2 or _LEADS_TO_ONE.search(before) is not None


def _is_address(number: str) -> bool:
    parts = number.split(".")
    return len(parts) == 4 and all(int(part) <= 255 for part in parts)


def _is_date(number: str) -> bool:
    """12.05.2026, 2026.05.12, 03.05.24, 2026.5, 05.2026."""
    parts = number.split(".")
    if len(parts) not in (2, 3):
        return False
    years = [part for part in parts if _YEAR.fullmatch(part)]
    others = [part for part in parts if not _YEAR.fullmatch(part)]
    if years:
        return all(len(part) <= 2 and 1 <= int(part) <= 31 for part in others)
    return len(parts) == 3 and all(len(part) == 2 for part in parts) and 1 <= int(parts[0]) <= 31 and 1 <= int(parts[1]) <= 12


def _is_day(number: str, after: str) -> bool:
    """12.05. or 12.05 without a year."""
    day, _, month = number.partition(".")
    if not (re.fullmatch(r"[0-3]?\d", day) and re.fullmatch(r"0[1-9]|1[0-2]|[1-9]", month)):
        return False
    return month.startswith("0") or re.match(r"\. ?[a-zà-ÿ]", after) is not None


def _is_thousands(number: str) -> bool:
    """1.234.567, as a German or a Spaniard writes a number."""
    first, *rest = number.split(".")
    return len(rest) > 1 and len(first) <= 3 and all(len(part) == 3 for part in rest)


# Operating system

_NUMBERED = r"(?:[ -]?v?(\d{1,4}(?:\.\d{1,5}){0,3}))?"
_SYSTEMS = {
    "iOS": r"ios",
    "iPadOS": r"ipados",
    "watchOS": r"watchos",
    "tvOS": r"tvos",
    "visionOS": r"visionos",
    "Android": r"android",
    "macOS": r"mac ?os(?: ?x)?|os x",
    "ChromeOS": r"chrome ?os",
    "Ubuntu": r"[klx]?ubuntu",
    "Debian": r"debian",
    "Fedora": r"fedora",
    "Linux Mint": r"linux mint",
    "Arch Linux": r"arch linux",
    "openSUSE": r"opensuse(?: leap| tumbleweed)?",
    "RHEL": r"rhel|red hat enterprise linux",
    "CentOS": r"centos(?: stream)?",
    "Rocky Linux": r"rocky linux",
    "AlmaLinux": r"alma ?linux",
    "Alpine Linux": r"alpine linux",
    "NixOS": r"nixos",
    "Manjaro": r"manjaro",
    "Pop!_OS": r"pop!?_?os",
    "FreeBSD": r"freebsd",
    "OpenBSD": r"openbsd",
    "Linux": r"gnu/linux|linux(?: kernel)?",
}
_NAMES = "|".join(f"(?P<s{number}>{shape})" for number, shape in enumerate(_SYSTEMS.values()))
_SYSTEM = re.compile(
    rf"(?<![\w.@#/-])(?:{_NAMES})(?![\w@]|\.\w|-\w*[a-z])(?:[ -]?v?(?P<number>\d{{1,4}}(?:\.\d{{1,5}}){{0,3}})(?![\w%]))?", re.IGNORECASE
)
_MAC_NAMES = re.compile(r" (sonoma|ventura|monterey|big sur|sequoia|tahoe|catalina|mojave)\b", re.IGNORECASE)
# "Windows" and no more is a system where it is written large and something leads to it: shops have windows, too.
_WINDOWS = re.compile(
    r"(?<![\w.@#/-])(?:windows[ -]?(?:(?P<server>server) ?)?(?P<number>11|10|8(?:\.1)?|7|xp|vista"
    r"|20\d\d)(?![\w%])(?: ?(?P<release>2[0-9]h[12])\b)?"
    r"|win(?P<short>1[01]|[78])(?!\w)"
    r"|(?:on|under|for|with|using|my|sur|sous|pour|avec|mon|auf|unter|für|mit|mein|meinem|en|bajo|para|con|mi) (?P<bare>(?-i:Windows))"
    r"(?![\w@]|\.\w|-\w|[ -](?:server )?(?:\d|xp\b|vista\b)))",
    re.IGNORECASE,
)


def _systems(text: str) -> Iterator[Detail]:
    names = list(_SYSTEMS)
    for found in _SYSTEM.finditer(text):
        assert found.lastgroup is not None
        name = next(names[number] for number in range(len(names)) if found[f"s{number}"])
        end = found.end()
        number = found["number"] or ""
        if name == "macOS" and not number and (mac := _MAC_NAMES.match(text, end)):
            number, end = mac[1].title(), mac.end()
        yield Detail(f"{name} {number}".strip(), found.start(), end)
    for found in _WINDOWS.finditer(text):
        if found["bare"]:
            yield Detail("Windows", found.start("bare"), found.end())
            continue
        number = (found["number"] or found["short"]).upper()
        number = number.title() if number == "VISTA" else number
        shown = f"Windows {'Server ' if found['server'] else ''}{number}"
        yield Detail(f"{shown} {found['release'].upper()}" if found["release"] else shown, found.start(), found.end())


# Error text

_EXCEPTION = re.compile(r"[a-z0-9](?:Error|Exception)(?!\w)(?:: ?([^\n]{1,160}))?")
_ERROR_LINE = re.compile(
    r"(?<!\w)(?:error(?: message)?|fehler(?:meldung)?|erreur|message d['’]erreur|mensaje de error|fatal|panic)\]?\s?: ?([^\n]{3,160})",
    re.IGNORECASE,
)
_PANIC = re.compile(r"(?:panicked at|segmentation fault|core dumped|out of memory|stack overflow)[^\n]{0,120}", re.IGNORECASE)
_QUOTED = re.compile(r"\"([^\"\n]{3,160})\"|“([^”\n]{3,160})”|«\s?([^»\n]{3,160})»|„([^“”\n]{3,160})[“”]")
_SAYS_ERROR = re.compile(
    r"\b(?:errors?|message|dialog(?:ue)?|popup|pop-up|fails? with|failed with|crashes with|shows?"
    r"|(?:app|it|screen|page|toast|server|log) sa(?:ys|id)"
    r"|fehler(?:meldung)?|meldung|erscheint|steht|app sagt|erreur|affiche|échoue avec"
    r"|mensaje|me dice|me sale|aparece|muestra|me pone|falla con)\b"
    r"[^\n\"“«„.!?]{0,30}$",
    re.IGNORECASE,
)
_REASONS = (
    r"internal server error|bad gateway|service unavailable|gateway time-?out|not found|forbidden|unauthorized|bad request"
    r"|too many requests"
    r"|request entity too large|payload too large"
)
_STATUS = re.compile(
    r"(?:(?<!\w)(?:https?|status|error|code|fehler(?:code)?|erreur|statut|código(?: de error)?|returns?|returned|throws?|threw"
    r"|gives?(?: me)?|gave|getting|get|got"
    r"|kommt|bekomme|liefert|wirft|renvoie|donne|devuelve|da|me da|recibo)(?: an?| une?| eine?n?| code| status| status code| error"
    r"| error code| http){0,2}[ :#]{1,2})"
    rf"(?P<number>[45]\d\d)(?:s(?!\w)|(?!\w))(?P<reason> (?:{_REASONS}))?(?=\s{{0,2}}(?:$|[.,;:!?)\n\"“”»]|errors?\b|fehler|erreurs?\b"
    rf"|on\b|from\b|when\b|for\b|since\b|every|at\b|in\b|after\b|and\b|bei\b|beim\b|auf\b"
    r"|seit\b|wenn\b|und\b|sur\b|quand\b|depuis\b|et\b|en\b|cuando\b|al\b|desde\b|y\b))"
    rf"|(?<![\w.,$€£])(?P<other>[45]\d\d) (?P<named>{_REASONS})\b",
    re.IGNORECASE,
)
_EXIT = re.compile(
    r"(?<!\w)(?:exit(?:s|ed)?(?: with)?[ -](?:code|status)|code de sortie|exit-code|rückgabewert|código de salida"
    r"|errno)[ :=]{1,2}(-?\d{1,6})(?!\w)",
    re.IGNORECASE,
)
_CODE = re.compile(
    r"(?<!\w)(?:ERR_[A-Z_]{3,40}|ECONN(?:REFUSED|RESET|ABORTED)|ETIMEDOUT|ENOENT|EACCES|EPERM|EADDRINUSE|ENOSPC|EPIPE|ENOTFOUND"
    r"|EAI_AGAIN|EHOSTUNREACH|EMFILE"
    r"|SIG(?:SEGV|ABRT|KILL|ILL|BUS|FPE)|0x[0-9A-Fa-f]{6,16})(?!\w)"
)


def _errors(text: str) -> Iterator[Detail]:
    for found in _EXCEPTION.finditer(text):
        start = found.start()
        while start > 0 and found.start() - start < _LONGEST_NAME and (text[start - 1].isalnum() or text[start - 1] in "_."):
            start -= 1
        start += len(text[start : found.end()]) - len(text[start : found.end()].lstrip("."))
        yield _error(text, start, found.end())
    for found in _ERROR_LINE.finditer(text):
        yield _error(text, *found.span(1))
    for found in _PANIC.finditer(text):
        yield _error(text, *found.span())
    for found in _QUOTED.finditer(text):
        if _SAYS_ERROR.search(text[max(0, found.start() - 60) : found.start()]):
            assert found.lastindex is not None
            yield _error(text, *found.span(found.lastindex))
    for found in _STATUS.finditer(text):
        yield Detail(f"HTTP {found['number'] or found['other']}", found.start(), found.end())
    for found in _EXIT.finditer(text):
        yield Detail(f"exit code {found[1]}" if "errno" not in found[0].lower() else f"errno {found[1]}", found.start(), found.end())
    for found in _CODE.finditer(text):
        yield Detail(found[0], found.start(), found.end())


def _error(text: str, start: int, end: int) -> Detail:
    """The message between the two places, without blanks and quotes around it, as one line."""
    end = min(end, start + _LONGEST_ERROR)
    said = text[start:end]
    start += len(said) - len(said.lstrip(" \t\"'“`"))
    said = said.strip(" \t\"'”“`")
    return Detail(" ".join(said.split()), start, start + len(said))


# Components


def _components(text: str, components: Mapping[str, Sequence[str]]) -> Iterator[Detail]:
    for name, words in components.items():
        place = place_of(words, text)
        if place is not None:
            yield Detail(name, *place)

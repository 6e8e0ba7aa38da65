"""What people wrote: from HTML to plain text, made harmless, shortened, counted, compared. Pure.

A post is hostile until proved otherwise. What leaves this module is plain text that can be printed, stored and sent: no
control, bidi or invisible characters, no markup, links only to http and https.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from itertools import islice

import regex  # type: ignore[import-untyped]
from selectolax.lexbor import LexborHTMLParser, LexborNode

from triage.mention import Mention

HTML_CHARACTERS = 16 * 1024  # 500 KiB of nested tags held a cleaner for 15 s: cut before parsing
CLASSIFIER_CHARACTERS = 8_000
NAME_CHARACTERS = 40
LONGEST_LINK = 2_000
URL_LENGTH = 23  # what Mastodon counts for any link; instances tell their own number
MOST_PARTS = 99
MOST_MARKS = 8  # combining marks on one letter; more than that is written to overflow lines

# What nobody sees: controls, format characters and all that Unicode calls ignorable, but for four that carry sense: the
# signs that Arabic puts before numbers, the joiner inside an emoji, the variation selector of an emoji, and the
# non-joiner between two Arabic letters, which Persian spells with.
_INVISIBLE = regex.compile(
    r"""(?<=\p{ExtPict}\uFE0F?|\p{EMod})\u200D(?=\p{ExtPict})(*SKIP)(*FAIL)
      | (?<=[\p{ExtPict}0-9\#*])\uFE0F(*SKIP)(*FAIL)
      | (?<=\p{Arabic})\u200C(?=\p{Arabic})(*SKIP)(*FAIL)
      | [[\p{Cc}\p{Cf}\p{Cs}\p{DI}\u2800]--[\n\p{PCM}]]""",
    regex.VERBOSE | regex.VERSION1,
)
_JOINERS = regex.compile(r"[\u200C\u200D\uFE0F]")
_LINE_ENDS = regex.compile(r"\r\n?|[\v\f\x1c-\x1e\x85\u2028\u2029]")
_MARKS = regex.compile(rf"(\p{{M}}{{{MOST_MARKS}}})\p{{M}}+")
# Flags by themselves: for each half of one, \X counts all halves before it, and a post of flags took minutes.
_GRAPHEME = regex.compile(r"\p{RI}{2}[\p{GCB=Extend}\p{GCB=ZWJ}\p{GCB=SpacingMark}]*+|\X")
_WORD = regex.compile(r"\S+\s*")
_URL = regex.compile(r"(?i)https?://[^\s<>\"']+[^\s<>\"'.,;:!?)\]}]")
_PUBLIC_HOST = regex.compile(r"(?i)https?://(?:[^\s/@]*@)?(?:[\p{L}\p{N}-]+\.)+\p{L}{2,}(?::\d+)?(?:[/?#]|$)")
_REMOTE_NAME = regex.compile(r"(?i)(?<![\w/=])(@[a-z0-9_]+(?:[a-z0-9_.-]*[a-z0-9_]+)?)@[\p{L}\p{N}][\p{L}\p{N}._:-]*")
_PIECES = regex.compile(r"https?://\S+|[\p{L}\p{M}\p{N}]+|\p{Extended_Pictographic}")
_NAMES_AT_START = regex.compile(r"(?i)\A(?:\s*@[\w.-]+(?:@[\w.:-]+)?[\s,:;]*)+")
_SHORTCODE = regex.compile(r":[a-zA-Z0-9_]{2,}:")
_HOSTILE_NAME = regex.compile(r"(?i)[@#<>\[\]{}|~!\\/^*_=`&;\n]|\bwww\.|\w\.\p{L}{2,}|:\w|\p{M}{4,}")
# Letters that are read as Latin ones: Cyrillic, Greek, Armenian, and two of the phonetic alphabet.
_ALIKE = str.maketrans(
    "аеорсухіјѕһԁԛԝӏЅІЈАВЕКМНОРСТУХԚԜ" + "οαρνικυετχΑΒΕΖΗΙΚΜΝΟΡΤΥΧ" + "օհոսցՕՍ" + "ɑɡ",
    "aeopcyxijshdqwlSIJABEKMHOPCTYXQW" + "oapvikuetxABEZHIKMNOPTYX" + "ohnugOU" + "ag",
)
_OTHER_ALPHABET = regex.compile(r"[\p{Cyrillic}\p{Greek}\p{Armenian}ɑɡ]")
_NOT_ALIKE = regex.compile(rf"[[\p{{Cyrillic}}\p{{Greek}}\p{{Armenian}}]--[{''.join(map(chr, _ALIKE))}]]", regex.VERSION1)
_LATIN = regex.compile(r"[a-zA-Z]")
_LETTERS = regex.compile(r"\p{L}+")
_STROKES = regex.compile(r"[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff]")  # marks that no letter of its own stands for
# What NFKC leaves: white letters on black, and accents that stand for an apostrophe.
_FORMS = {base + at: chr(65 + at) for base in (0x1F150, 0x1F170) for at in range(26)} | dict.fromkeys(map(ord, "´ʼʹ"), "'")


def _common() -> str:
    """What `plain_letters` leaves as it is, wherever it stands: most posts hold nothing else, and are read in a microsecond."""
    blocks = ((0x80, 0x250), (0x2010, 0x205F), (0x20AC, 0x20AD), (0x2190, 0x27C0), (0x1F300, 0x1FB00))  # Latin, signs, arrows, emoji
    letters = (chr(code) for start, end in blocks for code in range(start, end))
    return "".join(one for one in letters if unicodedata.normalize("NFKC", one) == one and not _INVISIBLE.search(one))


_ODD = re.compile(rf"[^\n -~{re.escape(_common().translate(dict.fromkeys(_FORMS)))}]")  # by `re`, whose classes are tables

_SKIPPED = frozenset({"script", "style", "template", "head", "title", "svg", "math", "iframe", "object", "noscript", "textarea", "select"})
_HIDDEN = frozenset({"invisible", "quote-inline"})  # Mastodon's own classes: the cut parts of a link, the fallback of a quote
_BLOCKS = dict.fromkeys(("p", "pre", "blockquote", "ul", "ol", "table", "h1", "h2", "h3", "h4", "h5", "h6"), 2) | dict.fromkeys(
    ("div", "li", "tr", "hr", "section"), 1
)  # elements that stand on lines of their own, with the number of line ends around them


def neutralise(text: str) -> str:
    """`text` without what can't be seen or would reorder what can: harmless to print, and every visible character is still there.

    Line ends become newlines, tabs become blanks, emoji stay joined. Calling it again changes nothing.
    """
    text = _LINE_ENDS.sub("\n", text).replace("\t", " ")
    harmless: str = _MARKS.sub(r"\1", _INVISIBLE.sub("", text))
    return harmless


def one_line(text: str) -> str:
    """`text` on one line, harmless, blanks collapsed."""
    return " ".join(neutralise(text).split())


def from_html(html: str) -> str:
    """The plain text of a post's HTML, as a reader of it would see it.

    Paragraphs and breaks become newlines, `pre` keeps its blanks. A link is its target where the shown text only
    abbreviates it, `text (target)` elsewhere, and its text alone for mentions, hashtags and targets that are no web address.
    Mastodon's fallback line of a quote is left out. HTML beyond `HTML_CHARACTERS` is not read; the text then ends with an ellipsis.
    """
    body = LexborHTMLParser(html[:HTML_CHARACTERS]).body
    text = neutralise(_seen_below(body)) if body is not None else ""
    text = regex.sub(r"\n{3,}", "\n\n", regex.sub(r" +\n", "\n", text)).strip("\n").rstrip()
    return f"{text}…" if len(html) > HTML_CHARACTERS else text


def _seen_below(root: LexborNode) -> str:
    """The text that a reader sees. A loop with its own stack: thousands of nested tags must not exhaust Python's.

    In `out` a number stands for that many line ends, of which neighbours merge into the largest.
    """
    out: list[str | int] = []
    opened: list[int] = []  # where in `out` the text of each open link begins
    pre = 0
    stack: list[tuple[LexborNode, bool]] = [(root, False)]
    while stack:
        node, leaving = stack.pop()
        tag = node.tag or ""
        if tag == "-text":
            words = node.text_content or ""
            if not pre:
                words = regex.sub(r"[ \t\r\n\f]+", " ", words)
                if not out or isinstance(out[-1], int) or out[-1].endswith("\n"):
                    words = words.lstrip(" ")
            if words:
                out.append(words)
        elif leaving:
            if tag == "pre":
                pre -= 1
            if tag == "a":
                start = opened.pop()
                out[start:] = [_link(node, _joined(out[start:]))]
            if "ellipsis" in _classes(node):
                out.append("…")
            if tag in _BLOCKS:
                out.append(_BLOCKS[tag])
        elif tag == "br":
            out.append("\n")
        elif tag == "img":
            out.append(_emoji(node))
        elif tag not in _SKIPPED and not tag.startswith("-") and not _classes(node) & _HIDDEN:
            if tag in _BLOCKS:
                out.append(_BLOCKS[tag])
            if tag == "a":
                opened.append(len(out))
            if tag == "pre":
                pre += 1
            stack.append((node, True))
            child = node.last_child
            while child is not None:
                stack.append((child, False))
                child = child.prev
    return _joined(out)


def _joined(parts: Sequence[str | int]) -> str:
    """The parts as one text, neighbouring numbers as their largest number of line ends."""
    text: list[str] = []
    ends = 0
    for part in parts:
        if isinstance(part, int):
            ends = max(ends, part)
        elif part:
            text.append("\n" * ends + part)
            ends = 0
    return "".join(text)


def _classes(node: LexborNode) -> frozenset[str]:
    return frozenset((node.attributes.get("class") or "").split())


def _emoji(node: LexborNode) -> str:
    """A custom emoji that its server put in as a picture, by its shortcode; other pictures are attachments."""
    alt = node.attributes.get("alt") or ""
    return alt if _SHORTCODE.fullmatch(alt) else ""


def _link(node: LexborNode, shown: str) -> str:
    """What stands for a link in plain text."""
    shown = " ".join(shown.split())
    target = one_line(node.attributes.get("href") or "")
    if _classes(node) & {"mention", "hashtag"} or regex.fullmatch(r"[@#]\S+", shown):
        return shown
    if not is_web_address(target):
        return shown
    visible = _bare(shown.removesuffix("…").removesuffix("..."))
    whole = _bare(target)
    host = regex.split(r"[/?#]", whole, maxsplit=1)[0]
    if not shown or (whole.startswith(visible) and len(visible) >= len(host)):
        return target
    return f"{shown} ({target})"


def _bare(address: str) -> str:
    bare: str = regex.sub(r"(?i)\A(?:https?://)?(?:www\.)?", "", address)
    return bare.rstrip("/")


def is_web_address(address: str) -> bool:
    """True for a link that we keep: http or https, one word, of a sane length."""
    return len(address) <= LONGEST_LINK and regex.fullmatch(r"(?i)https?://[^\s<>\"']+", address) is not None


def links(text: str) -> list[str]:
    """The web addresses in it."""
    return [found[0] for found in _URL.finditer(text)]


def without_links(text: str) -> str:
    """`text` with its web addresses cut out."""
    rest: str = _URL.sub(" ", text)
    return rest


def without_names_at_start(text: str) -> str:
    """`text` without the @names that it begins with."""
    rest: str = _NAMES_AT_START.sub("", text, count=1)
    return rest


def normalised(text: str) -> str:
    """Letters, digits and addresses in one case, blank-separated: equal for texts that only typography tells apart."""
    visible = _JOINERS.sub("", neutralise(text))
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", visible).casefold())
    return " ".join(_PIECES.findall(folded))


def shorten(text: str, limit: int, ellipsis: str = "…") -> str:
    """At most `limit` code points of `text`, cut between graphemes and at a blank where one is near; `ellipsis` tells that it was cut."""
    if len(text) <= limit:
        return text
    room = limit - len(ellipsis)
    if room <= 0:
        return ellipsis[: max(limit, 0)]
    end = 0
    for grapheme in _GRAPHEME.finditer(text, 0, room + MOST_MARKS):
        if grapheme.end() > room:
            break
        end = grapheme.end()
    end = end or room  # one grapheme longer than the room: a letter under a pile of marks
    blank = max(text.rfind(" ", 0, end), text.rfind("\n", 0, end))
    if blank > end * 3 // 4:
        end = blank
    return text[:end].rstrip() + ellipsis


def classifier_input(mention: Mention) -> str:
    """What the classifier reads of a mention: warning, text without the @names at its start, poll options, alt texts; one a line.

    In the letters that a reader takes them for: see `plain_letters`.
    """
    parts = [mention.warning, without_names_at_start(mention.text), *mention.poll, *(a.description for a in mention.attachments)]
    return shorten(plain_letters("\n".join(part.strip() for part in parts if part.strip())), CLASSIFIER_CHARACTERS)


def plain_letters(text: str) -> str:
    """`text` as its words are read, so that no disguise of a letter changes a word: calling it again changes nothing.

    What can't be seen is gone, as are strokes through and piles over letters. Compatibility forms (full width, mathematical,
    circled) are the letters that they are forms of. Letters of other alphabets that look like Latin ones are those, in a word that
    has Latin letters as well, and everywhere in a text that holds no other letters of those alphabets.
    """
    if _ODD.search(text) is None:
        return text
    text = neutralise(text).translate(_FORMS)
    if not unicodedata.is_normalized("NFKC", text):
        text = unicodedata.normalize("NFKC", text)
    text = _STROKES.sub("", text)
    if _OTHER_ALPHABET.search(text) is None:
        return text
    if _LATIN.search(text) and not _NOT_ALIKE.search(text):
        return text.translate(_ALIKE)
    plain: str = _LETTERS.sub(_as_latin, text)
    return plain


def _as_latin(word: regex.Match[str]) -> str:
    """The word in Latin letters, where it has some and its others look like some."""
    letters: str = word[0]
    if _OTHER_ALPHABET.search(letters) is None or _LATIN.search(letters) is None or _NOT_ALIKE.search(letters):
        return letters
    return letters.translate(_ALIKE)


def counted_length(text: str, url_length: int = URL_LENGTH) -> int:
    """The length of a post as Mastodon counts it: graphemes, any link as `url_length`, `@name@host` as `@name`.

    A link that Mastodon might not recognise (no public host name) counts in full where that is longer.
    """

    def stand_in(match: regex.Match[str]) -> str:
        link = match[0]
        return "x" * (url_length if _PUBLIC_HOST.match(link) else max(url_length, len(link)))

    return sum(1 for _ in _GRAPHEME.finditer(_REMOTE_NAME.sub(r"\1", _URL.sub(stand_in, text))))


def split_post(text: str, limit: int, url_length: int = URL_LENGTH) -> list[str]:
    """`text` as posts of at most `limit` counted characters, cut at paragraphs, sentences or words and numbered `(1/3)` if there are many.

    Raises ValueError for a limit that leaves no room for numbered text, and for more than `MOST_PARTS` posts.
    """
    text = neutralise(text).strip()
    if counted_length(text, url_length) <= limit:
        return [text] if text else []
    room = limit - len(" (99/99)")
    if room < url_length:
        raise ValueError(f"a limit of {limit} characters leaves no room for text")
    parts: list[str] = []
    while text:
        if len(parts) == MOST_PARTS:
            raise ValueError(f"the text needs more than {MOST_PARTS} posts of {limit} characters")
        end = _fitting(text, room, url_length)
        parts.append(text[:end].rstrip())
        text = text[end:].lstrip()
    return [f"{part} ({number}/{len(parts)})" for number, part in enumerate(parts, 1)]


def _fitting(text: str, room: int, url_length: int) -> int:
    """Where to cut: the longest run of words that fits, shortened to the last paragraph or sentence in its second half."""
    end = used = 0
    for word in _WORD.finditer(text):
        used += counted_length(word[0].rstrip(), url_length)
        if used > room:
            break
        end = word.end()
        used += len(word[0]) - len(word[0].rstrip())
    else:
        return len(text)
    if end == 0:  # one word longer than a post
        ends: list[int] = [grapheme.end() for grapheme in islice(_GRAPHEME.finditer(text), room)]
        return ends[-1]
    for mark in (r"\n\s*\n", r"[.!?…。！？][\"'”’)\]]*\s", r"\n"):
        cuts: list[int] = [found.end() for found in regex.finditer(mark, text, endpos=end) if found.end() >= end // 2]
        if cuts:
            return cuts[-1]
    return end


def safe_name(display_name: str) -> str:
    """A display name fit to greet with, or "" for one that is empty, only emoji, or tries something (addresses, @names, markup, bidi).

    At most `NAME_CHARACTERS` graphemes; longer ones are not names.
    """
    name = _SHORTCODE.sub(" ", display_name)
    if neutralise(name) != name or _HOSTILE_NAME.search(name):
        return ""
    name = one_line(regex.sub(r"[\p{Extended_Pictographic}\p{EMod}\p{RI}\uFE0F\u200D]", " ", name))
    if not regex.search(r"\p{L}", name) or len(_GRAPHEME.findall(name)) > NAME_CHARACTERS:
        return ""
    return unicodedata.normalize("NFC", name)

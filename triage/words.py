"""Words as the config writes them: whole, whatever their case, `*` for any ending. Pure; imports nothing of ours."""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Sequence
from functools import lru_cache


def word_in(words: Sequence[str], text: str) -> str | None:
    """The first of the words that the text holds, as the config writes it."""
    flat = _flat(text)
    return next((word for word in words if (pattern := _pattern(word)) is not None and pattern.search(flat)), None)


def place_of(words: Sequence[str], text: str) -> tuple[int, int] | None:
    """Where the first of the words that the text holds stands in it, from start to end; None where it holds none."""
    flat = _flat(text)
    for word in words:
        pattern = _pattern(word)
        if pattern is not None and (found := pattern.search(flat)):
            return _unflat(text, found.start()), _unflat(text, found.end())
    return None


def _unflat(text: str, at: int) -> int:
    """The place in `text` of a place in its flat form, which may be longer or shorter (`ß` is `ss` there)."""
    return bisect_left(range(len(text)), at, key=lambda end: len(_flat(text[:end])))


def _flat(text: str) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


# Scripts that put no spaces between words: there a word has no edge that could be asked for.
_NO_SPACES = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]")


@lru_cache(maxsize=2048)
def _pattern(word: str) -> re.Pattern[str] | None:
    """A rule's word as a pattern over flattened text; None for one that holds nothing to look for."""
    word = _flat(word).strip()
    prefix = word.endswith("*")
    word = word.rstrip("*").strip()
    if not word:
        return None
    body = r"\s+".join(re.escape(part) for part in word.split())
    before = "" if _NO_SPACES.match(word[0]) or not _is_wordly(word[0]) else r"(?<!\w)"
    after = "" if prefix or _NO_SPACES.match(word[-1]) or not _is_wordly(word[-1]) else r"(?!\w)"
    return re.compile(before + body + after)


def _is_wordly(letter: str) -> bool:
    """Can it stand inside a word? `c++` ends in something that can't, and needs no edge there."""
    return letter.isalnum() or letter == "_"

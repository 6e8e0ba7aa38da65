"""In which order posts are shown to a person who labels: what teaches most comes first, and a share is drawn by lot."""

from __future__ import annotations

import random
import re
from collections import deque
from collections.abc import Iterator, Sequence

from triage.store.models import Unlabelled

NEWEST = 2_000  # mentions that are looked at
BY_LOT_EVERY = 5  # each fifth post: labels of what the model doubts alone would be a biased sample
_ALIKE = 80.0  # per cent of the letters
_APART = 20  # posts that nothing alike is shown within


def ordered(posts: Sequence[Unlabelled], seed: int | None = None) -> Iterator[tuple[Unlabelled, bool]]:
    """Each post once, and whether it was drawn by lot.

    Those of which the model is not sure come first, the smallest margin between its two likeliest labels first; what is nearly the
    same as one of the last twenty waits for the end. `seed` makes the lots repeat.
    """
    lots = list(posts)
    random.Random(seed).shuffle(lots)
    ranked = _apart(sorted(posts, key=lambda one: (one.verdict.sure, margin(one), -one.id)))
    shown: set[int] = set()
    while len(shown) < len(posts):
        by_lot = len(shown) % BY_LOT_EVERY == BY_LOT_EVERY - 1
        one = next(post for post in (lots if by_lot else ranked) if post.id not in shown)
        (lots if by_lot else ranked).remove(one)
        shown.add(one.id)
        yield one, by_lot


def margin(one: Unlabelled) -> float:
    """How far the two likeliest labels lie apart, 0 to 1: the smaller, the more a label teaches."""
    first, second = sorted(one.verdict.scores.values(), reverse=True)[:2]
    return first - second


def _apart(posts: Sequence[Unlabelled]) -> list[Unlabelled]:
    """The posts in their order, but for those that are nearly the same as one shortly before: they come last."""
    from rapidfuzz import fuzz

    placed: list[Unlabelled] = []
    waiting: list[Unlabelled] = []
    last: deque[str] = deque(maxlen=_APART)
    for one in posts:
        bare = " ".join(re.findall(r"\w+", re.sub(r"\d+", "0", one.mention.text.casefold())))
        if any(fuzz.ratio(bare, other, score_cutoff=_ALIKE) for other in last):
            waiting.append(one)
        else:
            placed.append(one)
            last.append(bare)
    return [*placed, *waiting]

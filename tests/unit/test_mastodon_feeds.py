"""Walking a list forward: no entry, however odd its id, may hold up those behind it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from triage.platforms.mastodon_feeds import Entry, forward, newest_keys

LIMIT = 40


def is_cut(kept: Sequence[int], count: int) -> bool:
    """Whether a walk says that something is missing: the list holds `kept` of `count` entries, of which the first 30 were read."""
    listed = Listed(["own"] * count)
    seen = newest_keys([], listed.entries[:30])
    listed.ids = [listed.ids[at] for at in kept]
    listed.entries = [listed.entries[at] for at in kept]
    said: list[int] = []
    found = {entry.payload["at"] for page in forward(listed, seen, lambda: said.append(1)) for entry in page}
    assert found == {at for at in kept if at >= 30}
    return bool(said)


class Listed:
    """A server's list. It sorts by ids of its own, and shows in some entries another one, or none."""

    def __init__(self, shown: Sequence[Any]) -> None:
        self.ids = [str(1000 + number) for number in range(len(shown))]
        self.entries = [Entry.of({"id": self.ids[at] if one == "own" else one, "at": at}) for at, one in enumerate(shown)]

    def __call__(self, *, min_id: str | None = None, max_id: str | None = None) -> Sequence[Entry]:
        """A page, oldest first."""
        pairs = [
            (own, entry)
            for own, entry in zip(self.ids, self.entries, strict=True)
            if (min_id is None or (len(own), own) > (len(min_id), min_id)) and (max_id is None or (len(own), own) < (len(max_id), max_id))
        ]
        return [entry for _, entry in (pairs[:LIMIT] if min_id else pairs[-LIMIT:])]


@pytest.mark.parametrize("odd", ["1", 5, None, "\ud800"])
@pytest.mark.parametrize("count", [1, 19, 20, 21, 25, 39])
def test_odd_ids_at_the_end_of_a_page_stop_no_poll(odd: Any, count: int) -> None:
    """A page whose last entries show a low id goes on from the newest id before them."""
    listed = Listed(["own"] * 20 + ["own"] + [odd] * count + ["own"] * 45)
    seen = newest_keys([], listed.entries[:20])
    found = {entry.payload["at"] for page in forward(listed, seen) for entry in page}
    assert found >= {20, *range(21 + count, 66 + count)}


@pytest.mark.parametrize(
    ("kept", "cut"),
    [
        (range(200), False),
        (range(25, 200), False),  # it still shows the newest of what we read
        ([0, *range(40, 200)], False),  # it reaches further back than what we read, so what is missing was deleted
        (range(31, 200), True),  # the first that we did not read may be missing
        (range(150, 200), True),
        (range(195, 200), False),  # so few may be all that deletions left
    ],
)
def test_a_list_that_no_longer_reaches_back_is_told(kept: Sequence[int], cut: bool) -> None:
    """A server that keeps only its newest entries leaves a hole after a long outage; one whose authors delete does not."""
    assert is_cut(kept, 200) is cut

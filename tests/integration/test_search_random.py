"""What the list and its search show of a random store is what a look at every post shows, page by page, on both databases."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from random import Random
from typing import Any

import pytest
import sqlalchemy as sa

from tests.contract.store import NOW
from triage.store import Store
from triage.store.filters import Filters
from triage.store.schema import actions, items, mentions, verdicts

WORDS = ("the", "app", "sync", "login", "dark", "mode", "darker", "crash", "rare")
OFTEN = (9, 7, 4, 3, 2, 2, 1, 1, 0)
AUTHORS = ("mira@x.example", "mira@y.example", "omar@y.example")
LABELS = ("bug_report", "praise", "noise")
ANYTHING = ("", "the app -sync", "login author:mira", '-"dark mode"', "dark* label:praise", "author:@omar@y.example app", "rare", "-rare")


@dataclass(frozen=True)
class Post:
    """A mention, as the test remembers it."""

    id: int
    author: str
    source: str
    words: tuple[str, ...]
    label: str
    sure: bool
    private: bool
    open: bool
    assignee: str | None
    asleep: bool
    answered: bool

    def has(self, typed: str) -> bool:
        """Whether it is what was typed, by a plain look at its words."""
        own = re.findall(r"\w+", self.author)
        for part in re.findall(r'-?(?:\w+:)?(?:"[^"]*"|\S+)', typed):
            name, _, value = part.rpartition(":")
            value = value.replace('"', "")
            if name == "label":
                there = self.label == value
            elif name == "author":
                there = self.author == value.removeprefix("@") if "@" in value else value in own
            else:
                asked = value.removeprefix("-")
                begin, text = asked.rstrip("*"), f" {' '.join(self.words)} "
                there = f" {begin}" in text if asked.endswith("*") else f" {asked} " in text or asked in own
            if there == part.startswith("-"):
                return False
        return True

    def fits(self, filters: Filters) -> bool:
        """Whether a list so narrowed shows it."""
        states = {
            "all": True,
            "open": self.open and not self.asleep,
            "mine": self.assignee == "ana" and not self.asleep and not self.answered,
            "snoozed": self.asleep,
            "answered": self.answered,
        }
        return (
            states[filters.state]
            and filters.label in ("", self.label)
            and filters.source in ("", self.source)
            and (self.private or not filters.private)
            and not (self.sure and filters.unsure)
            and (not filters.assigned or self.assignee == (None if filters.assigned == "nobody" else filters.assigned))
            and self.has(filters.q)
        )


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    made = Store(store_url)
    yield made
    made.close()


def test_the_lists_show_what_a_look_at_every_post_shows(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """All words, phrases and filters, in each state; with pieces so small that every way through them is taken."""
    draw = Random(5)
    posts = fill(store, draw)
    for name, value in {"queue.LOOK": 30, "queue.PIECE": 8, "search.FIRST": 3, "search.MOST": 6}.items():
        monkeypatch.setattr(f"triage.store.{name}", value)
    asked = [Filters("all", q=typed) for typed in ANYTHING] + [filters(draw) for _ in range(24)]
    for one in asked:
        found = shown(store, one)
        wanted = [post.id for post in reversed(posts) if post.fits(one)]
        assert (found if one.state == "all" else sorted(found, reverse=True)) == wanted, one


def shown(store: Store, filters: Filters) -> list[int]:
    """The mentions of all pages."""
    found: list[int] = []
    after = ""
    for _ in range(100):
        page = store.queue.page(filters, "ana", NOW, after, 9)
        found += [row.mention for row in page.rows if row.mention is not None]
        after = page.after
        if not after:
            return found
    raise AssertionError(f"the pages have no end: {filters}")


def filters(draw: Random) -> Filters:
    """Something to look for, narrowed in some way or none."""
    typed = [draw.choice(WORDS) for _ in range(draw.randrange(3))]
    typed += draw.choice(([], [], [f'"{draw.choice(WORDS)} {draw.choice(WORDS)}"'], [f"-{draw.choice(WORDS)}"], ["author:mira"], ["da*"]))
    made = Filters(draw.choice(("all", "all", "all", "open", "mine", "snoozed", "answered")), q=" ".join(typed))
    how: dict[str, Any] = draw.choice(
        ({}, {}, {"label": "praise"}, {"source": "quay"}, {"private": True}, {"unsure": True}, {"assigned": "ana"}, {"assigned": "nobody"})
    )
    return replace(made, **how)


def fill(store: Store, draw: Random) -> list[Post]:
    """Posts with gaps between their ids, oldest first; a word that is in no new one is in nearly all of the oldest."""
    posts: list[Post] = []
    for number in sorted(draw.sample(range(1, 400), 120)):
        words = draw.choices(WORDS, OFTEN, k=draw.randrange(1, 7))
        if len(posts) < 25 and draw.random() < 0.9:
            words.append("rare")
        open_, assignee = draw.random() < 0.3, draw.choice((None, None, "ana", "bo"))
        posts.append(
            Post(
                number,
                draw.choice(AUTHORS),
                draw.choice(("acme", "acme", "quay")),
                tuple(words),
                draw.choice(LABELS),
                sure=draw.random() < 0.7,
                private=draw.random() < 0.2,
                open=open_,
                assignee=assignee,
                asleep=draw.random() < 0.2,
                answered=not open_ and draw.random() < 0.5,
            )
        )
    with store.database.write() as connection:
        for table, made in rows(posts).items():
            connection.execute(sa.insert(table), made)
    return posts


def rows(posts: list[Post]) -> dict[sa.Table, list[dict[str, Any]]]:
    """All that the database holds of them: each was taken for noise before somebody said what it is."""
    common = {"platform": "memory", "data": {}, "created_at": NOW, "stored_at": NOW, "read_at": NOW}
    verdict = {"revision": 1, "confidence": 0.9, "by": "robin", "by_person": False, "data": {"signals": []}, "at": NOW}
    task = {"kind": "task", "via": "human", "state": "planned", "reason": "a question", "rule": "ask", "payload": {}, "created_at": NOW}
    return {
        mentions: [
            common
            | {"id": post.id, "uri": f"u{post.id}", "remote_id": f"{post.id}", "source": post.source, "author": post.author}
            | {"text": " ".join(post.words).capitalize(), "visibility": "direct" if post.private else "public"}
            for post in posts
        ],
        verdicts: [verdict | {"mention_id": post.id, "label": "noise", "sure": not post.sure} for post in posts]
        + [verdict | {"mention_id": post.id, "label": post.label, "sure": post.sure} for post in posts],
        actions: [task | {"key": f"k{post.id}", "mention_id": post.id} for post in posts if post.open],
        items: [
            {
                "mention_id": post.id,
                "assignee": post.assignee,
                "snoozed_until": NOW + timedelta(hours=1) if post.asleep else None,
                "answered_at": NOW - timedelta(hours=1) if post.answered else None,
            }
            for post in posts
            if post.assignee or post.asleep or post.answered
        ],
    }

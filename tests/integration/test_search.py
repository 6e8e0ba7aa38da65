"""Search finds the same on both databases, whatever is typed, and knows what was edited, deleted, restored and written by others."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.contract.store import NOW, item
from triage.contracts import Item, Page
from triage.store import Store, search
from triage.store.backup import Backup, write
from triage.store.database import Database, revisions
from triage.store.place import Place
from triage.store.schema import FTS, mentions

TEXTS = (
    "the app crashes on sync/export",
    "Über-cool app, love it",
    "it's 100% <broken> foo_bar at https://example.com/path?x=1",
    "漢字テスト app",
    "crash crash",
)
TYPED = {
    "app": [4, 2, 1],
    "APP": [4, 2, 1],
    "sync": [1],
    "sync/export": [1],
    "Über": [2],
    "Über-cool": [2],
    "<broken>": [3],
    "foo": [3],
    "foo_bar": [3],
    "example.com": [3],
    '"app crashes"': [1],
    '"crashes app"': [],
    '"app crashes': [1],
    "app -love": [4, 1],
    'app -"love it"': [4, 1],
    "crash": [5],
    "crash*": [5, 1],
    "author:mira app": [4, 2, 1],
    "author:@mira@x.example sync": [1],
    "author:mi sync": [],
    "NEAR(": [],
    "AND": [],
    "a:b:c": [],
    "'': & b": [],
    'x" OR "app': [],
}


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    made = Store(store_url)
    made.inbox.add_source("acme", NOW, NOW)
    add(made, *TEXTS)
    yield made
    made.close()


def add(store: Store, *texts: str) -> None:
    known = store.views.count()
    items: list[Item] = [item(known + number, text) for number, text in enumerate(texts)]
    store.inbox.add_page("acme", Page(tuple(items), "c"), expect=None, now=NOW)


def found(store: Store, typed: str) -> list[int]:
    wanted = search.parse(typed)
    with store.database.read() as connection:
        return list(chain.from_iterable(search.newest(connection, wanted, 2**40, 50))) if wanted.is_text else []


def near(store: Store, typed: str, words: search.Near | None = None) -> list[int]:
    with store.database.read() as connection:
        return (words or search.Near()).ids(connection, search.parse(typed), 50)


@pytest.mark.parametrize(("typed", "ids"), TYPED.items())
def test_both_databases_find_the_same(store: Store, typed: str, ids: list[int]) -> None:
    """Newest first; signs within words part them, and what is typed is never the database's own language."""
    assert found(store, typed) == ids
    wanted = search.parse(typed)
    with store.database.read() as connection:
        assert search.among(connection, wanted, [1, 2, 3, 4, 5]) == set(ids)


def test_no_query_fails(store: Store) -> None:
    """A thousand strings of signs that mean something to somebody."""
    draw = random.Random(7)
    signs = ["'", '"', "(", ")", "*", ":", "^", "-", "+", "{", "}", "AND", "OR", "NOT", "NEAR", "a", "app", " ", "\\", "&", "|", "!", "<->"]
    signs += ["\x00", "%", "_", "text", "author:", "label:", "漢", "🏳️‍🌈", "\ud800", "é", "\u202e", "@", "/", "0x1", "1e5", "$1"]
    for _ in range(300):
        typed = "".join(draw.choice(signs) for _ in range(draw.randrange(1, 12)))
        found(store, typed)
        with store.database.read() as connection:
            wanted = search.parse(typed)
            if wanted.words or wanted.without:
                search.among(connection, wanted, [1, 2, 3])
        near(store, typed)


def test_what_must_not_be_there_alone(store: Store) -> None:
    """It is asked of mentions that are at hand."""
    with store.database.read() as connection:
        assert search.among(connection, search.parse("-app"), [1, 2, 3, 4, 5]) == {3, 5}
        assert search.among(connection, search.parse("-app -broken"), [1, 2, 3, 4, 5]) == {5}


def test_typos_are_forgiven(store: Store) -> None:
    """Letters that are wrong, missing or swapped, and parts of words; in scripts without spaces anything that stands there."""
    assert near(store, "carsh") == [5]
    assert near(store, "crashess") == [1]
    assert near(store, "exmaple") == [5, 4, 3, 2, 1]  # the author's server, too
    assert near(store, "テスト") == [4]
    assert near(store, "ap") == []
    words = search.Near()
    assert near(store, "brokn", words) == [3]
    add(store, "it is brokem again")
    assert near(store, "brokn", words) == [3]
    assert near(store, "broken", words) == [6, 3]


def test_the_forgiving_search_stays_within_its_bounds(store: Store) -> None:
    """It forgets the oldest, by their number and by the memory that they take."""
    few = search.Near(newest=4)
    near(store, "app", few)
    add(store, *(f"another app {number}" for number in range(20)))
    assert near(store, "sync", few) == []
    assert len(near(store, "another", few)) == 4
    small = search.Near(most_bytes=4_000)
    near(store, "app", small)
    for round_ in range(20):
        add(store, f"words{round_} that{round_} nobody{round_} wrote{round_} before{round_}")
        near(store, "app", small)
    assert small.size < 8_000
    assert near(store, "nobody19", small) == [45]


def test_an_edit_and_a_deletion_are_known(store: Store) -> None:
    """The old words find nothing, the new ones do, by whatever hand the row was changed."""
    with store.database.write() as connection:
        connection.execute(sa.update(mentions).where(mentions.c.id == 1).values(text="all is well"))
        connection.execute(sa.update(mentions).where(mentions.c.id == 2).values(text="", author=""))
        connection.execute(sa.update(mentions).where(mentions.c.id == 3).values(text=TEXTS[2], attempt=1))
    assert found(store, "sync") == []
    assert found(store, "well") == [1]
    assert found(store, "author:mira app") == [4]
    assert found(store, "broken") == [3]
    assert sound(store)


def sound(store: Store) -> bool:
    """SQLite compares its index with the rows itself, and fails where they differ."""
    if store.database.is_sqlite:
        with store.database.write() as connection:
            connection.execute(sa.text(f"INSERT INTO {FTS}({FTS}, rank) VALUES ('integrity-check', 1)"))
    return True


def test_a_store_of_the_version_before_is_searched_whole(blank_url: str) -> None:
    """Its mentions are in the index after the upgrade."""
    database = Database(blank_url)
    with database.write() as connection:
        database.upgrade(connection, revisions()[-2])
        row = {"uri": "u", "platform": "memory", "source": "acme", "remote_id": "1", "author": "mira@x.example", "visibility": "public"}
        times = {"created_at": NOW, "stored_at": NOW, "read_at": NOW}
        connection.execute(sa.insert(mentions).values(row | times | {"text": "an old post", "data": {}}))
    database.close()
    store = Store(blank_url)
    assert found(store, "old") == [1]
    assert sound(store)
    store.close()


def test_a_restored_store_is_searched(store: Store, store_url: str, tmp_path: Path) -> None:
    """Into an empty store, and over one that holds something else."""
    write(store.database, tmp_path / "b.tar", NOW, model=None, shipped="x", force=False)
    add(store, "a post that is not in the backup")
    store.close()
    with Backup.open(tmp_path / "b.tar") as backup:
        backup.restore(store_url, lambda database: Place(database, tmp_path), NOW, "robin", force=True)
    again = Store(store_url)
    assert found(again, "sync") == [1]
    assert found(again, "backup") == []
    assert sound(again)
    again.close()


@pytest.mark.parametrize("text", ["x" * 3_000_000, "word " * 300_000, " ".join(f"w{n}" for n in range(150_000)), "x" * 5_000 + " end"])
def test_no_text_is_too_long_for_the_index(store: Store, text: str) -> None:
    """A post of megabytes is stored, and found by its beginning."""
    mention = item(90, "here " + text).mention
    assert mention is not None
    store.inbox.add_page("acme", Page((Item("90", b"{}", replace(mention)),), "d"), expect="c", now=NOW)
    assert found(store, "here") == [6]
    assert near(store, "here") == [6]

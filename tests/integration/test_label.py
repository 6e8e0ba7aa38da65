"""`triage label`: what is asked first, what a key does, and what is left when a person changes their mind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.service import CONFIG, Service, service
from triage.cli import cli
from triage.cli.label import PROMPT
from triage.mention import Author, Label, Mention, Verdict, Visibility
from triage.pipeline import judge, learning
from triage.pipeline.labelling import BY_LOT_EVERY, margin, ordered
from triage.store.models import Unlabelled

WORDS = [
    "alder",
    "birch",
    "cedar",
    "dogwood",
    "elm",
    "fir",
    "ginkgo",
    "hazel",
    "ivy",
    "juniper",
    "kapok",
    "larch",
    "maple",
    "nutmeg",
    "oak",
    "pine",
    "quince",
    "rowan",
    "spruce",
    "teak",
]


def unlabelled(id_: int, text: str, first: float, *, sure: bool = False) -> Unlabelled:
    """A mention with a verdict whose likeliest label has the score `first`, and the next one the rest."""
    scores = {"bug_report": first, "noise": 1 - first, "praise": 0.0, "support_question": 0.0}
    when = datetime(2026, 5, 1, tzinfo=UTC)
    mention = Mention(f"https://x.example/{id_}", "memory", "acme", str(id_), Author("mira@x.example"), text, when)
    return Unlabelled(id_, mention, Verdict(Label.BUG_REPORT, first, scores, sure, "test"))


def different(count: int) -> list[Unlabelled]:
    """Posts that have nothing in common, each surer than the one before."""
    return [
        unlabelled(number, " ".join(WORDS[(number * step) % 20] for step in (1, 3, 7)) + f" {'xyzuvw'[number % 6] * 9}", 0.5 + number / 100)
        for number in range(1, count + 1)
    ]


# The order


def test_what_the_model_doubts_most_comes_first_and_each_fifth_is_drawn_by_lot() -> None:
    """The unsure before the sure, the smallest margin first; every post comes once."""
    posts = [replace(one, verdict=replace(one.verdict, sure=one.id % 2 == 0)) for one in different(18)]
    found = list(ordered(posts, seed=3))
    assert [number for number, (_, by_lot) in enumerate(found, 1) if by_lot] == [5, 10, 15]
    asked = [one for one, by_lot in found if not by_lot]
    assert asked == sorted(asked, key=lambda one: (one.verdict.sure, margin(one)))
    assert sorted(one.id for one, _ in found) == list(range(1, 19))
    assert found == list(ordered(posts, seed=3))
    assert [one.id for one, _ in ordered(posts, seed=4)] != [one.id for one, _ in found]


def test_lots_are_drawn_from_all_posts_alike() -> None:
    """Over many seeds each post is the first lot about as often, but for those that have been shown before it."""
    posts = different(14)
    drawn = [next(one.id for one, by_lot in ordered(posts, seed) if by_lot) for seed in range(1_000)]
    assert set(drawn) == set(range(BY_LOT_EVERY, 15))
    assert all(60 <= drawn.count(id_) <= 145 for id_ in set(drawn))


def test_near_copies_do_not_follow_each_other() -> None:
    """A wave of the same complaint is shown once; its copies come last."""
    copies = [unlabelled(number, f"The export to PDF is empty since version 3.{number}!", 0.5) for number in range(100, 110)]
    found = [one.id for one, by_lot in ordered([*copies, *different(12)], seed=1) if not by_lot]
    first = next(id_ for id_ in found if id_ >= 100)
    assert found.index(first) < 2
    others = [found.index(id_) for id_ in found if id_ >= 100 and id_ != first]
    assert min(others) >= len([id_ for id_ in found if id_ < 100])


# The command


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Service]:
    """A service that acts."""
    made = service(tmp_path, f"sqlite:///{tmp_path}/triage.db")
    yield made
    made.close()


@pytest.fixture
def label(app: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Result]:
    """`triage label` with these keys in its pipe, and the posts in the order in which they came but for the lots."""
    (tmp_path / "config.yaml").write_text(CONFIG.format(mode="act", folder=tmp_path, store=f"sqlite:///{tmp_path}/triage.db", source=""))
    monkeypatch.setenv("TRIAGE_CONFIG", str(tmp_path / "config.yaml"))
    monkeypatch.setenv("TRIAGE_USER", "ana")
    monkeypatch.setattr("triage.pipeline.labelling.ordered", lambda posts: [(one, False) for one in reversed(posts)])
    return lambda keys: CliRunner().invoke(cli, ["label"], input=keys, catch_exceptions=False)


def posted(app: Service, *texts: str) -> None:
    """Mentions that come in and are judged."""
    for number, text in enumerate(texts):
        app.acme.post(f"w{number}@x.example", text)
    app.pass_()


def labels(app: Service) -> dict[int, str]:
    """What people said, by mention."""
    return {row["id"]: row["label"] for row in app.store.views.export() if row["by_person"]}


def test_one_key_a_post(app: Service, label: Callable[[str], Result]) -> None:
    """Keys may stand on lines of their own; a key that means nothing is asked again; the end of the pipe ends it."""
    posted(app, "hello one", "hello two", "hello three", "hello four", "hello five")
    ran = label("1\n2\nx\ns\n4")
    assert labels(app) == {1: "bug_report", 2: "support_question", 4: "noise"}
    assert "mode is act: a label has its consequences" in ran.output
    assert "likely: noise 95%" in ran.output
    assert ran.output.count("mention 3 ") == 1
    assert "3 labelled" in ran.output.splitlines()[-2]
    assert [action["kind"] for action in app.actions("ticket")] == ["ticket"], "a bug that was missed is filed"
    label("3 3 q 1")
    assert labels(app) == {1: "bug_report", 2: "support_question", 3: "praise", 4: "noise", 5: "praise"}
    assert "every mention that was judged is labelled" in label("").output


def test_undo_takes_the_last_answer_back_without_a_trace(app: Service, label: Callable[[str], Result]) -> None:
    """The post is shown again, nothing was filed, and the trail knows nothing of it; only the last one can be undone."""
    posted(app, "hello one", "hello two", "hello three")
    ran = label("4 1 u u 3 q")
    assert labels(app) == {1: "noise", 2: "praise"}
    assert app.actions("ticket") == []
    assert ran.output.count("mention 2 ") == 3
    assert "nothing to undo" in ran.output
    assert "2 labelled" in ran.output.splitlines()[-2]
    events = [event["what"] for event in app.store.views.show(2)["events"]]
    assert "judged bug_report" not in events


def test_who_stops_it_keeps_all_but_the_last_answer(app: Service, label: Callable[[str], Result], monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C: the answer that nobody has confirmed by going on is forgotten."""
    posted(app, "hello one", "hello two", "hello three")
    keys = iter(["4", "1"])

    def read() -> str:
        try:
            return next(keys)
        except StopIteration:
            raise KeyboardInterrupt from None

    monkeypatch.setattr("triage.cli.common._pressed", read)
    assert label("").exit_code == 1
    assert labels(app) == {1: "noise"}


def test_what_a_post_answers_and_its_link_are_shown(app: Service, label: Callable[[str], Result]) -> None:
    """The parent where it is known, the link at a key, and a private post is marked."""
    parent = app.acme.post("mira@x.example", "hello, which of the two?")
    app.pass_()
    post = app.acme.post("noor@x.example", "hello, the second", reply_to=parent.remote_id, visibility=Visibility.PRIVATE)
    app.pass_()
    ran = label("s o q")
    assert "answers mira@x.example: hello, which of the two?" in ran.output
    assert post.url in ran.output
    assert "noor@x.example  private" in ran.output
    assert labels(app) == {}


def test_the_keys_are_shown_when_asked_for(app: Service, label: Callable[[str], Result]) -> None:
    """`?` tells what each key and each label means, and another key that it is none; the post waits."""
    posted(app, "hello one")
    ran = label("? x 3")
    for line in ("  1 bug report        something of ours does not do what it should", "  u                   take the last answer back"):
        assert ran.output.count(line) == 1
    assert f"'x' is no answer; {PROMPT}" in ran.output
    assert PROMPT == "1 bug report · 2 support question · 3 praise · 4 noise · s skip · u undo · o link · q quit · ? help"
    assert ran.output.count("mention 1 ") == 1
    assert labels(app) == {1: "praise"}


def test_a_post_that_changed_meanwhile_is_not_labelled(
    app: Service, label: Callable[[str], Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is said, it does not count, and the others go on."""
    posted(app, "hello one", "hello two")
    relabel = judge.relabel

    def changing(parts: Service, mention_id: int, chosen: str, by: str) -> list[int]:
        if mention_id == 1:
            from triage.errors import UserError

            raise UserError("mention 1 has just changed")
        return relabel(parts, mention_id, chosen, by)

    monkeypatch.setattr(judge, "relabel", changing)
    ran = label("4 4")
    assert "not kept: mention 1 has just changed" in ran.output
    assert labels(app) == {2: "noise"}
    assert "1 labelled" in ran.output.splitlines()[-2]


def test_it_says_when_a_training_pays(app: Service, label: Callable[[str], Result], monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted are the corrections that may be learned from."""
    posted(app, *(f"hello {word}" for word in WORDS))
    monkeypatch.setattr(learning, "WORTH_TRAINING", 4)
    assert "from 4 on it pays to train again" in label("4").output
    assert "it pays to train again (triage train)" in label("4" * 15).output.splitlines()[-1]
    assert learning.new_corrections(app) >= 4


def test_only_what_nobody_labelled_and_nobody_has_to_audit_blindly_is_shown(tmp_path: Path, store_url: str) -> None:
    """Not what is deleted, quarantined, not judged yet, labelled by anybody, or drawn for a blind audit."""
    import sqlalchemy as sa

    from triage.store.schema import samples, verdicts

    made = service(tmp_path, store_url)
    gone = made.acme.post("a@x.example", "hello, gone soon")
    posted(made, "hello one", "hello two", "unjudgeable", "hello three", "hello four")
    made.acme.delete(gone.remote_id)
    made.pass_(hours=2)
    judge.relabel(made, made.store.desk.mention_id("2"), "praise", "ana")
    with made.store.database.write() as connection:
        verdict = connection.execute(sa.select(verdicts).where(verdicts.c.mention_id == 3)).mappings().one()
        row = {
            "mention_id": 3,
            "verdict_id": verdict["id"],
            "rule": "r",
            "digest": "d",
            "label": "noise",
            "model": "m",
            "alone": True,
            "share": 0.1,
        }
        connection.execute(sa.insert(samples).values(row | {"drawn_at": made.clock.now()}))
    made.acme.post("z@x.example", "not judged yet")
    found = made.store.models.unlabelled(10)
    assert [one.mention.text for one in found] == ["hello four", "hello three"]
    assert found[0].verdict.scores["noise"] == 0.95
    assert [one.id for one in made.store.models.unlabelled(1)] == [found[0].id]
    made.close()

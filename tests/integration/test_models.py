"""The life of a model in a running service: trained, judged by the gate, in the shadow, promoted, rolled back, tampered with."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Barrier, Event, Thread
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result

from tests.fixtures_services import eventually
from tests.service import CONFIG, HandClock, Service, service
from triage import classifier as classifiers
from triage.app import App
from triage.classifier import Classifier, archive, corpus_folder, gate, model_folder, read_corpus
from triage.cli import cli
from triage.config import load
from triage.errors import ModelError, StoreError, UserError
from triage.mention import Label
from triage.pipeline import judge, learning
from triage.pipeline.registry import AGAIN_AFTER
from triage.store.models import FILES_KEPT, looked_into
from triage.store.schema import audit, models

LEARNED, HELD = 12, 12  # topics of the shipped corpus: to train on in two seconds, and to be judged by
LEAST = 100


@dataclass(frozen=True)
class Made:
    """A model that was trained for these tests."""

    version: str
    folder: Path
    card: dict[str, Any]
    files: bytes


@dataclass(frozen=True)
class World:
    """What all tests share: two models, the corpus of the good one, and a reference set that neither has seen."""

    good: Made
    bad: Made
    corpus: Path
    reference: Path


def write(folder: Path, rows: Sequence[dict[str, str]]) -> Path:
    """Posts as a folder that a corpus is read from."""
    folder.mkdir(parents=True)
    (folder / "posts.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return folder


def trained(corpus: Path, out: Path) -> Made:
    """A model of this corpus."""
    card = classifiers.train(corpus, out, least=LEAST)
    return Made(card.version, out, card.model_dump(mode="json"), archive.pack(out))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """The bad model has learned from the same posts, each with the label that another one has."""
    folder = tmp_path_factory.mktemp("world")
    topics: dict[str, list[dict[str, str]]] = defaultdict(list)
    for post in read_corpus(corpus_folder()).posts:
        topics[post.topic].append({name: str(getattr(post, name)) for name in ("id", "text", "label", "lang", "topic", "form")})
    largest = sorted(topics.values(), key=len, reverse=True)
    rows = [row for topic in largest[:LEARNED] for row in topic]
    reference = write(folder / "reference", [row for topic in largest[LEARNED : LEARNED + HELD] for row in topic])
    corpus = write(folder / "corpus", rows)
    wrong = dict(zip(Label, [*list(Label)[1:], Label.BUG_REPORT], strict=True))
    shuffled = write(folder / "shuffled", [row | {"label": str(wrong[Label(row["label"])])} for row in rows])
    return World(trained(corpus, folder / "good"), trained(shuffled, folder / "bad"), corpus, reference)


@pytest.fixture(autouse=True)
def _real(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The service judges with real models here, and the reference set is the small one."""
    monkeypatch.setattr(Service, "classify", App.classify)
    monkeypatch.setattr(Service, "explain", App.explain)
    monkeypatch.setattr(gate, "reference_folder", lambda: world.reference)


@pytest.fixture
def app(tmp_path: Path, store_url: str) -> Iterator[Service]:
    """A service in which nothing was trained yet."""
    made = service(tmp_path, store_url)
    yield made
    made.close()


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Service]:
    """The same on SQLite alone, for what does not hang on the database."""
    made = service(tmp_path, f"sqlite:///{tmp_path}/triage.db")
    yield made
    made.close()


def keep(app: App, *made: Made) -> None:
    """Put these models into the store as candidates."""
    for one in made:
        app.store.models.add(one.version, one.card, one.files, "ana", app.clock.now())


def act(app: App, made: Made) -> None:
    """Let a model act, whatever the gate would say; the tests need one to begin with."""
    app.store.models.activate(made.version, over=app.store.models.standing().active, by="ana", now=app.clock.now(), what="promoted a model")


def judged_by(app: Service, text: str) -> str:
    """Who judges a post that comes now."""
    post = app.acme.post("mira@x.example", text)
    app.pass_()
    found: str = app.store.views.show(app.store.desk.mention_id(post.uri))["verdict"]["by"]
    return found


def state(app: App, made: Made) -> str:
    """A model's state."""
    kept = app.store.models.get(made.version)
    assert kept is not None
    return kept.state


def trail(app: App) -> list[str]:
    """What was done with models, from the trail."""
    with app.store.database.read() as connection:
        lines = connection.execute(sa.select(audit).where(audit.c.mention_id.is_(None)).order_by(audit.c.id)).mappings().all()
    return [f"{line['who']} {line['what']}" for line in lines if "model" in line["detail"]]


def label_many(app: Service, count: int, label: str = "praise") -> None:
    """So many posts come in and get this label from a person."""
    for number in range(count):
        app.acme.post(f"w{number}@x.example", f"hello, this is number {number} and it says {'abcdefghij'[number % 10] * 5}")
    app.pass_()
    for one in app.store.models.unlabelled(count):
        judge.relabel(app, one.id, label, "ana")


TEXT = "hello there, nice weather"


# Promotion and rollback


def test_workers_take_a_promotion_and_a_rollback_without_a_restart(app: Service, world: World) -> None:
    """Within some seconds the verdicts name the new model, and the old one again after the way back."""
    shipped = app.classifier().card.version
    assert judged_by(app, TEXT) == shipped
    keep(app, world.bad, world.good)
    assert judged_by(app, f"{TEXT} again") == shipped, "a candidate judges nothing"
    act(app, world.bad)
    app.clock.move(seconds=1)
    assert app.classifier().card.version == shipped, "the store is not asked for each batch"
    assert judged_by(app, f"{TEXT} today") == world.bad.version
    found = learning.promote(app, world.good.version, "bo")
    assert (found.passed, found.today) == (True, world.bad.version)
    assert "and better: " in found.reason
    assert judged_by(app, f"{TEXT} tomorrow") == world.good.version
    assert learning.rollback(app, "bo") == world.bad.version
    assert judged_by(app, f"{TEXT} yesterday") == world.bad.version
    assert (state(app, world.good), state(app, world.bad)) == ("retired", "active")
    assert trail(app) == [
        "ana trained a model",
        "ana trained a model",
        "ana promoted a model",
        "bo the gate: passed",
        "bo promoted a model",
        "bo rolled a model back",
    ]


def test_rolling_back_goes_step_by_step_to_the_one_that_ships(app: Service, world: World) -> None:
    """Each step back is to the model over which today's was promoted; `default` is the last one at once."""
    shipped = app.classifier().card.version
    again = Made(*(getattr(world.good, name) for name in ("version", "folder", "card", "files")))
    keep(app, world.bad, again)
    app.store.models.judged(world.bad.version, passed(shipped, world.bad.version).as_json(), refused=False, by="ana", now=app.clock.now())
    assert learning.promote(app, world.bad.version, "ana").passed
    app.clock.move(seconds=11)
    assert learning.promote(app, again.version, "ana").passed
    app.clock.move(seconds=11)
    assert learning.rollback(app, "ana") == world.bad.version
    assert learning.rollback(app, "ana") == shipped
    with pytest.raises(UserError, match=r"the model that ships acts.* Next: "):
        learning.rollback(app, "ana")
    act(app, again)
    assert learning.rollback(app, "ana", "default") == shipped
    assert app.store.models.standing().active is None


def passed(today: str, challenger: str) -> gate.Gate:
    """A gate that was passed."""
    return gate.Gate(today, challenger, "passed", "it is nowhere worse", ())


def test_a_rollback_to_a_model_whose_files_are_gone_says_so(small: Service, world: World) -> None:
    """What is left is the one that ships."""
    keep(small, world.bad, world.good)
    act(small, world.bad)
    assert learning.promote(small, world.good.version, "ana").passed
    with small.store.database.write() as connection:
        connection.execute(sa.update(models).where(models.c.version == world.bad.version).values(files=b""))
    with pytest.raises(UserError, match=r"its files are not kept any more\. Next: triage models rollback default"):
        learning.rollback(small, "ana")
    assert state(small, world.good) == "active"


def test_of_two_promotions_at_once_one_wins(tmp_path: Path, store_url: str, world: World) -> None:
    """The other one is told who was faster; exactly one model acts."""
    clock = HandClock()
    both = [service(tmp_path, store_url, clock=clock, started=False) for _ in range(2)]
    keep(both[0], world.good, world.bad)
    start, said = Barrier(2), []

    def go(app: Service, made: Made) -> None:
        start.wait()
        try:
            app.store.models.activate(made.version, over=None, by="ana", now=clock.now(), what="promoted a model")
            said.append("won")
        except UserError as error:
            said.append(str(error))

    threads = [Thread(target=go, args=(app, made)) for app, made in zip(both, (world.good, world.bad), strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winner = both[0].store.models.standing().active
    assert max(said) == "won"
    assert f"somebody was faster: {winner} acts since a moment ago, not the one that ships" in min(said)
    assert sorted([state(both[0], world.good), state(both[0], world.bad)]) == ["active", "candidate"]
    for app in both:
        app.close()


def test_a_batch_is_judged_by_one_model_whatever_happens_meanwhile(small: Service, world: World) -> None:
    """Four threads judge while models come and go: none fails, and no batch is mixed."""
    keep(small, world.good, world.bad)
    shipped, batches, over = small.classifier().card.version, [], Event()

    def go() -> None:
        while not over.is_set():
            batches.append({verdict.by for verdict in small.classifier().classify([TEXT, "it is broken"] * 4)})

    threads = [Thread(target=go) for _ in range(4)]
    for thread in threads:
        thread.start()
    for made in (world.good, world.bad, world.good):
        act(small, made)
        small.clock.move(seconds=11)
        assert eventually(partial(lambda version: {version} in batches[-8:], made.version))
    over.set()
    for thread in threads:
        thread.join()
    assert {len(names) for names in batches} == {1}
    assert {name for names in batches for name in names} == {shipped, world.good.version, world.bad.version}


def test_a_gate_against_another_model_is_asked_again(small: Service, world: World) -> None:
    """What was passed against yesterday's model says nothing of today's."""
    keep(small, world.bad, world.good)
    small.store.models.judged(
        world.bad.version, passed("model-of-old", world.bad.version).as_json(), refused=False, by="ana", now=small.clock.now()
    )
    act(small, world.good)
    found = learning.promote(small, world.bad.version, "ana")
    assert (found.outcome, found.today) == ("refused", world.good.version)
    assert (state(small, world.bad), state(small, world.good)) == ("refused", "active")
    with pytest.raises(UserError, match=r"was refused by the gate, and stays so\. Next: see why \(triage models show"):
        learning.promote(small, world.bad.version, "ana")
    with pytest.raises(UserError, match="can't act"):
        act(small, world.bad)
    with pytest.raises(UserError, match="acts already"):
        learning.promote(small, world.good.version, "ana")


def test_a_pinned_model_is_not_replaced(tmp_path: Path, world: World) -> None:
    """The config has the last word, and says how to get out of the way."""
    made = service(tmp_path, f"sqlite:///{tmp_path}/triage.db", rules=f"model: {world.good.folder}\n")
    keep(made, world.bad)
    act(made, world.bad)
    assert judged_by(made, TEXT) == world.good.version
    for call in (lambda: learning.promote(made, world.bad.version, "ana"), lambda: learning.rollback(made, "ana")):
        with pytest.raises(UserError, match=r"the config pins the model to .* Next: take the line `model` out"):
            call()
    assert learning.acting(made).origin == f"pinned by the config to {world.good.folder}"
    made.close()


# Training and the gate


@pytest.fixture
def recorded(world: World, monkeypatch: pytest.MonkeyPatch) -> list[list[tuple[str, str]]]:
    """What each training was given to learn from; the model that it makes is the good one, with a version of its own."""
    seen: list[list[tuple[str, str]]] = []

    def run(corpus: Path, out: Path, *, corrections: Sequence[tuple[str, str]] = (), **_: Any) -> classifiers.Card:
        seen.append(list(corrections))
        shutil.copytree(world.good.folder, out, dirs_exist_ok=True)
        card = json.loads((out / "card.json").read_text()) | {"version": f"model-number-{len(seen)}"}
        (out / "card.json").write_text(json.dumps(card))
        return classifiers.Card.model_validate(card)

    monkeypatch.setattr(classifiers, "train", run)
    return seen


def test_what_is_held_back_is_never_learned_from(app: Service, recorded: list[list[tuple[str, str]]], world: World) -> None:
    """Every correction is on one side, the last word counts, and what was deleted is on neither."""
    post = app.acme.post("mira@x.example", "hello, it is gone soon")
    app.pass_()
    judge.relabel(app, app.store.desk.mention_id(post.uri), "praise", "ana")
    app.acme.delete(post.remote_id)
    app.pass_(hours=2)
    label_many(app, 60)
    first = app.store.views.corrections()[0][0]
    [mention] = [one for one in app.store.views.export() if one["text"] == first]
    judge.relabel(app, mention["id"], "noise", "bo")
    learning.train(app, world.corpus, "ana")
    _, held = gate.split(app.store.views.corrections())
    learned = dict(recorded[0])
    assert len(learned) + len(held) == 60
    assert 5 < len(held) < 40
    assert not set(learned) & {text for text, _ in held}
    assert not any(map(gate.is_held_back, learned))
    assert (learned | dict(held))[first] == "noise"
    assert "hello, it is gone soon" not in learned | dict(held)
    learning.train(app, world.corpus, "ana", corrections=False)
    assert recorded[1] == []
    found = learning.examine(app, "model-number-1", "ana")
    assert {row.set: row.posts for row in found.rows if row.label == gate.CALIBRATION}[gate.CORRECTIONS] == len(held)


def test_what_the_classifier_reads_is_learned(small: Service) -> None:
    """With the content warning, and without the names at its start: the same text that is judged."""
    small.acme.post("mira@x.example", "@us hello, the export is empty", warning="rant")
    small.pass_()
    judge.relabel(small, 1, "bug_report", "ana")
    assert small.store.views.corrections() == [("rant\nhello, the export is empty", "bug_report")]


def test_a_training_from_end_to_end(small: Service, world: World) -> None:
    """The model is whole in the store, the same posts and seed give the same scores, and its folder is gone."""
    label_many(small, 12)
    card = learning.train(small, world.corpus, "ana", least=LEAST)
    learn, _ = gate.split(small.store.views.corrections())
    assert card.data.corrections == len(learn)
    kept = small.store.models.get(card.version)
    assert kept is not None
    assert (kept.state, kept.made_by, kept.card) == ("candidate", "ana", card.model_dump(mode="json"))
    loaded = small.registry.load(card.version)
    assert loaded.classify([TEXT])[0].by == card.version
    assert learning.compare(small, None, card.version) == learning.compare(small, None, card.version)
    assert [path.name for path in small.config.folder.iterdir() if path.name.startswith(("training-", "model-"))] == []
    assert list((small.config.folder / "models").iterdir()) == []
    assert learning.new_corrections(small) == len(learn)
    act(small, Made(card.version, Path(), {}, b""))
    assert learning.new_corrections(small) == 0


def test_without_a_reference_set_the_corrections_decide_alone(small: Service, world: World, tmp_path: Path) -> None:
    """And without either nothing can be said: the candidate stays one, and may be asked again."""
    keep(small, world.good)
    found = learning.examine(small, world.good.version, "ana", tmp_path / "none")
    assert (found.outcome, state(small, world.good)) == ("unmeasured", "candidate")
    assert [note.partition(":")[0] for note in found.notes] == [
        "no correction is held back in this store yet",
        f"there is no reference set in {tmp_path / 'none'}",
    ]
    assert not learning.promote(small, world.good.version, "ana", tmp_path / "none").passed
    assert small.store.models.standing().active is None
    label_many(small, 60)
    assert {row.set for row in learning.examine(small, world.good.version, "ana", tmp_path / "none").rows} == {gate.CORRECTIONS}


def test_old_models_lose_their_files_but_not_the_one_that_acts(small: Service, world: World) -> None:
    """The newest ten are whole; of the others card and gate are left."""
    keep(small, world.bad)
    act(small, world.bad)
    for number in range(FILES_KEPT + 1):
        small.clock.move(seconds=1)
        small.store.models.add(f"model-{number}", {"version": f"model-{number}"}, b"zip", "ana", small.clock.now())
    kept = {one.version: one.has_files for one in small.store.models.all()}
    assert [version for version, has_files in kept.items() if not has_files] == ["model-0"]
    assert kept[world.bad.version]
    with pytest.raises(UserError, match="files of model-0 are not kept"):
        learning.promote(small, "model-0", "ana")
    with pytest.raises(UserError, match="is kept already"):
        small.store.models.add("model-3", {}, b"zip", "ana", small.clock.now())


def test_a_backup_carries_the_models(app: Service, world: World, tmp_path: Path) -> None:
    """Restored elsewhere, the same model acts."""
    from triage.store import backup
    from triage.store.place import Place

    keep(app, world.good)
    act(app, world.good)
    file = tmp_path / "b.tar"
    backup.write(app.store.database, file, app.clock.now(), model=None, shipped="", force=False)
    url = f"sqlite:///{tmp_path}/other/triage.db"
    with backup.Backup.open(file) as found:
        found.restore(url, lambda database: Place(database, None), app.clock.now(), "ana", force=False)
    other = service(tmp_path / "other", url, started=False)
    assert other.classifier().card.version == world.good.version
    other.close()


# A row that was tampered with


def zipped(files: dict[str, bytes]) -> bytes:
    """These files as a zip."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, data in files.items():
            packed.writestr(name, data)
    return out.getvalue()


def unzipped(files: bytes) -> dict[str, bytes]:
    """What is in a zip."""
    with zipfile.ZipFile(io.BytesIO(files)) as packed:
        return {name: packed.read(name) for name in packed.namelist()}


def vouched(made: Made, content: bytes) -> tuple[bytes, dict[str, Any]]:
    """Another model file with a card that vouches for it, as somebody writes it who knows how."""
    card = made.card | {"model": {"name": "model.skops", "sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}}
    return zipped(unzipped(made.files) | {"model.skops": content, "card.json": json.dumps(card).encode()}), card


def stranger() -> bytes:
    """A skops file that holds a type of nobody's trust."""
    from skops.io import dumps

    return bytes(dumps({"a": CliRunner()}))


SPOILED: dict[str, tuple[Callable[[Made], Any], str]] = {
    "a byte": (
        lambda made: zipped(unzipped(made.files) | {"model.skops": unzipped(made.files)["model.skops"][:-1] + b"!"}),
        "not the file that its card vouches for",
    ),
    "no zip": (lambda made: b"PK nonsense", "no zip that can be read"),
    "cut off": (lambda made: made.files[: len(made.files) // 2], "no zip that can be read"),
    "nothing": (lambda made: b"", "not kept any more"),
    "zip slip": (lambda made: zipped(unzipped(made.files) | {"../../evil": b"x"}), "holds '../../evil'"),
    "absolute": (lambda made: zipped(unzipped(made.files) | {"/tmp/evil": b"x"}), "holds '/tmp/evil'"),
    "no card": (lambda made: zipped({"model.skops": b"PK"}), "which no model does"),
    "a bomb": (lambda made: zipped(unzipped(made.files) | {"recipe.json": bytes(archive.LARGEST)}), "unpacks to more than 80 MiB"),
    "another card": (lambda made: zipped(unzipped(made.files) | {"card.json": b"{}"}), "another card than its row"),
    "no json": (lambda made: zipped(unzipped(made.files) | {"card.json": b"["}), "no card that can be read"),
    "a pickle": (lambda made: vouched(made, b"\x80\x04pickle"), "is no skops file"),
    "a stranger": (lambda made: vouched(made, stranger()), "types that are not trusted"),
}


@pytest.mark.parametrize("how", SPOILED)
def test_a_tampered_model_is_refused(how: str, world: World, tmp_path: Path) -> None:
    """Each by a message that names the model and ends with the next step; nothing is left outside, nothing inside."""
    spoil, why = SPOILED[how]
    found = spoil(world.good)
    files, card = found if isinstance(found, tuple) else (found, world.good.card)
    with pytest.raises(ModelError) as caught:
        archive.load(files, world.good.version, card, tmp_path / "state" / "models")
    assert why in str(caught.value)
    assert world.good.version in str(caught.value)
    assert " Next: " in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) not in str(caught.value)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert list((tmp_path / "state" / "models").iterdir()) == []


def test_a_model_of_another_version_is_refused(world: World, tmp_path: Path) -> None:
    """Two rows that were swapped."""
    with pytest.raises(ModelError, match="another card than its row"):
        archive.load(world.good.files, world.bad.version, world.good.card, tmp_path)
    with pytest.raises(ModelError, match=r"can't be unpacked in .* Next: check the disk"):
        archive.load(world.good.files, world.good.version, world.good.card, Path("/proc/none"))


def spoil(app: App, made: Made, files: bytes) -> None:
    """Change a model's row."""
    with app.store.database.write() as connection:
        connection.execute(sa.update(models).where(models.c.version == made.version).values(files=files))


def test_the_service_goes_on_when_the_model_that_should_act_was_tampered_with(
    app: Service, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """With the one that it had; a fresh process with the one that ships. Log, status and models say so; once it is mended it acts."""
    shipped = app.classifier().card.version
    keep(app, world.good)
    spoil(app, world.good, SPOILED["a byte"][0](world.good))
    act(app, world.good)
    assert [judged_by(app, f"{TEXT} {number}") for number in range(3)] == [shipped] * 3
    assert caplog.text.count("a model of the store can't be used") == 1
    assert "is not the file that its card vouches for" in learning.acting(app).fault
    fresh = Service(app.config, clock=app.clock)
    assert fresh.classifier().card.version == shipped
    fresh.close()
    spoil(app, world.good, world.good.files)
    app.clock.move(seconds=AGAIN_AFTER.total_seconds())
    assert judged_by(app, f"{TEXT} mended") == world.good.version
    assert learning.acting(app).fault == ""


def test_a_rollback_gets_rid_of_a_model_that_can_not_be_used(small: Service, world: World) -> None:
    """It is promoted over what stands in for it, and nothing is left of the fault."""
    keep(small, world.bad, world.good)
    act(small, world.bad)
    spoil(small, world.bad, b"PK")
    shipped = small.classifier().card.version
    assert learning.acting(small).fault
    assert learning.rollback(small, "ana") == shipped
    assert learning.acting(small) == learning.Acting(shipped, "the one that ships")


def test_what_every_worker_asks_often_reads_small_indexes(small: Service, world: World) -> None:
    """And never the files."""
    keep(small, world.good)
    with small.store.database.read() as connection:
        for which in ("active", "shadow"):
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN SELECT version FROM models WHERE state = '{which}'").all()
            assert f"USING INDEX uq_models_{which}" in str(plan)


# The shadow


def test_the_shadow_keeps_exactly_the_disagreements(app: Service, world: World) -> None:
    """Each new mention is judged by both; today's verdict stands, and nothing follows from the other one."""
    today, other = Classifier.load(model_folder()), Classifier.load(world.bad.folder)
    texts = [f"{text} number {number}" for number in range(5) for text in ("the export is broken", "how do I log in?", "love it", TEXT)]
    keep(app, world.bad)
    app.store.models.begin_shadow(world.bad.version, "ana", app.clock.now())
    app.clock.move(seconds=11)
    for number, text in enumerate(texts):
        app.acme.post(f"w{number}@x.example", text)
    app.pass_()
    app.pass_()
    expected = {
        text: (one.label, one.sure, two.label, two.sure)
        for text, one, two in zip(texts, today.classify(texts, ["en"] * 20), other.classify(texts, ["en"] * 20), strict=True)
        if (one.label, one.sure) != (two.label, two.sure)
    }
    count, labels, found = app.store.models.disagreements(world.bad.version, 100)
    assert 0 < len(expected) <= 20
    assert {one.text: (one.label, one.sure, one.shadow_label, one.shadow_sure) for one in found} == expected
    assert (count, labels) == (len(expected), sum(one[0] != one[2] for one in expected.values()))
    assert [one.mention_id for one in found] == sorted((one.mention_id for one in found), reverse=True)
    kept = app.store.models.get(world.bad.version)
    assert kept is not None
    assert (kept.compared, kept.state) == (20, "shadow")
    assert {row["by"] for row in app.store.views.export()} == {today.card.version}
    judge.relabel(app, found[0].mention_id, "praise", "ana")
    assert app.store.models.disagreements(world.bad.version, 1)[2][0] == found[0], "a person's word is not what was said at the time"


def test_the_shadow_begins_and_ends_with_a_persons_word(app: Service, world: World) -> None:
    """One at a time; what it said is kept until it begins anew; one that is refused can't be in it."""
    keep(app, world.bad, world.good)
    app.store.models.begin_shadow(world.bad.version, "ana", app.clock.now())
    with pytest.raises(UserError, match=r"is in the shadow already.* Next: triage shadow stop"):
        app.store.models.begin_shadow(world.good.version, "ana", app.clock.now())
    judged_by(app, "how do I log in?")
    assert app.store.models.end_shadow("ana", app.clock.now()) == world.bad.version
    with pytest.raises(UserError, match=r"no model is in the shadow\. Next: "):
        app.store.models.end_shadow("ana", app.clock.now())
    judged_by(app, "how do I log out?")
    kept = app.store.models.get(world.bad.version)
    assert kept is not None
    assert (kept.state, kept.compared) == ("candidate", 1)
    app.store.models.judged(world.bad.version, passed("x", "y").as_json(), refused=True, by="ana", now=app.clock.now())
    with pytest.raises(UserError, match="only a candidate or a retired model"):
        app.store.models.begin_shadow(world.bad.version, "ana", app.clock.now())
    app.store.models.begin_shadow(world.good.version, "ana", app.clock.now())
    act(app, world.good)
    assert app.store.models.standing() == learning_standing(world.good.version)


def learning_standing(active: str) -> Any:
    """Only this one acts, and none is in the shadow."""
    from triage.store.models import Standing

    return Standing(active, None)


def test_a_challenger_that_fails_hurts_nobody(
    small: Service, world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever it raises, or the store: posts are judged, and it is said once."""
    keep(small, world.bad, world.good)
    small.store.models.begin_shadow(world.bad.version, "ana", small.clock.now())
    shipped = small.classifier().card.version
    small.clock.move(seconds=11)
    challenger = small.registry.challenger()
    assert challenger is not None
    monkeypatch.setattr(challenger, "classify", lambda *_: [][0])
    assert [judged_by(small, f"{TEXT} {number}") for number in range(3)] == [shipped] * 3
    assert caplog.text.count("the model in the shadow failed") == 1

    def locked(*_: Any) -> None:
        raise StoreError("locked")

    monkeypatch.setattr(small.store.models, "compare", locked)
    small.store.models.end_shadow("ana", small.clock.now())
    small.store.models.begin_shadow(world.good.version, "ana", small.clock.now())
    assert judged_by(small, "a locked store") == shipped
    small.store.models.end_shadow("ana", small.clock.now())
    spoil(small, world.good, b"PK")
    small.store.models.begin_shadow(world.good.version, "ana", small.clock.now())
    small.registry._beside = None
    assert judged_by(small, "a broken row") == shipped
    assert learning.acting(small).fault == "", "only what should act is a fault of the service"


def test_an_edit_is_not_compared_twice(small: Service, world: World) -> None:
    """A mention counts once, so that the share is one of mentions."""
    keep(small, world.bad)
    small.store.models.begin_shadow(world.bad.version, "ana", small.clock.now())
    post = small.acme.post("mira@x.example", "hello there")
    small.pass_()
    small.acme.edit(post.remote_id, "the export is broken")
    small.pass_(hours=2)
    kept = small.store.models.get(world.bad.version)
    assert kept is not None
    assert kept.compared == 1


# The commands


@pytest.fixture
def run(small: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """`triage ...` on the service's store."""
    (tmp_path / "config.yaml").write_text(CONFIG.format(mode="act", folder=tmp_path, store=f"sqlite:///{tmp_path}/triage.db", source=""))
    monkeypatch.setenv("TRIAGE_CONFIG", str(tmp_path / "config.yaml"))
    monkeypatch.setenv("TRIAGE_USER", "ana")
    return lambda *words, **more: CliRunner().invoke(cli, list(words), catch_exceptions=True, **more)


def test_train_shows_the_gates_table_and_promotes(run: Callable[..., Result], small: Service, recorded: list[Any], world: World) -> None:
    """A candidate that passes may act at once; one that is refused ends with 1; without anything to measure it stays a candidate."""
    keep(small, world.bad)
    act(small, world.bad)
    ran = run("train", "--promote")
    assert ran.exit_code == 0, ran.output
    assert f"model-number-1 (challenger) against {world.bad.version} (today)" in ran.output
    assert "passed: it is nowhere worse" in ran.output
    assert "it acts now" in ran.output
    assert small.store.models.standing().active == "model-number-1"
    assert run("train").exit_code == 0
    listed = run("models").output
    assert "acts      model-number-1, promoted by ana on" in listed
    assert "model-number-2               candidate" in listed
    assert "passed against model-number-1" in listed
    told = json.loads(run("models", "--json").output)
    assert [row["state"] for row in told["models"]] == ["candidate", "active", "retired"]
    assert run("models", "list").output == listed
    for words in ("list --json", "--json list", "--format json", "list --format json"):
        assert json.loads(run("models", *words.split()).output) == told
    assert "active since" in run("models", "show", "number-1").output
    assert run("models", "show", "default").output.startswith("# model-")
    assert "passed: " in run("models", "compare", world.bad.version, "number-2").output
    refused = run("models", "promote", world.bad.version)
    assert (refused.exit_code, "refused: it is worse than model-number-1" in refused.output) == (1, True)
    assert "model     model-number-1, promoted by ana on" in run("status").output
    assert "the gate has refused it since. Next: triage models rollback default" in str(run("models", "rollback").exception)
    assert f"{model_version()} acts again" in run("models", "rollback", "default").output


def model_version() -> str:
    """The version of the model that ships."""
    return str(json.loads((model_folder() / "card.json").read_text())["version"])


def test_a_refused_training_ends_with_1(run: Callable[..., Result], small: Service, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says what to do instead, and nothing has changed."""

    def worse(corpus: Path, out: Path, **_: Any) -> classifiers.Card:
        shutil.copytree(world.bad.folder, out, dirs_exist_ok=True)
        return classifiers.Card.model_validate(world.bad.card)

    monkeypatch.setattr(classifiers, "train", worse)
    ran = run("train", "--promote")
    assert ran.exit_code == 1
    assert "F1 of bug_report on reference" in ran.output
    assert "it is refused, and nothing changes. Label more posts" in ran.output
    assert (state(small, world.bad), small.store.models.standing().active) == ("refused", None)
    again = run("models", "promote", world.bad.version)
    assert isinstance(again.exception, UserError)
    assert "refused by the gate, and stays so" in str(again.exception)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("train", "--out", "x", "--promote"), "not promoted"),
        (("models", "show", "nonsense"), "there is no model 'nonsense'"),
        (("models", "promote", "default"), "needs no promotion"),
        (("models", "rollback"), "the model that ships acts"),
        (("shadow", "start", "default"), "can't run in the shadow"),
        (("shadow", "stop"), "no model is in the shadow"),
        (("shadow", "list"), "no model is in the shadow"),
    ],
)
def test_what_can_not_be_done_is_said(run: Callable[..., Result], words: tuple[str, ...], why: str) -> None:
    """With the next step."""
    ran = run(*words)
    assert isinstance(ran.exception, UserError)
    assert why in str(ran.exception)


def test_the_shadows_commands(run: Callable[..., Result], small: Service, world: World) -> None:
    """Start, look, stop."""
    keep(small, world.bad)
    assert run("shadow", "start", world.bad.version[-8:]).exit_code == 0
    small.clock.move(seconds=11)
    for number in range(8):
        small.acme.post(f"w{number}@x.example", f"how do I log in to number {number}?")
    small.pass_()
    listed = run("shadow", "list").output
    count, _, found = small.store.models.disagreements(world.bad.version, 50)
    assert f"thinks something else of {count} of 8 mentions" in listed
    assert [line.split()[1] for line in listed.splitlines() if line.startswith("mention ")] == [str(one.mention_id) for one in found]
    assert json.loads(run("shadow", "list", "--json").output)["compared"] == 8
    assert "is a candidate again" in run("shadow", "stop").output
    assert f"of {count} of 8 mentions" in run("shadow", "list", world.bad.version).output


def test_doctor_and_status_tell_of_a_model_that_can_not_be_used(run: Callable[..., Result], small: Service, world: World) -> None:
    """The doctor loads it, status tells what a worker found."""
    keep(small, world.good)
    act(small, world.good)
    assert f"ok    model: {world.good.version} acts" in run("doctor").output
    spoil(small, world.good, b"PK")
    examined = run("doctor")
    assert (examined.exit_code, f"FAIL  model: the stored model {world.good.version} is no zip" in examined.output) == (1, True)
    small.clock.move(seconds=11)
    small.classifier()
    assert "another one stands in on" in run("status").output


STATUS, LIST = ("status",), ("models",)


@pytest.mark.parametrize("words", [STATUS, LIST], ids=["status", "models"])
def test_a_stored_model_that_was_changed_is_seen_before_anybody_loads_it(
    run: Callable[..., Result], small: Service, world: World, words: tuple[str, ...]
) -> None:
    """One line says what is wrong, who judges instead, and what to do; nothing is written, and scikit-learn is not asked."""
    keep(small, world.good)
    act(small, world.good)
    assert "Next: " not in run(*words).output
    files = unzipped(world.good.files)
    spoil(small, world.good, zipped(files | {"model.skops": files["model.skops"] + b"x"}))
    told = run(*words)
    [line] = [line for line in told.output.splitlines() if "Next: " in line]
    assert f"who starts now takes the one that ships: the stored model {world.good.version} is refused: " in line
    assert "is not the file that its card vouches for" in line
    assert "Next: let another one act (triage models rollback)" in line
    assert small.store.models.refusal() is None
    fault = json.loads(run(*words, "--json").output)["model" if words == STATUS else "acting"]["fault"]
    assert fault == line.strip()
    spoil(small, world.good, b"")
    assert "are not kept any more" in run(*words).output


@pytest.mark.parametrize("words", [STATUS, LIST], ids=["status", "models"])
def test_a_pinned_folder_that_does_not_check_is_seen(
    run: Callable[..., Result], world: World, tmp_path: Path, words: tuple[str, ...]
) -> None:
    """The config's folder is the only one that may judge, so nothing is judged, and the config is what may be changed."""
    pinned = shutil.copytree(world.good.folder, tmp_path / "pinned")
    with (tmp_path / "config.yaml").open("a") as config:
        config.write(f"model: {pinned}\n")
    assert f"{world.good.version}, pinned by the config to {pinned}" in run(*words).output
    (pinned / "model.skops").write_bytes(b"PK of another one")
    [line] = [line for line in run(*words).output.splitlines() if "Next: " in line]
    assert "nothing is judged: " in line
    assert "is not the file that its card vouches for" in line
    assert "take the line `model` out of the config" in line
    shutil.rmtree(pinned)
    assert f"there is no model in {pinned}" in run(*words).output


# Who only asks


def asked(run: Callable[..., Result], *words: str) -> tuple[str, str]:
    """The model that judges a post, and what is said of it on standard error."""
    ran = run("classify", "--format", "jsonl", *words, input='{"text": "the export is broken"}\n')
    assert ran.exit_code == 0, ran.output
    return str(json.loads(ran.stdout)["model"]), ran.stderr


def test_who_only_asks_has_the_model_that_acts(run: Callable[..., Result], small: Service, world: World, tmp_path: Path) -> None:
    """The promoted one, unless another one is named or pinned, with the thresholds of the config."""
    shipped = model_version()
    assert asked(run) == (shipped, f"model: {shipped}, the one that ships\n")
    keep(small, world.good, world.bad)
    act(small, world.good)
    assert asked(run)[0] == world.good.version
    assert f"model: {world.good.version}, promoted by ana on {small.clock.now():%Y-%m-%d}\n" == asked(run)[1]
    report = run("evaluate")
    assert report.stdout.startswith(f"{world.good.version}: ")
    assert report.stderr == f"model: {world.good.version}, promoted by ana on {small.clock.now():%Y-%m-%d}\n"
    assert asked(run, "--model", str(world.bad.folder)) == (world.bad.version, f"model: {world.bad.version}, out of {world.bad.folder}\n")
    with (tmp_path / "config.yaml").open("a") as config:
        config.write("thresholds: {bug_report: 0.0, support_question: 0.0, praise: 0.0, noise: 0.0}\n")
    assert learning.in_use(load(tmp_path / "config.yaml"))[0].thresholds == dict.fromkeys(Label, 0.0)
    with (tmp_path / "config.yaml").open("a") as config:
        config.write(f"model: {world.bad.folder}\n")
    assert asked(run) == (world.bad.version, f"model: {world.bad.version}, pinned by the config to {world.bad.folder}\n")
    assert run("evaluate").stdout.startswith(f"{world.bad.version}: ")


def test_a_feed_is_judged_by_the_model_that_acts(
    run: Callable[..., Result], small: Service, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As any other post."""
    keep(small, world.good)
    act(small, world.good)
    monkeypatch.setattr("triage.platforms.mastodon.MastodonPlatform.history", lambda *_: iter(()), raising=True)
    ran = run("listen", "#quayside@social.example", "--dry-run")
    assert ran.stderr.startswith(f"model: {world.good.version}, promoted by ana")


def test_who_only_asks_is_told_who_stands_in(run: Callable[..., Result], small: Service, world: World) -> None:
    """A promoted model that was changed does not judge; the store is not told, since nothing may be written."""
    keep(small, world.good)
    act(small, world.good)
    spoil(small, world.good, b"PK")
    version, said = asked(run)
    assert version == model_version()
    assert f"the promoted model can't be used, so the one that ships judges: the stored model {world.good.version} is no zip" in said
    assert small.store.models.refusal() is None


@pytest.mark.parametrize("how", ["no config", "no store", "an empty store", "an older store", "a newer store", "no database"])
def test_who_only_asks_makes_and_changes_no_store(how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In an empty folder, with a config whose store is not made yet, and with one that another version of the program made."""
    import sqlite3

    store = tmp_path / "state" / "triage.db"
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TRIAGE_CONFIG", raising=False)
    if how != "no config":
        (tmp_path / "config.yaml").write_text(CONFIG.format(mode="act", folder=tmp_path / "state", store=f"sqlite:///{store}", source=""))
    if how not in ("no config", "no store"):
        store.parent.mkdir()
        store.write_bytes(b"no database, but long enough to be taken for one" * 100 if how == "no database" else b"")
    if how.endswith(("older store", "newer store")):
        with sqlite3.connect(store) as made:
            made.execute("PRAGMA journal_mode=WAL")
            made.execute("CREATE TABLE alembic_version (version_num TEXT)")
            made.execute("INSERT INTO alembic_version VALUES (?)", ("0001" if "older" in how else "9999",))
        made.close()
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    version, said = asked(lambda *words, **more: CliRunner().invoke(cli, list(words), catch_exceptions=False, **more))
    assert version == model_version()
    assert said.endswith(f"model: {version}, the one that ships\n")
    reasons = {"a newer store": "is at schema 9999", "no database": "is no SQLite database"}
    assert ("the store can't be asked which model was promoted" in said) == (how in reasons)
    assert reasons.get(how, "") in said
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_store_on_either_database_is_looked_into(app: Service, store_url: str, world: World) -> None:
    """What the service has promoted is found there."""
    keep(app, world.good)
    act(app, world.good)
    with looked_into(store_url) as models_there:
        assert models_there is not None
        assert models_there.standing().active == world.good.version


def test_every_command_about_models_is_told_in_the_operations_page() -> None:
    """Those of a group stand in no table of their own."""
    import click

    from triage.cli.model import models as models_group
    from triage.cli.model import shadow as shadow_group

    text = (Path(__file__).resolve().parents[2] / "docs" / "operations.md").read_text(encoding="utf-8")
    for group in (models_group, shadow_group):
        assert isinstance(group, click.Group)
        assert not [name for name in group.commands if f"`triage {group.name} {name}" not in text]

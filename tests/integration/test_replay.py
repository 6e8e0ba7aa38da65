"""Replay: exactly what would differ is listed, an unchanged config differs in nothing, and nothing is sent or written."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event

from tests.service import HandClock, Service, service
from tests.unit.routing import RULES as ANY_RULES
from triage import config as configuration
from triage.classifier import archive, model_folder
from triage.config import Config, Rule
from triage.errors import UserError
from triage.mention import Label, Visibility
from triage.pipeline import judge
from triage.pipeline.replay import Act, Difference, Judge, Tally, other_model, replay
from triage.store.schema import metadata

RULES = """
components: {editor: [editor, canvas*]}
rules:
  - {name: private, when: {visibility: [private, direct]}, then: task, reason: private}
  - {name: critical, when: {signal: data_loss}, then: [alert, task], urgent: true, reason: lost data}
  - {name: unsure, when: {sure: false}, then: task, reason: not sure}
  - {name: bug, when: {label: bug_report}, then: [ticket, task], reason: a bug}
  - {name: question, when: {label: support_question}, then: task, reason: a question}
  - {name: new praise, when: {label: praise, new_author: true}, then: [archive, task], reason: new}
  - {name: rest, then: archive, reason: the rest}
"""
LONG_AGO, EVER = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)


@pytest.fixture
def app(tmp_path: Path, store_url: str) -> Iterator[Service]:
    """A service with a history: each mention's number is its key below."""
    made = seeded(tmp_path, store_url)
    yield made
    made.close()


def seeded(folder: Path, url: str) -> Service:
    made = service(folder, url, rules=RULES)
    first = made.acme.post("mira@x.example", "the canvases are broken")
    made.pass_()
    for handle, text, more in (
        ("bob@x.example", "broken for me too", {"reply_to": first.remote_id}),
        ("eve@x.example", "maybe broken", {}),
        ("ann@x.example", "how do I do it", {}),
        ("ann@x.example", "I love it", {}),
        ("joe@x.example", "I love it", {}),
        ("joe@x.example", "hello there", {}),
        ("kim@x.example", "broken, all my data", {}),
        ("lea@x.example", "broken and private", {"visibility": Visibility.DIRECT}),
        ("max@x.example", "hello, the editor", {}),
    ):
        made.acme.post(handle, text, **more)
    made.pass_()
    made.pass_()
    assert [mention["id"] for mention in made.store.views.export()] == list(range(1, 11))
    return made


def changed(app: Service, old: str = "", new: str = "", *, top: str = "") -> Config:
    """The service's config with other rules."""
    assert old in RULES
    text = f"mode: act\n{top}\nsources: {{acme: {{platform: memory}}}}\ntrackers: {{tickets: {{tracker: memory}}}}\n"
    text += "notifiers: {oncall: {notifier: memory}}\n" + RULES.replace(old, new)
    return configuration.parse(text, Path("new.yaml"), {"DATABASE_URL": app.config.store})


def differences(app: Service, config: Config, **more: Any) -> tuple[dict[int, Difference], Tally]:
    tally = Tally()
    found = list(replay(app, config, more.pop("since", LONG_AGO), more.pop("until", EVER), tally, **more))
    assert tally.differ == len(found)
    return {one.past.claimed.id: one for one in found}, tally


def acts(found: dict[int, Difference]) -> dict[int, tuple[list[str], list[str]]]:
    return {number: ([act.name for act in one.gained], [act.name for act in one.lost]) for number, one in found.items()}


TICKET, TASK, ALERT, ARCHIVE, COMMENT = "ticket", "task", "alert", "archive", "comment"


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [
        ("", "", {}),
        ("then: [ticket, task], reason: a bug", "then: ticket, reason: a bug", {1: ([], [TASK]), 2: ([], [TASK])}),
        ("then: [ticket, task], reason: a bug", "then: [task], reason: a bug", {1: ([], [TICKET]), 2: ([], [COMMENT])}),
        (
            "then: [ticket, task], reason: a bug",
            "then: ticket, mode: suggest, reason: a bug",
            {1: (["ticket, suggested"], [TICKET]), 2: (["ticket, suggested"], [COMMENT])},
        ),
        ("{sure: false}, then: task", "{sure: false}, then: [ticket, task]", {3: ([TICKET], [])}),
        (
            "{name: private, when: {visibility: [private, direct]}, then: task",
            "{name: private, when: {visibility: private}, then: task",
            {},
        ),
        ("label: praise, new_author: true", "label: praise, new_author: false", {5: ([TASK], []), 6: ([], [TASK])}),
        ("{signal: data_loss}", "{signal: anger}", {8: ([TICKET, TASK], [ALERT, TASK])}),
        ("{name: rest, then: archive", "{name: rest, then: [archive, task]", {5: ([TASK], []), 7: ([TASK], []), 10: ([TASK], [])}),
        (
            "{name: rest, then: archive, reason: the rest}",
            "{name: part, when: {component: editor}, then: alert, reason: r}\n  - {name: rest, then: archive, reason: the rest}",
            {10: ([ALERT], [ARCHIVE])},
        ),
        ("then: [alert, task], urgent: true", "then: [alert, task]", {8: ([ALERT, TASK], [ALERT, TASK])}),
        ("then: task, reason: a question", "then: archive, reason: a question", {4: ([ARCHIVE], [TASK])}),
    ],
)
def test_exactly_what_would_differ_is_listed(tmp_path: Path, old: str, new: str, wanted: dict[int, tuple[list[str], list[str]]]) -> None:
    """By the number of the mention, with what it would gain and lose; everything else stays."""
    app = seeded(tmp_path, f"sqlite:///{tmp_path}/triage.db")
    found, tally = differences(app, changed(app, old, new))
    assert acts(found) == {number: (sorted(gained), sorted(lost)) for number, (gained, lost) in wanted.items()}
    assert tally.gained == Counter(name for gained, _ in wanted.values() for name in gained)
    assert tally.lost == Counter(name for _, lost in wanted.values() for name in lost)
    assert tally.after - tally.before == tally.gained - tally.lost
    app.close()


def test_what_was_before_is_what_the_service_did(app: Service) -> None:
    """The side that nothing changed has the very actions of the store: the first report a ticket, the later one a comment."""
    _, tally = differences(app, app.config)
    assert tally.before == tally.after == Counter(row["kind"] for row in app.actions())
    assert (tally.read, tally.differ, tally.unjudged, tally.deleted) == (10, 0, 0, 0)
    assert tally.before[COMMENT] == tally.before[TICKET] == tally.before[ALERT] == 1


def digests(app: Service) -> dict[str, str]:
    """All rows of all tables."""
    with app.store.database.read() as connection:
        return {
            table.name: hashlib.sha256(repr(sorted(map(repr, connection.execute(sa.select(table)).all()))).encode()).hexdigest()
            for table in metadata.sorted_tables
        }


def test_nothing_is_sent_and_nothing_written(app: Service) -> None:
    """The far sides hold what they held, every table its rows, and the database was given nothing but questions."""
    before = digests(app), len(app.tickets.tickets), dict(app.oncall.alerts), len(app.acme.replies)
    said: list[str] = []
    event.listen(app.store.database.engine, "before_cursor_execute", lambda *given: said.append(given[2].split(None, 1)[0].upper()))
    for config in (changed(app, "then: archive", "then: [alert, task]"), changed(app, top="thresholds: {bug_report: 0.1}")):
        assert differences(app, config)[0]
    differences(app, app.config, model=str(model_folder()))
    assert set(said) - {"BEGIN"} == {"SELECT"}
    assert (digests(app), len(app.tickets.tickets), dict(app.oncall.alerts), len(app.acme.replies)) == before


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One history for many tests that only read it."""
    folder = tmp_path_factory.mktemp("history")
    made = seeded(folder, f"sqlite:///{folder}/triage.db")
    yield made
    made.close()


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(ANY_RULES, max_size=5), st.integers(1, 12))
def test_an_unchanged_config_differs_in_nothing(history: Service, rules: list[Rule], page: int) -> None:
    """Whatever the rules, and however many posts are read at a time."""
    named = tuple(rule.model_copy(update={"name": str(number)}) for number, rule in enumerate(rules))
    same = history.config.model_copy(update={"rules": named})
    was, history.config = history.config, same
    try:
        found, tally = differences(history, same, page=page)
        other, whole = differences(history, was)
    finally:
        history.config = was
    assert found == {}
    assert tally.before == tally.after
    # The other way round there is the same to tell: what one side gains, the other loses.
    back, _ = differences(history, same, page=page)
    assert set(other) == set(back)
    assert {number: (one.gained, one.lost) for number, one in other.items()} == {
        number: (one.lost, one.gained) for number, one in back.items()
    }
    assert whole.read == 10


def test_pages_make_no_difference_and_are_read_as_they_are_needed(history: Service) -> None:
    """The first difference is told before the second page is asked for, and a page of one finds what a page of all finds."""
    config = changed(history, "then: task, reason: not sure", "then: archive, reason: not sure")
    config = config.model_copy(update={"rules": (*config.rules[:3], config.rules[-1])})
    every = [differences(history, config, page=size)[0] for size in (1, 3, 1000)]
    assert acts(every[0]) == acts(every[1]) == acts(every[2])
    assert len(every[0]) > 3
    tally = Tally()
    next(replay(history, config, LONG_AGO, EVER, tally, page=1))
    assert tally.read < 10


def test_only_what_lies_in_the_time_is_read_and_what_was_filed_before_counts(history: Service) -> None:
    """The second report is a comment on a ticket from before the time, with either config."""
    posts = sorted(row["created_at"] for row in history.store.views.export())
    second = posts[1]
    config = changed(history, "then: [ticket, task], reason: a bug", "then: ticket, reason: a bug")
    found, tally = differences(history, config, since=second)
    assert (tally.read, acts(found)) == (9, {2: ([], [TASK])})
    assert tally.before[TICKET] == 0
    assert tally.before[COMMENT] == 1
    found, tally = differences(history, config, until=second)
    assert (tally.read, acts(found)) == (1, {1: ([], [TASK])})
    assert differences(history, config, since=posts[-1] + timedelta(seconds=1))[1].read == 0


def test_thresholds_decide_anew_what_is_sure(history: Service) -> None:
    """A lower one makes sure what was known and below; a higher one makes unsure; one for another label changes nothing."""
    lower, _ = differences(history, changed(history, top="thresholds: {bug_report: 0.3}"))
    assert acts(lower) == {3: ([TICKET], [])}
    assert (lower[3].before.verdict.sure, lower[3].after.verdict.sure) == (False, True)
    higher, _ = differences(history, changed(history, top="thresholds: {bug_report: 0.99}"))
    assert acts(higher) == {1: ([], [TICKET]), 2: ([], [COMMENT])}
    assert differences(history, changed(history, top="thresholds: {support_question: 0.5}"))[0] == {}


def test_what_the_model_cannot_read_stays_unsure_at_any_threshold(history: Service) -> None:
    """A low threshold does not make a text sure in which the model knows no word."""
    judged = Judge(history, changed(history, top="thresholds: {bug_report: 0.1}"), None)
    past = history.store.history.past(3)
    strange = replace(past, claimed=replace(past.claimed, mention=replace(past.claimed.mention, text="zxqv wqrtz", language=None)))
    [known, unknown] = judged.verdicts([past, strange])
    assert known is not None
    assert unknown is not None
    assert (known.sure, unknown.sure) == (True, False)


def test_another_model_judges_the_texts_and_a_persons_label_stands(app: Service) -> None:
    """Its verdicts take the place of a model's; what a person said is not asked of it."""
    judge.relabel(app, 7, "praise", "ana")
    found, tally = differences(app, app.config, model=str(model_folder()))
    assert found
    assert 7 not in found
    mentions = {number: app.store.history.past(number).claimed.mention for number in range(1, 11)}
    said = dict(zip(mentions, app.classifier().classify([one.text for one in mentions.values()], ["en"] * 10), strict=True))
    for number, one in found.items():
        assert one.after.verdict.label == said[number].label
        assert one.after.verdict.by == app.classifier().card.version
        assert one.before.verdict.by == "test"
    relabelled = {number for number, one in found.items() if one.before.verdict.label != one.after.verdict.label}
    labels = {row["id"]: row["label"] for row in app.store.views.export()}
    wanted = {number for number in mentions if number != 7 and labels[number] != said[number].label}
    assert relabelled == wanted
    assert sum(tally.labels.values()) == len(wanted)


def test_a_model_is_found_by_its_folder_its_version_in_the_store_or_as_the_shipped_one(app: Service) -> None:
    """All three are the same model here, and say the same; one that is nowhere is named."""
    version = app.classifier().card.version
    card = json.loads((model_folder() / "card.json").read_text())
    app.store.models.add(version, card, archive.pack(model_folder()), "ana", datetime.now(UTC))
    ways = [differences(app, app.config, model=name)[0] for name in (str(model_folder()), version, version[-6:], "default")]
    assert acts(ways[0]) == acts(ways[1]) == acts(ways[2]) == acts(ways[3])
    with pytest.raises(UserError, match=r"there is no model 'nowhere'.*the one that ships"):
        differences(app, app.config, model="nowhere")


def test_the_changed_configs_model_judges_or_else_the_promoted_one(app: Service, tmp_path: Path) -> None:
    """A folder that it names, and where it names none any more, what acts then: the promoted model, else the one that ships."""
    mine = Path(shutil.copytree(model_folder(), tmp_path / "mine"))
    card = json.loads((mine / "card.json").read_text())
    (mine / "card.json").write_text(json.dumps(card | {"version": "mine-1"}))
    named = other_model(app, app.config.model_copy(update={"model": mine}), None)
    assert named is not None
    assert named.card.version == "mine-1"
    app.config = app.config.model_copy(update={"model": mine})
    unnamed = app.config.model_copy(update={"model": None})
    app.registry.share(named)  # the pinned one acts
    shipped = other_model(app, unnamed, None)
    assert shipped is not None
    assert shipped.card.version == card["version"]
    app.store.models.add("mine-2", card | {"version": "mine-2"}, repacked(mine, card | {"version": "mine-2"}), "ana", datetime.now(UTC))
    app.store.models.activate("mine-2", over=None, by="ana", now=datetime.now(UTC), what="promoted")
    promoted = other_model(app, unnamed, None)
    assert promoted is not None
    assert promoted.card.version == "mine-2"


def repacked(folder: Path, card: dict[str, Any]) -> bytes:
    """The model in the folder as the store keeps it, with this card."""
    (folder / "card.json").write_text(json.dumps(card))
    return archive.pack(folder)


def test_deleted_and_unjudged_posts_are_left_out_and_counted(tmp_path: Path) -> None:
    """Their number is told."""
    clock = HandClock()
    app = service(tmp_path, f"sqlite:///{tmp_path}/triage.db", rules=RULES, clock=clock)
    gone = app.acme.post("a@x.example", "it is broken")
    app.acme.post("b@x.example", "it is unjudgeable")
    app.acme.show_broken(b"\xff", "no JSON")
    app.pass_()
    app.acme.delete(gone.remote_id)
    app.pass_(hours=2)
    _, tally = differences(app, changed(app, "then: archive", "then: task"))
    assert (tally.read, tally.differ, tally.unjudged, tally.deleted) == (2, 0, 1, 1)
    app.close()


def test_a_label_that_changes_is_listed_though_nothing_else_does(history: Service) -> None:
    """The labels are a difference by themselves."""
    tally = Tally()
    all_alike = history.config.model_copy(update={"rules": (Rule(name="all", then=("task",), reason="r"),)})
    was, history.config = history.config, all_alike
    try:
        found = list(replay(history, all_alike, LONG_AGO, EVER, tally, model=str(model_folder())))
    finally:
        history.config = was
    assert found
    assert all(one.gained == one.lost == [] for one in found)
    assert all(one.before.verdict.label != one.after.verdict.label for one in found)
    assert set(tally.labels) <= {(old, new) for old in Label for new in Label if old != new}


def test_an_act_has_a_name_for_the_totals() -> None:
    """What is only suggested is counted apart."""
    assert Act("ticket", "jira").name == "ticket"
    assert Act("ticket", "jira", suggested=True).name == "ticket, suggested"


def cli(app: Service, folder: Path, *arguments: str) -> tuple[int, str]:
    """`triage replay` in this process, with the service's own config file."""
    from click.testing import CliRunner

    from triage.cli import cli as command
    from triage.errors import TriageError

    config = folder / "config.yaml"
    text = f"mode: act\nstate: {folder}\nstore: {app.config.store}\nsources: {{acme: {{platform: memory}}}}\n"
    config.write_text(text + "trackers: {tickets: {tracker: memory}}\nnotifiers: {oncall: {notifier: memory}}\n" + RULES)
    done = CliRunner().invoke(command, ["-c", str(config), "replay", *arguments])
    return (2, str(done.exception)) if isinstance(done.exception, TriageError) else (done.exit_code, done.stdout)


def test_the_command_prints_for_people_and_for_machines(history: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same differences either way; secrets of the new config need not be there, and no text of a post is told."""
    monkeypatch.setenv("TRIAGE_CONFIG", "")
    new = tmp_path / "new.yaml"
    head = "mode: act\nstore: {env: NOT_SET_ANYWHERE}\n"
    head += "sources: {acme: {platform: mastodon, url: 'https://x.example', token: {env: NOT_SET}}}\n"
    rules = RULES.replace("then: archive", "then: [archive, task]")
    new.write_text(head + "trackers: {tickets: {tracker: memory}}\nnotifiers: {oncall: {notifier: memory}}\n" + rules)
    code, told = cli(history, tmp_path, "--config", str(new), "--since", "2000-01-01")
    assert code == 0
    assert "3 of 10 mentions would differ" in told
    assert told.count("+ task") == 3
    assert "editor" not in told
    code, told = cli(history, tmp_path, "--config", str(new), "--since", "2000-01-01", "--format", "json")
    found = json.loads(told)
    assert [one["mention"] for one in found["differences"]] == [5, 7, 10]
    assert found["differences"][0]["gained"] == [{"kind": "task", "via": "human", "suggested": False, "urgent": False}]
    assert found["totals"]["acts"]["task"]["gained"] == found["totals"]["differ"] == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "nothing is changed: name a changed config"),
        (("--config", "missing.yaml"), "missing.yaml: no such file"),
        (("--config", "config.yaml", "--since", "yesterday"), "'yesterday' is no time"),
        (("--config", "config.yaml", "--since", "1d", "--until", "2d"), "nothing lies between"),
        (("--model", "nowhere"), "there is no model 'nowhere'"),
    ],
)
def test_a_mistake_is_told_with_the_next_step(
    history: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], said: str
) -> None:
    """One message, and the exit code of a mistake."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRIAGE_CONFIG", "")
    code, told = cli(history, tmp_path, *arguments)
    assert code == 2
    assert said in told


def test_what_is_wrong_with_a_changed_config_is_told_by_line(history: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The usual error."""
    monkeypatch.setenv("TRIAGE_CONFIG", "")
    (tmp_path / "new.yaml").write_text("rules:\n  - {name: a, when: {lable: noise}, then: task, reason: r}\n")
    code, told = cli(history, tmp_path, "--config", str(tmp_path / "new.yaml"))
    assert code == 2
    assert 'new.yaml:2: rules[0].when.lable: unknown key; did you mean "label"?' in told

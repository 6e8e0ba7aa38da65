"""triage why: the verdict with its reasons, worked out when somebody asks."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.service import Service, service
from tests.unit.routing import a_mention, a_rule, a_verdict
from triage.app import App
from triage.classifier import Classifier, model_folder
from triage.cli import cli
from triage.cli.why import _print
from triage.config import When
from triage.errors import TriageError, UserError
from triage.mention import Mention, Verdict, Visibility
from triage.pipeline import judge
from triage.pipeline.why import why, why_text
from triage.rules import Facts, route, unmet

BUG = "Since 3.2.1 the export crashes on iOS 17.4 every time, all my notes are gone"


class Real(Service):
    """The service with the classifier that ships."""

    def classify(self, mentions: Sequence[Mention]) -> list[Verdict]:
        return App.classify(self, mentions)


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return Classifier.load(model_folder())


@pytest.fixture
def app(tmp_path: Path, store_url: str, classifier: Classifier) -> Iterator[Service]:
    made = service(tmp_path, store_url)
    made.__class__ = Real
    made.registry.share(classifier)
    yield made
    made.close()


def said(found: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> str:
    """What people are shown of it."""
    capsys.readouterr()
    _print(found)
    return capsys.readouterr().out


def test_a_mention_is_explained_whole(app: Service, capsys: pytest.CaptureFixture[str]) -> None:
    """Verdict, scores, threshold, words on both sides, nearest posts, rule and those before it, signals, details."""
    app.acme.post("mira@x.example", BUG)
    app.pass_()
    found = why(app, 1)
    model, evidence, rule = found["model"], found["evidence"], found["rule"]
    assert found["verdict"]["label"] == model["label"] == evidence["label"] == "bug_report"
    assert sum(model["scores"].values()) == pytest.approx(1.0)
    assert model["sure"] == (model["doubts"] == []) == (model["confidence"] >= model["threshold"])
    assert (model["language"], model["by"]) == ("en", app.classifier().card.version)
    ours, theirs = ({one["what"] for one in evidence[side]} for side in ("for", "against"))
    assert ours
    assert not ours & theirs
    assert all(one["what"] in BUG for side in ("for", "against") for one in evidence[side] if one["kind"] == "word")
    assert [one["label"] for one in found["nearest"]["label"]] == ["bug_report"] * 3
    assert all(one["label"] != "bug_report" for one in found["nearest"]["others"])
    assert (rule["name"], rule["recorded"], rule["then"]) == ("critical", "critical", ["alert", "task"])
    assert rule["skipped"] == [{"rule": "private", "because": "it wants a post that is private or direct, and this is public"}]
    assert found["signals"] == [{"signal": "data_loss", "words": "notes are gone"}]
    assert [found["details"][kind][0]["value"] for kind in ("versions", "systems")] == ["3.2.1", "iOS 17.4"]
    told = said(found, capsys)
    for words in (
        "sure: ",
        "spoke for bug_report",
        "nearest labelled posts",
        'rule "critical" takes it',
        'not "private"',
        "3.2.1",
    ):
        assert words in told
    assert all(one["what"] in told for side in ("for", "against") for one in evidence[side])
    json.dumps(found, default=str)


def test_a_persons_label_is_told_with_who_and_when(app: Service, capsys: pytest.CaptureFixture[str]) -> None:
    """What the model makes of it is told as that; the rule is the one for the person's label."""
    app.acme.post("mira@x.example", "the export crashes every time I click on it")
    app.pass_()
    judge.relabel(app, 1, "praise", "ana")
    found = why(app, 1)
    assert (found["verdict"]["label"], found["verdict"]["by"], found["verdict"]["by_person"]) == ("praise", "ana", True)
    assert found["verdict"]["at"] == app.clock.now()
    assert found["model"]["label"] == found["evidence"]["label"] == "bug_report"
    assert found["rule"]["name"] == "praise, new author"
    assert f"labelled by ana on {app.clock.now():%Y-%m-%d %H:%M} UTC" in said(found, capsys)


def test_corrections_are_among_the_nearest_but_no_private_ones(app: Service) -> None:
    """A mention that a person labelled is an example at once; it is none for itself, and a private one is shown to nobody here."""
    app.acme.post("mira@x.example", "the flux kompensator of the sofa blinks green")
    app.acme.post("bob@x.example", "the flux kompensator of the sofa blinks green", visibility=Visibility.DIRECT)
    app.acme.post("eve@x.example", "the flux kompensator of the sofa blinks green")
    app.pass_()
    label = app.store.views.show(3)["verdict"]["label"]
    judge.relabel(app, 1, label, "ana")
    judge.relabel(app, 2, label, "ana")
    judge.relabel(app, 3, label, "ana")
    nearest = why(app, 3)["nearest"]["label"]
    assert (nearest[0]["where"], nearest[0]["alike"]) == ("mention 1", pytest.approx(1.0))
    assert not {"mention 2", "mention 3"} & {one["where"] for one in nearest}


def test_a_wish_counts_when_a_person_says_that_it_is_a_question(app: Service) -> None:
    """The signal of a feature request comes and goes with the label."""
    app.acme.post("mira@x.example", "please add a dark mode, it crashes my eyes")
    app.pass_()
    for label, wanted in (("bug_report", []), ("support_question", ["feature_request"]), ("noise", [])):
        judge.relabel(app, 1, label, "ana")
        assert app.store.views.show(1)["verdict"]["signals"] == wanted
        assert [one["signal"] for one in why(app, 1)["signals"]] == wanted


def test_what_is_not_sure_tells_why_not(app: Service, capsys: pytest.CaptureFixture[str]) -> None:
    """A language that nobody measured, and a text without a word that is known."""
    app.acme.post("mira@x.example", "Strona nie działa i zwraca błąd", language="pl")
    app.acme.post("bob@x.example", "42")
    app.pass_()
    assert "the model was not measured in the language pl" in why(app, 1)["model"]["doubts"]
    assert "it has no word that the model knows" in why(app, 2)["model"]["doubts"]
    assert "not sure: " in said(why(app, 2), capsys)


def test_a_deleted_post_is_told_as_that_first(app: Service, capsys: pytest.CaptureFixture[str]) -> None:
    """What it was is still explained; one that is there says nothing of it."""
    post = app.acme.post("mira@x.example", BUG)
    app.pass_()
    assert why(app, 1)["deleted"] is False
    assert "deleted" not in said(why(app, 1), capsys)
    app.acme.delete(post.remote_id)
    app.pass_(hours=2)
    assert why(app, 1)["deleted"] is True
    assert said(why(app, 1), capsys).startswith("its author has deleted it since: ")


def test_what_could_never_be_read_is_refused(app: Service) -> None:
    """With the next step."""
    app.acme.show_broken(b"\xff", "no JSON")
    app.pass_()
    with pytest.raises(UserError, match="could not be read, so there is no text to explain; look at it: triage show 1"):
        why(app, 1)


HOSTILE = [
    "",
    " ",
    "\x00",
    "\x1b[31mred\x07\x1b]0;t\x07",
    "\u202eevil\u202c",
    "a" * 100_000,
    "\ud800",
    "? ! \u2600",
    "<b>x</b> {{ 7*7 }} %s",
    "🦊" * 5_000,
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_text_is_explained_and_printed_harmlessly(app: Service, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """No control character reaches the terminal, and nothing raises."""
    found = why_text(app.classifier(), app.config, text)
    assert found["mention"] is None
    told = said(found, capsys)
    assert all(one.isprintable() or one in "\n\x1b" for one in told)
    assert "\x1b]" not in told
    assert "\x1b[31m" not in told
    assert len(told) < 10_000


def run(*arguments: str, stdin: bytes = b"") -> tuple[int, str]:
    done = CliRunner().invoke(cli, ["why", *arguments], input=stdin)
    return (2, str(done.exception)) if isinstance(done.exception, TriageError) else (done.exit_code, done.stdout)


def test_the_command_takes_a_text_without_any_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the rules and the model that ship; from standard input, too."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TRIAGE_CONFIG", raising=False)
    code, told = run("--text", "the app crashes since the update", "--format", "json")
    found = json.loads(told)
    assert code == 0
    assert {"mention", "verdict", "model", "evidence", "nearest", "rule", "signals", "details"} == set(found)
    assert {"label", "other", "log_odds", "for", "against"} == set(found["evidence"])
    assert {"kind", "what", "log_odds", "share"} == set(found["evidence"]["for"][0])
    assert {"label", "alike", "where", "text"} == set(found["nearest"]["label"][0])
    assert {"name", "reason", "matched", "then", "mode", "skipped", "recorded"} == set(found["rule"])
    assert run("-", "--format", "json", stdin=b"the app crashes since the update") == (0, told)
    assert run("--text", "the app crashes since the update", "--json") == (0, told)
    for nothing in (run("--text", ""), run("--text", " \n"), run("-", stdin=b""), run("-", "--json", stdin=b"\n")):
        assert nothing == (2, 'there is no text to judge; give some: triage why --text "it crashes", or triage why - < post.txt')
    assert run()[0] == run("1", "--text", "x")[0] == 2
    assert "name a mention or give a text" in run()[1]
    assert not list(tmp_path.iterdir())


def test_each_condition_tells_what_it_wants_and_what_there_is() -> None:
    """In the order in which they are asked: the first that fails is told, and the words hold both sides."""
    mention = a_mention("The export is empty", handle="kim@social.example", followers=10)
    verdict = a_verdict("bug_report", 0.93, signals="anger", language="en")
    facts = Facts("shop", "jira", (), new_author=False, mention_id=1, components={"editor": ("editor",)})
    wanted = {
        "label": ("praise", "it wants the label praise, and this is bug_report"),
        "sure": (False, "it wants a verdict that is not sure, and this one is"),
        "confidence": ({"max": 0.5}, "it wants a confidence from 0 to 0.5, and this is 0.93"),
        "source": ("other", "it wants the source other, and this came by acme"),
        "visibility": ("direct", "it wants a post that is direct, and this is public"),
        "new_author": (True, "it wants a new author, and this one is known"),
        "followers": ({"min": 50}, "it wants an author with followers from 50, and this one has 10"),
        "signal": (["outage", "payment"], "it wants the signal outage or payment, and there is anger"),
        "language": ("pt", "it wants the language pt, and this is en"),
        "author": ("*@other.example", "it wants an author like *@other.example, and this is kim@social.example"),
        "words": ("refund*", "it wants the word refund*, and the post has none"),
        "component": ("editor", "it wants words of the component editor, and the post has none"),
    }
    assert set(wanted) == set(When.model_fields)
    for key, (value, words) in wanted.items():
        rule = a_rule(when={key: value})
        assert unmet(rule.when, mention, verdict, facts) == words
        assert route(mention, verdict, _problem(), [rule], facts).rule == "no rule matches"
    both = a_rule(when={"label": "praise", "words": "refund*"})
    assert unmet(both.when, mention, verdict, facts) == wanted["label"][1]
    assert unmet(a_rule(when={"label": "bug_report"}).when, mention, verdict, facts) is None


def _problem() -> Any:
    from triage.mention import Problem

    return Problem(1, "thread")

"""`triage queue`: what a person is offered where the machine was not sure."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.service import CONFIG, Service, service
from triage.cli import cli
from triage.mention import Label, Mention, Verdict
from triage.pipeline import judge

SCORES = {"bug_report": 0.48, "support_question": 0.41, "praise": 0.02, "noise": 0.09}


class Torn(Service):
    """The service with a judge who wavers between two labels when a post says maybe, and who reads French in one that says salut."""

    def classify(self, mentions: Sequence[Mention]) -> list[Verdict]:
        found = []
        for mention, verdict in zip(mentions, super().classify(mentions), strict=True):
            torn = verdict if verdict.sure else replace(verdict, label=Label.BUG_REPORT, confidence=0.48, scores=SCORES)
            found.append(replace(torn, language="fr" if "salut" in mention.text else "en" if "in English" in mention.text else None))
        return found


@pytest.fixture
def app(tmp_path: Path, store_url: str) -> Iterator[Service]:
    """A service that acts."""
    made = service(tmp_path, store_url)
    made.__class__ = Torn
    yield made
    made.close()


@pytest.fixture
def queue(app: Service, tmp_path: Path, store_url: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """What `triage queue` prints."""
    (tmp_path / "config.yaml").write_text(CONFIG.format(mode="act", folder=tmp_path, store=store_url, source=""))
    monkeypatch.setenv("TRIAGE_CONFIG", str(tmp_path / "config.yaml"))
    return lambda *words: CliRunner().invoke(cli, ["queue", *words], catch_exceptions=False).output


def test_the_two_likeliest_labels_are_offered_where_it_was_not_sure(app: Service, queue: Callable[..., str]) -> None:
    """Its own label first; a sure one stands alone, and so does a person's word."""
    app.acme.post("mira@x.example", "maybe it is broken")
    app.acme.post("noor@x.example", "how do I log in?")
    app.pass_()
    unsure, sure = app.queue()
    assert unsure["likely"] == [{"label": "bug_report", "score": 0.48}, {"label": "support_question", "score": 0.41}]
    assert sure["likely"] == []
    first, second = [line for line in queue().splitlines() if "@x.example" in line]
    assert "  bug report 48% or support question 41% " in first
    assert "  support_question 95% " in second
    assert [row["likely"] for row in json.loads(queue("--json"))] == [unsure["likely"], []]
    judge.relabel(app, 1, "support_question", "ana")
    assert [row["likely"] for row in app.queue() if row["mention"] == 1 and row["state"] == "open"] == [[]]


def test_the_language_of_a_verdict_is_told_where_it_is_not_english(app: Service, queue: Callable[..., str]) -> None:
    """Nor where nobody knows it."""
    for text in ("maybe: salut", "maybe, in English", "maybe"):
        app.acme.post("mira@x.example", text)
    app.pass_()
    assert [row["judged_language"] for row in app.queue()] == ["fr", "en", None]
    heads = [line for line in queue().splitlines() if "@x.example" in line]
    assert [", in " in line for line in heads] == [True, False, False]
    assert "support question 41%, in fr " in heads[0]
    assert [row["judged_language"] for row in json.loads(queue("--format", "json"))] == ["fr", "en", None]

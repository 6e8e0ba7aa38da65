"""A model that can't be used is no fault of the posts that wait for it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.service import Service, service
from triage.errors import ModelError
from triage.mention import Mention, Verdict


def test_posts_wait_for_a_model_that_can_not_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often a pass fails for the model's sake, none of them is quarantined, and all are judged once it is mended."""

    def fail(self: Service, mentions: Sequence[Mention]) -> list[Verdict]:
        raise ModelError("the model is from another world")

    made = service(tmp_path, f"sqlite:///{tmp_path}/triage.db")
    made.acme.post("ann@else.example", "it is broken")
    with monkeypatch.context() as away:
        away.setattr(Service, "classify", fail)
        for _ in range(4):
            made.pass_(minutes=3)
    assert made.store.views.status(made.clock.now())["mentions"] == {"stored": 1, "waiting": 1, "quarantined": 0, "labels": {}}
    made.pass_(minutes=3)
    assert [action["kind"] for action in made.actions()] == ["ticket", "task"]
    made.close()

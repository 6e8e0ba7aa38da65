"""Failpoints: where a test may make the process fail."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from triage import failpoint

Passes = Callable[..., list[int]]


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> Passes:
    """Pass a place 20 times; the passings at which it raised."""

    def count(setting: str, seed: str = "1", name: str = "here") -> list[int]:
        monkeypatch.setenv("TRIAGE_FAILPOINTS", setting)
        monkeypatch.setenv("TRIAGE_FAILPOINT_SEED", seed)
        failpoint._passed.clear()
        failpoint._draws.cache_clear()
        struck = []
        for number in range(1, 21):
            try:
                failpoint.hit(name)
            except failpoint.FailpointError:
                struck.append(number)
        return struck

    return count


def test_nothing_happens_unless_it_is_asked_for(passes: Passes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither without the variable nor at another place."""
    assert passes("elsewhere=raise") == []
    monkeypatch.delenv("TRIAGE_FAILPOINTS")
    failpoint.hit("here")


def test_it_strikes_always_or_at_one_passing(passes: Passes) -> None:
    """`#3` is the third one, and no other."""
    assert passes("here=raise") == list(range(1, 21))
    assert passes("elsewhere=kill,here=raise#3") == [3]


def test_chances_repeat_with_their_seed(passes: Passes) -> None:
    """A failing run can be run again."""
    first = passes("here=raise@0.5", "7")
    assert 0 < len(first) < 20
    assert passes("here=raise@0.5", "7") == first
    assert any(passes("here=raise@0.5", str(seed)) != first for seed in range(5))

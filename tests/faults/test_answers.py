"""The case of lost answers is tested: it asks for a parked action where there is reason for one, and nowhere else."""

from __future__ import annotations

import pytest

from tests.faults.case_3_answers import given_up


@pytest.mark.parametrize(
    ("met", "tries", "parked"),
    [
        (["reset_before", "timeout_before"], 2, True),
        (["timeout_before"], 1, True),
        (["reset_before"], 2, False),
        (["reset_before", ""], 2, False),
        (["reset_before", "timeout_after"], 2, False),
        (["status", "timeout_before"], 2, False),
        (["reset_after"], 1, False),
        ([""], 1, False),
    ],
)
def test_only_what_no_server_accepted_at_any_try_is_parked(met: list[str], tries: int, parked: bool) -> None:
    """What was accepted is found by a look, and what has a try left is tried."""
    assert given_up({7: met}, {7: tries}) == ({7} if parked else set())

"""The rights file for Redis that ships (triage/ops/redis.acl): all that worker and beat need, on a real server, and nothing else."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import NoPermissionError, RedisError

from tests.acceptance.rig import Rig, free_port
from tests.fixtures_services import eventually
from tests.shared import ROOT
from triage import broker
from triage.guard import Guard

PASSWORD = "a-password-of-the-tests"


@pytest.fixture
def server(tmp_path: Path, guard: Guard) -> int:
    """A server that knows our user with the rights that ship, and an administrator who looks at what was refused; its port."""
    rights = (ROOT / "triage" / "ops" / "redis.acl").read_text()
    assert rights.count("CHANGE-ME") == 1
    users = tmp_path / "users.acl"
    users.write_text(rights.replace("CHANGE-ME", PASSWORD) + "user admin on nopass allkeys allchannels allcommands\n")
    port = free_port()
    argv = [str(broker.binary()), *broker.arguments(tmp_path), "--bind", "127.0.0.1", "--port", str(port), "--aclfile", str(users)]
    process = guard.start(argv, stdout=subprocess.DEVNULL)
    assert eventually(lambda: process.poll() is None and _answers(port)), "it did not start"
    return port


def _answers(port: int) -> bool:
    try:
        return bool(_admin(port).ping())
    except RedisError:
        return False


def _admin(port: int) -> Redis:
    return Redis.from_url(f"redis://admin@127.0.0.1:{port}/0")


def test_worker_and_beat_work_with_the_rights_that_ship(new_rig: Callable[..., Rig], database: str, server: int) -> None:
    """The sweep looks once an hour here, so what is done is done because a ring came through. Nothing is refused."""
    rig = new_rig(store=database, redis=f"redis://triage:{PASSWORD}@127.0.0.1:{server}/0", sweep="1h")
    with rig.celery("worker") as one, rig.celery("worker") as other, rig.celery("beat"):
        rig.await_work(one, other)
        for number in range(12):
            rig.mastodon.post(f"author{number % 7}@else.example", f"Thing number {number} is broken")
        assert eventually(lambda: len(rig.jira.tickets) == 12, 90.0)
    assert _admin(server).acl_log() == []


@pytest.mark.parametrize(
    "command", ["FLUSHALL", "CONFIG GET *", "KEYS *", "EVAL x 0", "ACL LIST", "GET another", "PUBLISH another x", "SAVE"]
)
def test_nothing_else_is_allowed(server: int, command: str) -> None:
    """Neither administration nor the keys and channels of others."""
    ours = Redis.from_url(f"redis://triage:{PASSWORD}@127.0.0.1:{server}/0")
    assert ours.set("triage-probe", "1")
    with pytest.raises(NoPermissionError):
        ours.execute_command(*command.split())  # type: ignore[no-untyped-call]
    with pytest.raises(RedisError):
        Redis.from_url(f"redis://127.0.0.1:{server}/0").ping()  # nobody comes in without a name

"""`triage web` with pages that listen: it ends when it is told to, and they are told the end, too."""

from __future__ import annotations

import http.client
import signal
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.acceptance.rig import Rig
from tests.fixtures_services import eventually
from triage.guard import Guard
from triage.person import Role
from triage.store import Store


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_open_streams_do_not_keep_the_pages_from_ending(tmp_path: Path, guard: Guard, how: signal.Signals) -> None:
    """Each stream is ended as it should be, with its last chunk; none has to be cut after the time of grace."""
    with Rig(tmp_path, guard) as rig, rig.command("web") as web:
        assert eventually(lambda: _answers(rig), 60.0), web.said
        now = datetime.now(UTC)
        store = Store(rig.store)
        ana = store.people.come(store.people.invite(Role.VIEWER, "triage", now), "ana", "", "", now)
        session = store.sessions.start(ana, now, address="", agent="")
        store.close()
        open_ = [http.client.HTTPConnection("127.0.0.1", rig.port, timeout=60) for _ in range(3)]
        answers = []
        for connection in open_:
            connection.request("GET", "/live", headers={"Cookie": f"triage={session}"})
            answers.append(connection.getresponse())
        for answer in answers:
            while answer.readline() != b"event: hello\n":
                pass
        web.ask(how)
        for answer in answers:
            answer.read()  # `IncompleteRead` where it was cut
        assert web.ended() in (0, -how)
        assert "graceful shutdown exceeded" not in web.said
        for connection in open_:
            connection.close()


def _answers(rig: Rig) -> bool:
    try:
        return rig.page("/healthz").status_code in (200, 503)
    except OSError:
        return False

"""kill -9 at every place where it hurts. The kills are real: a process that is killed by triage/failpoint.py runs nothing more."""

from __future__ import annotations

from collections.abc import Callable

from tests.acceptance.rig import free_port
from tests.faults.case import Case, Ground
from tests.faults.scene import Scene, post_alarms, post_bugs, post_questions, post_second_reports, scene

KILLS = 10  # a run
IN_THE_PIPELINE = ("before_sweep", "before_ingest", "after_ingest", "before_classify", "before_record", "after_record", "before_look")
HELD = ("before_classify", "before_record")  # a second kill in the same post would rightly put it into quarantine


def _at_send(point: str) -> Callable[[Ground], None]:
    def run(ground: Ground) -> None:
        with scene(ground, flavour=ground.random.choice(["cloud", "data_center"])) as on:
            worker = on.worker(f"{point}=kill#1")
            on.watching()
            on.rig.receiver.faults.add(kind="slow:0.3", method="POST", times=None)  # else alerts alone would be killed, being local
            bugs = post_bugs(on.rig, 5)
            post_second_reports(on.rig, bugs[:3])
            post_questions(on.rig, 4)
            if ground.seed % 2:
                post_alarms(on.rig, 2)  # an alert is sent again at once, and would take most of the kills of each run
            while ground.notes["kills"] < KILLS:
                while not worker.ended(0.5) and on.violations():
                    on.answer()
                if worker.poll() is None:
                    break  # all is done, and nothing is left to be killed at
                on.count_kill(worker)
                on.answer()
                worker = on.worker(f"{point}=kill#{ground.random.choice([1, 1, 1, 2])}")
            if worker.poll() is None:
                worker.send_signal(9)
                worker.ended(5.0)
                on.count_kill(worker, "kills anywhere")
            on.worker()
            on.answer()
            on.kept()
            on.given_up_only_if_caught_twice()
            on.sums()

    return run


def _in_the_pipeline(ground: Ground) -> None:
    points = list(IN_THE_PIPELINE)
    ground.random.shuffle(points)
    with scene(ground) as on:
        clean = on.worker()
        on.watching()
        clean.end()
        for number, point in enumerate(points):
            if point == "before_look":
                on.rig.jira.faults.add(kind="reset_after", method="POST", path="/issue$")
            post_bugs(on.rig, 2, first=10 * number)
            worker = on.worker(f"{point}=kill#1")
            assert worker.ended(30.0), f"nothing passed {point}; {on.tail()}"
            on.count_kill(worker)
            ground.notes[point] += 1
            if point in HELD:
                _clean_up(on)
        _clean_up(on)
        on.given_up_only_if_caught_twice()
        on.sums()


def _clean_up(on: Scene) -> None:
    worker = on.worker()
    on.kept()
    worker.end()


def _the_commands(ground: Ground) -> None:
    """`triage worker` and `triage up` themselves, with all that they start."""
    point = ground.random.choice(["after_intent", "after_send"])
    redis = f"redis://127.0.0.1:{free_port()}/0"
    with scene(ground, redis=redis) as on:
        rig = on.rig
        rig.once()
        on.watching()
        bugs = post_bugs(rig, 3)
        post_second_reports(rig, bugs[:1])
        if ground.seed % 2:  # supervised: the worker is started again by `triage up`
            rig.write_config()
            with rig.command("up", env={"TRIAGE_FAILPOINTS": f"{point}=kill#2"}) as up:
                on.kept(300.0)  # who is killed in a look keeps it for two minutes
                up.stop()
            deaths = up.said.count("was ended by SIGKILL")
            assert deaths, up.said
            ground.notes["kills"] += deaths
        else:
            with rig.command("worker", env={"TRIAGE_FAILPOINTS": f"{point}=kill#2"}) as worker:
                assert worker.ended(90.0) == -9, worker.said
            ground.notes["kills"] += 1
            with rig.command("worker"):
                on.kept()
        on.sums()


CASES = (
    Case("kill-after-intent", 1, "kill -9 between the intent and the call", _at_send("after_intent"), long=22),
    Case("kill-after-send", 1, "kill -9 between the far side's accept and our commit", _at_send("after_send"), long=22),
    Case("kill-in-the-pipeline", 1, "kill -9 in sweep, poll (before and after its commit), classify, record, look", _in_the_pipeline),
    Case("kill-the-commands", 1, "kill -9 of `triage worker`, and below `triage up`", _the_commands, long=4),
)

"""From nothing to a config that works: `triage init`, `triage doctor`, and a pass that says which account fails."""

from __future__ import annotations

from tests.acceptance.rig import Rig
from tests.fixtures_services import eventually


def test_init_writes_a_config_that_works(rig: Rig) -> None:
    """With what it is told put in, its comments kept, in observe mode; and `doctor` finds the servers."""
    rig.triage(
        *("init", "--yes", "--out", "mine.yaml", "--mastodon", rig.mastodon.url, "--jira", rig.jira.url),
        *("--deployment", "cloud", "--user", rig.jira.email, "--project", "QUAY"),
    )
    text = (rig.folder / "mine.yaml").read_text()
    assert "mode: observe" in text
    assert "# Where mentions come from." in text
    tokens = {"MASTODON_TOKEN": rig.mastodon.token, "JIRA_TOKEN": rig.jira.token}
    said = rig.triage("-c", "mine.yaml", "doctor", env=tokens).out
    assert "FAIL" not in said
    assert "mode is observe: nothing is sent" in said
    assert "project QUAY is there" in said
    assert "mine.yaml exists; edit it" in rig.triage("init", "--yes", "--out", "mine.yaml", code=2).err


def test_init_asks_the_few_things_that_matter(rig: Rig) -> None:
    """The instance and the tracker; without a tracker its part becomes a comment."""
    said = rig.triage("init", "--out", "asked.yaml", text="social.example\nnone\n")
    assert "Your Mastodon server" in said.out
    assert "triage -c asked.yaml doctor" in said.out
    text = (rig.folder / "asked.yaml").read_text()
    assert "url: https://social.example" in text
    assert "\n#trackers:" in text
    assert rig.triage("-c", "asked.yaml", "queue", env={"MASTODON_TOKEN": "x"}).out == "nothing waits for a person\n"


def test_doctor_is_content_with_a_good_config(rig: Rig) -> None:
    """Everything is looked at: config, model, store, both servers and the notifier; nothing is changed there."""
    found = rig.triage("doctor", "--json").json
    parts = {finding["part"] for finding in found["findings"]}
    assert parts == {"config", "model", "store", "source quayside", "tracker tickets", "notifier oncall"}
    assert found["worst"] in ("ok", "warn")
    assert all(finding["next_step"] for finding in found["findings"] if finding["level"] != "ok")
    assert rig.mastodon.replies == []
    assert rig.jira.tickets == []


def test_doctor_says_what_to_do_next(rig: Rig) -> None:
    """A wrong token, a missing project, a screen without labels, an alert receiver that is away: exit code 1, each with a next step."""
    cases = [
        ({"SANDBOX_MASTODON": "mistaken"}, {}, "source quayside", "Preferences, Development"),
        ({"SANDBOX_JIRA": "mistaken"}, {}, "tracker tickets", "API token"),
        ({}, {"project": "NOPE"}, "tracker tickets", "Correct `project`"),
        ({}, {"receiver": "http://127.0.0.1:1"}, "notifier oncall", "start Alertmanager"),
    ]
    for env, values, part, step in cases:
        rig.write_config(**values)
        found = rig.triage("doctor", "--json", code=1, env=env).json
        assert found["worst"] == "fail"
        assert {finding["part"] for finding in found["findings"] if finding["level"] == "fail"} == {part}
        assert step in next(finding["next_step"] for finding in found["findings"] if finding["level"] == "fail")
    rig.write_config()
    rig.jira.knobs.labels_on_screen = False
    said = rig.triage("doctor", code=1).out
    assert "FAIL  tracker tickets: Labels is not on the create screen" in said
    assert "next: Add the field Labels to that screen." in said


def test_a_pass_tells_which_account_fails(rig: Rig) -> None:
    """`run --once` ends with 1 and names the source that it could not reach; once it is back, a pass ends with 0."""
    rig.mastodon.stop()
    said = rig.triage("run", "--once", code=1)
    assert "source quayside is failing" in said.err
    rig.mastodon.start()
    assert eventually(lambda: rig.triage("run", "--once", code=None).code == 0, 30.0)

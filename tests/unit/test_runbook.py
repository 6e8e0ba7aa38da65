"""docs/runbook.md: every alert and every reason of ill health has its entry, each entry tells all, and its commands are the real ones."""

from __future__ import annotations

import re
import shlex

import click
import pytest
import yaml

from tests.shared import ROOT
from tests.unit.test_deploy import UNITS, composed, last_stage, ours, parses
from tests.unit.test_docs import anchors, blocks, page, slug, table
from triage import config
from triage.app import manifest
from triage.metrics import Reason

TEXT = page("docs/runbook.md")
PARTS = ("You see", "It means", "Do", "Don't", "Over when")
PAGES = ("docs/runbook.md", "docs/deploying.md")
CALL = re.compile(r"(\w+=\S+ |sudo -u triage |docker compose exec \w+ )*([\w./-]*/)?triage (-c \S+ )?")
STAND_INS = {"ACTION": "3", "TASK": "3", "MENTION": "3"}


def entries() -> dict[str, str]:
    """Each entry's anchor and text."""
    found = re.split(r"(?m)^### (.+)$", TEXT)[1:]
    return {slug(heading): re.split(r"(?m)^## ", body)[0] for heading, body in zip(found[::2], found[1::2], strict=True)}


def listed() -> dict[str, str]:
    """The table at the top: each name in code, and the anchor that it leads to."""
    found: dict[str, str] = {}
    for line in table(TEXT, "First"):
        anchor = re.search(r"\]\(#([\w-]+)\)", line[1])
        assert anchor is not None, line
        found |= dict.fromkeys(re.findall(r"`([^`]+)`", line[0]), anchor[1])
    return found


def prometheus() -> dict[str, str]:
    """Each alert rule and its annotation."""
    groups = yaml.safe_load((ROOT / "triage" / "ops" / "alerts.yml").read_text())["groups"]
    return {rule["alert"]: rule["annotations"]["runbook"] for group in groups for rule in group["rules"]}


def test_every_entry_is_reached_from_the_table_and_tells_all() -> None:
    """What you see, what it means, what to do, what not, and when it is over: in this order."""
    found = entries()
    reached = {match for line in table(TEXT, "First") for match in re.findall(r"\(#([\w-]+)\)", line[1])}
    assert set(found) == reached
    for anchor, body in found.items():
        places = [body.find(f"**{part}**") for part in PARTS]
        assert -1 not in places, anchor
        assert places == sorted(places), anchor
        assert any(words == "sh" for words, _ in blocks(body)), anchor


def test_every_alert_rule_names_its_entry() -> None:
    """The annotation leads to where the table leads, and there is such a heading."""
    known = listed()
    for name, link in prometheus().items():
        path, _, anchor = link.partition("#")
        assert path == "docs/runbook.md"
        assert anchor in anchors(ROOT / path), name
        assert known[name] == anchor
    assert {name for name in known if name.startswith("Triage")} == set(prometheus())


def test_every_alert_of_the_service_and_every_reason_of_ill_health_has_an_entry() -> None:
    """Those of docs/delivery.md and of /healthz."""
    sent = {row[0].strip("`") for row in table(page("docs/delivery.md"), "Alerts")}
    assert len(sent) > 5
    assert {*sent, *map(str, Reason)} <= set(listed())


def commands(name: str) -> list[str]:
    """The lines of a page's shell blocks that call triage."""
    lines = [line.partition("  #")[0].strip() for words, body in blocks(page(name)) if words == "sh" for line in body.splitlines()]
    return [line for line in lines if CALL.match(line)]


def words_of(line: str) -> list[str]:
    """What stands after the program in a line of shell, without `-c FILE`, with numbers for the names that stand for one."""
    call = CALL.match(line)
    assert call is not None
    return [STAND_INS.get(word, word) for word in shlex.split(line[call.end() :])]


@pytest.mark.parametrize("name", PAGES)
def test_every_command_of_the_page_is_taken_by_the_real_command_line(name: str) -> None:
    """Names, options, and what kind of value each wants."""
    wrong = []
    for line in commands(name):
        try:
            parses(words_of(line))
        except (AssertionError, click.UsageError) as error:
            wrong.append(f"{line}: {error}")
    assert commands(name)
    assert not wrong


def test_a_wrong_command_would_be_found() -> None:
    """A label that there is not, a number that is none, a command that is misspelt."""
    for line in ("triage relabel 3 bug", "triage retry HELP-17", "sudo -u triage /x/triage -c /y stats"):
        with pytest.raises((AssertionError, click.UsageError)):
            parses(words_of(line))
    parses(words_of("sudo -u triage /x/triage -c /y status"))


# docs/deploying.md


def test_the_config_for_compose_is_one_and_points_at_its_secrets() -> None:
    """It parses, and each secret that it points to is mounted into the services that read it."""
    [body] = [body for words, body in blocks(page("docs/deploying.md")) if words == "yaml config"]
    pointed = set(re.findall(r"/run/secrets/(\w+)", body))
    for service in ours().values():
        assert set(service["secrets"]) == pointed
    values = {"store": "postgresql://triage:p@postgres/triage", "broker": "redis://triage:p@valkey:6379/0"}
    for name in pointed:
        body = body.replace(f"{{file: /run/secrets/{name}}}", f"{{env: SECRET_{name.upper()}}}")
    read = config.parse(body, env={f"SECRET_{name.upper()}": values.get(name, "token") for name in pointed})
    assert read.store == "postgresql+psycopg://triage:p@postgres/triage"
    assert read.broker == values["broker"]
    for kind, connectors in (("platforms", read.sources), ("trackers", read.trackers)):
        for connector in connectors.values():
            assert config.validate_options(connector, manifest(kind, connector.type).options, read)


def test_the_secrets_of_the_page_are_those_of_the_compose_file() -> None:
    """Each file that compose mounts is made by the page's commands, and given to the user who reads it."""
    text = page("docs/deploying.md")
    owned = {name: owner for owner, names in re.findall(r"(?m)^chown (\d+) (.*)$", text) for name in re.findall(r"secrets/(\w+)", names)}
    assert set(owned) == set(composed()["secrets"])
    for service in ours().values():
        assert {owned[name] for name in service["secrets"]} == {last_stage()["USER"][-1].split(":")[0]}
    assert {owned[name] for name in composed()["services"]["valkey"]["secrets"]} == {composed()["services"]["valkey"]["user"].split(":")[0]}


def test_the_units_and_settings_of_the_page_are_those_that_ship() -> None:
    """No unit is left out, and each setting of the database's has its reason there."""
    text = page("docs/deploying.md")
    assert {unit.name for unit in UNITS} == {
        name for row in table(text, "systemd") for name in re.findall(r"`(triage[\w@-]*\.\w+)`", row[0])
    }
    shipped = dict(re.findall(r"(?m)^ALTER DATABASE triage SET (\w+) = '?(\w+)'?;$", page("triage/ops/postgresql.sql")))
    told = {row[0].strip("`"): row[1].strip("`") for row in table(text, "PostgreSQL")}
    assert told == {name: value for name, value in shipped.items() if "keepalives" not in name} | {"tcp_keepalives_*": "60 s, 10 s, 6"}
    assert [value for name, value in shipped.items() if "keepalives" in name] == ["60s", "10s", "6"]

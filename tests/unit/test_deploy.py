"""Container file, compose file and systemd units: they are well-formed, and what they call, copy, set and open is what there is."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import fnmatch
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import click
import pytest
import yaml
from compose_spec import PyCompose
from dockerfile_parse import DockerfileParser

from tests.shared import ROOT
from triage import config, guard, remote, supervisor
from triage.cli import cli
from triage.config import Web
from triage.errors import ConfigError

DEPLOY = ROOT / "deploy"
UNITS = sorted((ROOT / "triage" / "ops" / "systemd").iterdir())
SERVICES = [path for path in UNITS if path.suffix == ".service"]
OURS = {"TRIAGE_CONFIG", "TRIAGE_HEARTBEAT"}  # read by the command line and by the worker; all others by the config


def parses(words: Sequence[str]) -> None:
    """The real command line takes these words; nothing is run. Raises click's UsageError."""
    name, *arguments = words
    command = cli.get_command(click.Context(cli), name)
    assert command is not None, f"there is no `triage {name}`"
    command.make_context(name, list(arguments))


def known(environment: Mapping[str, str]) -> None:
    """The config takes each of these variables."""
    others = {name: value for name, value in environment.items() if name not in OURS}
    if any(name.startswith("TRIAGE_") for name in others):
        assert config.parse("{}", env=others) != config.parse("{}", env={})
    config.parse("{}", env=others)
    for name in others:
        if name.startswith("TRIAGE_"):
            assert name.removeprefix("TRIAGE_").lower().split("__")[0] in ("mode", "state", "web", "log", "site", "delivery"), name


def is_pinned(image: str) -> bool:
    """A registry, and a version with at least two numbers."""
    return re.fullmatch(r"[\w.-]+\.\w+/[\w./-]+:\d+\.\d+(\.\d+)?(-[\w.]+)*", image) is not None


def test_the_checks_themselves_can_fail() -> None:
    """A command, an option, a variable and an image that are not there."""
    for words in (["wrok"], ["web", "--prot", "1"], ["run"], ["retry", "x"]):
        with pytest.raises((AssertionError, click.UsageError)):
            parses(words)
    with pytest.raises((AssertionError, ConfigError)):
        known({"TRIAGE_WEB__PROT": "1"})
    with pytest.raises(AssertionError):
        known({"TRIAGE_STAET": "/x"})
    assert is_pinned("docker.io/library/python:3.11.13-slim-bookworm")
    assert not any(is_pinned(one) for one in ("python:3.11.1", "docker.io/library/python", "docker.io/library/python:latest"))


# The container file


def steps() -> list[dict[str, str]]:
    """The instructions, in order, without comments."""
    parser = DockerfileParser(fileobj=(DEPLOY / "Containerfile").open("rb"))
    return [step for step in parser.structure if step["instruction"] != "COMMENT"]


def last_stage() -> dict[str, list[str]]:
    """The instructions of the image that is kept, by name."""
    found: dict[str, list[str]] = {}
    for step in steps():
        if step["instruction"] == "FROM":
            found = {}
        found.setdefault(step["instruction"], []).append(step["value"])
    return found


def environment() -> dict[str, str]:
    """What ENV sets in the image that is kept."""
    return dict(word.split("=", 1) for value in last_stage()["ENV"] for word in shlex.split(value))


def test_the_base_images_are_pinned_and_the_same() -> None:
    """What is built with is what is run with."""
    images = {step["value"].split()[0] for step in steps() if step["instruction"] == "FROM"}
    assert len(images) == 1
    assert all(is_pinned(image) for image in images)
    version = re.search(r":(\d+)\.(\d+)", next(iter(images)))
    assert version is not None
    assert (int(version[1]), int(version[2])) >= (3, 11)


def test_what_is_copied_exists_and_is_let_through() -> None:
    """The ignore file lets in what the container file copies, and no more."""
    copied = {word.rstrip("/") for step in steps() if step["instruction"] == "COPY" for word in _sources(step["value"])}
    lines = (DEPLOY / "Containerfile.dockerignore").read_text().split()
    assert lines[0] == "*"
    assert {line.removeprefix("!") for line in lines if line.startswith("!")} == copied
    for name in copied:
        assert (ROOT / name).exists(), name
        assert not any(fnmatch(name, line) for line in lines[1:] if not line.startswith("!"))


def _sources(value: str) -> list[str]:
    words = shlex.split(value)
    return [] if words[0].startswith("--from") else words[:-1]


def test_what_is_copied_is_all_that_the_wheel_is_made_of() -> None:
    """What pyproject.toml names, the package's own folder, and what is forced into it."""
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {
        "pyproject.toml",
        project["project"]["readme"],
        *project["project"]["license-files"],
        *wheel["packages"],
        *wheel["force-include"],
    }
    copied = {word.rstrip("/") for step in steps() if step["instruction"] == "COPY" for word in _sources(step["value"])}
    assert copied == needed | {"requirements/run.txt", "requirements/build.txt"}


def test_nothing_is_installed_that_no_hash_vouches_for() -> None:
    """Each pip call reads a lock with hashes, or uses nothing but what lies here."""
    calls = [call for step in steps() if step["instruction"] == "RUN" for call in step["value"].split("&&") if " pip " in call]
    calls = [call for call in calls if "uninstall" not in call]
    assert len(calls) == 4
    for call in calls:
        words = call.split()
        assert "--require-hashes" in words or {"--no-deps", "--no-index"} <= set(words), call
        if "-r" in words:
            assert "--hash=sha256:" in (ROOT / words[words.index("-r") + 1]).read_text()
        if "wheel" in words:
            assert "--no-build-isolation" in words  # else hatchling would come from the index


def test_the_image_runs_the_service_as_nobody_and_is_asked_to_end() -> None:
    """In exec form, so that SIGTERM arrives; not as root; with its state in the volume and its port open."""
    stage = last_stage()
    words = [*json.loads(stage["ENTRYPOINT"][-1]), *json.loads(stage["CMD"][-1])]
    assert words[0] == "triage"
    parses(words[1:])
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", stage["USER"][-1])
    assert json.loads(stage["VOLUME"][-1]) == [environment()["TRIAGE_STATE"]]
    assert stage["EXPOSE"] == [str(Web().port)]
    assert stage["STOPSIGNAL"] == ["SIGTERM"]


def test_the_images_environment_is_known_and_holds_no_secret() -> None:
    """And the program is found."""
    found = environment()
    known({name: value for name, value in found.items() if name.startswith(("TRIAGE_", "DATABASE", "REDIS"))})
    assert found["PATH"].startswith("/srv/triage/venv/bin:")
    text = (DEPLOY / "Containerfile").read_text()
    assert not re.search(r"(?i)(token|password|passwd|api_?key)\s*=", text)
    assert not any(step["instruction"] == "ARG" for step in steps())


@contextmanager
def answering(status: int) -> Iterator[int]:
    """The port of a server that answers so."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/healthz" else 404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Tests print nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()


def run_check(words: Sequence[str], old: str, new: str) -> int:
    """The exit code of a health check, with one thing in its code replaced."""
    assert words[:2] == ["python", "-c"]
    assert old in words[2]
    return subprocess.run([sys.executable, "-c", words[2].replace(old, new)], capture_output=True, check=False, timeout=30).returncode


def test_the_images_health_check_tells_a_dead_service_from_an_ill_one() -> None:
    """200 and 503 are answers; a closed port is none."""
    _, _, command = last_stage()["HEALTHCHECK"][-1].partition("CMD ")
    words = json.loads(command)
    for status in (200, 503):
        with answering(status) as port:
            assert run_check(words, str(Web().port), str(port)) == 0
    assert run_check(words, str(Web().port), str(port)) != 0


# The compose file


def composed() -> dict[str, Any]:
    """The file, with its anchors resolved."""
    found: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return found


def ours() -> dict[str, dict[str, Any]]:
    """The services that run our image."""
    return {name: service for name, service in composed()["services"].items() if "build" in service}


def test_the_compose_file_is_one_by_the_specification() -> None:
    """Read by a library that implements it; networks, volumes and secrets that are used are there."""
    read = PyCompose.from_json(json.dumps(composed()))  # our anchors and merges are YAML's, which it does not resolve
    read.validate()
    assert set(read.service_names()) == {"worker", "beat", "web", "postgres", "valkey"}
    for wrong in ({"restrat": "always"}, {"secrets": ["missing"]}):
        with pytest.raises(ValueError, match=r"restrat|missing"):
            PyCompose.from_json(json.dumps({"services": {"x": {"image": "a", **wrong}}})).validate()


def test_every_service_calls_a_command_that_there_is() -> None:
    """With variables that the config takes."""
    assert set(ours()) == {"worker", "beat", "web"}
    for service in ours().values():
        parses(service["command"])
        known({**environment(), **service.get("environment", {})} | {"PATH": ""})


def test_everything_stands_where_the_compose_file_says() -> None:
    """The build's folder and file, and what is mounted from the checkout; the rest is written by whoever runs it, and ignored by git."""
    ignored = (ROOT / ".gitignore").read_text().split()
    for service in composed()["services"].values():
        if build := service.get("build"):
            assert ((DEPLOY / build["context"]).resolve() / build["dockerfile"]).is_file()
        for mount in service.get("volumes", ()):
            source, target, *_ = mount.split(":")
            if source.startswith("../"):
                assert (DEPLOY / source).is_file()
            elif source.startswith("./"):
                assert f"deploy/{source.removeprefix('./')}" in ignored
                assert target == environment()["TRIAGE_CONFIG"]
    assert all(secret["file"].startswith("secrets/") for secret in composed()["secrets"].values())
    assert "deploy/secrets/" in ignored


def test_the_compose_file_holds_no_secret_and_opens_only_loopback() -> None:
    """Secrets are files; the one port is that of the pages, on this machine."""
    opened = [port for service in composed()["services"].values() for port in service.get("ports", ())]
    assert opened == [f"127.0.0.1:{Web().port}:{Web().port}"]
    for service in composed()["services"].values():
        for name, value in service.get("environment", {}).items():
            assert not re.search("(?i)pass|token|secret|url", name) or value.startswith("/run/secrets/"), name
        assert set(service.get("secrets", ())) <= set(composed()["secrets"])


def test_every_service_is_pinned_starts_again_and_may_write_little() -> None:
    """Images by version, a restart policy, time to end; ours with a read-only root and no capability."""
    for name, service in composed()["services"].items():
        assert service["image"] == "triage:local" or is_pinned(service["image"]), name
        assert service["restart"] == "unless-stopped"
        assert "stop_grace_period" in service
    for service in ours().values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert f"state:{environment()['TRIAGE_STATE']}" in service["volumes"]
    assert float(ours()["worker"]["stop_grace_period"].rstrip("s")) > remote.DEADLINE_SECONDS


def test_the_workers_health_check_looks_at_its_heartbeat(tmp_path: Path) -> None:
    """The very file that the worker is told to touch: there and new is well, old or missing is not."""
    import os
    import time

    worker = ours()["worker"]
    beat = tmp_path / "beat"
    command, path = worker["healthcheck"]["test"][1:], worker["environment"]["TRIAGE_HEARTBEAT"]
    assert run_check(command, path, str(beat)) != 0
    beat.touch()
    assert run_check(command, path, str(beat)) == 0
    os.utime(beat, (time.time() - 200, time.time() - 200))
    assert run_check(command, path, str(beat)) != 0


# The systemd units


def unit(path: Path) -> dict[str, list[str]]:
    """The settings of a unit, each with all of its values."""
    found: dict[str, list[str]] = {}
    section = ""
    for line in path.read_text().splitlines():
        if line.startswith("["):
            section = line
        elif line and not line.startswith("#"):
            assert section, f"{path.name}: {line} stands before the first section"
            key, sign, value = line.partition("=")
            assert sign, f"{path.name}: {line}"
            found.setdefault(key, []).append(value)
    return found


def called(path: Path) -> list[str]:
    """The words after `triage` in what a unit starts."""
    [start] = unit(path)["ExecStart"]
    words = shlex.split(start)
    if words[0] == "/bin/sh":
        words = shlex.split(words[2].removeprefix("exec "))
    assert words[0] == "/srv/triage/venv/bin/triage"
    return [word.replace("%%", "%") for word in words[1:]]


def seconds(text: str) -> float:
    """A time span of systemd's, as far as the units use it."""
    number, unit_ = re.fullmatch(r"(\d+)(h?)", text).groups()  # type: ignore[union-attr]
    return int(number) * (3600 if unit_ else 1)


@pytest.mark.parametrize("path", SERVICES, ids=lambda path: path.name)
def test_a_unit_calls_a_command_that_there_is(path: Path) -> None:
    """With variables that the config takes, a state folder that systemd makes, and no right that it doesn't need."""
    parses(called(path))
    found = unit(path)
    variables = dict(word.split("=", 1) for value in found["Environment"] for word in shlex.split(value))
    known(variables)
    assert variables["TRIAGE_STATE"] == "/var/lib/" + found["StateDirectory"][0].split()[0]
    assert Path(variables["TRIAGE_CONFIG"]).parent == Path(found["WorkingDirectory"][0])
    assert found["ProtectSystem"] == ["strict"]
    assert found["NoNewPrivileges"] == ["yes"]
    assert found["User"] == ["triage"]


@pytest.mark.parametrize("path", SERVICES, ids=lambda path: path.name)
def test_a_unit_gives_time_to_end(path: Path) -> None:
    """The supervisor ends its processes by itself, so only it is asked; a worker finishes its call."""
    found = unit(path)
    if found["Type"] == ["oneshot"]:
        return
    assert found["Restart"] == ["always"]
    assert found["KillMode"] == ["mixed"]
    least = {"up": supervisor.GRACE_SECONDS + guard.GRACE_SECONDS, "worker": remote.DEADLINE_SECONDS}.get(called(path)[0], 3)
    assert seconds(found["TimeoutStopSec"][0]) > least


def test_every_service_that_keeps_running_has_a_unit_and_the_timer_has_its_own() -> None:
    """And nothing else lies there."""
    assert {called(path)[0] for path in SERVICES} == {"up", "worker", "beat", "web", "backup"}
    assert [path.stem for path in UNITS if path.suffix == ".timer"] == ["triage-backup"]
    assert {path.suffix for path in UNITS} == {".service", ".timer"}


def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    """Its own tool reads them; the programs that they start are replaced by one that is there."""
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed (Debian: apt install systemd), so systemd did not read the units")
    for path in UNITS:
        name = path.name.replace("@.", "@1.")
        (tmp_path / name).write_text(path.read_text().replace("/srv/triage/venv/bin/triage", "/bin/true"))
    names = sorted(str(path) for path in tmp_path.iterdir())
    done = subprocess.run([program, "verify", "--man=no", *names], capture_output=True, text=True, check=False, timeout=60)
    ours_only = [line for line in done.stderr.splitlines() if "triage" in line]
    assert not ours_only, done.stderr
    (tmp_path / "bad.service").write_text("[Service]\nExecStrat=/bin/true\n")
    done = subprocess.run(
        [program, "verify", "--man=no", str(tmp_path / "bad.service")], capture_output=True, text=True, check=False, timeout=60
    )
    assert "ExecStrat" in done.stderr

"""The configuration: what loads, what overrides what, and what every mistake is answered with."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.configs import CANARY, HERE, STEP, outcome, parse, refusal
from triage import config
from triage.config import lines
from triage.errors import ConfigError
from triage.mention import Label

# Mistakes in the shape of the file


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "config.yaml is empty; run `triage init` to write a complete one"),
        ("  \n# mode: act\n", "config.yaml is empty; run `triage init` to write a complete one"),
        ("- mode\n", "config.yaml:1: the file must hold lines like `mode: observe`; docs/configuration.md shows each key"),
        ("just words", "config.yaml:1: the file must hold lines like `mode: observe`; docs/configuration.md shows each key"),
        ("mode: observe\nsite: a\nmode: act\n", "config.yaml:3: mode: is given twice, first in line 1; keep one"),
        ("web:\n  port: 1\n  port: 2\n", "config.yaml:3: web.port: is given twice, first in line 2; keep one"),
        ("web:\n\tport: 1\n", "config.yaml:2: a tab indents this line; YAML wants spaces; mend that line and run the command again"),
        (
            "sources: [acme\n",
            "config.yaml:2: this is no valid YAML (expected ',' or ']', but got '<stream end>'); mend that line and run the command again",
        ),
        (
            "site: a\nmode: act: now\n",
            "config.yaml:2: this is no valid YAML (a colon without a space after it, one too many, or a missing one, here or in the line "
            "above); mend that line and run the command again",
        ),
        (
            f"site: *{CANARY}\n",
            "config.yaml:1: an alias (`*name`) points at nothing; put quotes around a value that begins with `*`; "
            "mend that line and run the command again",
        ),
        (f"site: !{CANARY} x\n", "config.yaml:1: a value can't begin with `!`; put quotes around it"),
        ("site: !!python/object:os.system x\n", "config.yaml:1: the value can't be read; put quotes around it"),
        ("a: &a [*a]\n", "config.yaml:1: aliases (`*name`) multiply without end here; write the values out"),
        ("[" * 3000, "config.yaml: is nested too deeply; docs/configuration.md shows the shape of the file"),
        (
            "mode: act\n---\nmode: act\n",
            "config.yaml:2: a second document begins here (`---`); keep one; mend that line and run the command again",
        ),
        ("site: a\nmode: \x07\n", "config.yaml:2: holds a character that no text file has; write the file anew as plain text (UTF-8)"),
        ("{a: b}: c\n", "config.yaml:1: a key must be a plain word; mend that line and run the command again"),
    ],
)
def test_what_is_no_config_file_at_all_is_refused_in_one_line(text: str, message: str) -> None:
    """The line, the reason and the next step, and nothing else."""
    assert refusal(text) == message


@pytest.mark.parametrize(
    "line",
    [
        f"token: *{CANARY}",
        f"token: !{CANARY} x",
        f"token: !{CANARY}!x y",
        f"token: &{CANARY} x\nuser: &{CANARY} y",
        f"token: '{CANARY}",
        f'token: "{CANARY}\\q"',
        f"token: {CANARY}: x",
        f"%{CANARY}",
        f"token: @{CANARY}",
        f"token: `{CANARY}",
        f"{{token:{CANARY}}}",
        f"token:{CANARY}",
        f"? [{CANARY}]\n: x",
    ],
)
def test_a_secret_that_breaks_the_syntax_is_not_repeated(line: str) -> None:
    """A password may begin with any sign, and a parser likes to quote what it did not understand."""
    assert CANARY not in refusal(f"{line}\n")


def test_aliases_that_multiply_are_refused_before_they_fill_the_memory() -> None:
    """A file of ten lines can describe a billion values."""
    text = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9))
    assert "multiply without end" in refusal(text)


def test_an_alias_that_is_used_twice_is_fine() -> None:
    """Sharing a value is what aliases are for."""
    read = parse("sources:\n  a: {platform: x, hashtags: &tags [one]}\n  b: {platform: x, hashtags: *tags}\n")
    assert read.sources["b"].options == {"hashtags": ["one"]}


# Mistakes in keys and values

RULE = "rules:\n  - name: one\n    then: {then}\n    reason: why\n    when: {when}\n"


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("\nmod: act\n", ['config.yaml:2: mod: unknown key; did you mean "mode"?']),
        (
            "zzz: 1\n",
            [
                "config.yaml:1: zzz: unknown key; possible here: site, mode, state, store, broker, model, thresholds, components, sources, "
                "trackers, notifiers, rules, groups, product, answers, check_links, style, boosts, audit, autonomy, retention, delivery, "
                "targets, hours, web, log"
            ],
        ),
        (f"{{mode:{CANARY}}}\n", ["config.yaml:1: mode: unknown key; write a space after the colon"]),
        ("mode: obzerve\n", ['config.yaml:1: mode: "obzerve" is not one of observe, act; did you mean "observe"?']),
        ("mode: 5\n", ["config.yaml:1: mode: must be one of observe, act"]),
        ("site: a b\n", ["config.yaml:1: site: must be letters, digits and dashes, 32 at most, and begin with a letter or a digit"]),
        ("site: [a]\n", ["config.yaml:1: site: must be text"]),
        ("state: 5\n", ["config.yaml:1: state: must be a path"]),
        ("model: [a]\n", ["config.yaml:1: model: must be a path"]),
        ("web:\n  prot: 1\n", ['config.yaml:2: web.prot: unknown key; did you mean "port"?']),
        ("web:\n  port: '80'\n", ["config.yaml:2: web.port: must be a whole number"]),
        ("web:\n  port: 70000\n", ["config.yaml:2: web.port: must be less than or equal to 65535"]),
        ("web: 5\n", ["config.yaml:1: web: must hold indented `key: value` lines"]),
        ("log: {level: loud, format: jsonl}\n", [
            'config.yaml:1: log.level: "loud" is not one of debug, info, warning, error',
            'config.yaml:1: log.format: "jsonl" is not one of text, json; did you mean "json"?',
        ]),
        ("delivery:\n  settle: soon\n  batch: 0\n  threads: 1.5\n", [
            "config.yaml:2: delivery.settle: must be a time such as 20s, 5m, 2h or 7d",
            "config.yaml:3: delivery.batch: must be greater than or equal to 1",
            "config.yaml:4: delivery.threads: must be a whole number",
        ]),
        ("delivery: {sweep: 0s}\n", ["config.yaml:1: delivery.sweep: must be greater than 0"]),
        ("thresholds: {bug: 0.5, praise: 2}\n", [
            'config.yaml:1: thresholds.bug: "bug" is not one of bug_report, support_question, praise, noise',
            "config.yaml:1: thresholds.praise: must be less than or equal to 1",
        ]),
        ("thresholds: {praise: .nan}\n", ["config.yaml:1: thresholds.praise: must be a number"]),
        ("store: mysql://host/db\n", ["config.yaml:1: store: must begin with sqlite:/// and name a file, or with postgresql://"]),
        ("store: 'sqlite:///:memory:'\n", ["config.yaml:1: store: must begin with sqlite:/// and name a file, or with postgresql://"]),
        ("store: 5\n", ["config.yaml:1: store: must begin with sqlite:/// and name a file, or with postgresql://"]),
        (f"store: postgresql://me:{CANARY}@host/db\n", [
            "config.yaml:1: store: holds a password; put the address into DATABASE_URL, or write {env: NAME} or {file: PATH}"
        ]),
        ("store: {env: NOT_SET}\n", ["config.yaml:1: store: the environment variable NOT_SET is not set; export it"]),
        ("broker: amqp://host\n", ["config.yaml:1: broker: must begin with redis://, rediss:// or redis+socket:///"]),
        (f"broker: redis://:{CANARY}@host\n", [
            "config.yaml:1: broker: holds a password; put the address into REDIS_URL, or write {env: NAME} or {file: PATH}"
        ]),
        ("sources: acme\n", [
            "config.yaml:1: sources: must hold indented lines: a name, and below it `platform: …` and its options"
        ]),
        ("trackers:\n  jira: x\n", [
            "config.yaml:2: trackers.jira: must hold indented lines: a name, and below it `tracker: …` and its options"
        ]),
        ("sources:\n  acme: {}\n", ["config.yaml:2: sources.acme.platform: is missing"]),
        ("sources:\n  acme: {platfrom: mastodon}\n", [
            'config.yaml:2: sources.acme.platform: is missing; is "platfrom" meant to be it?'
        ]),
        ("sources:\n  acme: {platform:mastodon}\n", [
            "config.yaml:2: sources.acme.platform: is missing; write a space after the colon"
        ]),
        ("sources:\n  acme:\n    platform: x\n    every: often\n    brake: -1\n", [
            "config.yaml:4: sources.acme.every: must be a time such as 20s, 5m, 2h or 7d",
            "config.yaml:5: sources.acme.brake: must be greater than or equal to 0",
        ]),
        ("sources:\n  a b: {platform: x}\n", [
            "config.yaml:2: sources.a b: a name must be letters, digits, dashes, dots and underscores, 40 at most"
        ]),
        ("sources: {one: {platform: x}}\ntrackers: {one: {tracker: x}}\nnotifiers: {human: {notifier: x}}\n", [
            "config.yaml:2: trackers.one: this name is taken; give each source, tracker and notifier one of its own",
            "config.yaml:3: notifiers.human: this name is taken; give each source, tracker and notifier one of its own",
        ]),
        ("rules: task\n", ["config.yaml:1: rules: must be a list"]),
        ("rules: [task]\n", ["config.yaml:1: rules[0]: must hold indented `key: value` lines"]),
        ("rules:\n  - then: task\n", [
            "config.yaml:2: rules[0].name: is missing",
            "config.yaml:2: rules[0].reason: is missing",
        ]),
        ("rules:\n  - name: one\n    then: taks\n    reason: why\n    when:\n      labl: praise\n      label: prase\n", [
            'config.yaml:3: rules[0].then: "taks" is not one of ticket, task, draft, alert, archive; did you mean "task"?',
            'config.yaml:6: rules[0].when.labl: unknown key; did you mean "label"?',
            'config.yaml:7: rules[0].when.label: "prase" is not one of bug_report, support_question, praise, noise; '
            'did you mean "praise"?',
        ]),
        (RULE.format(then="task", when="{confidence: {min: 9}}"), [
            "config.yaml:5: rules[0].when.confidence.min: must be less than or equal to 1"
        ]),
        (RULE.format(then="task", when="{signal: angry}"), [
            'config.yaml:5: rules[0].when.signal: "angry" is not one of anger, security, data_loss, payment, outage, feature_request; '
            'did you mean "anger"?'
        ]),
        (RULE.format(then="task", when="{words: [true]}"), ["config.yaml:5: rules[0].when.words[0]: must be text"]),
        (RULE.format(then="task", when="{source: acmee}") + "sources: {acme: {platform: x}}\n", [
            'config.yaml:5: rules[0].when.source: "acmee" is no source; did you mean "acme"?'
        ]),
        (RULE.format(then="[archive, alert]", when="{}"), ["config.yaml:2: rules[0]: then can't be archive and alert at once"]),
        (
            "rules:\n  - {name: all, then: task, reason: why}\n  - {name: rest, then: archive, reason: why}\n",
            [
                'config.yaml:3: rules[1]: can never match: "all" above takes all that it could; move it up, narrow the other or drop it'
            ],
        ),
    ],
)  # fmt: skip
def test_each_mistake_is_told_by_line_key_and_nearest_valid_key(text: str, lines: list[str]) -> None:
    """One line for each mistake, in the order of the file, then the next step."""
    assert refusal(text).splitlines() == [*lines, STEP]


def test_all_mistakes_are_told_at_once() -> None:
    """A person mends the file once: sections, connectors and rules in one answer."""
    told = refusal("mod: act\nsources:\n  acme: {}\nrules:\n  - {name: a, then: draft, reason: r}\nweb: {port: x}\n").splitlines()
    assert told == [
        'config.yaml:1: mod: unknown key; did you mean "mode"?',
        "config.yaml:3: sources.acme.platform: is missing",
        "config.yaml:5: rules[0]: then names draft, but there is no text: add `draft: …`",
        "config.yaml:6: web.port: must be a whole number",
        STEP,
    ]


@given(st.text(alphabet=st.sampled_from("modesitrul: \n-[]{}#&*!|>'\"%@,?~0.1é\t\x00"), max_size=60))
def test_any_text_gives_a_config_or_a_config_error(text: str) -> None:
    """Whatever stands in the file, no other exception comes out."""
    assert outcome(text)


INNER = ["env", "file", "platform", "every", "name", "when", "then", "reason", "label", "port", "min", "words"]
TOP = ["mode", "site", "state", "store", "sources", "trackers", "rules", "web", "delivery", "model"]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 10) | st.floats(allow_nan=True) | st.sampled_from(["task", "1s", "praise", "x", ""]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(INNER), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(TOP), VALUES))
def test_any_value_at_any_key_gives_a_config_or_a_config_error(data: dict[str, Any]) -> None:
    """Right keys with wrong values are answered in words, too."""
    assert outcome(yaml.safe_dump(data))


# Files


def test_no_file_here_points_to_init(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a path the file of the current folder is read."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=re.escape("no config.yaml here; run `triage init` to write one, or name another with --config")):
        config.load(None, {})
    (tmp_path / "config.yaml").write_text("site: found\n")
    read = config.load(None, {})
    assert (read.site, read.folder) == ("found", tmp_path / ".state")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x89PNG\r\n\x1a\n\xff\xfe", ":1: is not UTF-8 text; save it as UTF-8, or name the right file with --config"),
        (b"site: a\nmode: \xe9\n", ":2: is not UTF-8 text; save it as UTF-8, or name the right file with --config"),
        (b"#" * (1024 * 1024 + 1), ": is larger than 1 MiB, so it is no config file; name the right one with --config"),
    ],
)
def test_a_file_that_holds_something_else_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    """A picture, another encoding, a database."""
    file = tmp_path / "config.yaml"
    file.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        config.load(file, {})
    assert str(caught.value) == f"{file}{message}"


def test_a_path_that_is_no_readable_file_is_refused(tmp_path: Path) -> None:
    """A folder, nothing at all, and a path that leads through a file."""
    (tmp_path / "file").write_text("x")
    for path, message in (
        (tmp_path, f"{tmp_path}: is a folder; name the file in it, {tmp_path / 'config.yaml'}"),
        (tmp_path / "none.yaml", f"{tmp_path / 'none.yaml'}: no such file; run `triage init` to write one"),
        (tmp_path / "file" / "x", f"{tmp_path / 'file' / 'x'}: can't be read (Not a directory); check who may read it"),
    ):
        with pytest.raises(ConfigError) as caught:
            config.load(path, {})
        assert str(caught.value) == message


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    """Windows editors write one."""
    file = tmp_path / "config.yaml"
    file.write_bytes(b"\xef\xbb\xbfsite: marked\n")
    assert config.load(file, {}).site == "marked"


# Defaults, places, the environment


def test_a_single_line_is_a_whole_config() -> None:
    """Everything else has a default, and the default sends nothing."""
    read = parse("site: shop\n")
    base = Path.cwd()
    assert (read.mode, read.folder, read.store) == ("observe", base / ".state", f"sqlite:///{base / '.state/triage.db'}")
    assert (read.broker, read.model, read.path) == (None, None, HERE)
    assert (read.web.host, read.web.port, read.delivery.settle, read.delivery.retry_longest) == ("127.0.0.1", 8321, 60.0, 900.0)


def test_a_section_whose_lines_are_all_commented_out_counts_as_left_out() -> None:
    """YAML gives null for it."""
    read = parse("sources:\n#  acme:\nrules:\ndelivery:\nmode: act\n")
    assert (read.sources, read.delivery.threads, read.mode) == ({}, 8, "act")
    assert read.rules == parse("mode: act\n").rules


def test_an_empty_list_of_rules_stays_empty() -> None:
    """Then everything goes to a person."""
    assert parse("rules: []\n").rules == ()


def test_relative_paths_start_at_the_config_file(tmp_path: Path) -> None:
    """Not at the folder where the command happened to run."""
    read = config.parse("state: var\nmodel: mine\nstore: sqlite:///data/t.db\n", tmp_path / "config.yaml", {})
    assert (read.folder, read.model, read.store) == (tmp_path / "var", tmp_path / "mine", f"sqlite:///{tmp_path / 'data/t.db'}")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("postgresql://me@host/db", "postgresql+psycopg://me@host/db"),
        ("postgres://host/db?sslmode=require", "postgresql+psycopg://host/db?sslmode=require"),
        ("postgresql+psycopg://host/db", "postgresql+psycopg://host/db"),
        ("sqlite:////var/t.db", "sqlite:////var/t.db"),
    ],
)
def test_a_store_is_named_as_sqlalchemy_wants_it(written: str, meant: str) -> None:
    """The driver is ours to choose."""
    assert parse(f"store: {written}\n").store == meant


def test_the_environment_wins_over_the_file_and_our_names_over_the_common_ones() -> None:
    """TRIAGE_… over DATABASE_URL over the file over the defaults."""
    text = "mode: observe\nstore: mysql://wrong\nweb: {port: 1, host: h}\n"
    env = {
        "DATABASE_URL": "postgresql://me:one@a/db",
        "REDIS_URL": "redis://a",
        "TRIAGE_MODE": "act",
        "TRIAGE_STATE": "/tmp/s",
        "TRIAGE_WEB__PORT": "80",
        "TRIAGE_DELIVERY__SETTLE": "1.5s",
        "TRIAGE_DELIVERY__SWEEP": "0.2",
        "TRIAGE_THRESHOLDS__BUG_REPORT": "0.9",
        "TRIAGE_SITE": "007",
    }
    read = parse(text, env)
    assert (read.mode, read.store, read.broker) == ("act", "postgresql+psycopg://me:one@a/db", "redis://a")
    assert (read.folder, read.web.port, read.web.host, read.site) == (Path("/tmp/s"), 80, "h", "007")
    assert (read.delivery.settle, read.delivery.sweep, read.thresholds) == (1.5, 0.2, {Label.BUG_REPORT: 0.9})
    assert parse(text, {**env, "TRIAGE_STORE": "sqlite:////b.db"}).store == "sqlite:////b.db"


def test_an_empty_or_foreign_variable_changes_nothing() -> None:
    """Compose files set empty ones, and other programs share the prefix."""
    assert parse("mode: act\n", {"TRIAGE_MODE": "", "DATABASE_URL": "", "TRIAGE_SHARED": "/x", "HOME": "/"}) == parse("mode: act\n")


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("TRIAGE_MODE", "atc", 'TRIAGE_MODE: mode: "atc" is not one of observe, act; did you mean "act"?'),
        ("TRIAGE_WEB__PROT", "1", 'TRIAGE_WEB__PROT: web.prot: unknown key; did you mean "port"?'),
        ("TRIAGE_WEBB__PORT", "1", 'TRIAGE_WEBB__PORT: webb.port: unknown key; did you mean "web"?'),
        ("TRIAGE_WEB__PORT", CANARY, "TRIAGE_WEB__PORT: web.port: must be a whole number"),
        ("TRIAGE_WEB", "5", "TRIAGE_WEB: web: can't be set by the environment; write it into the file"),
        ("TRIAGE_RULES", "[]", "TRIAGE_RULES: rules: can't be set by the environment; write it into the file"),
        (
            "TRIAGE_SOURCES__ACME__EVERY",
            "5s",
            "TRIAGE_SOURCES__ACME__EVERY: sources.acme.every: can't be set by the environment; write it into the file",
        ),
        (
            "DATABASE_URL",
            f"mysql://me:{CANARY}@h",
            "DATABASE_URL: store: must begin with sqlite:/// and name a file, or with postgresql://",
        ),
    ],
)
def test_a_mistake_in_the_environment_is_told_by_the_variables_name(variable: str, value: str, message: str) -> None:
    """There is no line to name."""
    assert refusal("mode: act\n", {variable: value}).splitlines() == [message, STEP]


@pytest.mark.parametrize(
    ("text", "seconds"), [("20s", 20), ("5m", 300), ("2h", 7200), ("7d", 604800), ("500ms", 0.5), ("1.5s", 1.5), (3, 3)]
)
def test_durations_are_read_in_every_unit(text: Any, seconds: float) -> None:
    """A bare number is in seconds."""
    assert config.seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "20", "s", "5 minutes", "-1s", "1e3s", True, None, [1]])
def test_what_is_no_duration_is_refused(text: Any) -> None:
    """Rather than guessed at."""
    with pytest.raises(ValueError, match="must be a time such as 20s, 5m, 2h or 7d"):
        config.seconds(text)


def test_yaml_reads_text_as_people_mean_it() -> None:
    """Norwegian is no `false`, a time is no number, an id keeps its zeros, and 500 may be a word to look for."""
    data, _ = lines.read("a: no\nb: 1:30\nc: 2024-01-01\nd: 007\ne: 1.5\nf: 0x10\ng: true\nh: ~\ni: -3\nj: 1e3\n", "x")
    assert data == {"a": "no", "b": "1:30", "c": "2024-01-01", "d": "007", "e": 1.5, "f": 16, "g": True, "h": None, "i": -3, "j": 1000.0}
    rule = parse(RULE.format(then="task", when="{language: no, words: [500, 502]}")).rules[0]
    assert (rule.when.language, rule.when.words) == (("no",), ("500", "502"))


# The pages' address


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("https://triage.example", "https://triage.example"),
        ("https://Triage.Example:443/", "https://triage.example"),
        ("https://triage.example:8443", "https://triage.example:8443"),
        ("http://127.0.0.1:8321", "http://127.0.0.1:8321"),
        ("http://[::1]:8321", "http://[::1]:8321"),
        ("http://triage.example", "must begin with https://"),
        ("http://10.0.0.5:8321", "must begin with https://"),
        ("https://triage.example/inbox", "an address without a path"),
        ("https://ana@triage.example", "an address without a path"),
        ("https://triage.example:x", "an address without a path"),
        ("triage.example", "an address without a path"),
        ("ftp://triage.example", "an address without a path"),
        ("https://", "an address without a path"),
    ],
)
def test_the_pages_address_is_an_origin_as_browsers_write_it(given: str, read: str) -> None:
    """Writes are compared with it, and passwords don't travel in the clear."""
    text = f'web: {{url: "{given}"}}\n'
    if read.startswith("http"):
        assert parse(text).web.url == read
    else:
        assert read in refusal(text)


def test_proxies_are_addresses() -> None:
    """A name or a star would believe anybody."""
    assert parse("web: {proxies: [127.0.0.1, 10.0.0.0/8]}\n").web.proxies == ("127.0.0.1", "10.0.0.0/8")
    assert parse("web: {proxies: '::1'}\n").web.proxies == ("::1",)
    for written in ("'*'", "proxy.example"):
        assert "is no address or network" in refusal(f"web: {{proxies: {written}}}\n")

"""Details: version, system, error text and component words are found where they stand, and their lookalikes are left alone."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.routing import FACTS, a_mention, a_rule, a_verdict, decide, matches
from triage.details import Detail, details
from triage.mention import ActionKind, Verdict, Visibility, Work
from triage.rules import check, unmet
from triage.trackers import wording
from triage.trackers.markup import LONGEST_TEXT, fit, units, wiki

VERSIONS = [
    ("the export is empty since 3.2.1", ["3.2.1"]),
    ("v2 is slow", ["2"]),
    ("V3.1 crashes", ["3.1"]),
    ("version 5 beta 2 ate my notes", ["5 beta 2"]),
    ("4.0.0-rc.1 does not start", ["4.0.0-rc.1"]),
    ("broken since 2.5. Please fix", ["2.5"]),
    ("worked in 1.8, broken in 1.9", ["1.8", "1.9"]),
    ("updated to 10.0.1 today", ["10.0.1"]),
    ("build 4821 fails", ["4821"]),
    ("Seit 4.1 stürzt es ab", ["4.1"]),
    ("nach dem Update von 1.8 auf 1.9", ["1.8", "1.9"]),
    ("Version 7 läuft nicht", ["7"]),
    ("depuis la version 7.0.1 plus rien", ["7.0.1"]),
    ("après 3.4 l'écran reste noir", ["3.4"]),
    ("desde la versión 3 no abre", ["3"]),
    ("con 6.2 se cierra", ["6.2"]),
    ("v1.2.3.4 is the version", ["1.2.3.4"]),
    ("calendar versions count: version 2026.05.1", ["2026.05.1"]),
    ("2.0 beta is out and broken", ["2.0 beta"]),
    ("no number at all", []),
    ("my server is at 192.168.0.10", []),
    ("an address like 10.0.0.1:8080 or 10.0.0.0/24", []),
    ("all of 192.168.1.x is unreachable", []),
    ("since 12.05.2026 it fails", []),
    ("am 03.05.24 war es weg", []),
    ("on 12.05. we met", []),
    ("since 2026.05.12", []),
    ("it costs $9.99 or 9.99 € or 12.50 EUR", []),
    ("after 2.5 hours it stopped", []),
    ("nach 2.5 Stunden, après 1.5 heure, en 3.5 horas", []),
    ("uses 3.5 GB of 16.0 GB", []),
    ("in 99.9 % of all cases", []),
    ("1.234.567 rows were lost", []),
    ("call 06.12.34.56.78", []),
    ("https://x.example/v1.2.3/notes and www.y.example/4.5.6", []),
    ("rated 4.5 by everybody", []),
    ("I run Python 3.11.4 and TLS 1.2", []),
    ("see section 3.2.1 of the docs", []),
    ("write to me@3.2.1.example", []),
    ("iOS 17.4.1 and Android 14", []),
]

SYSTEMS = [
    ("on iOS 17.4", ["iOS 17.4"]),
    ("IOS 18 and iPadOS 17", ["iOS 18", "iPadOS 17"]),
    ("Android 14, Pixel", ["Android 14"]),
    ("android only", ["Android"]),
    ("Windows 11 23H2", ["Windows 11 23H2"]),
    ("auf Windows 10", ["Windows 10"]),
    ("sous Windows, rien", ["Windows"]),
    ("en Windows Server 2022", ["Windows Server 2022"]),
    ("win11 is slow", ["Windows 11"]),
    ("macOS Sonoma and Mac OS X 10.15.7", ["macOS Sonoma", "macOS 10.15.7"]),
    ("Ubuntu 24.04 LTS", ["Ubuntu 24.04"]),
    ("unter Debian 12", ["Debian 12"]),
    ("con Fedora 40", ["Fedora 40"]),
    ("Arch Linux, up to date", ["Arch Linux"]),
    ("linux, of course", ["Linux"]),
    ("I opened two windows and a window closed", []),
    ("Windows keep popping up", []),
    ("our @linux account and #android", []),
    ("biosphere, curious, ubuntus", []),
    ("see android.example for more", []),
]

ERRORS = [
    ("TypeError: undefined is not a function", ["TypeError: undefined is not a function"]),
    ("it throws java.lang.NullPointerException: x", ["java.lang.NullPointerException: x"]),
    ("error: cannot open file", ["cannot open file"]),
    ("[ERROR] disk is gone", []),
    ("[ERROR]: disk is gone", ["disk is gone"]),
    ('the dialog shows "Save failed"', ["Save failed"]),
    ('install fails with "permission denied"', ["permission denied"]),
    ("Fehlermeldung „Datei nicht gefunden“ beim Start", ["Datei nicht gefunden"]),
    ("il affiche « Erreur de lecture »", ["Erreur de lecture"]),
    ("me sale el mensaje «No se pudo guardar»", ["No se pudo guardar"]),
    ("502 bad gateway on every page", ["HTTP 502"]),
    ("getting 503 from all endpoints", ["HTTP 503"]),
    ("j'ai l'erreur 404", ["HTTP 404"]),
    ("Fehler 500 beim Speichern", ["HTTP 500"]),
    ("me da error 500 al guardar", ["HTTP 500"]),
    ("exited with code, exit code 137", ["exit code 137"]),
    ("code de sortie 1", ["exit code 1"]),
    ("thread panicked at src/main.rs:3", ["panicked at src/main.rs:3"]),
    ("connect ECONNREFUSED", ["ECONNREFUSED"]),
    ("500 people got 500 emails", []),
    ("a 500 GB disk for $404", []),
    ('she called it "the best tool"', []),
    ("no errors at all", []),
    ("EVERYONE LOVES IT", []),
]


def held(found: tuple[Detail, ...], text: str) -> list[str]:
    for one in found:
        assert 0 <= one.start < one.end <= len(text)
    return [one.value for one in found]


@pytest.mark.parametrize(("text", "wanted"), VERSIONS)
def test_versions(text: str, wanted: list[str]) -> None:
    """Found in four languages; addresses, dates, prices, measures, other programs' and systems' numbers are none."""
    assert held(details(text).versions, text) == wanted


@pytest.mark.parametrize(("text", "wanted"), SYSTEMS)
def test_systems(text: str, wanted: list[str]) -> None:
    """With their numbers; what only sounds like one is none."""
    assert held(details(text).systems, text) == wanted


@pytest.mark.parametrize(("text", "wanted"), ERRORS)
def test_errors(text: str, wanted: list[str]) -> None:
    """A quoted message, an exception, a line, a status, an exit code; numbers and quotations of other things are none."""
    assert held(details(text).errors, text) == wanted


def test_each_stands_where_it_is_said_to() -> None:
    """The place is of the words that it was read from."""
    text = "Since v3.2.1 on Ubuntu 24.04 I get error 502 in the canvases"
    found = details(text, {"editor": ["canvas*"], "sync": ["sync*"]})
    kinds = (found.versions, found.systems, found.errors, found.components)
    assert [text[one.start : one.end] for (one,) in kinds] == ["v3.2.1", "Ubuntu 24.04", "get error 502", "canvas"]
    assert found.facts() == [("Version", "3.2.1"), ("System", "Ubuntu 24.04"), ("Error", "HTTP 502"), ("Component", "editor")]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("the Editor froze", "Editor"),
        ("ＥＤＩＴＯＲ", "ＥＤＩＴＯＲ"),
        ("two canvases", "canvas"),
        ("the STRASSE tool", "STRASSE"),
        ("die Straße im ﬁle-Editor", "Straße"),
        ("editorial", None),
        ("no such thing", None),
    ],
)
def test_component_words_are_whole_and_whatever_their_case(text: str, wanted: str | None) -> None:
    """As rules compare words; the place is in the text as it came, though its flat form has another length."""
    found = details(text, {"editor": ["straße", "editor", "canvas*"]}).components
    assert [text[one.start : one.end] for one in found] == ([wanted] if wanted else [])


def test_a_value_is_told_once_and_five_are_enough() -> None:
    """The first places count."""
    text = "since 1.0.1 and since 1.0.1 " + " ".join(f"v{number}" for number in range(2, 20))
    assert held(details(text).versions, text) == ["1.0.1", "2", "3", "4", "5"]


@given(st.text(max_size=300) | st.text(st.sampled_from('v12.0 errorE:"“«„iOSwnds \n/@-'), max_size=200))
def test_any_text_is_read(text: str) -> None:
    """Whatever it is: places within it, one line for each value, and the same each time."""
    found = details(text, {"a": ["a", "b*"]})
    for some in (found.versions, found.systems, found.errors, found.components):
        assert all(0 <= one.start <= one.end <= len(text) and "\n" not in one.value for one in some)
        assert len(some) <= 5
    assert details(text, {"a": ["a", "b*"]}) == found


SIGNS = [
    *("a", "1.", "v1", "1 ", "1.1.", "error", "error: ", '"', "“", "«", "„a", "TypeError", "aError.", "a.b.", "0x", "ubuntu", "ios "),
    *("windows ", "getting ", "get an an ", "exit code ", "update to ", "get a code status ", "since ", "https://", "EE", "\n", "it says "),
]


@pytest.mark.parametrize("sign", SIGNS)
@pytest.mark.timeout(60)
def test_ten_mebibytes_are_read_to_their_limit(sign: str) -> None:
    """It takes milliseconds; a pattern that looked at a text more often than it is long would meet the test's time limit."""
    text = sign * (10 * 1024 * 1024 // len(sign))
    assert details(text, {"a": ["a*", "1"]}) == details(text[:8_000], {"a": ["a*", "1"]})


COMPONENTS = {"editor": ("editor", "canvas*"), "sync": ("sync*", "upload")}


def test_a_rule_may_ask_for_a_component() -> None:
    """The word stands in the reason; the warning counts; a component that the config lacks holds nothing."""
    facts = replace(FACTS, components=COMPONENTS)
    rule = a_rule(when={"component": ["sync", "editor"]})
    decision = decide(rule, mention=a_mention("Two canvases are blank"), facts=facts)
    assert decision.matched == ('component editor (the word "canvas*")',)
    assert 'component editor (the word "canvas*")' in decision.reason
    assert matches({"component": "editor"}, a_mention("it froze", warning="about the editor"), facts=facts)
    assert not matches({"component": "editor"}, a_mention("it froze"), facts=facts)
    assert not matches({"component": "editor"}, a_mention("the editor froze"))


def test_a_component_that_does_not_match_is_told() -> None:
    """As the other conditions are."""
    because = unmet(a_rule(when={"component": "sync"}).when, a_mention("hello"), _verdict(), replace(FACTS, components=COMPONENTS))
    assert because == "it wants words of the component sync, and the post has none"


def test_a_rule_for_a_component_that_another_takes_is_dead() -> None:
    """The check knows the condition."""
    wide, narrow = a_rule(when={"component": ["editor", "sync"]}), a_rule(when={"component": "editor"}, name="two")
    assert "can never match" in check([wide, narrow])[0][1]
    assert check([narrow, wide]) == []
    assert check([a_rule(when={"component": []})]) == [
        (0, "when.component is an empty list, which nothing matches; name something or drop it")
    ]


def _verdict() -> Verdict:

    return a_verdict()


def work(text: str, **changes: object) -> Work:
    now = datetime.now(UTC)
    mention = a_mention(text, **changes)
    return Work(1, "k", "m", ActionKind.TICKET, "jira", 1, now, now, "why", mention, _verdict(), payload={"lifted": True, "mention_id": 4})


def test_the_ticket_tells_them() -> None:
    """Version, system and error text, where the post tells them; nothing of a private post; markup stays text."""
    said = fit(wording.ticket("", work("since 3.2.1 on iOS 17.4: error: {macro} [~joe] gone")), wiki, units, LONGEST_TEXT)
    facts = said.split("Filed because")[0]
    assert re.search(r"Version\S*:?.*3\.2\.1", facts)
    assert "iOS 17.4" in facts.split("Version")[1]
    assert "{macro}" not in said
    assert "[~joe]" not in said
    assert "Version" not in fit(wording.ticket("", work("the export is empty")), wiki, units, LONGEST_TEXT)
    private = fit(wording.ticket("", work("since 3.2.1 on iOS 17.4", visibility=Visibility.DIRECT)), wiki, units, LONGEST_TEXT)
    assert "3.2.1" not in private
    assert "iOS" not in private

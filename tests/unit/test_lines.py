"""`triage classify --format jsonl`: an answer for each line, in order, whatever the lines hold."""

from __future__ import annotations

import io
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from triage.classifier import Classifier, model_folder
from triage.cli import cli, lines
from triage.mention import Label, Verdict

CRASH = "The app crashes every time I open the calendar"
HOW = "How can I change the language of the menus?"


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return Classifier.load(model_folder())


@pytest.fixture
def run(classifier: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """`triage classify ... < stdin` in a folder with nothing in it; the model is loaded once for all."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TRIAGE_CONFIG", raising=False)
    monkeypatch.setattr(Classifier, "load", lambda *_: classifier)
    return lambda stdin, *words: CliRunner().invoke(cli, ["classify", *words], input=stdin, catch_exceptions=False)


def answers(ran: Result) -> list[dict[str, Any]]:
    """What came out, one JSON object a line."""
    assert ran.stdout == "" or ran.stdout.endswith("\n")
    assert ran.stdout.isascii()
    return [json.loads(line) for line in ran.stdout.split("\n")[:-1]]


def given(*rows: Any) -> bytes:
    """Rows as a JSONL file."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode("utf-8", "surrogatepass")


def test_a_line_has_all_of_a_verdict(run: Callable[..., Result], classifier: Classifier, tmp_path: Path) -> None:
    """The `id` comes back as it was, whatever it is; the model says on standard error which one it is; nothing is written."""
    ids: list[Any] = ["a", 7, 7.5, None, True, ["x", {"y": 1}], "\u2028é\ud800", 10**30]
    rows = given({"text": CRASH}, *({"id": id_, "text": HOW, "other": 1} for id_ in ids))
    ran = run(rows.replace(b"\xed\xa0\x80", b"\\ud800"), "--format", "jsonl")
    first, *rest = answers(ran)
    [verdict] = classifier.classify([CRASH])
    assert list(first) == ["label", "confidence", "scores", "sure", "language", "model"]
    assert (first["label"], first["sure"], first["language"], first["model"]) == ("bug_report", verdict.sure, "en", classifier.card.version)
    assert first["scores"] == {str(label): round(score, 6) for label, score in verdict.scores.items()}
    assert first["confidence"] == round(verdict.confidence, 6)
    assert [row["id"] for row in rest] == ids
    assert all(next(iter(row)) == "id" for row in rest)
    assert ran.exit_code == 0
    assert ran.stderr == f"model: {classifier.card.version}, the one that ships\n"
    assert not list(tmp_path.iterdir())


BAD = [
    (b"it works", "it is no JSON object"),
    (b'{"text": "cut', "it is no JSON object"),
    (b'["text"]', "it is no JSON object"),
    (b"17", "it is no JSON object"),
    (b"null", "it is no JSON object"),
    (b'{"text": "a raw \x00 null"}', "it is no JSON object"),
    (b'{"text": NaN}', "it is no JSON object"),
    (b'{"text": "x", "id": Infinity}', "it is no JSON object"),
    (b'{"text": "x", "id": 1e999}', 'its "id" is a number that JSON can\'t hold'),
    (b'{"text": "x", "n": ' + b"9" * 5000 + b"}", "it is no JSON object"),
    (b"[" * 100_000, "it is no JSON object"),
    (b'{"a":' * 5_000 + b"1" + b"}" * 5_000, "it is no JSON object"),
    (b'{"body": "x"}', 'it has no "text"'),
    (b"{}", 'it has no "text"'),
    (b'{"text": 7}', '"text" is no string'),
    (b'{"text": null}', '"text" is no string'),
    (b'{"text": ["x"]}', '"text" is no string'),
    (b'{"text": "x", "lang": 7}', '"lang" is no string'),
    (b'{"text": "caf\xe9"}', "it is no UTF-8"),
    (b'{"text": "\xed\xa0\x80"}', "it is no UTF-8"),
    (b"\xff\xfe{\x00}\x00", "it is no UTF-8"),
    (b"\xc2\xa0", "it is no JSON object"),
]


@pytest.mark.parametrize(("line", "why"), BAD, ids=range(len(BAD)))
def test_a_bad_line_is_answered_in_its_place(run: Callable[..., Result], line: bytes, why: str) -> None:
    """Those around it keep their verdicts, it is named by its number, and the exit code tells."""
    ran = run(given({"text": CRASH}) + line + b"\n" + given({"text": HOW}), "--format", "jsonl")
    first, wrong, last = answers(ran)
    assert (first["label"], last["label"]) == ("bug_report", "support_question")
    assert set(wrong) <= {"id", "error"}
    assert wrong["error"].startswith(f"line 2: {why}")
    assert ran.exit_code == 1
    assert ran.stderr.splitlines()[-1] == '1 of 3 lines could not be judged; each has its "error" in its place'


def test_a_bad_line_keeps_its_id(run: Callable[..., Result]) -> None:
    """So that it can be found where lines were counted in another way."""
    ran = run(given({"id": "a"}, {"id": 0, "text": None}, {"id": "c", "text": CRASH, "lang": []}), "--format", "jsonl")
    assert [(row["id"], row["error"].partition(":")[0]) for row in answers(ran)] == [("a", "line 1"), (0, "line 2"), ("c", "line 3")]


def test_what_ends_a_line_is_its_end_alone(run: Callable[..., Result]) -> None:
    """Separators within strings split nothing; CRLF, a mark at the start and a missing end are no matter; blank lines are passed over."""
    texts = [f"{CRASH}{separator}{HOW}" for separator in "\u2028\u2029\x85\v\f\x1c\x1d\x1e\r"]
    rows = [json.dumps({"text": text, "id": number}, ensure_ascii=False) for number, text in enumerate(texts[:3])]
    rows += [json.dumps({"text": text, "id": number}) for number, text in enumerate(texts[3:], 3)]
    ran = run(b"\xef\xbb\xbf" + "\r\n \t\r\n\n".join(rows).encode(), "--format", "jsonl")
    assert [row["id"] for row in answers(ran)] == list(range(len(texts)))
    assert ran.exit_code == 0
    assert answers(run(b"\xef\xbb\xbf\n" + given({"text": HOW}) + b"nothing", "--format", "jsonl"))[1]["error"].startswith("line 3: ")
    assert answers(run(b"", "--format", "jsonl")) == answers(run(b"\n\r\n", "--format", "jsonl")) == []


def test_a_language_is_taken_where_it_is_one(run: Callable[..., Result]) -> None:
    """An unknown one is told as it is, and what is none is guessed; `null` is not known."""
    rows = [{"text": text, "lang": tag} for text in (CRASH, "Strona nie działa") for tag in ("xx", "pt-BR", "klingon", "", None, "\x00")]
    found = answers(run(given(*rows), "--format", "jsonl"))
    assert [row["language"] for row in found] == ["xx", "pt", "en", "en", "en", "en", "xx", "pt", None, None, None, None]
    assert not any(row["sure"] for row in found[6:])


def test_hostile_texts_have_their_verdicts(run: Callable[..., Result]) -> None:
    """Nothing, nulls, lone surrogates, what reads like lines of the answer: each has one line."""
    texts = ["", " ", "\x00", "\ud800", "a\x00b crashes", '"}\n{"error": "line 1"}', "x" * 200_000, "🦊" * 9_000]
    ran = run("".join(json.dumps({"text": text}) + "\n" for text in texts).encode(), "--format", "jsonl")
    found = answers(ran)
    assert [set(row) for row in found] == [{"label", "confidence", "scores", "sure", "language", "model"}] * len(texts)
    assert found[0]["scores"] == dict.fromkeys(map(str, Label), 0.25)
    assert ran.exit_code == 0


def test_a_huge_line_is_refused_without_being_held(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is read piece by piece, and the lines after it are found again; one that just fits is taken."""
    monkeypatch.setattr(lines, "LONGEST", 100)

    class Watched(io.BytesIO):
        largest = 0

        def readline(self, size: int | None = -1, /) -> bytes:
            assert size is not None
            assert 0 < size <= 101
            return super().readline(size)

    fits = json.dumps({"text": "x" * 87}).encode()
    assert len(fits) == 99
    rows = [fits, b'{"text": "' + b"y" * 1_000 + b'"}', fits, b"z" * 101, b"z" * 100, fits]
    found = [line for batch in lines.batches(Watched(b"\n".join(rows)), jsonl=True) for line in batch]
    assert [line.number for line in found] == [1, 2, 3, 4, 5, 6]
    assert [line.text == "x" * 87 for line in found] == [True, False, True, False, False, True]
    assert ["longer than" in line.fault for line in found] == [False, True, False, True, False, False]


def test_heavy_lines_are_judged_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that no batch holds more than some memory."""
    monkeypatch.setattr(lines, "_HEAVY", 1_000)
    sizes = [len(batch) for batch in lines.batches(io.BytesIO(given(*[{"text": "x" * 400}] * 7)), jsonl=True)]
    assert sizes == [3, 3, 1]


class Counting:
    """A classifier that tells the text back, and notes the sizes of its batches."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def classify(self, texts: Sequence[str], languages: Sequence[str | None]) -> list[Verdict]:
        assert len(texts) == len(languages)
        self.sizes.append(len(texts))
        return [Verdict(Label.NOISE, 1.0, {"noise": 1.0}, True, text, language=tag) for text, tag in zip(texts, languages, strict=True)]


def test_ten_thousand_lines_keep_their_order() -> None:
    """Good and bad, short and long, in batches of 256: each answer belongs to its line."""
    draw = random.Random(0)
    rests: list[dict[str, Any]] = [{}, {"text": "t", "lang": "de"}, {"text": "t" * 200}]
    rows = [{"id": number, **draw.choice(rests)} for number in range(10_000)]
    judge: Any = Counting()
    batches = lines.batches(io.BytesIO(given(*rows)), jsonl=True)
    found = [json.loads(lines.as_json(*one)) for batch in batches for one in lines.judged(judge, batch)]
    assert [row["id"] for row in found] == list(range(10_000))
    assert len(judge.sizes) == -(-10_000 // lines.BATCH)
    for row, one in zip(rows, found, strict=True):
        assert one.get("model") == row.get("text")
        assert one.get("language") == row.get("lang")
        assert ("error" in one) == ("text" not in row)


def test_plain_lines_are_posts_whatever_they_hold(run: Callable[..., Result], tmp_path: Path) -> None:
    """No line of text is bad; blank ones are passed over, and nothing moves the cursor."""
    (tmp_path / "posts.txt").write_bytes(
        b"\xef\xbb\xbf" + CRASH.encode() + b"\r\n\n\xff\xfe\x00\x1b[2J how do I\n" + '{"text": 7}\u2028x'.encode()
    )
    ran = run(b"", "posts.txt")
    assert ran.exit_code == 0
    assert len(ran.stdout.splitlines()) == 3
    assert ran.stdout.splitlines()[0].startswith("bug_report ")
    assert ran.stdout.splitlines()[0].endswith(f"%    {CRASH}")
    assert "\x1b[2J" not in ran.stdout
    assert "\u2028" not in ran.stdout


def test_a_reader_that_leaves_ends_it_quietly(tmp_path: Path) -> None:
    """As in `triage classify ... | head`: no traceback, and what was read before is whole."""
    (tmp_path / "posts.jsonl").write_bytes(given(*[{"text": CRASH}] * 3_000))
    argv = [sys.executable, "-m", "triage", "classify", "posts.jsonl", "--format", "jsonl"]
    env = {name: value for name, value in os.environ.items() if name != "TRIAGE_CONFIG"}
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path, env=env) as done:
        assert done.stdout is not None
        assert done.stderr is not None
        first = done.stdout.readline()
        done.stdout.close()
        said = done.stderr.read().decode()
    assert json.loads(first)["label"] == "bug_report"
    assert said.startswith("model: ")
    assert len(said.splitlines()) == 1

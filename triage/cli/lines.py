"""The lines of `triage classify`: posts in, one a line or as JSON, and verdicts out in their order.

A line ends with LF or CRLF and with nothing else: JSON strings may hold any other separator. Blank lines are passed over; every other
line has an answer, those that hold no post too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from triage.classifier import Classifier
    from triage.mention import Verdict

BATCH = 256
LONGEST = 16 * 1024 * 1024  # bytes of a line; the model reads the first 8,000 characters of a text
_HEAVY = 8 * 1024 * 1024  # bytes of a batch, which bound the memory
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the input by its number in the file. `fault` says why it holds no post, `echoed` is the `id` that it gave itself."""

    number: int
    text: str = ""
    language: str | None = None
    echoed: tuple[Any, ...] = ()
    fault: str = ""


def batches(stream: IO[bytes], *, jsonl: bool) -> Iterator[list[Line]]:
    """The lines that are not blank, so many at a time as are judged together."""
    batch: list[Line] = []
    size = 0
    for number, raw in _numbered(stream):
        batch.append(_parsed(number, raw) if jsonl else Line(number, raw.decode("utf-8", "replace")))
        size += len(raw)
        if len(batch) == BATCH or size >= _HEAVY:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def judged(judge: Classifier, batch: Sequence[Line]) -> Iterator[tuple[Line, Verdict | None]]:
    """Each line with its verdict, None for one that holds no post."""
    good = [line for line in batch if not line.fault]
    verdicts = iter(judge.classify([line.text for line in good], [line.language for line in good]))
    for line in batch:
        yield line, None if line.fault else next(verdicts)


def as_json(line: Line, verdict: Verdict | None) -> str:
    """The answer to a line: one line of plain ASCII, whatever the post holds."""
    told: dict[str, Any] = {"id": line.echoed[0]} if line.echoed else {}
    if verdict is None:
        return json.dumps(told | {"error": f"line {line.number}: {line.fault}"})
    told |= {
        "label": str(verdict.label),
        "confidence": round(verdict.confidence, 6),
        "scores": {str(label): round(score, 6) for label, score in verdict.scores.items()},
        "sure": verdict.sure,
        "language": verdict.language,
        "model": verdict.by,
    }
    return json.dumps(told)


def _numbered(stream: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """Each line that is not blank, without its end. Of one that is too long there is a byte more than it may have."""
    number = 0
    while raw := stream.readline(LONGEST + 1):
        number += 1
        rest = raw
        while not rest.endswith(b"\n") and len(rest) > LONGEST:
            rest = stream.readline(LONGEST + 1)
        if number == 1:
            raw = raw.removeprefix(_BOM)
        if raw.strip():
            yield number, raw.removesuffix(b"\n").removesuffix(b"\r")


def _parsed(number: int, raw: bytes) -> Line:
    if len(raw) > LONGEST:
        return Line(number, fault=f"it is longer than {LONGEST // 1024 // 1024} MiB; cut its text, of which the model reads the beginning")
    try:
        row = json.loads(raw.decode("utf-8"), parse_constant=_refused)
    except UnicodeDecodeError:
        return Line(number, fault="it is no UTF-8; write the file in that encoding")
    except (ValueError, RecursionError):
        row = None
    if not isinstance(row, dict):
        return Line(number, fault='it is no JSON object; write one such as {"text": "It crashes when I save"} a line')
    echoed = (row["id"],) if "id" in row else ()
    try:
        json.dumps(echoed, allow_nan=False)
    except (ValueError, RecursionError):
        return Line(number, fault='its "id" is a number that JSON can\'t hold; write it as a string')
    text, language = row.get("text"), row.get("lang")
    if not isinstance(text, str):
        fault = '"text" is no string; put it in quotes' if "text" in row else 'it has no "text"'
        return Line(number, echoed=echoed, fault=fault)
    if language is not None and not isinstance(language, str):
        return Line(number, echoed=echoed, fault='"lang" is no string such as "en"; leave it out where it is not known')
    return Line(number, text, language, echoed)


def _refused(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")

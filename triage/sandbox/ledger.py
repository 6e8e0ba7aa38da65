"""What a stand-in server accepted, one JSON object a line, only ever appended."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any


class Ledger:
    """An append-only file of entries. Each holds `n` (counting from 1), `at`, `kind` and its own keys.

    Lines are whole even when several processes append: the file is opened with O_APPEND and a line is one write. A
    last line that a kill cut short is left out when the file is read, and closed off before the next one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = Lock()
        self._entries = read(path)
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        if path.stat().st_size and not path.read_bytes().endswith(b"\n"):
            os.write(self._file, b"\n")

    def append(self, kind: str, **data: Any) -> dict[str, Any]:
        """Write an entry and return it."""
        with self._lock:
            entry = {"n": len(self._entries) + 1, "at": datetime.now(UTC).isoformat(), "kind": kind, **data}
            os.write(self._file, json.dumps(entry, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n")
            self._entries.append(entry)
        return entry

    def entries(self, kind: str | None = None) -> list[dict[str, Any]]:
        """The entries in their order, all of them or those of one kind."""
        with self._lock:
            return [entry for entry in self._entries if kind is None or entry["kind"] == kind]

    def close(self) -> None:
        """Close the file; the entries stay readable."""
        with self._lock:
            if self._file >= 0:
                os.close(self._file)
                self._file = -1


def read(path: Path) -> list[dict[str, Any]]:
    """The entries of a ledger's file, for a checker that runs beside the server or after it; none for a missing file."""
    entries: list[dict[str, Any]] = []
    if not path.exists():
        return entries
    for line in path.read_bytes().split(b"\n"):
        try:
            entry = json.loads(line.decode("utf-8", "surrogatepass"))
        except ValueError:
            continue  # a line that a kill cut short was never acknowledged
        if isinstance(entry, Mapping):
            entries.append(dict(entry))
    return entries

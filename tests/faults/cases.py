"""Every case: what the modules `case_*.py` of this folder name in `CASES`."""

from __future__ import annotations

import importlib
from pathlib import Path

from tests.faults.case import Case

_MODULES = sorted(path.stem for path in Path(__file__).parent.glob("case_*.py"))

ALL: tuple[Case, ...] = tuple(case for name in _MODULES for case in importlib.import_module(f"tests.faults.{name}").CASES)

"""`make audit`: asks a vulnerability database about every package that is shipped, and says so when it could not be asked.

pip-audit itself reports "no known vulnerabilities" when its database knows none of the packages, as one behind a mirror does; that
would be a pass that nobody has earned. The exit code is 0 when every package was looked up and none is known to be vulnerable, 1 when
one is, 2 when some could not be looked up.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from requirements.lock import HERE

SECONDS = 300
NEXT = "run `make audit` again where the package index can be reached; until then nothing is known"


def verdict(code: int, out: str, err: str) -> tuple[int, list[str]]:
    """The exit code and the lines to print, for what pip-audit answered."""
    try:
        found: list[dict[str, Any]] = json.loads(out)["dependencies"]
    except (ValueError, KeyError, TypeError):
        why = (err.strip().splitlines() or [f"it ended with {code} and said nothing"])[-1]
        return 2, [f"the vulnerability database could not be asked: {why}", NEXT]
    lines = []
    for package in found:
        for hole in package.get("vulns", []):
            names = ", ".join([hole["id"], *hole.get("aliases", [])])
            fixed = ", ".join(hole.get("fix_versions", [])) or "no version yet"
            lines.append(f"{package['name']} {package['version']}: {names}, mended in {fixed}; raise it and run `make lock`")
    skipped = [package["name"] for package in found if "skip_reason" in package]
    if skipped or not found:
        some = f" ({', '.join(skipped[:3])}, …)" if skipped else ""
        lines.append(f"{len(skipped)} of {len(found)} packages could not be looked up{some}; {NEXT}")
    if any("mended in" in line for line in lines):
        return 1, lines
    return (2, lines) if lines else (0, [f"{len(found)} packages looked up, no known vulnerability"])


def main(arguments: Sequence[str]) -> int:
    """Ask about run.txt and encoder.txt, with any further options for pip-audit (`-s osv` takes another database); the exit code."""
    command = [sys.executable, "-m", "pip_audit", "--disable-pip", "--require-hashes", "--progress-spinner", "off", "-f", "json"]
    try:
        done = subprocess.run(  # noqa: S603 - our own tool, on our own files
            [*command, "-r", str(HERE / "run.txt"), "-r", str(HERE / "encoder.txt"), *arguments],
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        code, lines = verdict(done.returncode, done.stdout, done.stderr)
    except subprocess.TimeoutExpired:
        code, lines = 2, [f"the vulnerability database did not answer within {SECONDS} s", NEXT]
    print("\n".join(lines), file=sys.stderr if code else sys.stdout)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""docs/howto/drive-the-engine.md: its example program runs as it is printed there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import cohabit

_PAGE = Path(__file__).parents[2] / "docs" / "howto" / "drive-the-engine.md"
_TIMEOUT_SECONDS = 60


def test_the_example_program_works() -> None:
    """It starts in order, restarts, gives up, stops the others and ends with the code of the failed service."""
    programs = re.findall(r"```python\n(import os.*?)```", _PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(programs) == 1
    ended = subprocess.run(
        [sys.executable, "-c", programs[0]],
        check=False,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_SECONDS,
        env={**os.environ, "PYTHONPATH": str(Path(cohabit.__file__).parents[1])},
    )
    assert ended.stderr == ""
    assert ended.returncode == 3
    lines = [re.sub(r"pid \d+|\d+m?s", "N", line) for line in ended.stdout.splitlines()]
    assert lines == [
        "info: db: started, N",
        "info: web: started, N",
        "info: cohabit: everything is ready after N: 2 services",
        "warning: web: ended with exit code 3 after N; starting again in N (restart 1)",
        "info: web: started, N",
        "error: web: ended with exit code 3 after N; given up after 1 restart",
        "info: db: stopped: ended with SIGTERM (terminated) after N",
        "exit: web ended with exit code 3 after N; given up after 1 restart",
    ]

"""The page that teaches how to drive the engine: its shell is run as it stands there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import cohabit

_PAGE = Path(__file__).parents[2] / "docs" / "howto" / "drive-the-engine.md"
_AT_MOST_SECONDS = 60


def test_the_shell_of_the_page_works() -> None:
    """The example starts in order, restarts, gives up, stops the rest and ends with the culprit's code."""
    programs = re.findall(r"```python\n(import os.*?)```", _PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(programs) == 1
    ended = subprocess.run(
        [sys.executable, "-c", programs[0]],
        check=False,
        capture_output=True,
        text=True,
        timeout=_AT_MOST_SECONDS,
        env={**os.environ, "PYTHONPATH": str(Path(cohabit.__file__).parents[1])},
    )
    assert ended.stderr == ""
    assert ended.returncode == 3
    lines = [re.sub(r"pid \d+|\d+m?s", "N", line) for line in ended.stdout.splitlines()]
    assert lines == [
        "info: db: started, N",
        "info: web: started, N",
        "warning: web: ended with exit code 3 after N; starting again in N (restart 1)",
        "info: web: started, N",
        "error: web: ended with exit code 3 after N; given up after 1 restart",
        "info: db: stopped: ended with SIGTERM (terminated) after N",
        "the end: web ended with exit code 3 after N; given up after 1 restart",
    ]

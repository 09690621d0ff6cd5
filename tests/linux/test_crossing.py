"""What crosses a re-execution: the state of each part, saved again after it was restored, is the same."""

import os
from pathlib import Path
from typing import Any

from cohabit.reactor.crossing import VERSIONS
from linux.clients import environment, following
from linux.conftest import Gate, Start
from linux.run import REPOSITORY, program, shell, write_file

SOURCE = os.path.join(REPOSITORY, "src")


def test_the_state_of_each_part_is_the_same_after_a_round_trip(start: Start, gate: Gate, tmp_path: Path) -> None:
    """With all kinds of outputs and probes, and a client that waits. The clock is not kept: it is started again."""
    options = {"path": str(tmp_path / "file.log"), "max-size": "10k", "max-file": "3", "compress": "true"}
    services: dict[str, dict[str, Any]] = {
        "web": {
            "command": shell("echo ready; printf unfinished; exec sleep 1000"),
            "healthcheck": {"test": ["LOG", "never"], "interval": "1h", "start_period": "1h"},
            "logging": [{"driver": "prefix"}, {"driver": "file", "options": options}],
            "sockets": [{"listen": str(tmp_path / "web.sock"), "mode": "0600"}],
        },
        "api": {
            "command": shell("printf 'one\\n two\\n'; exec sleep 1000"),
            "healthcheck": {"test": ["NOTIFY"], "start_period": "1h"},
            "logging": {"driver": "json", "options": {"multiline-pattern": "^[a-z]"}},
            "depends_on": {"web": {"condition": "service_started"}},
        },
        "fd": {"command": ["sleep", "1000"], "healthcheck": {"test": ["FD", "3"], "start_period": "1h"}},
        "checked": {"command": ["sleep", "1000"], "healthcheck": {"test": ["CMD", "true"], "interval": "1h"}},
        "hook": {"command": ["sleep", "1000"], "post_start": [{"command": ["sleep", "1000"]}]},
        "failing": {"command": ["false"], "restart": "always", "essential": False},
        "trigger": {"command": shell("read x < gate; exit 0"), "essential": False},
    }
    file = write_file(str(tmp_path), services)
    run = start(*program("round_trip.py", SOURCE, "up", "-f", file), environment=environment(str(tmp_path)))
    run.until_printed("starting again in 400ms")
    with following(str(tmp_path), "wait", "web"):
        gate.open()
        run.until_printed("compared")
        line = next(line for line in run.text.splitlines() if line.startswith("compared"))
        assert set(line.split()[1:]) == VERSIONS.keys() - {"clock"}
        assert "different" not in run.text
        assert run.stop() in (0, 137)

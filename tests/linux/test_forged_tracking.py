"""An unprivileged process copies the tracking variables of a service of root: it only ends together with it.

The attacker is programs/forge.py: an orphan of the user nobody, in its own session, with the victim's hard limit of RSS
and environment. Any process can have these.
"""

import os
from pathlib import Path

import pytest

from linux import places
from linux.conftest import Start
from linux.run import program, shell

UID = 65534


def _attacker(*messages: str) -> dict[str, object]:
    return {"command": program("forge.py", "4711", *messages), "depends_on": {"web": {"condition": "service_started"}}}


@pytest.mark.parametrize("user", [None, "1000"], ids=["root", "another user"])
def test_message_of_a_forger_is_ignored(up: Start, user: str | None) -> None:
    """READY=1 and MAINPID from a process that shows a service's limit, but has another user, change nothing."""
    web = {"command": ["sleep", "4711"], "healthcheck": {"test": ["NOTIFY"]}, **({"user": user} if user else {})}
    run = up({"web": web, "evil": _attacker("READY=1\nMAINPID=PID", "READY=1")}, setup=places.NO_CGROUPS)
    run.until_printed("| forged")
    run.until_printed("web: sd_notify message ignored")
    assert f"of user {UID}, may not speak for this service" in run.text
    assert "web: ready" not in run.text
    assert run.stop() == 0


def test_forger_is_not_adopted_as_a_daemon(up: Start, tmp_path: Path) -> None:
    """A service that exits with 0 beside a forger is not taken for daemonized; the forger ends with it."""
    gate = os.path.join(tmp_path, "gate")
    web = {
        "command": shell(f"sleep 4711 & while [ ! -e {gate} ]; do :; done; kill $!; wait; exit 0"),
        "restart": "no",
        "essential": False,
    }
    run = up({"web": web, "evil": _attacker()}, setup=places.NO_CGROUPS)
    run.until_printed("| forged")
    with open(gate, "w", encoding="ascii"):
        pass
    run.until_printed("web: cannot determine the main process: it runs as another user")
    run.until_printed("web: ended")
    assert "is in the background now" not in run.text
    assert run.stop() == 0

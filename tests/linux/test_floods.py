"""Floods by another user's process: process 1 spends a quarter of its time on them, and still answers root.

The share of a CPU is compared with a limit far above the documented one, and below what a flood cost without a budget.
A loaded machine only lowers the share.
"""

import glob
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from linux.conftest import Start
from linux.run import COHABIT, Run, write_file
from linux.test_discovery import EMPTY, Attack, attack, client, container

__all__ = ("attack", "container")  # fixtures

SHARE_MAX = 0.40
TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(container: Run) -> float:
    """The CPU time of process 1 so far."""
    with open(f"/proc/{container.pid}/stat", encoding="ascii") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def share_while(container: Run, is_answered: Callable[[], bool]) -> float:
    """The share of a CPU that process 1 uses while root's clients run one after the other."""
    used, seconds = -cpu_seconds(container), -os.times().elapsed
    for _ in range(8):
        assert is_answered()
    return (used + cpu_seconds(container)) / (seconds + os.times().elapsed)


@pytest.mark.parametrize("how", ["connects", "waits_for_answers"])
def test_unauthorized_clients(container: Run, attack: Attack, how: str) -> None:
    """As fast as possible, from two processes with two threads each."""
    (path,) = glob.glob(f"/proc/{container.pid}/root/run/cohabit/*/control")
    for _ in range(2):
        attack(container, how, path.partition("/root")[2])
    assert share_while(container, lambda: client(container, "health") == "ready: 1 service\n") < SHARE_MAX


@pytest.mark.parametrize("text", ["READY=1", "", "STATUS=" + "x" * 4000])
def test_messages_of_other_processes(start: Start, attack: Attack, tmp_path: Path, text: str) -> None:
    """At a NOTIFY_SOCKET; the service's own READY arrives among them."""
    sender = (
        "import os, socket; path = os.environ['NOTIFY_SOCKET']; print(path, flush=True); input(); "
        "socket.socket(1, 2).sendto(b'READY=1', path); input()"
    )
    web = {"command": [COHABIT[0], "-c", sender], "healthcheck": {"test": ["NOTIFY"]}}
    write_file(str(tmp_path), {"web": {**web, "stdin_open": True}})
    keep = f"mount -t tmpfs none /mnt; cp {tmp_path}/cohabit.yaml /mnt\n"
    reader, writer = os.pipe()
    container = start(*COHABIT, "up", "-f", "/mnt/cohabit.yaml", setup=keep + EMPTY, stdin=reader)
    os.close(reader)
    container.until(lambda: container.lines("web", "out"), "its socket")
    for _ in range(2):
        attack(container, "datagrams", container.lines("web", "out")[0], text)
    assert share_while(container, lambda: "web" in client(container, "health", code=1)) < SHARE_MAX
    os.write(writer, b"\n")
    container.until_printed("web: ready")
    assert client(container, "health") == "ready: 1 service\n"
    os.close(writer)

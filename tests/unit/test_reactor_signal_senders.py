"""reactor/signal_senders.py: the sender of a blocked signal."""

import os
import signal
import subprocess
import sys

import pytest

from cohabit.reactor import signal_senders

SCRIPT = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
from cohabit.reactor import signal_senders
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
fd = signal_senders.open_signalfd({signal.SIGTERM})
pid = os.fork()
if pid == 0:
    os.kill(os.getppid(), signal.SIGTERM)
    os._exit(0)
os.waitpid(pid, 0)
found = signal_senders.read_senders(fd)
print(found == {15: (pid, os.getuid())}, signal_senders.read_senders(fd), os.get_inheritable(fd))
"""


def test_the_sender_of_a_signal_is_read_once() -> None:
    """Both ids, also of a sender that has ended; the descriptor does not block and is closed by an exec."""
    source = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(signal_senders.__file__))))
    ran = subprocess.run([sys.executable, "-c", SCRIPT, source], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["True", "{}", "False"]


def test_without_ctypes_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then stop requests arrive as the other signals do."""
    monkeypatch.setattr(signal_senders, "_ctypes", None)
    assert signal_senders.open_signalfd({signal.SIGTERM}) == -1


def test_a_sender_in_words() -> None:
    """The command, the service and the user, as far as they are known; nothing for a sender outside the container."""
    assert signal_senders.describe(0, 0, "") == ""
    ours = signal_senders.describe(os.getpid(), 33, "web")
    assert ours.startswith(f"process {os.getpid()} (")
    assert ours.endswith(", service web, user 33)")
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    assert signal_senders.describe(gone.pid, 0, "") == f"process {gone.pid} (which has ended)"

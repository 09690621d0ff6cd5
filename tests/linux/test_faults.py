"""Failing system calls of process 1 that once ended a container or lost a line.

`make faults` runs thousands more, selected by a seed.
"""

from __future__ import annotations

import os
import shutil

import pytest

from faults.injection import Injection
from faults.story import replay

pytestmark = pytest.mark.skipif(
    shutil.which("strace") is None and os.environ.get("CI") != "true", reason="no strace (apt-get install strace)"
)

KEPT = [
    "start:clone:EAGAIN:2:while",  # fork: the start is retried
    "start:pipe2:EMFILE:3:burst",
    "start:epoll_ctl:ENOSPC:1:while",  # fs.epoll.max_user_watches is exhausted on the whole machine
    "start:epoll_create1:EMFILE:1:ever",
    "start:bind:ENOMEM:1:while",  # of the control socket
    "middle:epoll_ctl:ENOMEM:1:ever",
    "middle:clone:EAGAIN:1:while",
    "middle:accept4:ENFILE:1:while",
    "middle:openat:EMFILE:5:while",
    "middle:getdents64:EIO:1:ever",
    "reload:pipe2:ENFILE:1:while",
    "reload:socket:EMFILE:1:once",
    "reexec:memfd_create:ENFILE:1:once",
    "reexec:execve:ENOMEM:1:once",
    "reexec:epoll_create1:ENFILE:1:burst",
    "error:memfd_create:ENFILE:1:once",  # two in a row: an internal error, and no memory file for the re-execution
    "error:execve:EMFILE:1:while",
    "error:pipe2:EMFILE:1:burst",
    "error:epoll_ctl:ENOSPC:1:while",
    "stop:clone:EAGAIN:1:burst",  # a pre_stop hook that cannot be forked does not use up the grace period
    "stop:openat:ENFILE:1:ever",
]


@pytest.mark.usefixtures("namespaces")
@pytest.mark.parametrize("injection", KEPT)
def test_supervision_continues(injection: str) -> None:
    """It continues, answers, stops in order with 0 and writes each line once; or it refuses to start with a message."""
    assert replay(Injection.parse(injection)) == ""

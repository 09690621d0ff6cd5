"""System calls of process 1 that fail: what was found to end a container, or to lose a line, before it was mended.

Thousands more, chosen by a seed: `make faults`.
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
    "start:clone:EAGAIN:2:while",  # fork: a start is tried again
    "start:pipe2:EMFILE:3:burst",
    "start:epoll_ctl:ENOSPC:1:while",  # fs.epoll.max_user_watches is used up on the whole machine
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
    "error:memfd_create:ENFILE:1:once",  # two in a row: an internal error, and no room to re-execute
    "error:execve:EMFILE:1:while",
    "error:pipe2:EMFILE:1:burst",
    "error:epoll_ctl:ENOSPC:1:while",
    "stop:clone:EAGAIN:1:burst",  # a pre_stop hook that cannot be forked does not use up the grace period
    "stop:openat:ENFILE:1:ever",
]


@pytest.mark.usefixtures("namespaces")
@pytest.mark.parametrize("injection", KEPT)
def test_it_goes_on(injection: str) -> None:
    """It goes on, answers, stops in order with 0, and every line was written once; or it refuses to start, in words."""
    assert replay(Injection.parse(injection)) == ""

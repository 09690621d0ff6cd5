"""Start two children in turn that request the terminal's foreground; each prints its process group.

Argument: "foreground", or "background" to start them from a background process group.
"""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
TESTS = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [TESTS, os.path.join(os.path.dirname(TESTS), "src")]

from cohabit.plan.model import Credentials  # noqa: E402 - its path was not known before
from cohabit.reactor import signals  # noqa: E402
from cohabit.reactor.processes import spawn, start_failure  # noqa: E402
from cohabit.reactor.processes.terminal import Terminal  # noqa: E402
from linux.spawned import described  # noqa: E402

LOOK = "set -- $(cat /proc/$$/stat); echo $1 $5 $6 $8 >/dev/stdout"  # pid, process group, session, foreground

if sys.argv[1] == "background" and (pid := os.fork()):
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
if sys.argv[1] == "background":
    os.setpgid(0, 0)
signals.block_all()  # as process 1: a background process may change the foreground only with TTOU blocked
for _ in range(2):
    terminal = Terminal()
    start = described("sh", "-c", LOOK, foreground=True, identity=Credentials(12345, 12346))
    pid, errors = spawn.spawn(start)
    os.waitpid(pid, 0)
    if message := spawn.exec_errors(errors):
        print(start_failure.exec_failure(start, message))
    terminal.take_back(pid)
print(os.getsid(0), terminal.foreground)

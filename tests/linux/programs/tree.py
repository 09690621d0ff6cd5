"""tree.py: a service whose children hide; at each start it first prints how many of a previous run are alive.

The children: a direct child and an orphan in the same session and without an environment, an orphan in its own session,
and one of those below an orphan. All are `sleep 12345`. Prints "ready" and waits.
"""

import os
import signal


def hide(depth: int, environment: dict[str, str], *, session: bool) -> None:
    """Leave a child behind that is `depth` generations below an orphan."""
    pid = os.fork()
    if pid:
        os.waitpid(pid, 0)
        return
    if session:
        os.setsid()
    if os.fork():
        os._exit(0)
    for _ in range(depth):
        if os.fork():
            signal.pause()
    os.execvpe("sleep", ["sleep", "12345"], environment)


def count() -> int:
    """The number of `sleep 12345` processes."""
    found = 0
    for name in os.listdir("/proc"):
        try:
            with open(f"/proc/{name}/cmdline", "rb") as file:
                found += file.read() == b"sleep\x0012345\x00"
        except OSError:
            continue
    return found


environment = dict(os.environ)
os.write(1, b"found %d\n" % count())
if os.fork() == 0:
    os.execvpe("sleep", ["sleep", "12345"], {"PATH": os.environ["PATH"]})
hide(0, {"PATH": os.environ["PATH"]}, session=False)
hide(0, environment, session=True)
hide(1, environment, session=True)
while count() < 4:
    pass
os.write(1, b"ready\n")
signal.pause()

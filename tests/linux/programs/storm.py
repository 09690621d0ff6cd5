"""storm.py N: create N orphans below this process; USR1 kills them all at once, USR2 ends it with code 9."""

import os
import signal
import sys

numbers = {signal.SIGUSR1, signal.SIGUSR2}
signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
reader, writer = os.pipe()
middle = os.fork()
if middle == 0:
    os.setpgid(0, 0)
    for _ in range(int(sys.argv[1])):
        if os.fork() == 0:
            signal.pause()
    os.write(writer, b"%d" % os.getpid())
    os._exit(0)
group = int(os.read(reader, 20))
os.waitpid(middle, 0)
os.write(1, b"ready\n")
if signal.sigwait(numbers) == signal.SIGUSR1:
    os.killpg(group, signal.SIGKILL)
    os.write(1, b"killed\n")
    signal.sigwait({signal.SIGUSR2})
os._exit(9)

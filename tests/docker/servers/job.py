"""A job for a shell: prints "started", and "continued" at each CONT. A shell could be stopped during a vfork."""

import signal

signal.signal(signal.SIGINT, signal.SIG_DFL)
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCONT})
print("started", flush=True)
while signal.sigwait({signal.SIGCONT}):
    print("continued", flush=True)

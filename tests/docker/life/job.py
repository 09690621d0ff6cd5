"""A job for a shell: says "started", and "continued" when it is. A shell script might be stopped within its vfork."""

import signal

signal.signal(signal.SIGINT, signal.SIG_DFL)
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCONT})
print("started", flush=True)
while signal.sigwait({signal.SIGCONT}):
    print("continued", flush=True)

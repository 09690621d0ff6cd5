"""End only the first thread and continue in the second, which forks a `sleep 8830` at USR1."""

import ctypes
import os
import platform
import signal
import threading

SYS_EXIT = {"x86_64": 60}.get(platform.machine(), 93)  # exit(2) of one thread; 93: aarch64 and riscv64

signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})


def run_second_thread() -> None:
    """Wait for the signal, then fork a child."""
    signal.sigwait({signal.SIGUSR1})
    os.spawnvp(os.P_WAIT, "sleep", ["sleep", "8830"])


threading.Thread(target=run_second_thread).start()
ctypes.CDLL(None).syscall(SYS_EXIT, 0)

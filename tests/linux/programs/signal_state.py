"""signal_state.py [ignore=SIGNAL,...] [block=SIGNAL,...] COMMAND...: exec a command with this signal state."""

import os
import signal
import sys

arguments = sys.argv[1:]
given: dict[str, set[signal.Signals]] = {"ignore": set(), "block": set()}
while arguments and arguments[0].partition("=")[0] in given:
    key, _, names = arguments.pop(0).partition("=")
    given[key] = {signal.Signals["SIG" + name] for name in names.split(",")}
for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
    signal.signal(number, signal.SIG_IGN if number in given["ignore"] else signal.SIG_DFL)
signal.pthread_sigmask(signal.SIG_SETMASK, given["block"])
os.execvp(arguments[0], arguments)

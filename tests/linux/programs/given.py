"""given.py [ignore=SIGNAL,...] [block=SIGNAL,...] COMMAND...: exec a command with exactly these given to it."""

import os
import signal
import sys

words = sys.argv[1:]
given: dict[str, set[signal.Signals]] = {"ignore": set(), "block": set()}
while words and words[0].partition("=")[0] in given:
    key, _, names = words.pop(0).partition("=")
    given[key] = {signal.Signals["SIG" + name] for name in names.split(",")}
for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
    signal.signal(number, signal.SIG_IGN if number in given["ignore"] else signal.SIG_DFL)
signal.pthread_sigmask(signal.SIG_SETMASK, given["block"])
os.execvp(words[0], words)

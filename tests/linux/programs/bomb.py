"""bomb.py KIND LIMIT UID: fork as fast as possible, as another user with at most LIMIT processes.

KIND "grow": every process keeps forking. "hop": each process forks and ends, so that its pid is outdated at once. With
"-session" each process creates its own session.
"""

import os
import resource
import signal
import sys

first = os.getpid()
kind, limit, uid = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
resource.setrlimit(resource.RLIMIT_NPROC, (limit, limit))
os.setresgid(uid, uid, uid)
os.setresuid(uid, uid, uid)
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
hops, session = kind.startswith("hop"), kind.endswith("-session")
lineages = limit // 2 if hops else 0
while lineages or not hops:
    try:
        child = os.fork()
    except OSError:  # the limit is reached
        continue
    lineages -= 1
    if child == 0:
        if session:
            os.setsid()
        if hops:
            break
while os.getpid() != first:
    try:
        if os.fork():
            os._exit(0)
        if session:
            os.setsid()
    except OSError:
        continue
signal.pause()

"""tell.py FILE MESSAGE...: send messages to $NOTIFY_SOCKET, or to the socket whose path is in FILE, then wait for TERM.

FILE is "-" for the environment. {pid} in a message is our own. Without a message: write $NOTIFY_SOCKET into FILE.
"""

import os
import signal
import socket
import sys

signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
file, messages = sys.argv[1], sys.argv[2:]
path = os.environ.get("NOTIFY_SOCKET", "")
if not messages:
    with open(f"{file}.new", "w", encoding="utf-8") as new:
        new.write(path)
    os.rename(f"{file}.new", file)
elif file != "-":
    with open(file, encoding="utf-8") as told:
        path = told.read()
for message in messages:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(message.replace("{pid}", str(os.getpid())).encode(), path)
print("told", flush=True)
signal.sigwait({signal.SIGTERM})

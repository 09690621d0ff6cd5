"""notify.py FILE MESSAGE...: send messages to $NOTIFY_SOCKET, or to the socket named in FILE, then wait for TERM.

FILE "-" means the environment. {pid} in a message is the program's own pid. Without a message: write $NOTIFY_SOCKET
into FILE.
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
    with open(file, encoding="utf-8") as path_file:
        path = path_file.read()
for message in messages:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(message.replace("{pid}", str(os.getpid())).encode(), path)
print("sent", flush=True)
signal.sigwait({signal.SIGTERM})

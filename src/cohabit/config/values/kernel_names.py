"""Names and kernel numbers of resource limits and capabilities.

Separate from limits.py because permission_checks.py needs them without the tables of keys.
"""

from __future__ import annotations

import resource

ULIMITS = {
    name.removeprefix("RLIMIT_").lower(): int(number)
    for name, number in vars(resource).items()
    if name.startswith("RLIMIT_") and name != "RLIMIT_OFILE"  # the old name of nofile
}
ULIMITS["locks"] = 10  # Docker accepts it; Linux ignores it since 2.4.25

# The index is the number of the capability (linux/capability.h).
CAPABILITIES = (
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
)
ALL = "ALL"
_LAST_CAPABILITY = "/proc/sys/kernel/cap_last_cap"


def ulimit_name(number: int) -> str:
    """The name of a limit: 7 -> "nofile"."""
    return next((name for name, known in ULIMITS.items() if known == number), str(number))


def capability_name(number: int) -> str:
    """The name of a capability: 13 -> "NET_RAW"."""
    return CAPABILITIES[number] if number < len(CAPABILITIES) else str(number)


def every_capability() -> range:
    """The numbers of all capabilities of this kernel."""
    try:
        with open(_LAST_CAPABILITY, encoding="utf-8") as file:
            return range(int(file.read()) + 1)
    except (OSError, ValueError):
        return range(len(CAPABILITIES))

"""The control socket: its places, and the constants of its protocol that both ends share (docs/reference/control.md).

`health` runs every few seconds and loads this module, so it imports no more than the exit codes.
"""

from __future__ import annotations

from cohabit.errors import (
    EXIT_BUG,
    EXIT_CANNOT_RUN,
    EXIT_FILE,
    EXIT_NO_PERMISSION,
    EXIT_NOT_FOUND,
    EXIT_SYSTEM,
    EXIT_UNAVAILABLE,
    EXIT_USAGE,
)

VERSION = 2
GREETING_PREFIX = "cohabit/"
GREETING = f"{GREETING_PREFIX}{VERSION}"
REQUEST_BYTES_MAX = 65_536  # of the line, with its newline

# The variables of every process that cohabit starts. For people and for our own commands; they are not evidence.
SUPERVISOR_VARIABLE = "COHABIT_SUPERVISOR"
SERVICE_VARIABLE = "COHABIT_SERVICE"

# Possible places of the runtime directory (reactor/rundir.py creates it), and the socket's name in it.
RUNTIME_DIR = "COHABIT_RUNTIME_DIR"  # an environment variable: the only place, if it is set
RUNTIME_BASES = ("/run/cohabit", "/var/run/cohabit")  # shared by all cohabits, each with a random directory inside
SHARED_BASES = ("/tmp", "/dev/shm")  # noqa: S108 - mkdir with a random name
SOCKET_NAME = "control"

# Error codes: for programs, beside the text for people. They are never renamed; later releases may add some.
OK = "ok"  # the request was carried out; the exit code may be that of a service (`wait for=exit`)
BAD_REQUEST = "bad_request"
UNKNOWN_COMMAND = "unknown_command"
UNKNOWN_SERVICE = "unknown_service"
VERSION_MISMATCH = "version_mismatch"
PERMISSION_DENIED = "permission_denied"
BUSY = "busy"  # a limit is reached: try again later
LOADING = "loading"  # the file is still being read
STOPPING = "stopping"  # everything is being stopped
NOT_READY = "not_ready"
NOT_RUNNING = "not_running"  # the service has no main process
FAILED = "failed"  # a service failed, was stopped or was removed, so that the condition cannot hold
INVALID_FILE = "invalid_file"
REFUSED = "refused"  # by the system; or the installed program cannot take over
UNAVAILABLE = "unavailable"  # no cohabit is running here; only clients report it
TIMEOUT = "timeout"  # no answer came in time; only clients report it
INTERNAL_ERROR = "internal_error"

# The error code of an answer without a more specific one, by its exit code.
BY_EXIT_CODE = {
    0: OK, 1: FAILED, EXIT_USAGE: BAD_REQUEST, EXIT_UNAVAILABLE: UNAVAILABLE, EXIT_BUG: INTERNAL_ERROR,
    EXIT_SYSTEM: REFUSED, EXIT_NO_PERMISSION: PERMISSION_DENIED, EXIT_FILE: INVALID_FILE, EXIT_CANNOT_RUN: INVALID_FILE,
    EXIT_NOT_FOUND: INVALID_FILE,
}  # fmt: skip

"""Exit codes, and the exceptions that carry one.

    CohabitError
    ├── UsageError      64  the command line is wrong (sysexits: EX_USAGE)
    └── CommandError    126 or 127  a command cannot be started (the shell's and Docker's codes)

Problems in a file are not exceptions but a list (plan/draft.py); their code is 78 (sysexits: EX_CONFIG). When the
system refuses an operation (no memory for a process), the code is 71 (sysexits: EX_OSERR). Any other exception is a bug
in cohabit: 70 (sysexits: EX_SOFTWARE).

Messages have the form "cannot X: why (what to do)".
"""

from __future__ import annotations

EXIT_SUPERVISORD = 2  # supervisord's own, for errors of its file and its command line
EXIT_USAGE = 64
EXIT_UNAVAILABLE = 69  # no cohabit is running (sysexits: EX_UNAVAILABLE)
EXIT_BUG = 70
EXIT_SYSTEM = 71
EXIT_NO_PERMISSION = 77  # the running cohabit refuses this user (sysexits: EX_NOPERM)
EXIT_FILE = 78
EXIT_CANNOT_RUN = 126
EXIT_NOT_FOUND = 127
EXIT_KILLED = 137


class CohabitError(Exception):
    """Base class: an error with a message for the user, an exit code and an error code (docs/reference/control.md)."""

    exit_code = EXIT_BUG
    code = "internal_error"


class UsageError(CohabitError):
    """The command line, or an argument, is wrong."""

    exit_code = EXIT_USAGE
    code = "bad_request"


class CommandError(CohabitError):
    """A command cannot be started. exit_code: 127 if it is not found, 126 if it cannot be executed."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code

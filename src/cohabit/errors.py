"""What can go wrong, as one small family; each member knows the exit code it deserves.

    CohabitError
    ├── UsageError      64  the command line is wrong (sysexits: EX_USAGE)
    └── CommandError    126 or 127  a command cannot be started (the shell's and Docker's codes)

What is wrong with a file is no exception but a list of problems (plan/draft.py); its code is 78 (sysexits:
EX_CONFIG). When the machine says no (no room for a process), the code is 71 (sysexits: EX_OSERR). Anything else that
is raised is a bug of ours: 70 (sysexits: EX_SOFTWARE).
This module knows nothing of the rest of the house. Messages read "cannot X: why (what now)".
"""

from __future__ import annotations

EXIT_USAGE = 64
EXIT_UNAVAILABLE = 69  # nobody is there to talk to (sysexits: EX_UNAVAILABLE)
EXIT_BUG = 70
EXIT_SYSTEM = 71
EXIT_NO_PERMISSION = 77  # whoever is there does not talk to us (sysexits: EX_NOPERM)
EXIT_FILE = 78
EXIT_CANNOT_RUN = 126
EXIT_NOT_FOUND = 127
EXIT_KILLED = 137


class CohabitError(Exception):
    """Root of the family: an error with a sentence for the user and an exit code."""

    exit_code = EXIT_BUG


class UsageError(CohabitError):
    """The command line is wrong."""

    exit_code = EXIT_USAGE


class CommandError(CohabitError):
    """A command cannot be started: 127 when it is not there, 126 when it is but will not run."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code

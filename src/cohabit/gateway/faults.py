"""supervisord's fault codes (supervisord.org/api.html), and the exception that carries one."""

from __future__ import annotations

UNKNOWN_METHOD = 1
INCORRECT_PARAMETERS = 2
BAD_ARGUMENTS = 3
SIGNATURE_UNSUPPORTED = 4
SHUTDOWN_STATE = 6
BAD_NAME = 10
BAD_SIGNAL = 11
NO_FILE = 20
NOT_EXECUTABLE = 21
FAILED = 30
ABNORMAL_TERMINATION = 40
SPAWN_ERROR = 50
ALREADY_STARTED = 60
NOT_RUNNING = 70
SUCCESS = 80
ALREADY_ADDED = 90
STILL_RUNNING = 91
CANT_REREAD = 92

_NAMES = {code: name for name, code in tuple(globals().items()) if name.isupper() and isinstance(code, int)}


class Fault(Exception):  # noqa: N818 - XML-RPC's own word
    """A method has failed. code: one of the above. text: its name, and what it is about."""

    def __init__(self, code: int, detail: str = "") -> None:
        self.code = code
        self.text = f"{_NAMES[code]}: {detail}" if detail else _NAMES[code]
        super().__init__(self.text)

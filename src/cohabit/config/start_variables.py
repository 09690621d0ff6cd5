"""The reader of the env files that a service reads when it starts: a child of process 1 for one start.

    python -I -S config/start_variables.py

Standard input is marshal of {"files", "own", "user", "conditions"}, where files are (path, required, raw), own is the
service's `environment`, user may own the files beside root and cohabit's user, and conditions are (kind, text,
negated). Standard output is marshal of {"values", "warnings"}, or {"problem"} with a text that completes "cannot ...",
or {"skipped"} with what is the case. No text has a value in it.

A job that runs as another user may have written the file. So it must be a regular file, not a link, of one of these
users, and no other user may write to it or change its directory: otherwise that user could set LD_PRELOAD for a service
of root, also by renaming a log of root with such a line.
"""

from __future__ import annotations

import marshal
import os
import sys
from typing import Any

_PACKAGE_PARENT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
if _PACKAGE_PARENT not in sys.path:
    sys.path.append(_PACKAGE_PARENT)

from cohabit import paths  # noqa: E402 - importable only after the change of sys.path
from cohabit.config.text.source import UnreadableError, read_text  # noqa: E402
from cohabit.config.values import dotenv  # noqa: E402
from cohabit.plan.conditions import unmet  # noqa: E402
from cohabit.plan.model import Condition  # noqa: E402

_MARSHAL_VERSION = 2
_WARNINGS_MAX = 10  # of one file, which may have one in each of 300,000 lines; process 1 logs them
_VALUES_MAX = 2 << 20  # characters: the kernel accepts no more (execve(2))


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """The answer to one request."""
    try:
        skipped = unmet([Condition(*each) for each in request["conditions"]], os.environ, paths.holds)
    except OSError as error:
        return {"problem": f"check its conditions: {error.filename}: {error.strerror}"}
    if skipped is not None:
        return {"skipped": skipped}
    owners = {0, os.geteuid(), request["user"]}
    values: dict[str, str] = {}
    warnings: list[str] = []

    def lookup(name: str) -> str | None:
        return values.get(name, os.environ.get(name))

    for path, required, raw in request["files"]:
        try:
            text = read_text(path, owners)
        except FileNotFoundError:
            if required:
                return {"problem": f"read {path}: no such file (have it written before this start, or required: false)"}
            continue
        except UnreadableError as error:
            return {"problem": str(error).removeprefix("cannot ")}
        found = dotenv.parse_raw(text, lookup) if raw else dotenv.parse(text, lookup, request["own"])
        if found.diagnostics:
            line, message = found.diagnostics[0]
            return {"problem": f"read its env_file: {path}:{line}: {message}"}
        warnings += [f"{path}:{line}: {message}" for line, message in found.warnings[:_WARNINGS_MAX]]
        if len(found.warnings) > _WARNINGS_MAX:
            warnings.append(f"{path}: {len(found.warnings) - _WARNINGS_MAX} further warnings")
        values |= found.values
        if sum(map(len, values.values())) > _VALUES_MAX:
            return {"problem": f"read {path}: its values are longer than 2 MiB (pass them in a file)"}
    return {"values": values, "warnings": warnings}


def main() -> None:
    """Answer the request on standard input."""
    for hidden in [name for name in os.environ if name.startswith("COHABIT_HIDDEN_")]:  # see reactor/linux.py
        os.environ[hidden.removeprefix("COHABIT_HIDDEN_")] = os.environ.pop(hidden)
    request = marshal.loads(sys.stdin.buffer.read())  # noqa: S302 - from process 1
    sys.stdout.buffer.write(marshal.dumps(answer(request), _MARSHAL_VERSION))


if __name__ == "__main__":
    main()

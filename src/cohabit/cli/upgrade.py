"""Going on with the program that is installed now, in the same interpreter: no exec, so each step can be undone.

Used by `cohabit reexec` while the interpreter itself has not been replaced (reactor/reexecution.py). The modules of the
former program stay in memory, since its objects own descriptors that must not be closed by collecting them; the caller
keeps them.
"""

from __future__ import annotations

import sys

from cohabit.cli import load

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType

_PACKAGE = "cohabit"
_RUNS = "cohabit.cli.supervise"  # what process 1 needs, it imports


def go_on(state: bytes, former: list[dict[str, ModuleType]]) -> int | bytes:
    """Import the installed program and have it go on with this state; where that fails, the former program goes on.

    former: the modules of earlier programs in this process; those of this one are added. Returns the exit code, or the
    state for the next program.
    """
    modules = _take_away()
    try:
        for finder in sys.path_importer_cache.values():
            if finder is not None and hasattr(finder, "invalidate_caches"):
                finder.invalidate_caches()
        sys.path_importer_cache.clear()
        program = load(_RUNS)
    except Exception as error:  # noqa: BLE001 - an incomplete installation, no room: nothing is lost by going on
        _take_away()
        sys.modules.update(modules)
        program, why_not = load(_RUNS), f"cannot import the installed program: {error}"
    else:
        former.append(modules)
        why_not = ""
    result: int | bytes = program.go_on(state, len(former), why_not)
    return result


def _take_away() -> dict[str, ModuleType]:
    """Our modules, which the next import reads anew."""
    ours = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == _PACKAGE}
    for name in ours:
        del sys.modules[name]
    return ours

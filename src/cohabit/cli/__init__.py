"""The command line: one file per command.

The module of a command is loaded when the command is used. `init` has 4 ms for everything it does, so modules that it
rarely needs are loaded on demand, too. Everything else is imported at the top of its file.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def load(module: str) -> Any:
    """importlib.import_module without importlib, which imports warnings."""
    return __import__(module, fromlist=("",))

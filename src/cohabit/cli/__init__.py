"""The words that are typed: one file per verb.

A verb's module is loaded when it is asked for, and so is what `init`, which has 4 ms for all it does, nearly
never needs. Everything else is imported at the top of its file.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def load(module: str) -> Any:
    """importlib.import_module without importlib, which brings warnings along."""
    return __import__(module, fromlist=("",))

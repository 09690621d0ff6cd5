"""Variables that set options of the command line: COHABIT_FILE, or Compose's COMPOSE_FILE. Pure.

FILE, PROFILES and ENV_FILES are Compose's; options on the command line take precedence, then COHABIT_.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

PREFIXES = ("COHABIT_", "COMPOSE_")
PROJECT_NAME = "COMPOSE_PROJECT_NAME"


def option_variable(name: str, lookup: Callable[[str], str | None]) -> str:
    """Value of COHABIT_NAME, otherwise of COMPOSE_NAME; "" if neither is set."""
    return next(filter(None, (lookup(prefix + name) for prefix in PREFIXES)), "")

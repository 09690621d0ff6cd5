"""Names of services: which ones are valid, and a name for a command that has none. Pure."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from cohabit.lazy_pattern import lazy_pattern
from cohabit.plan.model import OWN_NAME

if TYPE_CHECKING:
    from collections.abc import Collection

VALID = lazy_pattern(r"[a-zA-Z0-9._-]*[a-zA-Z0-9][a-zA-Z0-9._-]*")
_INVALID = lazy_pattern(r"[^a-zA-Z0-9._-]+", re.ASCII)


def free_name(program: str, taken: Collection[str]) -> str:
    """A name after the program, "command" without one; if it is taken or reserved, with -2, -3 and so on."""
    stem = _INVALID.sub("-", os.path.basename(program)).strip("-.") or "command"
    numbered = (stem if number == 1 else f"{stem}-{number}" for number in range(1, len(taken) + 3))
    return next(name for name in numbered if name not in taken and name != OWN_NAME)

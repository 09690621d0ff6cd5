"""Regular expressions that are compiled when they are first used: one file needs few of those that its reader knows."""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    lazy_pattern = re.compile
else:

    class lazy_pattern:  # noqa: N801 - called like re.compile
        """Arguments and methods as those of re.compile."""

        def __init__(self, pattern: str, flags: int = 0) -> None:
            self._given = pattern, flags

        def __getattr__(self, name: str) -> object:
            method = self.__dict__[name] = getattr(re.compile(*self._given), name)
            return method

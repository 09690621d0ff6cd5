"""Regular expressions: whether Python's `re` accepts one. Pure.

Side programs (tasks/) match them; process 1 never does.
"""

from __future__ import annotations

import re
import warnings


def check_pattern(pattern: str, if_empty: str) -> str:
    """The pattern itself. Raises ValueError. if_empty: the effect of an empty pattern, for the message."""
    if not pattern:
        raise ValueError(f"the regular expression is empty: {if_empty}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python's FutureWarning and DeprecationWarning are not for the user
            re.compile(pattern)
    except re.error as error:
        location = "" if error.pos is None else f" at character {error.pos + 1}"
        raise ValueError(f"{pattern[:60]!r} is not a regular expression: {error.msg}{location}") from error
    except (OverflowError, RecursionError) as error:
        raise ValueError(f"{pattern[:60]!r} is not a regular expression: it is too large") from error
    return pattern

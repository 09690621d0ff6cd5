"""Regular expressions as people write them: whether Python's `re` takes one, and what it says if not. Pure.

They are matched by side programs (tasks/), never here and never in process 1.
"""

from __future__ import annotations

import re
import warnings


def check_pattern(pattern: str, if_empty: str) -> str:
    """The pattern itself; ValueError if it is none, or empty. if_empty: what an empty one would do."""
    if not pattern:
        raise ValueError(f"the regular expression is empty: {if_empty}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what Python plans to do with odd patterns is not the user's matter
            re.compile(pattern)
    except re.error as error:
        where = "" if error.pos is None else f" at character {error.pos + 1}"
        raise ValueError(f"{pattern[:60]!r} is no regular expression: {error.msg}{where}") from error
    except (OverflowError, RecursionError) as error:
        raise ValueError(f"{pattern[:60]!r} is no regular expression: it is too large") from error
    return pattern

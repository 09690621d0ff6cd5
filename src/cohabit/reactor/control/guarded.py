"""Turns an error in a request into an answer, so that a bug of ours affects only the client that triggers it."""

from __future__ import annotations

from cohabit.api import protocol
from cohabit.api.protocol import Answer
from cohabit.errors import EXIT_BUG

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import ParamSpec, TypeVar

    P = ParamSpec("P")
    T = TypeVar("T")


def guarded(action: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | Answer:
    """Return the action's result for these arguments. A refusal or a bug of ours becomes an Answer.

    Without this, a client could make process 1 re-execute again and again.
    """
    try:
        return action(*args, **kwargs)
    except protocol.RequestError as error:
        return Answer(error.code, str(error), error=error.error)
    except (ArithmeticError, AttributeError, LookupError, MemoryError, RecursionError, TypeError, ValueError) as error:
        return Answer(EXIT_BUG, f"an internal error, please report it: {type(error).__name__}: {error}")

"""A bug of ours in an answer is paid for by the client that met it, and by nobody else."""

from __future__ import annotations

from cohabit.api import protocol
from cohabit.api.protocol import Answer
from cohabit.errors import EXIT_BUG

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    T = TypeVar("T")


def guarded(what: Callable[[], T]) -> T | Answer:
    """What comes of it; a refusal as an answer, and so a bug of ours.

    No bug in an answer must have everybody re-executed again and again: only this client pays.
    """
    try:
        return what()
    except protocol.RequestError as error:
        return Answer(error.code, str(error))
    except (ArithmeticError, AttributeError, LookupError, MemoryError, RecursionError, TypeError, ValueError) as error:
        return Answer(EXIT_BUG, f"an internal error, please report it: {type(error).__name__}: {error}")

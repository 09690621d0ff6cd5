"""A gateway that follows one that was killed starts the event listeners again that lost their pipes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from cohabit.gateway import __main__ as program
from cohabit.gateway.mirror import State

if TYPE_CHECKING:
    from cohabit.gateway.gateway import Gateway

_ENDED = 100.0  # when the first gateway was reported to have ended


class _Gateway:
    """One process. restarted: what is restarted."""

    def __init__(self, state: State, pool: object) -> None:
        self._state = state
        self.restarted: list[str] = []
        self.active = SimpleNamespace(
            processes=lambda: [SimpleNamespace(group="mail", namespec="mail:mail")],
            group=lambda _: SimpleNamespace(pool=pool),
        )

    def state_of(self, _: Any) -> State:
        return self._state

    def client(self) -> Any:
        return self

    def restart(self, *names: str, wait: bool) -> None:
        assert not wait  # the gateway has to serve meanwhile
        self.restarted += names


@pytest.mark.parametrize(
    ("state", "connected", "pool", "restarted"),
    [
        (State(state="RUNNING"), set(), object(), True),
        (State(state="RUNNING"), {"mail:mail"}, object(), False),
        (State(state="RUNNING"), set(), None, False),
        (State(state="EXITED", stopped=_ENDED + 0.1), set(), object(), True),
        (State(state="EXITED", stopped=_ENDED - 0.1), set(), object(), True),  # its pipes were closed before
        (State(state="EXITED", stopped=_ENDED - 5), set(), object(), False),  # it had ended by itself
        (State(state="STOPPED", stopped=_ENDED + 0.1), set(), object(), False),  # on request
    ],
)
def test_which_listeners_are_started_again(state: State, connected: set[str], pool: object, *, restarted: bool) -> None:
    gateway = _Gateway(state, pool)
    stand_in: Gateway = gateway  # type: ignore[assignment]
    program._restart_listeners(stand_in, connected, _ENDED)
    assert gateway.restarted == (["mail:mail"] if restarted else [])

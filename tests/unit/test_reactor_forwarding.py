"""Signals for the main command of `run` and `up -- COMMAND` (reactor/forwarding.py)."""

import signal

from cohabit.engine.events import Requested
from cohabit.engine.run import ALIVE, GONE, PENDING
from cohabit.engine.supervisor import Supervisor
from cohabit.engine.unit import Unit
from cohabit.plan.model import Plan, Service
from cohabit.reactor.forwarding import Forwarding

USR1, HUP, TERM = int(signal.SIGUSR1), int(signal.SIGHUP), int(signal.SIGTERM)


def _forwarding(process: str, said: list[str], *, reloads: bool = False) -> Forwarding:
    """Return the object under test, with a main command `web` in that state."""
    engine = Supervisor()
    service = Service("web", ("true",))
    engine.container.plan = Plan({"web": service}, main="web", reloads=reloads)
    unit = engine.services.units["web"] = Unit(service)
    unit.run.process = process
    return Forwarding(engine, lambda _level, _service, text: said.append(text))


def test_main_gets_the_signals_that_are_not_used() -> None:
    """A stop signal is not forwarded; HUP is where it has been left to main."""
    forwarding = _forwarding(ALIVE, [])
    assert forwarding.requests({USR1, HUP, TERM}) == [
        Requested("signal", ("web",), HUP),
        Requested("signal", ("web",), USR1),
    ]
    assert forwarding.takes_hup
    assert not _forwarding(ALIVE, [], reloads=True).takes_hup


def test_signal_before_the_start_of_main_waits() -> None:
    """It is neither lost nor reported, and forwarded once."""
    said: list[str] = []
    forwarding = _forwarding(PENDING, said)
    assert forwarding.requests({USR1}) == []
    assert forwarding.early == {USR1}
    forwarding._engine.units["web"].run.process = ALIVE
    assert forwarding.requests(()) == [Requested("signal", ("web",), USR1)]
    assert forwarding.requests(()) == []
    assert said == []


def test_signal_before_the_file_is_read_waits() -> None:
    """It is not known then whether there is a main command."""
    said: list[str] = []
    forwarding = Forwarding(Supervisor(), lambda _level, _service, text: said.append(text))
    assert forwarding.requests({USR1}) == []
    assert forwarding.early == {USR1}
    assert said == []


def test_signal_to_a_main_that_does_not_run_is_reported_once() -> None:
    """With the reason."""
    said: list[str] = []
    forwarding = _forwarding(GONE, said)
    for _ in range(2):
        assert forwarding.requests({USR1}) == []
    (text,) = said
    assert text.startswith("SIGUSR1 has no receiver: web is not running (")

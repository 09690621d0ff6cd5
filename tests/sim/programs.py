"""What programs of a supervisord.conf have in addition: startup, expected codes, priorities, a container that stays.

They are drawn from a generator of their own, and added to the Plans of plans.py in some of the worlds. So the other
worlds are the same as before there were any.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cohabit.plan.model import Startup

if TYPE_CHECKING:
    from random import Random

    from cohabit.plan.model import Plan, Service

_STARTUPS = (Startup(0.0), Startup(0.5, 1), Startup(1.0), Startup(1.0, 0), Startup(1.0, 1), Startup(5.0, 2))
_EXPECTED = ((0,), (0, 3), (3,), (0, 137, 139, 143))
_PRIORITIES = ((0,), (0, 1, 2), (-1, 999, 999))


class Programs:
    """The chances of one world."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._often = rng.choice((0.0, 0.0, 0.0, 0.5, 1.0))
        self._priorities = rng.choice(_PRIORITIES)
        self._stays = rng.random() < 0.3

    def added_to(self, plan: Plan) -> Plan:
        """The Plan with what programs have. A service that has it already mostly keeps it."""
        if not self._often:
            return plan
        services = {name: self._program(service) for name, service in plan.services.items()}
        return plan.replace(services=services, stays=self._stays)

    def _program(self, service: Service) -> Service:
        draw = self._rng.choice
        if self._rng.random() >= (0.1 if service.startup is not None else self._often):
            return service
        restart = service.restart.replace(expected_codes=draw(_EXPECTED))
        return service.replace(startup=draw(_STARTUPS), restart=restart, priority=draw(self._priorities))

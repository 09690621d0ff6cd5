"""Those who wait for the events of a process."""

import pytest

from cohabit.gateway.faults import Fault
from cohabit.gateway.mirror import Mirror


def test_one_who_waits_learns_that_events_are_missing() -> None:
    """It would wait for ever for one that was dropped."""
    mirror = Mirror()
    with mirror.events(["web"]) as events:
        mirror.dropped()
        with pytest.raises(Fault, match="events were lost"):
            next(events)

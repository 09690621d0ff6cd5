"""A sample of `make ownership`: one scenario in each mode, with few operations."""

from collections.abc import Iterator

import pytest

from linux import ownership, places
from linux.ownership_scenario import MODES

_OPERATIONS = 4


@pytest.fixture(scope="module")
def box(namespaces: None) -> Iterator[str]:
    """Give the directory of a cgroup, "" if none can be created."""
    del namespaces
    with places.cgroup_box() as directory:
        yield directory


@pytest.mark.parametrize("seed", range(len(MODES)), ids=lambda seed: str(MODES[seed]))
def test_no_event_affects_another_service(box: str, seed: int) -> None:
    """During the events of some services, all other processes keep running, and nothing is left behind."""
    if MODES[seed].cgroups and not box:
        pytest.skip("no cgroup of version 2 can be made here")
    assert ownership.run(seed, box, _OPERATIONS).trees > 0

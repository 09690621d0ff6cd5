"""A sample of `make ownership`: one scenario in each mode, with few operations."""

from collections.abc import Iterator

import pytest

from linux import ownership, places
from linux.ownership_scenario import MODES

_OPERATIONS = 4


@pytest.fixture(scope="module")
def box(namespaces: None) -> Iterator[str]:
    """Give the directory of a cgroup, "" where none can be made."""
    del namespaces
    with places.cgroup_box() as directory:
        yield directory


@pytest.mark.parametrize("seed", range(len(MODES)), ids=lambda seed: str(MODES[seed]))
def test_no_event_touches_another_service(box: str, seed: int) -> None:
    """Whatever happens to some services, the processes of all others live, and nothing is left behind."""
    if MODES[seed].cgroups and not box:
        pytest.skip("no cgroup of version 2 can be made here")
    assert ownership.run(seed, box, _OPERATIONS).trees > 0

"""The conditions of a service, checked in the child of its start: looking at a file may wait for a file system."""

from __future__ import annotations

import errno

from cohabit import paths
from cohabit.plan.conditions import unmet
from cohabit.reactor.processes.child import STEP_CONDITIONS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cohabit.plan.model import Condition, Service
    from cohabit.reactor.processes.child import Step


def steps(service: Service, environ: Mapping[str, str]) -> tuple[Step, ...]:
    """What the first process of a run checks: its main process, or its first pre_start hook."""
    return ((STEP_CONDITIONS, lambda: check(service.conditions, environ)),) if service.conditions else ()


def check(conditions: Sequence[Condition], environ: Mapping[str, str]) -> None:
    """Raise OSError: ECANCELED, with what is the case, if one does not hold; another error if that is not known."""
    why = unmet(conditions, environ, paths.holds)
    if why is not None:
        raise OSError(errno.ECANCELED, why)

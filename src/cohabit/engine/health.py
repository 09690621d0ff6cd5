"""The health of a service: when its probe runs, and what the results mean. Pure; the probing is the reactor's.

Docker's rules (moby, daemon/health.go), with one difference. Until its first success the probe runs every
start_interval, from the start of the service on, because other services may wait for it. Failures count as in Docker:

  - in the start period, none;
  - after it, one per interval; `retries` of them in a row make the service unhealthy;
  - a success resets the count and ends the start period.

So a service becomes unhealthy when it would under Docker, and ready as soon as its probe succeeds.

Passive probes (sd_notify, a descriptor, the log) do not run; the service reports its readiness itself. They fail when
no report arrives. With a watchdog, a report must arrive at least every watchdog_seconds; the first one that is missing
makes the service unhealthy (systemd.service(5), WatchdogSec).
"""

from __future__ import annotations

from cohabit.plan.model import PASSIVE_PROBES
from cohabit.plan.record import from_plain, to_plain
from cohabit.units import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cohabit.plan.model import Probe
    from cohabit.plan.reason import Reason

STARTING, HEALTHY, UNHEALTHY = "starting", "healthy", "unhealthy"
RESULTS_KEPT = 5
_SHOWN_MAX = 200  # characters
_KEPT = (
    "passed",
    "failed",
    "status",
    "was_healthy",
    "failures",
    "count_from",
    "next_at",
    "asked_at",
    "asking",
    "results",
)


class Health:
    """The health of one run of a service. Times are monotonic seconds.

    next_at: when to call `due`, None for never. count_from: failures count from then on.
    results: the last RESULTS_KEPT, (time, passed, output, reason of the failure if it is known).
    passed, failed: counters of the results over all runs.
    """

    __slots__ = _KEPT

    def __init__(self) -> None:
        self.status = ""  # unknown: the service is not running, or has no probe
        self.was_healthy = False
        self.failures = 0
        self.count_from = 0.0
        self.next_at: float | None = None
        self.asked_at = 0.0
        self.asking = False
        self.results: list[tuple[float, bool, str, Reason | None]] = []
        self.passed = self.failed = 0

    def begin(self, probe: Probe, now: float) -> None:
        """Start a new run."""
        self.status, self.was_healthy, self.failures, self.asking = STARTING, False, 0, False
        self.count_from = now + probe.start_period_seconds + probe.interval_seconds
        self.next_at = self.count_from if probe.kind in PASSIVE_PROBES else now

    def end(self) -> None:
        """End the run. Its results are kept, for `why`."""
        self.status, self.next_at, self.asking = "", None, False

    def due(self, probe: Probe, now: float) -> bool:
        """Call this at next_at. True: run the probe now. False: a passive probe; the missing report is recorded."""
        self.next_at = None
        if probe.kind not in PASSIVE_PROBES:
            self.asking, self.asked_at = True, now
            return True
        if self.status == HEALTHY:  # the watchdog has expired
            self.failures = probe.retries
            self.status = UNHEALTHY
            self._keep(now, passed=False, output=f"no watchdog message for {probe.watchdog_seconds:g} s")
        else:
            self._keep(now, passed=False, output="it has not reported that it is ready")
            self._failed(probe, now)
            self.next_at = self.count_from if self.status == STARTING else None
        return False

    def result(self, probe: Probe, now: float, *, passed: bool, output: str, reason: Reason | None = None) -> None:
        """Record a result: of a probe that ran, or a report of the service itself."""
        first = self.status == STARTING
        self.asking = False
        self._keep(now, passed=passed, output=output, reason=reason)
        if passed:
            self.status, self.was_healthy, self.failures = HEALTHY, True, 0
        elif probe.kind in PASSIVE_PROBES:
            self.failures, self.status = probe.retries, UNHEALTHY
        else:
            self._failed(probe, now)
        if probe.kind in PASSIVE_PROBES:
            self.next_at = now + probe.watchdog_seconds if passed and probe.watchdog_seconds else None
        elif first and self.status == STARTING:
            self.next_at = max(now, self.asked_at + probe.start_interval_seconds)
        else:
            self.next_at = now + probe.interval_seconds

    def extend(self, probe: Probe, now: float, seconds: float) -> None:
        """Extend the time for the start, or for the next watchdog message (EXTEND_TIMEOUT_USEC of sd_notify(3))."""
        self.count_from = max(self.count_from, now + seconds)
        if self.next_at is not None and probe.kind in PASSIVE_PROBES:
            self.next_at = max(self.next_at, now + seconds)

    def postpone(self, probe: Probe, seconds: float) -> None:
        """Nothing ran for this time: it does not count for the start period or for the next report."""
        self.count_from += seconds
        if self.next_at is not None and probe.kind in PASSIVE_PROBES:
            self.next_at += seconds

    def _failed(self, probe: Probe, now: float) -> None:
        if self.status != STARTING:
            self.failures += 1
        elif now >= self.count_from:
            self.failures += 1
            self.count_from = now + probe.interval_seconds
        if self.failures >= probe.retries:
            self.status = UNHEALTHY

    def _keep(self, now: float, *, passed: bool, output: str, reason: Reason | None = None) -> None:
        self.results = [*self.results[1 - RESULTS_KEPT :], (now, passed, output, reason)]
        self.passed += passed
        self.failed += not passed

    @property
    def last_output(self) -> str:
        """The last non-empty line of the last result, at most 200 characters; control characters are escaped."""
        lines = self.results[-1][2].split("\n") if self.results else []
        line = next((line for line in reversed(lines) if line.strip()), "").strip()
        shown = printable(line)
        return shown if len(shown) <= _SHOWN_MAX else f"{shown[:_SHOWN_MAX]}..."

    def to_plain(self) -> dict[str, Any]:
        """The re-execution state, as plain values."""
        return {name: getattr(self, name) for name in _KEPT} | {"results": to_plain(self.results)}

    def restore(self, plain: dict[str, Any]) -> None:
        """The inverse of to_plain. A probe whose result was lost runs again."""
        for name in _KEPT:
            if name in plain:
                setattr(self, name, plain[name])
        self.results = list(from_plain(self.results))
        if self.asking:
            self.asking, self.next_at = False, self.asked_at

"""Is a service well? The rules of time around its probe; pure, and nothing of how one asks.

Docker's rules (moby, daemon/health.go), with one difference: until the first success a service is asked every
start_interval, from its start on, because others wait for it. What a failure means is Docker's: inside the
start period nothing; after it, one failure per interval counts, `retries` of them in a row make it unhealthy, and
any success forgives all and ends the start period. So it turns unhealthy when it would under Docker, and ready
as soon as it is.

Some services are not asked, they tell (sd_notify, a descriptor, their log): then silence is what fails. One
that has a watchdog must go on telling: its silence counts at once (systemd.service(5), WatchdogSec).
"""

from __future__ import annotations

from cohabit.plan.model import PASSIVE_PROBES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cohabit.plan.model import Probe

STARTING, HEALTHY, UNHEALTHY = "starting", "healthy", "unhealthy"
RESULTS_KEPT = 5
_SHOWN_MAX = 200  # characters
_KEPT = ("status", "was_healthy", "failures", "count_from", "next_at", "asked_at", "asking", "results")


class Health:
    """What is known of one run. next_at: monotonic seconds at which `due` should be called, None for never.

    count_from: from then on the next failure counts. results: the last five, (moment, passed, output).
    """

    __slots__ = _KEPT

    def __init__(self) -> None:
        self.status = ""  # not known: it does not run, or has no probe
        self.was_healthy = False
        self.failures = 0
        self.count_from = 0.0
        self.next_at: float | None = None
        self.asked_at = 0.0
        self.asking = False
        self.results: list[tuple[float, bool, str]] = []

    def begin(self, probe: Probe, now: float) -> None:
        """A run has begun."""
        self.status, self.was_healthy, self.failures, self.asking = STARTING, False, 0, False
        self.count_from = now + probe.start_period_seconds + probe.interval_seconds
        self.next_at = self.count_from if probe.kind in PASSIVE_PROBES else now

    def end(self) -> None:
        """The run is over; its results stay, for whoever asks why."""
        self.status, self.next_at, self.asking = "", None, False

    def due(self, probe: Probe, now: float) -> bool:
        """next_at has come. True: ask now. False: silence has just been noted as `result` notes a failure."""
        self.next_at = None
        if probe.kind not in PASSIVE_PROBES:
            self.asking, self.asked_at = True, now
            return True
        if self.status == HEALTHY:  # its watchdog
            self.failures = probe.retries
            self.status = UNHEALTHY
            self._keep(now, passed=False, output=f"silent for {probe.watchdog_seconds:g} s")
        else:
            self._keep(now, passed=False, output="it has not said that it is ready")
            self._failed(probe, now)
            self.next_at = self.count_from if self.status == STARTING else None
        return False

    def result(self, probe: Probe, now: float, *, passed: bool, output: str) -> None:
        """An answer, or what the service told by itself."""
        first = self.status == STARTING
        self.asking = False
        self._keep(now, passed=passed, output=output)
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
        """It asks for so much more time, for its start or for its next sign of life (EXTEND_TIMEOUT_USEC)."""
        self.count_from = max(self.count_from, now + seconds)
        if self.next_at is not None and probe.kind in PASSIVE_PROBES:
            self.next_at = max(self.next_at, now + seconds)

    def _failed(self, probe: Probe, now: float) -> None:
        if self.status != STARTING:
            self.failures += 1
        elif now >= self.count_from:
            self.failures += 1
            self.count_from = now + probe.interval_seconds
        if self.failures >= probe.retries:
            self.status = UNHEALTHY

    def _keep(self, now: float, *, passed: bool, output: str) -> None:
        self.results = [*self.results[1 - RESULTS_KEPT :], (now, passed, output)]

    @property
    def last_output(self) -> str:
        """What the last probe had to say, as one line that cannot pass for another's or move a cursor."""
        lines = self.results[-1][2].split("\n") if self.results else []
        line = next((line for line in reversed(lines) if line.strip()), "").strip()
        shown = "".join(one if one.isprintable() else ascii(one)[1:-1] for one in line)
        return shown if len(shown) <= _SHOWN_MAX else f"{shown[:_SHOWN_MAX]}..."

    def to_plain(self) -> dict[str, Any]:
        """What crosses a re-execution."""
        return {name: getattr(self, name) for name in _KEPT}

    def restore(self, plain: dict[str, Any]) -> None:
        """The inverse of to_plain. A question whose answer was lost is asked again."""
        for name in _KEPT:
            if name in plain:
                setattr(self, name, plain[name])
        if self.asking:
            self.asking, self.next_at = False, self.asked_at

"""The part of the model that follows from requests: a new Plan, numbers of replicas, requests about services.

It follows docs/reference/rules.md and imports nothing that the engine decides with.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cohabit.plan.model import COMPLETED
from cohabit.plan.reason import KILLED_ON_REQUEST, Reason
from sim.service_state import HealthModel, ServiceState, needs_restart

if TYPE_CHECKING:
    from cohabit.engine import events
    from cohabit.plan.model import Plan


class RequestedState:
    """The states of all services, and what is requested of them."""

    def __init__(self) -> None:
        self.states: dict[str, ServiceState] = {}  # until Forget
        self.plan: Plan | None = None
        self.reading = True  # the file is being read
        self.reload_requested = False  # and no reading has begun since
        self.scale: dict[str, int] = {}  # replicas in the newest Plan
        self.scale_being_read: dict[str, int] = {}  # replicas for the current reading
        self.scale_requested: dict[str, int] = {}  # changes for the next reading
        self.affected_by_reload: list[ServiceState] = []  # with the latest event
        self.to_kill: tuple[str, ...] = ()  # requested with the latest event
        self.to_signal: tuple[str, ...] = ()  # the same

    # --- requests ------------------------------------------------------------------------------------

    def _service_request(self, request: events.Requested, now: float) -> None:
        states = [self.states[name] for name in request.services if name in self.states]
        if request.cause is not None:  # changed files: what is down, or waits for its schedule, is not concerned
            states = [state for state in states if not state.down and not _waits_for_schedule(state)]
        if request.action == "signal":
            self.to_signal = tuple(state.name for state in states if state.main_alive)
            return
        if request.action in ("pause", "unpause"):
            for state in states:
                if request.action == "unpause":
                    state.unpause(now)
                elif state.running and not state.paused:
                    state.paused_at = now
                    if state.health is not None:
                        state.health.paused(now)
            return
        if request.action == "kill":  # also what was removed from the file and is still alive
            self.to_kill = tuple(state.name for state in states if state.active)
        for state in states:
            if request.action == "kill" and state.active:
                state.reason = state.reason or Reason(KILLED_ON_REQUEST)
            if request.action in ("stop", "kill"):
                state.request_down()
            elif not state.removed:
                if request.action == "restart":
                    self._replace(state)
                    state.run_requested = True
                self._start(state)
        self._reset_restarted()

    def _start(self, state: ServiceState) -> None:
        """Request a run of it and of its dependencies that do not run and will not."""
        todo, seen = [state], {state.name}
        while todo:
            state = todo.pop()
            ended = not state.active or state.stop_requested_at is not None or state.has_leftovers
            if ended or state.down or state.restart_pending:
                state.request_run()
            for needed in state.newest.depends_on:
                other = self.states[needed.service]
                if other.name in seen or other.removed or other.newest.schedule is not None:
                    continue
                done = needed.condition == COMPLETED and other.satisfies(needed)
                if not done and (other.ended or other.down or other.restart_pending or other.waiting):
                    seen.add(other.name)
                    todo.append(other)

    # --- reload --------------------------------------------------------------------------------------

    def _begin_to_read(self) -> None:
        self.reading, self.reload_requested = True, False
        self.scale_being_read, self.scale_requested = self.next_scale, {}

    @property
    def next_scale(self) -> dict[str, int]:
        """Replicas for the next reading."""
        return {**self.scale, **self.scale_requested}

    def _loaded(self, plan: Plan, now: float) -> None:
        before, self.plan = self.plan, plan
        if before is None:
            self.states = {name: ServiceState(service) for name, service in plan.services.items()}
            return
        for name, state in self.states.items():
            if name not in plan.services and not state.removed:
                self.affected_by_reload.append(state)
                state.request_down()
                state.removed = True
        self._take_new_definitions(plan, before, now)
        self._reset_restarted()

    def _take_new_definitions(self, plan: Plan, before: Plan, now: float) -> None:
        changed: list[ServiceState] = []
        for name, service in plan.services.items():
            state = self.states.get(name)
            if state is None:
                state = self.states[name] = ServiceState(service)
                self.affected_by_reload.append(state)
                continue
            state.newest = service
            if state.removed:  # it returns before it was forgotten
                state.removed, state.down, state.restart_pending = False, False, True
            elif before.services[name] != service:
                changed.append(state)
        self.affected_by_reload += changed
        for state in changed:
            if needs_restart(before.services[state.name], state.newest):
                self._replace(state)
        for state in changed:
            if not state.restart_pending:
                self._change_in_place(state, now)

    def _replace(self, state: ServiceState) -> None:
        """Request a new run of it, and of the services that restart along with it and are not down."""
        state.restart_pending, state.down, state.run_requested = True, False, False
        todo = [state]
        while todo:
            state = todo.pop()
            for other in self.states.values():
                along = any(d.service == state.name and d.restart for d in other.newest.depends_on)
                down = other.down and other.newest.schedule is None
                if along and not (other.restart_pending or other.removed or down):
                    other.restart_pending = True
                    todo.append(other)

    def _reset_restarted(self) -> None:
        for state in self.states.values():
            if state.restart_pending and not state.active:
                state.reset()

    @staticmethod
    def _change_in_place(state: ServiceState, now: float) -> None:
        probe, startup, state.service = state.service.probe, state.service.startup, state.newest
        if state.running and state.startup_at is not None and startup is not None:
            seconds = state.service.startup.seconds if state.service.startup else 0.0
            state.startup_at += seconds - startup.seconds
        if probe != state.service.probe and state.start_complete and state.service.probe is not None:
            state.health = HealthModel(state.service.probe, now)


def _waits_for_schedule(state: ServiceState) -> bool:
    replaced = state.restart_pending and not state.run_requested
    return state.newest.schedule is not None and (not state.active or replaced)

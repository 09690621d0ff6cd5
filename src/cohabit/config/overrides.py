"""Options of `up` that change what the file says, for this start and its reloads. Pure.

Their keys in a request: no_deps, replicas (by service), end_with ("exit" or "failure"), timeout (seconds),
no_log_prefix, and exit_code_from (a service).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cohabit.errors import EXIT_USAGE
from cohabit.nearest import did_you_mean
from cohabit.plan.draft import Diagnostic
from cohabit.plan.model import COMPLETED
from cohabit.plan.replicas import scaled

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cohabit.plan.draft import Draft, DraftService
    from cohabit.plan.model import Service


def overridden(draft: Draft, request: Mapping[str, Any]) -> Draft:
    """The Draft with the options of a request."""
    replicas = request.get("replicas") or {}
    draft = scaled(draft, replicas, replicas)
    jobs = {
        dependency.service
        for item in draft.services.values()
        for dependency in item.service.depends_on
        if dependency.condition == COMPLETED
    }
    seconds, chosen = request.get("timeout"), request.get("exit_code_from") or ""
    if chosen and chosen not in draft.services:
        text = f"cannot return the exit code of {chosen!r}: no such service{did_you_mean(chosen, draft.services)}"
        problem = Diagnostic(draft.where, text, exit_code=EXIT_USAGE)
        draft = draft.replace(problems=(*draft.problems, problem))
    return draft.replace(
        exit_code_from=chosen,
        services={
            name: _service(item, request, job=name in jobs and name != chosen) for name, item in draft.services.items()
        },
        stop_grace_seconds=draft.stop_grace_seconds if seconds is None else seconds,
    )


def _service(item: DraftService, request: Mapping[str, Any], *, job: bool) -> DraftService:
    service = item.service
    if request.get("no_deps"):
        kept = tuple(one for one in service.depends_on if one.service in request["services"])
        service = service.replace(depends_on=kept)
    if request.get("timeout") is not None:
        service = service.replace(stop_grace_seconds=request["timeout"])
    if request.get("no_log_prefix"):
        service = _without_prefix(service)
    essential = item.essential
    if request.get("end_with") and not job and not service.schedule:
        essential = True if request["end_with"] == "exit" else None
    return item.replace(service=service, essential=essential)


def _without_prefix(service: Service) -> Service:
    entries = (one.replace(driver="raw") if one.driver == "prefix" else one for one in service.logging)
    return service.replace(logging=tuple(entries))

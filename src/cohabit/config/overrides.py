"""Options of `up` that change what the file says, for this start and its reloads. Pure.

Their keys in a request: no_deps, replicas (by service), end_with ("exit" or "failure"), timeout (seconds),
no_log_prefix, timestamps, no_color, attach and no_attach (services whose output is, or is not, printed), and
exit_code_from (a service). With a command on a terminal, no output is printed over it but that of `attach`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cohabit.errors import EXIT_USAGE
from cohabit.nearest import did_you_mean
from cohabit.plan.draft import Diagnostic, SourceLocation
from cohabit.plan.model import COLOUR, COMPLETED, NAME, TIME, Logging
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
    named = [("return the exit code", name) for name in [chosen] if name]
    named += [("attach", name) for name in (*request.get("attach", ()), *request.get("no_attach", ()))]
    for what, name in named:
        if name not in draft.services:
            of = f"{what} of" if name == chosen else what
            text = f"cannot {of} {name!r}: no such service{did_you_mean(name, draft.services)}"
            problem = Diagnostic(draft.where, text, exit_code=EXIT_USAGE)
            draft = draft.replace(problems=(*draft.problems, problem))
    if request.get("command") and request.get("terminal") and not request.get("attach"):
        text = "the output of the services is not printed on this terminal (`cohabit logs -f` shows it)"
        draft = draft.replace(problems=(*draft.problems, Diagnostic(SourceLocation("cohabit up"), text, warning=True)))
    return draft.replace(
        exit_code_from=chosen,
        services={
            name: _service(item, request, job=name in jobs and name != chosen) for name, item in draft.services.items()
        },
        stop_grace_seconds=draft.stop_grace_seconds if seconds is None else seconds,
        logging=tuple(_logging(entry, request, named=True) for entry in draft.logging),
    )


def _service(item: DraftService, request: Mapping[str, Any], *, job: bool) -> DraftService:
    service = item.service
    if request.get("no_deps"):
        kept = tuple(one for one in service.depends_on if one.service in request["services"])
        service = service.replace(depends_on=kept)
    if request.get("timeout") is not None:
        service = service.replace(stop_grace_seconds=request["timeout"])
    named = not request.get("no_log_prefix")
    service = service.replace(logging=tuple(_logging(entry, request, named=named) for entry in service.logging))
    if _is_hidden(item.service.name, request):
        service = _without_output(service)
    essential = item.essential
    if request.get("end_with") and not job and not service.schedule:
        essential = True if request["end_with"] == "exit" else None
    return item.replace(service=service, essential=essential)


def _is_hidden(name: str, request: Mapping[str, Any]) -> bool:
    """Whether the output of a service is not printed."""
    on_terminal = request.get("command") and request.get("terminal")
    if request.get("attach") or on_terminal:
        return name not in request.get("attach", ()) or name in request.get("no_attach", ())
    return name in request.get("no_attach", ())


def _without_output(service: Service) -> Service:
    """The last lines are still kept for `cohabit logs`, and files and syslog get all."""
    others = tuple(one for one in service.logging if one.driver in ("file", "syslog"))
    return service.replace(logging=others or (Logging("none"),))


def _logging(entry: Logging, request: Mapping[str, Any], *, named: bool) -> Logging:
    """An entry with what the driver prefix writes before each line. named: the name, too."""
    if entry.driver != "prefix" or not entry.before:
        return entry
    parts = {NAME: named, COLOUR: named and not request.get("no_color"), TIME: bool(request.get("timestamps"))}
    before = tuple(part for part, is_written in parts.items() if is_written)
    return entry.replace(before=before) if before else entry.replace(driver="raw")

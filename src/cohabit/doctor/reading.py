"""Read the cohabit file for the doctor: services with their lines, and commands as written.

Errors in the file become one finding; `cohabit check` reports all. This machine's users and programs are not checked,
since the services may run on another one.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from cohabit.config.readers import registry
from cohabit.doctor.findings import ERROR, Finding
from cohabit.doctor.services import WrittenService
from cohabit.plan.build import build
from cohabit.plan.draft import UNREADABLE, SourceLocation, located
from cohabit.plan.model import HOOK_STAGES, TOTAL_GRACE_SECONDS
from cohabit.plan.order import cycles
from cohabit.plan.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from cohabit.plan.draft import DraftService
    from cohabit.plan.node import Node

_COMMANDS = ("entrypoint", "command")
_VARIABLE = re.compile(r"\$\$|\$\{[^{}]*\}|\$[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_UNREADABLE = ((), ("",), (UNREADABLE,))


class Reading(Record):
    """The content of a file. instances: number of services including replicas; problems: errors of the file."""

    file: str
    written: dict[str, WrittenService] = {}  # noqa: RUF012 - a record's default is never changed
    total_seconds: float = TOTAL_GRACE_SECONDS
    instances: int = 0
    problems: tuple[Finding, ...] = ()


def read(file: str, environ: Mapping[str, str]) -> Reading:
    """Read the file with all profiles. Its content never raises an exception."""
    try:
        draft = registry.read({"files": [file] if file else []}, environ)
    except ModuleNotFoundError as error:
        why = f"the Python package {error.name} is missing"
        return Reading(
            file,
            problems=(
                Finding(
                    "file-errors", ERROR, SourceLocation(file), "cannot read this file", why, "pip install cohabit"
                ),
            ),
        )
    shown = str(draft.where)
    plan, problems = build(draft, (), ["*"])
    wrong = [problem for problem in problems if not problem.warning]
    found: list[Finding] = []
    if wrong:
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        do = f"cohabit check -f {shown} reports all errors"
        secret = any(one.environment for one in draft.secrets.values())  # its text may be part of any problem
        why = "no service is started while the file has errors" if secret else wrong[0].text
        found.append(Finding("file-errors", ERROR, wrong[0].where, f"cohabit cannot run this file{more}", why, do))
    plain = draft.replace(services={name: item.replace(replicas=None) for name, item in draft.services.items()})
    whole, _ = build(plain, (), ["*"])
    services = whole.services if whole else {name: item.service for name, item in draft.services.items()}
    written = {
        name: WrittenService(service, _place_of(item), frozenset(item.written), tuple(_commands(item.written, shown)))
        for name, service in services.items()
        if (item := draft.services[name]) and service.command[:1] not in _UNREADABLE
    }
    if cycles({name: [d.service for d in item.service.depends_on] for name, item in written.items()}):
        written = {}
    return Reading(shown, written, draft.stop_grace_seconds, len(plan.services) if plan else len(written), tuple(found))


def _place_of(item: DraftService) -> Callable[[str], SourceLocation]:
    """A function from a key of this service to its place; the command may come from `entrypoint`."""

    def place(key: str) -> SourceLocation:
        return item.place("entrypoint" if key == "command" and key not in item.written else key)

    return place


def _commands(keys: dict[str, Node], shown: str) -> Iterator[tuple[str, SourceLocation, str]]:
    """The commands that are written as one string, as WrittenService has them."""
    for key in _COMMANDS:
        if key in keys and isinstance(keys[key].value, str):
            yield key, located(shown, keys[key].line), _plain(keys[key].value)
    for key in HOOK_STAGES:
        hooks = keys[key].value if key in keys else None
        for hook in hooks if isinstance(hooks, list) else ():
            command = _map(hook).get("command")
            if command and isinstance(command.value, str):
                yield "command", located(shown, command.line), _plain(command.value)


def _map(node: Node) -> dict[str, Node]:
    return node.value if isinstance(node.value, dict) else {}


def _plain(text: Any) -> str:
    """The text as it is run: `$$` becomes `$`, and an interpolated variable becomes an ordinary word."""
    return _VARIABLE.sub(lambda found: "$" if found[0] == "$$" else "_", str(text))

"""The loader's one conversation: a verb and a request in, an answer on standard output, an exit code.

    plan    marshal of {"plan", "problems", "warnings", "exit_code"}; exits 0 whatever it had to say
    check   every problem and warning, one a line, and a last line with the sum
    config  what was understood, as a file that means the same

A request is {"verb": "up", "files", "profiles", "services", "command", "terminal"} or {"verb": "run", "main",
"helpers", "commands", "ready", "log_driver", "log_opts"}. This module knows the order of things, no format: reader
and printer are chosen by name, so that `run` need not wait for the imports of YAML.
"""

from __future__ import annotations

import ast
import marshal
import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from cohabit.config import foreground
from cohabit.config.secret_files import deliver
from cohabit.config.system import check_machine
from cohabit.config.values.file_variables import resolve
from cohabit.errors import EXIT_CANNOT_RUN, EXIT_FILE, EXIT_NOT_FOUND, EXIT_USAGE
from cohabit.plan.build import build
from cohabit.plan.draft import UNREADABLE, Diagnostic, Draft, SourceLocation
from cohabit.plan.model import Plan
from cohabit.plan.order import cycles
from cohabit.plan.record import to_plain
from cohabit.plan.replicas import scaled

if TYPE_CHECKING:
    from collections.abc import Sequence


_READERS = {"up": "cohabit.config.compose", "run": "cohabit.config.commands"}
_MARSHAL_VERSION = 2  # nothing of a later one is needed, and any Python reads it
_SHORTEST_SECRET = 4  # of a shorter text, stars would be everywhere
_MOST_TOLD = 100  # nobody reads more
_GRAVEST_FIRST = (EXIT_USAGE, EXIT_FILE, EXIT_NOT_FOUND, EXIT_CANNOT_RUN)


def main(arguments: Sequence[str]) -> int:
    """Answer one request; the exit code."""
    verb, request = arguments[0], ast.literal_eval(arguments[1])
    draft = _read(request)
    wanted = list(request.get("services") or ())
    if request.get("command"):
        draft, name = foreground.add(draft, request["command"], terminal=request["terminal"])
        wanted += [name] if wanted else []
    scale, asked = (ast.literal_eval(word) for word in arguments[2:]) if arguments[2:] else ({}, ())
    draft = resolve(scaled(draft, scale, asked), os.environ)
    plan, problems = build(draft, wanted, request.get("profiles") or ())
    machine = check_machine(plan or _readable(draft), draft, os.environ)
    if verb == "config":  # what was understood can be shown anywhere
        machine = tuple(problem.replace(warning=True) for problem in machine)
    problems += machine
    hidden = _hidden(draft)
    problems = tuple(problem.replace(text=_mask(problem.text, hidden)) for problem in problems)
    wrong = _in_order(problem for problem in problems if not problem.warning)
    if verb == "plan" and plan and not wrong:
        wrong = deliver(plan, draft, os.environ)
    warnings = _in_order(problem for problem in problems if problem.warning)
    if request.get("json"):
        return _json(verb, None if wrong else plan, draft, wrong, warnings)
    return _VERBS[verb](None if wrong else plan, draft, wrong, warnings)


def _readable(draft: Draft) -> Plan:
    """What could be read of a draft that is wrong elsewhere: every problem shall be told at once."""
    services = {name: item.service.replace(service=name) for name, item in draft.services.items()}
    if cycles({name: [d.service for d in service.depends_on] for name, service in services.items()}):
        return Plan({})  # there is no order in which to look
    unreadable = ((), ("",), (UNREADABLE,))
    return Plan({name: service for name, service in services.items() if service.command[:1] not in unreadable})


def _read(request: dict[str, Any]) -> Draft:
    try:
        draft: Draft = import_module(_READERS[request["verb"]]).read(request, os.environ)
    except ModuleNotFoundError as error:
        text = f"cannot read it: the Python package {error.name} is missing (pip install cohabit brings it)"
        where = SourceLocation("cohabit")
        return Draft(where, {}, problems=(Diagnostic(where, text),))
    return draft


def _hidden(draft: Draft) -> list[str]:
    """The texts of secrets that come from variables: interpolation may have put them anywhere."""
    variables = (secret.environment for secret in draft.secrets.values())
    texts = [os.environ[name] for name in variables if name and name in os.environ]
    return sorted((text for text in texts if len(text) >= _SHORTEST_SECRET), key=len, reverse=True)


def _mask(text: str, hidden: list[str]) -> str:
    for secret in hidden:
        text = text.replace(secret, "***")
    return text


def exit_code_of(problems: Sequence[Diagnostic]) -> int:
    """The code that tells best what is wrong; 0 for nothing."""
    codes = {problem.exit_code for problem in problems}
    return next((code for code in _GRAVEST_FIRST if code in codes), 0)


def _plan(plan: Plan | None, _draft: Draft, wrong: list[Diagnostic], warnings: list[Diagnostic]) -> int:
    answer = {
        "plan": to_plain(plan),
        "problems": _texts(wrong),
        "warnings": _texts(warnings),
        "exit_code": exit_code_of(wrong),
    }
    sys.stdout.buffer.write(marshal.dumps(answer, _MARSHAL_VERSION))
    return 0


def _check(plan: Plan | None, draft: Draft, wrong: list[Diagnostic], warnings: list[Diagnostic]) -> int:
    _print(_texts(_in_order([*wrong, *warnings])))
    if plan is None:
        _print([f"{draft.where}: {len(wrong)} problem{'s' if len(wrong) != 1 else ''}"])
    else:
        counts: dict[str, int] = {}
        for service in plan.services.values():
            counts[service.service] = counts.get(service.service, 0) + 1
        names = ", ".join(name if count == 1 else f"{name} x{count}" for name, count in counts.items())
        _print([f"{draft.where}: fine: {len(counts)} service{'s' if len(counts) != 1 else ''} ({names})"])
    return exit_code_of(wrong)


def _config(plan: Plan | None, draft: Draft, wrong: list[Diagnostic], warnings: list[Diagnostic]) -> int:
    if plan is None:
        _print(_texts([*wrong, *warnings]))
    else:
        _print([f"# {text}" for text in _texts(warnings)])
        hidden = _hidden(draft)
        _print([_mask(line, hidden) for line in import_module("cohabit.config.show").lines(plan)])
    return exit_code_of(wrong)


def _json(verb: str, plan: Plan | None, draft: Draft, wrong: list[Diagnostic], warnings: list[Diagnostic]) -> int:
    """The same for programs: what was understood, or everything that was found."""
    code = exit_code_of(wrong)
    found: dict[str, Any] = {"problems": _texts(wrong), "warnings": _texts(warnings), "exit_code": code}
    if verb == "config" and plan is not None:
        text = _mask("\n".join(import_module("cohabit.config.show").lines(plan)), _hidden(draft))
        found = import_module("yaml").safe_load(text)  # JSON is YAML, so this is a file again, too
    _print([import_module("json").dumps(found)])
    return code


def _texts(problems: list[Diagnostic]) -> list[str]:
    """One line for each problem; of very many, the first ones."""
    rest = len(problems) - _MOST_TOLD
    return [*map(str, problems[:_MOST_TOLD]), *([f"and {rest} more"] if rest > 0 else [])]


def _print(lines: list[str]) -> None:
    """Lines to standard output; bytes that are no UTF-8 come out as they came in."""
    text = "".join(f"{line}\n" for line in lines)
    sys.stdout.buffer.write(text.encode("utf-8", "surrogateescape"))


def _in_order(problems: Any) -> list[Diagnostic]:
    """By line, file after file as they were first met."""
    found: dict[str, list[Diagnostic]] = {}
    for problem in problems:
        found.setdefault(problem.where.file, []).append(problem)
    return [problem for group in found.values() for problem in sorted(group, key=lambda one: one.where.line)]


_VERBS = {"plan": _plan, "check": _check, "config": _config}

"""The loader: reads one request, prints one answer to standard output and returns the exit code.

    plan    marshal of {"plan", "problems", "warnings", "exit_code"}; the exit code is always 0
    check   every error and warning, one per line; the last line is the summary
    config  the resolved configuration, as a file with the same meaning

With the key "build" (`check --build`), problems that may not exist when the container runs are notes.
A request is {"files", "profiles", "env_files", "project_directory", "project_name", "services", "command", "terminal",
"json", "watch"}, the keys of overrides.py, and for `config` {"show", "output"}; each may be missing. From `run` it is
{"commands", "main", "helpers", "ready", "log_driver", "log_opts"}; from `supervisord` {"supervisord": its options}.
What only some requests need is imported by name, so that a start does not pay for it.
"""

from __future__ import annotations

import marshal
import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from cohabit.config import foreground
from cohabit.config.init_script import with_pid_files
from cohabit.config.overrides import overridden
from cohabit.config.readers import registry
from cohabit.config.secret_files import write_secret_files
from cohabit.config.system import check_machine, skipped_now
from cohabit.config.values.file_variables import resolve
from cohabit.config.values.option_variables import PROJECT_NAME
from cohabit.errors import EXIT_CANNOT_RUN, EXIT_FILE, EXIT_NOT_FOUND, EXIT_SUPERVISORD, EXIT_SYSTEM, EXIT_USAGE
from cohabit.plan.build import build
from cohabit.plan.draft import UNREADABLE, Diagnostic, Draft, SourceLocation
from cohabit.plan.grace import divided, hooks_part, shares
from cohabit.plan.model import Plan
from cohabit.plan.order import cycles
from cohabit.plan.record import to_plain
from cohabit.plan.replicas import scaled
from cohabit.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


_QUERIES = "cohabit.config.queries"
_WRITER, _DUMP = "cohabit.config.writers.compose", "cohabit.config.text.dump"
_FROM_SUPERVISORD = "cohabit.config.writers.supervisord"
_PID_FILE = "cohabit.config.supervisord.pid_file"
_TERMINAL = "cohabit.config.text.terminal"
_WATCHING = "cohabit.config.watching"
_MARSHAL_VERSION = 2  # every Python reads it; nothing of a later version is needed
_SHORTEST_SECRET = 4  # characters; shorter texts occur everywhere
_SHARES_SHOWN = 10
_MOST_SHOWN = 100
_ABOUT_VARIABLES = ("no_interpolate", "environment", "variables")  # questions of `config` (_show)
_BY_PRECEDENCE = (EXIT_SUPERVISORD, EXIT_USAGE, EXIT_FILE, EXIT_NOT_FOUND, EXIT_CANNOT_RUN)


def main(
    command: str,
    request: Mapping[str, Any],
    scale: Mapping[str, int | None] | None = None,
    requested: Sequence[str] = (),
) -> int:
    """Answer one request. scale, requested: replicas (plan/replicas.py: scaled). Returns the exit code."""
    scale = scale or {}
    environ = dict(os.environ)  # whose values are not decoded at each access
    if request.get("project_name"):
        environ[PROJECT_NAME] = request["project_name"]
    draft = overridden(_read(request, environ), request)
    wanted = list(request.get("services") or ())
    if request.get("command"):
        draft, name = foreground.add(draft, request["command"], terminal=request["terminal"])
        wanted += [name] if wanted else []
    draft, in_build = resolve(scaled(draft, scale, requested), environ), bool(request.get("build"))
    as_written = request.get("show") in _ABOUT_VARIABLES and not draft.unmerged
    if as_written:  # values do not matter
        draft = draft.replace(problems=tuple(one.replace(warning=True) for one in draft.problems))
    if in_build:
        draft = draft.replace(problems=_as_notes(draft.problems))
    added = [name for name, number in scale.items() if name in draft.services and number != 0]
    plan, diagnostics = build(draft, wanted, request.get("profiles") or draft.profiles, added)
    if request.get("watch") and plan is not None:
        plan, notes = import_module(_WATCHING).watched(plan, draft)
        diagnostics += notes
    machine = () if as_written else check_machine(plan or _readable(draft), draft, environ, build=in_build)
    if in_build:
        machine = _as_notes(machine)
    if (
        command in ("config", "convert") or draft.stays
    ):  # it is shown even on a machine that cannot run it; supervisord goes on
        machine = tuple(diagnostic.replace(warning=True) for diagnostic in machine)
    if draft.stays:
        machine = _once(machine)
    diagnostics += machine
    hidden = _hidden(draft)
    diagnostics = tuple(diagnostic.replace(text=_mask(diagnostic.text, hidden)) for diagnostic in diagnostics)
    errors = _in_order(diagnostic for diagnostic in diagnostics if not diagnostic.warning)
    if command == "plan" and plan and not errors:
        errors = write_secret_files(plan, draft, environ)
        diagnostics += _write_pid_file(draft)
    warnings = _in_order(diagnostic for diagnostic in diagnostics if diagnostic.warning)
    if request.get("output") and not errors:
        try:
            _redirect(request["output"])
        except OSError as error:
            return _fail(f"cannot {command}: cannot write {request['output']}: {error.strerror}", EXIT_SYSTEM)
    if request.get("show") and not errors:
        return _show(request["show"], plan, draft, as_json=bool(request.get("json")))
    if request.get("json"):
        return _json(command, None if errors else plan, draft, errors, warnings)
    return _COMMANDS[command](None if errors else plan, draft, errors, warnings)


def _once(diagnostics: Sequence[Diagnostic]) -> tuple[Diagnostic, ...]:
    """One diagnostic for all processes of a program (numprocs): they differ in the name before the colon only."""
    found: dict[tuple[SourceLocation, str], Diagnostic] = {}
    for one in diagnostics:
        found.setdefault((one.where, one.text.partition(": ")[2]), one)
    return tuple(found.values())


def _write_pid_file(draft: Draft) -> tuple[Diagnostic, ...]:
    why = import_module(_PID_FILE).write_pid_file(draft.pid_file) if draft.pid_file else ""
    return (Diagnostic(draft.where, why, warning=True),) if why else ()


def _readable(draft: Draft) -> Plan:
    """The valid services of an invalid draft, so that errors of the machine are reported in the same run."""
    services = {name: item.service.replace(service=name) for name, item in draft.services.items()}
    if cycles({name: [d.service for d in service.depends_on] for name, service in services.items()}):
        return Plan({})  # check_machine needs a start order
    unreadable = ((), ("",), (UNREADABLE,))
    return Plan({name: service for name, service in services.items() if service.command[:1] not in unreadable})


def _as_notes(diagnostics: Sequence[Diagnostic]) -> tuple[Diagnostic, ...]:
    """In the build of an image: what may exist only at run time does not fail it."""
    return tuple(one.replace(warning=True, note=True) if one.at_run_time else one for one in diagnostics)


def _read(request: Mapping[str, Any], environ: Mapping[str, str]) -> Draft:
    try:
        return registry.read(request, environ)
    except ModuleNotFoundError as error:
        text = f"cannot read the configuration: the Python package {error.name} is missing (run pip install cohabit)"
        location = SourceLocation("cohabit")
        return Draft(location, {}, problems=(Diagnostic(location, text),))


def _hidden(draft: Draft) -> list[str]:
    """The texts of secrets that come from variables, longest first: interpolation may have put them anywhere."""
    variables = (secret.environment for secret in draft.secrets.values())
    texts = [os.environ[name] for name in variables if name and name in os.environ]
    return sorted((text for text in texts if len(text) >= _SHORTEST_SECRET), key=len, reverse=True)


def _mask(text: str, hidden: list[str]) -> str:
    for secret in hidden:
        text = text.replace(secret, "***")
    return text


def exit_code_of(diagnostics: Sequence[Diagnostic]) -> int:
    """The exit code of the most important diagnostic: 2, 64, 78, 127, then 126; 0 if there is none."""
    codes = {diagnostic.exit_code for diagnostic in diagnostics}
    return next((code for code in _BY_PRECEDENCE if code in codes), 0)


def _plan(plan: Plan | None, draft: Draft, errors: list[Diagnostic], warnings: list[Diagnostic]) -> int:
    if plan is not None and draft.groups:
        grouped = {
            name: one.replace(service=draft.groups.get(name, one.service)) for name, one in plan.services.items()
        }
        plan = plan.replace(services=grouped)
    answer = {
        "plan": to_plain(with_pid_files(plan) if plan is not None else None),
        "problems": _texts(errors),
        "warnings": _texts(warnings),
        "exit_code": exit_code_of(errors),
    }
    sys.stdout.buffer.write(marshal.dumps(answer, _MARSHAL_VERSION))
    return 0


def _check(plan: Plan | None, draft: Draft, errors: list[Diagnostic], warnings: list[Diagnostic]) -> int:
    _print(_wrapped(_texts(_in_order([*errors, *warnings]))))
    if plan is None:
        hint = " (in a Dockerfile: cohabit check --build)" if any(error.at_run_time for error in errors) else ""
        _print([f"{draft.where}: {len(errors)} error{'s' if len(errors) != 1 else ''}{hint}"])
    else:
        counts: dict[str, int] = {}
        for service in plan.services.values():
            counts[service.service] = counts.get(service.service, 0) + 1
        names = ", ".join(name if count == 1 else f"{name} x{count}" for name, count in counts.items())
        now = skipped_now(plan, os.environ)
        skipped = [f"{draft.where}: {name} would be skipped now: {why}" for name, why in now.items()]
        merged = [f"{draft.where}: with {', '.join(draft.files[1:])}"] if len(draft.files) > 1 else []
        notes = [*merged, *skipped, *_divided_total(plan, draft), *_times_of_hooks(plan, draft)]
        _print(_wrapped([*notes, f"{draft.where}: {_rule_of_the_end(plan, draft)}"]))
        valid = f"{draft.where}: valid: {len(counts)} service{'s' if len(counts) != 1 else ''} ({names})"
        _print(_wrapped([valid]))
    return exit_code_of(errors)


def _rule_of_the_end(plan: Plan, draft: Draft) -> str:
    """Say which services end the container, and when."""
    services = plan.services.values()
    always = [each.service for each in services if each.essential and each.ends_on_success]
    by_failure = [each.service for each in services if each.essential and not each.ends_on_success]
    cases = [f"{_named(always)} ends ({'essential=true' if draft.stays else 'essential: true'})"] if always else []
    cases += [f"{_named(by_failure)} fails"] if by_failure else []
    if plan.stays and not cases:
        return "the container ends on request only, as with supervisord"
    cases += [] if plan.stays else ["all have ended"]
    return f"the container ends when {', when '.join(cases)}, or on request"


def _named(instances: list[str]) -> str:
    names = list(dict.fromkeys(instances))
    shown = names[:_SHARES_SHOWN]
    if len(names) > len(shown):
        return f"one of {', '.join(shown)}, …"
    return f"one of {', '.join(names)}" if len(names) > 1 else names[0]


def _divided_total(plan: Plan, draft: Draft) -> list[str]:
    """Say how services that stop one after the other share the total, if their grace periods do not fit into it."""
    needed, shortened = divided(plan)
    if not shortened:
        return []
    total = format_duration(plan.stop_grace_seconds)
    text = (
        f"{draft.where}: services that stop one after the other may take {format_duration(needed)}, and the total is "
        f"{total}: if each uses its time, they have {_with_times(shortened)} (raise x-cohabit: "
        "stop_grace_period, and the time of `docker stop -t`)"
    )
    return [text]


def _times_of_hooks(plan: Plan, draft: Draft) -> list[str]:
    """Say how long hooks may take, while the container stops and each service uses its time."""
    whole = shares(plan)
    until_kill = {name: hooks_part(each) if plan.services[name].post_stop else each for name, each in whole.items()}
    before = {name: hooks_part(each) for name, each in until_kill.items() if plan.services[name].pre_stop}
    after = {name: whole[name] - each for name, each in until_kill.items() if plan.services[name].post_stop}
    notes = [f"pre_stop hooks have {_with_times(before)}, then the stop signal is sent"] if before else []
    notes += [f"post_stop hooks have at least {_with_times(after)}: SIGKILL is sent that much earlier"] if after else []
    return [f"{draft.where}: {note}" for note in notes]


def _with_times(times: dict[str, float]) -> str:
    shown = [f"{name} {format_duration(seconds)}" for name, seconds in times.items()]
    return ", ".join(shown[:_SHARES_SHOWN]) + (", …" if len(shown) > _SHARES_SHOWN else "")


def _config(plan: Plan | None, draft: Draft, errors: list[Diagnostic], warnings: list[Diagnostic]) -> int:
    if plan is None:
        _print(_texts([*errors, *warnings]))
    else:
        notes = import_module(_FROM_SUPERVISORD).as_compose(plan)[1] if draft.stays else []
        _print([f"# {text}" for text in (*_texts(warnings), *notes)])
        _print([import_module(_DUMP).dump(_shown(plan, draft)).removesuffix("\n")])
    return exit_code_of(errors)


def _show(question: str, plan: Plan | None, draft: Draft, *, as_json: bool) -> int:
    """Answer `config --QUESTION`: services, profiles, nothing, "hash NAMES", or a question about variables."""
    name, _, wanted = question.partition(" ")
    queries = import_module(_QUERIES)
    lines: list[str] = []
    if plan is not None and name == "services":
        lines = queries.services(plan)
    elif name == "profiles":
        lines = queries.profiles(draft)
    elif plan is not None and name == "hash":
        try:
            lines = queries.hashes(_shown(plan, draft), wanted)
        except queries.UnknownServiceError as error:
            return _fail(str(error), EXIT_USAGE)
    elif name in _ABOUT_VARIABLES:
        content = _masked(queries.about_variables(name, plan, draft), _hidden(draft))
        text = import_module("json").dumps(content) if as_json else queries.as_text(name, content)
        lines = [text.removesuffix("\n")]
    _print(lines)
    return 0


def _redirect(path: str) -> None:
    """Write the output to this file; only without errors, so that they do not replace it. Raises OSError."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    os.dup2(fd, 1)
    os.close(fd)


def _fail(text: str, code: int) -> int:
    sys.stderr.write(f"cohabit: {text}\n")
    return code


def _shown(plan: Plan, draft: Draft) -> dict[str, Any]:
    """The content of the file that `config` prints."""
    if draft.stays:
        plan = import_module(_FROM_SUPERVISORD).as_compose(plan)[0]
    hidden = [form for text in _hidden(draft) for form in dict.fromkeys((text, text.replace("$", "$$")))]
    users = {name: item.user for name, item in draft.services.items()}
    shown: dict[str, Any] = _masked(import_module(_WRITER).plan_to_compose(plan, users), hidden)
    return shown


def _masked(value: Any, hidden: list[str]) -> Any:
    """A plain value without the texts of secrets."""
    if isinstance(value, dict):
        return {_masked(key, hidden): _masked(item, hidden) for key, item in value.items()}
    if isinstance(value, list):
        return [_masked(item, hidden) for item in value]
    text = _mask(str(value), hidden)
    return value if text == str(value) else text


def _json(command: str, plan: Plan | None, draft: Draft, errors: list[Diagnostic], warnings: list[Diagnostic]) -> int:
    """JSON: the configuration for `config`, otherwise the diagnostics."""
    code = exit_code_of(errors)
    found: dict[str, Any] = {"problems": _texts(errors), "warnings": _texts(warnings), "exit_code": code}
    if command == "config" and plan is not None:
        found = _shown(plan, draft)  # JSON is YAML, so the output is again a valid file
    _print([import_module("json").dumps(found)])
    return code


def _texts(diagnostics: list[Diagnostic]) -> list[str]:
    """One line for each of the first 100 diagnostics, and a line with the number of the others."""
    rest = len(diagnostics) - _MOST_SHOWN
    return [*map(str, diagnostics[:_MOST_SHOWN]), *([f"and {rest} more"] if rest > 0 else [])]


def _wrapped(lines: list[str]) -> list[str]:
    """The lines, wrapped at words if standard output is a terminal."""
    if not os.isatty(1):
        return lines
    text: str = import_module(_TERMINAL).wrapped("".join(f"{line}\n" for line in lines), 1)
    return text.splitlines()


def _print(lines: list[str]) -> None:
    """Write lines to standard output; bytes that are not UTF-8 pass through unchanged."""
    text = "".join(f"{line}\n" for line in lines)
    sys.stdout.buffer.write(text.encode("utf-8", "surrogateescape"))


def _in_order(diagnostics: Any) -> list[Diagnostic]:
    """Sorted by line within each file; files in the order of their first diagnostic."""
    found: dict[str, list[Diagnostic]] = {}
    for diagnostic in diagnostics:
        found.setdefault(diagnostic.where.file, []).append(diagnostic)
    return [diagnostic for group in found.values() for diagnostic in sorted(group, key=lambda one: one.where.line)]


_COMMANDS = {"plan": _plan, "check": _check, "config": _config, "convert": _config}

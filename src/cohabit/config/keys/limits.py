"""A service's ulimits, nice, umask, oom_score_adj and capabilities -> plan.model.Limits, as numbers.

As in Compose, a capability in cap_add is exempt from cap_drop, and gives nothing to a user other than root: that needs
ambient_capabilities. permission_checks.py checks whether the machine permits the limits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cohabit.config.keys.resources import Limit, UlimitKeys
from cohabit.config.values.kernel_names import ALL, CAPABILITIES, ULIMITS, capability_name, every_capability
from cohabit.nearest import did_you_mean
from cohabit.plan.model import Limits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cohabit.config.keys.fields import ServiceKeys

_NO_NEW_PRIVILEGES = "no-new-privileges"


def read_limits(keys: ServiceKeys, report: Callable[[str, str], None]) -> Limits:
    """The Limits of a service. report(key, text) receives each error."""
    dropped = _dropped(keys, report)
    return Limits(
        ulimits=_ulimits(keys.ulimits or {}, lambda text: report("ulimits", text)),
        oom_score_adj=None if keys.oom_score_adj is None else int(keys.oom_score_adj),
        nice=None if keys.nice is None else int(keys.nice),
        umask=None if keys.umask is None else int(keys.umask),
        cap_drop=dropped,
        ambient=_ambient(keys.ambient_capabilities or (), dropped, lambda text: report("ambient_capabilities", text)),
        no_new_privileges=_no_new_privileges(keys.security_opt or (), lambda text: report("security_opt", text)),
    )


def _ulimits(written: dict[str, str | UlimitKeys], report: Callable[[str], None]) -> tuple[tuple[int, int, int], ...]:
    found = []
    for name, value in written.items():
        number = ULIMITS.get(name)
        if number is None:
            hint = did_you_mean(name, ULIMITS) or f" (known: {', '.join(sorted(ULIMITS))})"
            report(f"unknown limit {name[:40]!r}{hint}")
            continue
        try:
            soft, hard = (value.soft, value.hard) if isinstance(value, UlimitKeys) else (Limit.parse(value),) * 2
        except ValueError as error:
            report(f"{name}: {error}")
            continue
        if (hard != -1 and soft > hard) or (soft == -1 and hard != -1):
            report(f"{name}: the soft limit {soft} is above the hard limit {hard} (lower it)")
        found.append((number, int(soft), int(hard)))
    return tuple(found)


def _dropped(keys: ServiceKeys, report: Callable[[str, str], None]) -> tuple[int, ...]:
    """The capabilities that Docker would drop: cap_add exempts a name; ALL in cap_add cancels ALL in cap_drop."""
    if not keys.cap_drop:
        return ()
    every_drop, named = _capabilities(keys.cap_drop, lambda text: report("cap_drop", text))
    every_add, added = _capabilities(keys.cap_add or (), lambda text: report("cap_add", text))
    if every_add:
        return tuple(sorted(named))
    return tuple(sorted((named | set(every_capability() if every_drop else ())) - added))


def _ambient(
    written: Iterable[str], dropped: Iterable[int], report: Callable[[str], None]
) -> tuple[tuple[str, int], ...]:
    """Each one by its name: a service gets nothing that the file does not name."""
    every, numbers = _capabilities(written, report)
    if every:
        report(f"{ALL} is not possible (name each capability)")
    for number in sorted(numbers.intersection(dropped)):
        report(f"{capability_name(number)} is removed by cap_drop (name it in cap_add, too)")
    return tuple((capability_name(number), number) for number in sorted(numbers))


def _capabilities(written: Iterable[str], report: Callable[[str], None]) -> tuple[bool, set[int]]:
    """Whether ALL is among the names, and the numbers of the others. CAP_ is optional, case is ignored."""
    names = [text.upper().removeprefix("CAP_") for text in written]
    for name in names:
        if name != ALL and name not in CAPABILITIES:
            hint = did_you_mean(name, (*CAPABILITIES, ALL)) or " (see capabilities(7))"
            report(f"unknown capability {name[:40]!r}{hint}")
    return ALL in names, {CAPABILITIES.index(name) for name in names if name in CAPABILITIES}


def _no_new_privileges(written: Iterable[str], report: Callable[[str], None]) -> bool:
    """Whether no-new-privileges is set. The other options (seccomp, apparmor, label) are for the engine."""
    wanted = False
    for text in written:
        name, _, value = text.replace("=", ":", 1).partition(":")
        if name == _NO_NEW_PRIVILEGES:
            if value not in ("", "true", "false"):
                report(f"{_NO_NEW_PRIVILEGES} must be true or false, got {value[:40]!r}")
            wanted = value != "false"
        elif "no" in name.lower() and did_you_mean(name, (_NO_NEW_PRIVILEGES,)):
            report(f"unknown option {name[:40]!r}{did_you_mean(name, (_NO_NEW_PRIVILEGES,))}")
    return wanted

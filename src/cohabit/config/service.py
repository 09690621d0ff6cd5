"""One service: keys of the field table -> plan.model.Service, as Compose means them.

Each function reads one key; what it cannot make sense of becomes a problem, and a default stands in so that
reading goes on.
"""

from __future__ import annotations

import math
import re
import shlex
from typing import TYPE_CHECKING

from cohabit.config.address import http_probe, tcp_probe
from cohabit.plan.draft import UNREADABLE, DraftService, Where
from cohabit.plan.model import SIGTERM, STOP_GRACE_SECONDS, Dependency, Probe, Restart, Service
from cohabit.plan.nearest import did_you_mean

if TYPE_CHECKING:
    from cohabit.config.convert import Converter
    from cohabit.config.fields import HealthcheckKeys, ServiceKeys, Words
    from cohabit.config.node import Node
    from cohabit.plan.model import Identity

_DRIVERS = ("prefix", "raw")
_RESTART_CONDITIONS = {"none": "no", "on-failure": "on-failure", "any": "always"}
_PROBES = {"TCP": tcp_probe, "HTTP": http_probe}
_PROBES_LATER = ("CMD", "CMD-SHELL", "UNIX", "LOG", "NOTIFY", "FD")
_SHORTEST_PROBE_SECONDS = 0.001  # Docker's, too
_PROFILE_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")
_SHELL_WORDS = frozenset({"&&", "||", "|", ";", "&", ">", ">>", "<", "2>&1", "2>"})


class ServiceReader:
    """Reads one service; `path` is how messages name it."""

    def __init__(self, name: str, keys: ServiceKeys, node: Node, converter: Converter) -> None:
        self.name = name
        self.keys = keys
        self.path = f"services.{name}"
        self.written: dict[str, Node] = node.value if isinstance(node.value, dict) else {}
        self.line = node.line
        self.converter = converter

    def read(self, environment: dict[str, str | None], user: Identity | None) -> DraftService:
        """The whole service."""
        keys = self.keys
        service = Service(
            name=self.name,
            command=self._command(),
            environment=environment,
            working_dir=keys.working_dir or None,
            user=user,
            depends_on=self._depends_on(),
            restart=self._restart(),
            stop_signal=SIGTERM if keys.stop_signal is None else int(keys.stop_signal),
            stop_grace_seconds=STOP_GRACE_SECONDS if keys.stop_grace_period is None else float(keys.stop_grace_period),
            probe=self._probe(),
            driver=self._driver(),
        )
        where = Where(self.converter.file, self.line)
        return DraftService(service, where, self._places(), self._profiles(), keys.essential)

    def problem(self, key: str, text: str, *, warning: bool = False) -> None:
        """Note what is wrong with a key of this service; "healthcheck.test" is one in another."""
        line, level = self.line, self.written
        for part in key.split("."):
            if part in level:
                line, inner = level[part].line, level[part].value
                level = inner if isinstance(inner, dict) else {}
        self.converter.problem(line, f"{self.path}.{key}: {text}", warning=warning)

    def _places(self) -> dict[str, Where]:
        """Where each key stands, and each entry of depends_on."""
        lines = {key: node.line for key, node in self.written.items()}
        entries = self.written["depends_on"].value if "depends_on" in self.written else None
        if isinstance(entries, dict):
            lines.update({f"depends_on.{name}": node.line for name, node in entries.items()})
        elif isinstance(entries, list):
            lines.update({f"depends_on.{node.text}": node.line for node in entries})
        return {key: Where(self.converter.file, line) for key, line in lines.items()}

    def _command(self) -> tuple[str, ...]:
        words = self._words("entrypoint", self.keys.entrypoint) + self._words("command", self.keys.command)
        failed = any(
            key in self.written and self.written[key].value is not None and getattr(self.keys, key) is None
            for key in ("command", "entrypoint")
        )
        if not words and not failed:
            what = "command is empty" if "command" in self.written else "there is no command"
            text = f'{self.path}: {what} (write command: ["program", "argument"]; an image\'s own is not known here)'
            self.converter.problem(self.line, text)
        elif words and not words[0]:
            self.problem("command" if "command" in self.written else "entrypoint", "the program's name is empty")
        return tuple(words)

    def _words(self, key: str, written: Words | None) -> list[str]:
        """Words of a list as they are, of a string as Compose splits it: quotes count, no shell."""
        if not isinstance(written, str):
            return written or []
        try:
            words = shlex.split(written)
        except ValueError:
            self.problem(key, f"a quote is never closed in {written[:60]!r}")
            return [UNREADABLE]
        for word in words:
            if word in _SHELL_WORDS:
                text = f'{word!r} is passed as an argument: no shell reads this (write ["sh", "-c", "…"])'
                self.problem(key, text, warning=True)
        return words

    def _depends_on(self) -> tuple[Dependency, ...]:
        written = self.keys.depends_on
        if isinstance(written, dict):
            return tuple(Dependency(name, entry.condition, entry.required) for name, entry in written.items())
        return tuple(Dependency(name) for name in dict.fromkeys(written or ()))

    def _restart(self) -> Restart:
        policy = self.keys.deploy.restart_policy if self.keys.deploy else None
        if policy:
            # As for swarm, a window of 0 is none at all: no run ever forgives those before it.
            window = {} if policy.window is None else {"window_seconds": float(policy.window) or math.inf}
            return Restart(
                condition=_RESTART_CONDITIONS[policy.condition],
                attempts=None if not policy.max_attempts else int(policy.max_attempts),
                delay_seconds=None if policy.delay is None else float(policy.delay),
                **window,
            )
        word = self.keys.restart
        if word is None:
            return Restart()
        return Restart("always" if word == "unless-stopped" else str(word), word.attempts)

    def _probe(self) -> Probe | None:
        check = self.keys.healthcheck
        if check is None or check.disable or check.test is None:
            return None
        words = ["CMD-SHELL", check.test] if isinstance(check.test, str) else check.test
        kind = "NONE" if check.test == "NONE" else words[0] if words else ""
        if kind == "NONE":
            return None
        if kind in _PROBES_LATER:
            self.problem("healthcheck.test", f"{kind} is not acted on yet", warning=True)
            return None
        if kind not in _PROBES:
            kinds = ("NONE", *_PROBES, *_PROBES_LATER)
            text = f"begins with {kind[:40]!r}, not with {', '.join(kinds[:4])} or {kinds[4]}"
            self.problem("healthcheck.test", text + did_you_mean(kind, kinds))
            return None
        return self._timed(check, kind, words)

    def _timed(self, check: HealthcheckKeys, kind: str, words: list[str]) -> Probe | None:
        if len(words) != 2:  # noqa: PLR2004 - the kind and its address
            self.problem("healthcheck.test", f"{kind} takes one address, got {len(words) - 1}")
            return None
        try:
            probe = _PROBES[kind](words[1])
        except ValueError as error:
            self.problem("healthcheck.test", str(error))
            return None
        for key, ours in (("timeout", "timeout_seconds"), ("start_interval", "start_interval_seconds")):
            seconds = getattr(check, key)
            if seconds is not None and seconds < _SHORTEST_PROBE_SECONDS:
                self.problem(f"healthcheck.{key}", "must be at least 1ms")
            elif seconds is not None:
                probe = probe.replace(**{ours: float(seconds)})
        return probe

    def _driver(self) -> str:
        driver = self.keys.logging.driver if self.keys.logging else None
        if driver is None or driver in _DRIVERS:
            return driver or _DRIVERS[0]
        text = f"the driver {driver[:40]!r} is not acted on: lines go to the container's output with a prefix"
        self.problem("logging.driver", text + did_you_mean(driver, _DRIVERS), warning=True)
        return _DRIVERS[0]

    def _profiles(self) -> tuple[str, ...]:
        for name in self.keys.profiles or ():
            if not _PROFILE_NAME.fullmatch(name):
                self.problem("profiles", f"{name[:40]!r} can be no profile's name (letters, digits, . _ -)")
        return tuple(self.keys.profiles or ())

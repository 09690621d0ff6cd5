"""One service: keys of the field table -> plan.model.Service, as Compose means them.

Each function reads one key; what it cannot make sense of becomes a problem, and a default stands in so that
reading goes on.
"""

from __future__ import annotations

import math
import re
from importlib import import_module
from typing import TYPE_CHECKING, Any

from cohabit.config.keys.healthcheck import read_probe
from cohabit.config.keys.limits import read_limits
from cohabit.config.keys.sockets import read_sockets
from cohabit.config.values.user import with_groups
from cohabit.config.values.words import command_words
from cohabit.plan.draft import UNREADABLE, DraftService, SourceLocation
from cohabit.plan.model import (
    POST_START,
    PRE_START,
    PRE_STOP,
    SIGTERM,
    STOP_GRACE_SECONDS,
    Dependency,
    Restart,
    Service,
)

if TYPE_CHECKING:
    from cohabit.config.keys.convert import Converter
    from cohabit.config.keys.fields import ServiceKeys, Words
    from cohabit.config.keys.hooks import HookReader
    from cohabit.config.keys.logging import LoggingReader
    from cohabit.config.keys.secrets import SecretReader
    from cohabit.config.text.node import Node
    from cohabit.config.values.user import Users
    from cohabit.plan.model import Schedule

_RESTART_CONDITIONS = {"none": "no", "on-failure": "on-failure", "any": "always"}
_SCHEDULE = "cohabit.config.keys.schedule"
_PROFILE_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")


class ServiceReader:
    """Reads one service; `path` is how messages name it."""

    def __init__(self, name: str, keys: ServiceKeys, node: Node, converter: Converter) -> None:
        self.name = name
        self.keys = keys
        self.path = f"services.{name}"
        self.written: dict[str, Node] = node.value if isinstance(node.value, dict) else {}
        self.line = node.line
        self.converter = converter

    def read(
        self,
        environment: dict[str, str | None],
        users: Users,
        hooks: HookReader,
        secrets: SecretReader,
        outputs: LoggingReader,
    ) -> DraftService:
        """The whole service."""
        keys = self.keys
        service = Service(
            name=self.name,
            command=self._command(),
            environment=environment,
            working_dir=keys.working_dir or None,
            user=with_groups(
                users.find(keys.user, lambda text: self.problem("user", text)),
                keys.group_add or [],
                lambda text: self.problem("group_add", text),
            ),
            depends_on=self._depends_on(),
            restart=self._restart(),
            stop_signal=SIGTERM if keys.stop_signal is None else int(keys.stop_signal),
            stop_grace_seconds=STOP_GRACE_SECONDS if keys.stop_grace_period is None else float(keys.stop_grace_period),
            probe=read_probe(keys.healthcheck, lambda key, text: self.problem(f"healthcheck.{key}", text)),
            **self._logging(outputs),
            schedule=self._schedule(),
            limits=read_limits(keys, self.problem),
            sockets=read_sockets(keys.sockets or (), self.name, lambda text: self.problem("sockets", text)),
            pid_file=self._pid_file(),
            tty=bool(keys.tty),
            stdin=bool(keys.stdin_open),
            pre_start=hooks.read(keys.pre_start, self.written.get(PRE_START), f"{self.path}.{PRE_START}"),
            post_start=hooks.read(keys.post_start, self.written.get(POST_START), f"{self.path}.{POST_START}"),
            pre_stop=hooks.read(keys.pre_stop, self.written.get(PRE_STOP), f"{self.path}.{PRE_STOP}"),
            secrets=secrets.grants("secrets", keys.secrets, lambda text: self.problem("secrets", text)),
            configs=secrets.grants("configs", keys.configs, lambda text: self.problem("configs", text)),
        )
        where = SourceLocation(self.converter.file, self.line)
        return DraftService(service, where, self._places(), self._profiles(), keys.essential, self._replicas())

    def problem(self, key: str, text: str, *, warning: bool = False) -> None:
        """Note what is wrong with a key of this service; "healthcheck.test" is one in another."""
        line, level = self.line, self.written
        for part in key.split("."):
            if part in level:
                line, inner = level[part].line, level[part].value
                level = inner if isinstance(inner, dict) else {}
        self.converter.problem(line, f"{self.path}.{key}: {text}", warning=warning)

    def _places(self) -> dict[str, SourceLocation]:
        """Where each key stands, and each entry of depends_on."""
        lines = {key: node.line for key, node in self.written.items()}
        entries = self.written["depends_on"].value if "depends_on" in self.written else None
        if isinstance(entries, dict):
            lines.update({f"depends_on.{name}": node.line for name, node in entries.items()})
        elif isinstance(entries, list):
            lines.update({f"depends_on.{node.text}": node.line for node in entries})
        return {key: SourceLocation(self.converter.file, line) for key, line in lines.items()}

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
        words = command_words(written, lambda text, *, warning=False: self.problem(key, text, warning=warning))
        return [UNREADABLE] if words is None else words

    def _depends_on(self) -> tuple[Dependency, ...]:
        written = self.keys.depends_on
        if isinstance(written, dict):
            return tuple(
                Dependency(name, entry.condition, entry.required, entry.restart) for name, entry in written.items()
            )
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

    def _schedule(self) -> Schedule | None:
        written = self.keys.schedule
        if written is None:
            return None
        cron, zone = (written, "") if isinstance(written, str) else (written.cron, written.timezone or "")
        try:  # by name: who has no schedule need not wait for cronsim
            found: Schedule = import_module(_SCHEDULE).read_schedule(cron, zone)
        except ValueError as error:
            self.problem("schedule", str(error))
            return None
        if self._restart().condition == "always":
            self.problem("schedule", "it starts when its time comes, and not again whenever it ends (restart: no)")
        return found

    def _replicas(self) -> int | None:
        """How many instances; None if nobody said."""
        scale, replicas = self.keys.scale, self.keys.deploy.replicas if self.keys.deploy else None
        if scale is not None and replicas is not None and scale != replicas:
            self.problem("scale", f"is {scale}, but deploy.replicas is {replicas} (write one of them)")
        return scale if replicas is None else replicas

    def _pid_file(self) -> str:
        path = self.keys.pid_file or ""
        if path and not path.startswith("/"):
            self.problem("pid_file", f"a whole path is needed, beginning with /, got {path[:60]!r}")
        return path

    def _logging(self, outputs: LoggingReader) -> dict[str, Any]:
        """Where its output goes: fields of Service."""
        keys = self.keys
        entries, pattern = outputs.read(keys.logging, f"{self.path}.logging")
        if keys.tty and entries != outputs.entries and not (keys.pre_start or keys.post_start or keys.pre_stop):
            text = "is not acted on: what it writes goes to the container's terminal (remove it, or tty)"
            self.problem("logging", text, warning=True)
        return {"logging": entries, "multiline_pattern": pattern}

    def _profiles(self) -> tuple[str, ...]:
        for name in self.keys.profiles or ():
            if not _PROFILE_NAME.fullmatch(name):
                self.problem("profiles", f"{name[:40]!r} can be no profile's name (letters, digits, . _ -)")
        return tuple(self.keys.profiles or ())

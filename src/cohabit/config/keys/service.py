"""One service: its keys -> plan.model.Service, with Compose's meaning.

Each method reads one key. An invalid value is reported and replaced by a default, and reading continues.
"""

from __future__ import annotations

import math
from importlib import import_module
from typing import TYPE_CHECKING, Any

from cohabit.config.keys.conditions import read_conditions
from cohabit.config.keys.healthcheck import read_probe
from cohabit.config.keys.implied import implied_dependencies
from cohabit.config.keys.limits import read_limits
from cohabit.config.keys.sockets import read_sockets
from cohabit.config.values.command_text import split_command
from cohabit.config.values.interpolate import names
from cohabit.config.values.user import with_groups
from cohabit.lazy_pattern import lazy_pattern
from cohabit.plan.draft import UNREADABLE, DraftService, located
from cohabit.plan.model import (
    MIXED,
    POST_START,
    POST_STOP,
    PRE_START,
    PRE_STOP,
    SIGTERM,
    STOP_GRACE_SECONDS,
    Dependency,
    LogFile,
    Restart,
    Service,
)
from cohabit.plan.node import line_of

if TYPE_CHECKING:
    from cohabit.config.keys.convert import Converter
    from cohabit.config.keys.fields import CommandText, ServiceKeys
    from cohabit.config.keys.hooks import HookReader
    from cohabit.config.keys.logging import LoggingReader
    from cohabit.config.keys.secrets import SecretReader
    from cohabit.config.values.user import Users
    from cohabit.plan.model import Schedule
    from cohabit.plan.node import Node

# Those of deploy, and those of `restart`, which Compose accepts there, too.
_RESTART_CONDITIONS = {
    **dict.fromkeys(("none", "no"), "no"),
    **dict.fromkeys(("any", "always", "unless-stopped"), "always"),
    "on-failure": "on-failure",
}
_SCHEDULE = "cohabit.config.keys.schedule"
_PROFILE_NAME = lazy_pattern(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")


class ServiceReader:
    """Reads one service. path: its name in messages."""

    def __init__(self, name: str, keys: ServiceKeys, node: Node, converter: Converter) -> None:
        self.name = name
        self.keys = keys
        self.path = f"services.{name}"
        self.written: dict[str, Node] = node.value if isinstance(node.value, dict) else {}
        self.line = node.line
        self.converter = converter
        self.implied: dict[str, str] = {}

    def read(
        self,
        environment: dict[str, str | None],
        users: Users,
        hooks: HookReader,
        secrets: SecretReader,
        outputs: LoggingReader,
    ) -> DraftService:
        """The service with everything that the file says about it."""
        keys = self.keys
        service = Service(
            name=self.name,
            command=self._command(),
            environment=environment,
            working_dir=keys.working_dir or None,
            user=with_groups(
                users.find(keys.user, lambda text: self.report("user", text)),
                keys.group_add or [],
                lambda text: self.report("group_add", text),
            ),
            depends_on=self._depends_on(),
            conditions=read_conditions(keys.conditions, lambda key, text: self.report(f"conditions.{key}", text)),
            restart=self._restart(),
            stop_signal=SIGTERM if keys.stop_signal is None else int(keys.stop_signal),
            stop_grace_seconds=STOP_GRACE_SECONDS if keys.stop_grace_period is None else float(keys.stop_grace_period),
            probe=read_probe(
                keys.healthcheck,
                lambda key, text, *, warning=False: self.report(f"healthcheck.{key}", text, warning=warning),
            ),
            **self._logging(outputs),
            schedule=self._schedule(),
            limits=read_limits(keys, self.report),
            sockets=read_sockets(keys.sockets or (), self.name, lambda text: self.report("sockets", text)),
            pid_file=self._absolute("pid_file", keys.pid_file or ""),
            stale_files=tuple(self._absolute("remove_before_start", path) for path in keys.remove_before_start or ()),
            kill_mode=keys.kill_mode or MIXED,
            setsid=keys.setsid is not False,
            autostart=keys.autostart is not False,
            tty=bool(keys.tty),
            stdin=bool(keys.stdin_open),
            pre_start=hooks.read(keys.pre_start, self.written.get(PRE_START), f"{self.path}.{PRE_START}"),
            post_start=hooks.read(keys.post_start, self.written.get(POST_START), f"{self.path}.{POST_START}"),
            pre_stop=hooks.read(keys.pre_stop, self.written.get(PRE_STOP), f"{self.path}.{PRE_STOP}"),
            post_stop=hooks.read(keys.post_stop, self.written.get(POST_STOP), f"{self.path}.{POST_STOP}"),
            secrets=secrets.mounts("secrets", keys.secrets, lambda text: self.report("secrets", text)),
            configs=secrets.mounts("configs", keys.configs, lambda text: self.report("configs", text)),
        )
        location = located(self.converter.file, self.line)
        return DraftService(
            service,
            location,
            self.written,
            profiles=self._profiles(),
            essential=keys.essential,
            replicas=self._replicas(),
            path_variables=tuple(keys.path_variables or ()),
            user=keys.user or "",
            implied=self.implied,
        )

    def report(self, key: str, text: str, *, warning: bool = False) -> None:
        """Add a diagnostic for a key of this service, such as "healthcheck.test"."""
        if not warning:
            self.converter.mark_unread(f"{self.path}.{key}")
        line = line_of(self.written, key) or self.line
        self.converter.report(line, f"{self.path}.{key}: {text}", warning=warning)

    def _command(self) -> tuple[str, ...]:
        arguments = self._arguments("entrypoint", self.keys.entrypoint) + self._arguments("command", self.keys.command)
        failed = any(self.converter.is_unread(f"{self.path}.{key}") for key in ("command", "entrypoint"))
        if not arguments and not failed:
            what = "command is empty" if "command" in self.written else "no command"
            image = self.written.get("image")
            name = image.text if image and image.text and "$" not in image.text else "IMAGE"
            shown = f"docker inspect -f '{{{{json .Config.Entrypoint}}}} {{{{json .Config.Cmd}}}}' {name}"
            text = f'{self.path}: {what} (write command: ["program", "argument"]; the image\'s own: {shown})'
            self.converter.report(self.line, text)
        elif arguments and not arguments[0]:
            self.report("command" if "command" in self.written else "entrypoint", "the program name is empty")
        return tuple(arguments) or ((UNREADABLE,) if failed else ())

    def _arguments(self, key: str, written: CommandText | None) -> list[str]:
        found = names(self.written[key].text) if key in self.written else []
        hint = (
            f" (after interpolation of {', '.join(found)}: write a list, one item for each argument)" if found else ""
        )
        arguments = split_command(
            written, lambda text, *, warning=False: self.report(key, text if warning else text + hint, warning=warning)
        )
        return [UNREADABLE] if arguments is None else arguments

    def _depends_on(self) -> tuple[Dependency, ...]:
        written = self.keys.depends_on
        if isinstance(written, dict):
            found = {
                name: Dependency(name, entry.condition, entry.required, entry.restart)
                for name, entry in written.items()
            }
        else:
            found = {name: Dependency(name) for name in written or ()}
        for key, dependency in implied_dependencies(self.written, self.converter, self.path):
            if dependency.service not in found:
                found[dependency.service] = dependency
                self.implied[dependency.service] = key
        return tuple(found.values())

    def _restart(self) -> Restart:
        policy = self.keys.deploy.restart_policy if self.keys.deploy else None
        if policy:
            # As in swarm, a window of 0 means that the count of restarts is never reset.
            window = Restart.window_seconds if policy.window is None else float(policy.window) or math.inf
            return Restart(
                condition=_RESTART_CONDITIONS[policy.condition],
                attempts=None if not policy.max_attempts else int(policy.max_attempts),
                delay_seconds=None if policy.delay is None else float(policy.delay),
                window_seconds=window,
            )
        written = self.keys.restart
        if written is None:
            return Restart()
        return Restart("always" if written == "unless-stopped" else str(written), written.attempts)

    def _schedule(self) -> Schedule | None:
        written = self.keys.schedule
        if written is None:
            return None
        cron, zone = (written, "") if isinstance(written, str) else (written.cron, written.timezone or "")
        try:  # by name: a file without a schedule does not import cronsim
            found: Schedule = import_module(_SCHEDULE).read_schedule(cron, zone)
        except ValueError as error:
            self.report("schedule", str(error))
            return None
        if self._restart().condition == "always":
            self.report("schedule", "cannot be combined with a restart policy of always (write restart: no)")
        return found

    def _replicas(self) -> int | None:
        """The number of instances; None if it is not written."""
        scale, replicas = self.keys.scale, self.keys.deploy.replicas if self.keys.deploy else None
        if scale is not None and replicas is not None and scale != replicas:
            self.report("scale", f"{scale} differs from deploy.replicas, {replicas} (write one of them)")
        return scale if replicas is None else replicas

    def _absolute(self, key: str, path: str) -> str:
        if (path or key != "pid_file") and not path.startswith("/"):
            self.report(key, f"expected an absolute path, got {path[:60]!r}")
        return path

    def _logging(self, outputs: LoggingReader) -> dict[str, Any]:
        """The fields of Service for `logging`."""
        keys = self.keys
        entries, pattern = outputs.read(keys.logging, f"{self.path}.logging")
        return {"logging": entries, "multiline_pattern": pattern, "log_files": self._log_files()}

    def _log_files(self) -> tuple[LogFile, ...]:
        found: dict[str, LogFile] = {}
        for one in self.keys.log_files or ():
            path, stream = (one, None) if isinstance(one, str) else (one.path, one.stream)
            self._absolute("log_files", path)
            found[path] = LogFile(path, stream or "stdout")
        return tuple(found.values())

    def _profiles(self) -> tuple[str, ...]:
        for name in self.keys.profiles or ():
            if name and not _PROFILE_NAME.fullmatch(name):
                self.report("profiles", f"{name[:40]!r} is not a valid profile name (use letters, digits, . _ -)")
        return tuple(self.keys.profiles or ())

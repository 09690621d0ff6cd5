"""Our own sections of a supervisord.conf: [x-cohabit] for the container, [x-cohabit:NAME] for a program or group.

supervisord ignores sections that it does not know, so that the same file runs there, too. The values have the meaning
and the converters of the keys of a cohabit.yaml; expansions are those of supervisord. What is below a key there is
written with _ here: `healthcheck_interval`, `logging_mode`. An option that is not known is an error.
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Any

from cohabit.config.keys.convert import UNSET, Converter
from cohabit.config.keys.environment import Environment
from cohabit.config.keys.fields import ServiceKeys
from cohabit.config.keys.healthcheck import KINDS, read_probe
from cohabit.config.keys.logging import LoggingReader
from cohabit.config.readers.supervisord_own_fields import ContainerKeys, ProgramKeys
from cohabit.config.supervisord.conversions import AUTO
from cohabit.config.supervisord.services import STREAMS, namespec
from cohabit.errors import EXIT_SUPERVISORD
from cohabit.nearest import did_you_mean
from cohabit.plan.model import COMPLETED, HEALTHY, STARTED, Dependency, Logging, Probe
from cohabit.plan.node import Node
from cohabit.plan.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cohabit.config.keys.table import Keys
    from cohabit.config.supervisord.reading import Reading
    from cohabit.config.supervisord.sections import Conf, GroupSection, ProcessEntry
    from cohabit.plan.draft import Diagnostic, DraftService
    from cohabit.plan.model import Service

CONTAINER = "x-cohabit"
_SERVICE = f"{CONTAINER}:"
_IF_MISSING = "create it, or correct the path"
_VARIABLE = re.compile(r"%\(ENV_(\w+)\)")
_KNOWN = re.compile(r"\(did you mean '(\S+)'\?\)$")
_ALL_KNOWN = re.compile(r"\(known keys: .*\)$")
_CONDITION = re.compile(r"(.+?):(?:\s+|(?=service_))(\S+)", re.DOTALL)
# Keys that are maps in a cohabit.yaml, each with what is written without a suffix here.
_MAPS = {"healthcheck": "test", "logging": "driver"}


class ContainerOptions(Record):
    """[x-cohabit]. stop_grace_seconds, logging: None if not written."""

    exit_when_all_ended: bool = False
    stop_grace_seconds: float | None = None
    logging: tuple[Logging, ...] | None = None


class ProgramOptions(Record):
    """[x-cohabit:NAME], or two of them together. What is not written is None, or empty.

    depends_on: by the name that is written, the entries without the name of a service. environment: of env_file.
    written: its options with their lines.
    """

    essential: bool | None = None
    depends_on: dict[str, Dependency] = {}  # noqa: RUF012 - each record gets a copy
    environment: dict[str, str | None] = {}  # noqa: RUF012 - same
    secret_files: bool | None = None
    probe: Probe | None = None
    logging: tuple[Logging, ...] | None = None
    multiline_pattern: str = ""
    written: dict[str, Node] = {}  # noqa: RUF012 - same

    def over(self, other: ProgramOptions) -> ProgramOptions:
        """These options, and those of another section where these are not written."""
        missing = {name: getattr(other, name) for name in self._fields if getattr(self, name) in (None, {}, "")}
        return self.replace(**{**missing, "written": {**other.written, **self.written}})


class OwnSections:
    """All sections of our own. Their problems are added to those of the reading by report_all()."""

    def __init__(self, reading: Reading, conf: Conf, environ: Mapping[str, str]) -> None:
        self._reading = reading
        self._problems: list[Diagnostic] = []
        self.converter = Converter(reading.name, environ.get, self._problems)
        self._outputs = LoggingReader(self.converter)
        self._environ = environ
        self._environment: Environment | None = None
        self.container = self._read_container()
        programs = {entry.section.partition(":")[2] for group in conf.groups for entry in group.processes}
        self._programs = programs
        self._groups = {group.name for group in conf.groups}
        self._options = {
            section.removeprefix(_SERVICE).strip(): self._read_program(section)
            for section in reading.section_names
            if section.startswith(_SERVICE)
        }

    def of(self, group: str, section: str) -> ProgramOptions:
        """The options of the processes of a program. group: its group. section: "program:web".

        Those of the program take precedence over those of the group.
        """
        own = self._options.get(section.partition(":")[2], ProgramOptions())
        return own.over(self._options[group]) if group in self._options else own

    def report(self, options: ProgramOptions, option: str, text: str) -> None:
        """Add an error at the line of an option that is written."""
        self.converter.report(options.written[option].line, f"{option}: {text}")

    def report_all(self) -> None:
        """Hand over all problems, with the exit code of supervisord."""
        for one in dict.fromkeys(self._problems):
            more = {} if one.warning else {"text": f"Error: {one.text}", "exit_code": EXIT_SUPERVISORD}
            self._reading.problems.append(one.replace(**more))

    def _read_container(self) -> ContainerOptions:
        if CONTAINER not in self._reading.sections:
            return ContainerOptions()
        tree = self._tree(CONTAINER)
        keys = self._convert(tree, ContainerKeys, CONTAINER)
        self._outputs.read_default(keys.logging, f"[{CONTAINER}].logging")
        grace = keys.stop_grace_period
        logging = None if keys.logging is None else self._outputs.entries
        self._reword(CONTAINER)
        return ContainerOptions(keys.exit_when_all_ended, None if grace is None else float(grace), logging)

    def _read_program(self, section: str) -> ProgramOptions:
        name = section.removeprefix(_SERVICE).strip()
        known = self._programs | self._groups
        if name not in known:
            hint = did_you_mean(name, known) or " (it must be the name of a program or of a group)"
            line = self._reading.sections[section].line
            self.converter.report(line, f"[{section}]: there is no program {name!r}{hint}")
        tree = self._tree(section)
        keys = self._convert(tree, ProgramKeys, section)
        path = f"[{section}]"
        written: dict[str, Node] = tree.value if isinstance(tree.value, dict) else {}

        def report(key: str, text: str, *, warning: bool = False) -> None:
            node = written["healthcheck"]
            line = node.value[key].line if isinstance(node.value, dict) and key in node.value else node.line
            self.converter.report(line, f"{path}.healthcheck.{key}: {text}", warning=warning)

        logging, pattern = self._outputs.read(keys.logging, f"{path}.logging")
        found = ProgramOptions(
            essential=keys.essential,
            depends_on={name: Dependency("", one.condition) for name, one in (keys.depends_on or {}).items()},
            environment=self._variables(keys.env_file, tree, path),
            secret_files=keys.secret_files,
            probe=read_probe(keys.healthcheck, report),
            logging=None if keys.logging is None else logging,
            multiline_pattern=pattern,
            written=written,
        )
        self._reword(section)
        return found

    def _variables(self, files: list[str] | None, tree: Node, path: str) -> dict[str, str | None]:
        if not files:
            return {}
        if self._environment is None:
            self._environment = Environment(self._reading.here, self._environ, self._problems)
        keys = ServiceKeys(env_file=[*files])
        return self._environment.of_service(keys, tree, path, self.converter, _IF_MISSING)

    def _convert(self, tree: Node, table: type[Keys], section: str) -> Any:
        keys = self.converter.convert(tree, table, f"[{section}]")
        self.converter.take_foreign("")
        return table() if keys is UNSET else keys

    def _reword(self, section: str) -> None:
        """Name the options of a section in its messages as they are written."""
        for i, one in enumerate(self._problems):
            text = one.text.replace(f"[{section}].", f"[{section}] ", 1).replace("logging.options.", "logging.", 1)
            for key, alone in _MAPS.items():
                text = text.replace(f"] {key}.{alone}:", f"] {key}:", 1)
                if f"] {key}." in text:
                    text = text.replace(f"] {key}.", f"] {key}_", 1)
                    meant = _KNOWN.search(text)
                    if meant:
                        text = f"{text[: meant.start(1)]}{key}_{_option(meant[1])}{text[meant.end(1) :]}"
                    text = _ALL_KNOWN.sub("(docs/reference/supervisord.md lists them)", text)
            self._problems[i] = one.replace(text=text)

    def _tree(self, section: str) -> Node:
        """The options of a section as the map that a cohabit.yaml would have."""
        found: dict[str, Node] = {}
        for option in self._reading.sections[section].options:
            node = self._expanded(section, option)
            key, _, below = option.partition("_")
            if node is None:
                continue
            if key not in _MAPS:
                found[option] = _SHAPES[option](node) if option in _SHAPES else node
                continue
            inner = found.setdefault(key, Node({}, node.line)).value
            assert isinstance(inner, dict)  # noqa: S101 - it was made here
            if key == "logging" and below:
                options = inner.setdefault("options", Node({}, node.line)).value
                assert isinstance(options, dict)  # noqa: S101 - same
                options[below.replace("_", "-")] = node
            else:
                inner[below or _MAPS[key]] = node if below or key == "logging" else _test(node)
        return Node(found, self._reading.sections[section].line)

    def _expanded(self, section: str, option: str) -> Node | None:
        """An option after its expansions; its text is not interpolated a second time. None after an error."""
        options = self._reading.options(section)
        options.names["host_node_name"] = self._reading.node_name
        written = options.raw(option)
        line = self._reading.sections[section].options[option].line
        node = Node("", line)
        for name in _VARIABLE.findall(written):
            self.converter.lookup_of(node)(name)  # messages do not quote its value
        try:
            node.text = options.expanded(written, f"{section}.{option}")
        except ValueError as error:
            options.report(error, option)
            return None
        node.value = node.text.replace("$", "$$")
        return node


def with_own(item: DraftService, group: GroupSection, entry: ProcessEntry, own: OwnSections) -> DraftService:
    """A process with its options of our own, without its dependencies, and with the default of [x-cohabit] logging."""
    options = own.of(group.name, entry.section)
    service = item.service.replace(environment={**options.environment, **item.service.environment})
    if options.probe is not None:
        service = service.replace(probe=options.probe)
    if options.logging is not None:
        service = service.replace(logging=options.logging, multiline_pattern=options.multiline_pattern)
    elif own.container.logging is not None and group.pool is None:
        service = service.replace(logging=_with_default(service.logging, entry, own.container.logging))
    return item.replace(
        service=service,
        essential=bool(options.essential),
        path_variables=() if options.secret_files else item.path_variables,
        written={**item.written, **({"logging": options.written["logging"]} if "logging" in options.written else {})},
    )


def _with_default(
    logging: tuple[Logging, ...], entry: ProcessEntry, default: tuple[Logging, ...]
) -> tuple[Logging, ...]:
    """The destinations with the default for each stream without a file; NONE and syslog stay as they are."""
    streams = {"stdout": entry.stdout} if entry.redirect_stderr else {"stdout": entry.stdout, "stderr": entry.stderr}
    replaced = [stream for stream, log in streams.items() if log.logfile == AUTO or log.logfile in STREAMS]
    if not replaced:
        return logging
    stream = "" if len(replaced) == len(streams) else replaced[0]
    kept = [one for one in logging if one.driver in ("file", "syslog")]
    return (*kept, *(one.replace(stream=stream) for one in default))


def with_dependencies(services: Mapping[str, DraftService], conf: Conf, own: OwnSections) -> dict[str, DraftService]:
    """The services with depends_on, where a name is that of a process, of a program or of a group."""
    named: dict[str, list[str]] = {}
    for group in conf.groups:
        for entry in group.processes:
            named.setdefault(group.name, []).append(namespec(group.name, entry.name))
    for group in conf.groups:  # a program takes precedence over a group, and a process over both
        for program in {entry.section for entry in group.processes}:
            names = [namespec(group.name, one.name) for one in group.processes if one.section == program]
            named[program.partition(":")[2]] = names
    named |= {name: [name] for name in services}
    found = dict(services)
    for group in conf.groups:
        for entry in group.processes:
            name = namespec(group.name, entry.name)
            options = own.of(group.name, entry.section)
            if options.depends_on and name in found:
                item = found[name]
                needs = _resolved(item.service.name, options, named, services, own)
                node = options.written["depends_on"]
                places = Node({one.service: Node("", node.line) for one in needs}, node.line)
                found[name] = item.replace(
                    service=item.service.replace(depends_on=tuple(needs)),
                    written={**item.written, "depends_on": places},
                )
    return found


def _resolved(
    name: str,
    options: ProgramOptions,
    named: Mapping[str, list[str]],
    services: Mapping[str, DraftService],
    own: OwnSections,
) -> list[Dependency]:
    """The dependencies of a process, without those that cannot hold, which are reported."""
    needs: list[Dependency] = []
    for written, need in options.depends_on.items():
        if written not in named:
            hint = did_you_mean(written, named) or " (write the name of a program or of a group)"
            own.report(options, "depends_on", f"there is no program {written!r}{hint}")
        for other in named.get(written, ()):
            if why := _why_impossible(name, need.condition, services[other].service):
                own.report(options, "depends_on", why)
            else:
                needs.append(need.replace(service=other))
    return needs


def _why_impossible(name: str, condition: str, other: Service) -> str:
    """Why a dependency cannot hold; "" if it can."""
    if other.name == name:
        return f"{name} cannot depend on itself (remove it)"
    if condition == HEALTHY and other.probe is None:
        return (
            f"{name} waits for {HEALTHY}, but {other.name} has no healthcheck (add one, "
            "such as healthcheck=TCP 127.0.0.1:5432, or wait for service_started)"
        )
    if condition == COMPLETED and other.restart.condition == "always":
        return (
            f"{name} waits for {COMPLETED}, but {other.name} is always restarted (write autorestart=unexpected or "
            "false in its program)"
        )
    return ""


def _option(key: str) -> str:
    """The key of a driver as a part of the name of an option."""
    return key.replace("-", "_")


def _scalar(node: Node, text: str) -> Node:
    """A text that is a part of a Node's."""
    return Node(text, node.line, text.replace("$$", "$"))


def _parts(node: Node) -> Iterable[str]:
    """What is between commas or in lines of its own."""
    return filter(None, (part.strip() for part in re.split("[,\n]", str(node.value))))


def _list(node: Node) -> Node:
    """`a.env, b.env`."""
    return Node([_scalar(node, part) for part in _parts(node)], node.line)


def _dependencies(node: Node) -> Node:
    """`db: service_healthy, cache`: the long form of depends_on."""
    found: dict[str, Node] = {}
    for part in _parts(node):
        with_condition = _CONDITION.fullmatch(part)
        name, condition = with_condition.groups() if with_condition else (part, STARTED)
        found[name.strip()] = Node({"condition": _scalar(node, condition)}, node.line)
    return Node(found, node.line)


def _test(node: Node) -> Node:
    """`TCP 127.0.0.1:80` is a list of words; a text that does not begin with a kind of probe is for the shell."""
    text = str(node.value)
    if text.partition(" ")[0] not in (*KINDS, "NONE"):
        return node
    try:
        words = shlex.split(text)
    except ValueError:
        return node  # the shell reports it
    return Node([_scalar(node, word) for word in words], node.line)


_SHAPES = {"depends_on": _dependencies, "env_file": _list}

"""config/keys/logging.py and plan/outputs.py: `logging` of a file, valid and invalid."""

from __future__ import annotations

import marshal
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cohabit.config import foreground
from cohabit.config.system import check_machine
from cohabit.config.values.facility import facility_name, parse_facility
from cohabit.config.values.file_variables import resolve
from cohabit.config.values.size import format_size, parse_size
from cohabit.plan.build import build
from cohabit.plan.model import Logging
from cohabit.plan.record import to_plain
from unit.file_story import ENVIRON, draft, reported, reported_once, service

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("here")

FILE = Logging("file", path="/log/a")
SYSLOG = Logging("syslog", address="unix:///dev/log", format="rfc3164")


def with_default(default: str, keys: str = "") -> str:
    """A file with a default and one service with further keys."""
    return f"x-cohabit: {{logging: {default}}}\nservices:\n  web: {{command: [x]{keys and ', '}{keys}}}\n"


def build_diagnostics(text: str) -> list[str]:
    """The diagnostics of plan.build."""
    diagnostics = build(resolve(draft(text), ENVIRON))[1]
    return [str(diagnostic).removeprefix("cohabit.yaml:") for diagnostic in diagnostics]


@pytest.mark.parametrize(
    ("written", "entries"),
    [
        ("", [Logging()]),
        ("{}", [Logging()]),
        ("{driver: }", [Logging()]),
        ("{driver: '', options: {}}", [Logging()]),
        *((f"{{driver: {name}}}", [Logging(name)]) for name in ("prefix", "json", "logfmt", "raw", "inherit", "none")),
        ("{driver: none, options: {}}", [Logging("none")]),
        ("{driver: syslog}", [SYSLOG]),
        ("{driver: file, options: {path: /log/a}}", [FILE]),
        ("{driver: file, options: {path: /log/./a}}", [FILE]),
        ("{driver: file, options: {path: //log///a, max-size: , compress: null}}", [FILE]),
        ("{driver: file, options: {path: '${HOME}/a..b/..c'}}", [Logging("file", path="/root/a..b/..c")]),
        ("[{driver: json}]", [Logging("json")]),
        ("[{driver: json}, {driver: file, options: {path: /log/a}}]", [Logging("json"), FILE]),
        ("[{driver: syslog}, {driver: raw}, {driver: file, options: {path: /log/a}}]", [SYSLOG, Logging("raw"), FILE]),
        ("{options: {mode: non-blocking}}", [Logging(blocking=False)]),
        (
            "{driver: json, options: {mode: non-blocking, max-buffer-size: 4m}}",
            [Logging("json", blocking=False, buffer_bytes=4 << 20)],
        ),
        (
            "{driver: file, options: {path: /a, format: json, max-size: 10m, max-file: '3', compress: 'true'}}",
            [Logging("file", path="/a", format="json", bytes_max=10 << 20, files_max=3, compress=True)],
        ),
        (
            "{driver: file, options: {path: /a, max-size: 1048577, max-file: 3, compress: true}}",
            [Logging("file", path="/a", bytes_max=1048577, files_max=3, compress=True)],
        ),
        ("{driver: file, options: {path: /a, max-size: -1}}", [Logging("file", path="/a", bytes_max=0)]),
        ("{driver: file, options: {path: /a, max-size: '0'}}", [Logging("file", path="/a", bytes_max=0)]),
        (
            "{driver: syslog, options: {syslog-address: 'udp://10.0.0.1', syslog-facility: LOCAL7, tag: db}}",
            [Logging("syslog", format="rfc5424", address="udp://10.0.0.1:514", facility=23, tag="db")],
        ),
        (
            "{driver: syslog, options: {syslog-address: 'TCP://logs.example.org:6514/', syslog-facility: 0, tag: 5}}",
            [Logging("syslog", format="rfc5424", address="tcp://logs.example.org:6514", facility=0, tag="5")],
        ),
        (
            "{driver: syslog, options: {syslog-format: rfc5424}}",
            [Logging("syslog", format="rfc5424", address="unix:///dev/log")],
        ),
        (
            "{driver: syslog, options: {syslog-address: 'unix:///run/log', syslog-format: rfc3164}}",
            [Logging("syslog", format="rfc3164", address="unix:///run/log")],
        ),
        (
            "{driver: syslog, options: {syslog-address: 'udp://[::1]:99', syslog-facility: '13'}}",
            [Logging("syslog", format="rfc5424", address="udp://[::1]:99", facility=13)],
        ),
        (
            "{driver: syslog, options: {syslog-address: 'unixgram:///run/log.sock'}}",
            [Logging("syslog", format="rfc5424", address="unixgram:///run/log.sock")],
        ),
    ],
)
def test_entries_of_logging(written: str, entries: list[Logging]) -> None:
    """Compose's form or a list; values as strings, numbers or booleans; Docker's defaults."""
    made = service(f"logging: {written}")
    assert list(made.logging) == entries
    assert made.multiline_pattern == ""
    assert marshal.dumps(to_plain(made))


@pytest.mark.parametrize(
    ("written", "pattern"),
    [
        (r"{driver: json, options: {multiline-pattern: '^\d{4}-'}}", r"^\d{4}-"),
        ("{options: {multiline-pattern: 'x$$'}}", "x$"),
        ("[{driver: raw}, {driver: syslog, options: {multiline-pattern: a}}]", "a"),
        (
            "[{driver: raw, options: {multiline-pattern: a}}, {driver: syslog, options: {multiline-pattern: a}}]",
            "a",
        ),
    ],
)
def test_the_multiline_pattern_is_the_same_for_all_entries(written: str, pattern: str) -> None:
    """It may be in any entry and applies to all of them."""
    assert service(f"logging: {written}").multiline_pattern == pattern


@pytest.mark.parametrize("driver", ["json-file", "local"])
def test_drivers_for_files_of_the_engine_mean_the_default(driver: str) -> None:
    """json-file and local read the container's output; they and their options are ignored."""
    assert service(f"logging: {{driver: {driver}, options: {{max-size: 10q, labels: a}}}}").logging == (Logging(),)


def test_options_without_a_driver_may_be_for_the_engine() -> None:
    """A Compose file that only sets the size of the engine's files works unchanged."""
    assert service("logging: {options: {max-size: 10m, max-file: '3', tag: '{{.Name}}'}}").logging == (Logging(),)


def test_the_options_of_dockers_syslog_are_accepted() -> None:
    """A template means the default tag, the options for labels and TLS files are the engine's, micro is the default."""
    options = "tag: '{{.Name}}/{{.ID}}', labels: a, env: B, syslog-tls-skip-verify: true, syslog-format: rfc5424micro"
    (found,) = service(f"logging: {{driver: syslog, options: {{syslog-address: 'tcp://h:1', {options}}}}}").logging
    assert (found.tag, found.format, found.address) == ("", "rfc5424", "tcp://h:1")


def test_syslog_with_tls_is_the_default_output_with_a_warning() -> None:
    """Nothing is sent without the encryption that was asked for."""
    keys = "logging: {driver: syslog, options: {syslog-address: 'tcp+tls://logs:6514'}}"
    made = draft(f"services: {{web: {{command: [x], {keys}}}}}")
    assert made.services["web"].service.logging == (Logging(),)
    (problem,) = made.problems
    assert problem.warning
    assert "TLS is not supported: prefix is used instead" in problem.text


@pytest.mark.parametrize("driver", ["fluentd", "journald", "loki", "gelf", "awslogs"])
def test_another_driver_of_the_engine_is_a_warning(driver: str) -> None:
    """The default is used, and the options are ignored."""
    keys = f"logging: {{driver: {driver}, options: {{a: [1], b: '${{NONE:?}}'}}}}"
    assert service(keys, warnings=1).logging == (Logging(),)
    text = f"'{driver}' is not a driver of cohabit: prefix is used instead"
    assert reported_once(keys) == f"warning: services.web.logging.driver: {text}"


@pytest.mark.parametrize(
    ("default", "written", "entries", "pattern"),
    [
        ("{driver: json}", "", [Logging("json")], ""),
        ("{driver: json}", "logging: {}", [Logging("json")], ""),
        ("{driver: json}", "logging: {driver: local}", [Logging("json")], ""),
        ("{driver: json}", "logging: {driver: raw}", [Logging("raw")], ""),
        ("{driver: json}", "logging: [{driver: local}, {driver: syslog}]", [Logging("json"), SYSLOG], ""),
        ("{driver: json}", "logging: {options: {mode: non-blocking}}", [Logging("json", blocking=False)], ""),
        ("{driver: local}", "", [Logging()], ""),
        ("[{driver: raw}, {driver: syslog}]", "", [Logging("raw"), SYSLOG], ""),
        (
            "[{driver: raw}, {driver: syslog}]",
            "logging: {options: {mode: non-blocking}}",
            [Logging(blocking=False)],
            "",
        ),
        ("{driver: json, options: {multiline-pattern: a}}", "", [Logging("json")], "a"),
        (
            "{driver: json, options: {multiline-pattern: a}}",
            "logging: {options: {mode: blocking}}",
            [Logging("json")],
            "a",
        ),
        ("{driver: json, options: {multiline-pattern: a}}", "logging: {driver: json}", [Logging("json")], ""),
        (
            "{driver: json, options: {mode: non-blocking, max-buffer-size: 2m}}",
            "logging: {options: {max-buffer-size: 3m}}",
            [Logging("json", blocking=False, buffer_bytes=3 << 20)],
            "",
        ),
        (
            "{driver: json, options: {mode: non-blocking, max-buffer-size: 2m}}",
            "logging: {options: {mode: blocking}}",
            [Logging("json")],
            "",
        ),
        (
            "{driver: file, options: {path: /log/a}}",
            "logging: {options: {format: json}}",
            [FILE.replace(format="json")],
            "",
        ),
    ],
)
def test_the_default_in_x_cohabit(default: str, written: str, entries: list[Logging], pattern: str) -> None:
    """It applies to services without logging; options without a driver change it if it is one entry."""
    made = draft(with_default(default, written))
    assert made.problems == ()
    assert list(made.services["web"].service.logging) == entries
    assert made.services["web"].service.multiline_pattern == pattern


def test_x_cohabit_itself() -> None:
    """The default also applies to cohabit's messages; mask is off by default."""
    text = "x-cohabit: {logging: [{driver: json}, {driver: syslog}], mask: true}\nservices: {a: {command: x}}"
    plan, diagnostics = build(draft(text))
    assert diagnostics == ()
    assert plan is not None
    assert (plan.logging, plan.mask) == ((Logging("json"), SYSLOG), True)
    plan, _ = build(draft("services: {a: {command: x}}"))
    assert plan is not None
    assert (plan.logging, plan.mask) == ((Logging(),), False)


def test_a_command_in_the_foreground_has_the_default_logging() -> None:
    made, name = foreground.add(draft(with_default("{driver: json}")), ["sh"], terminal=False)
    assert made.services[name].service.logging == (Logging("json"),)


ONE = "a service has one pattern (remove this one)"
KNOWN = "(known keys: mode, max-buffer-size, multiline-pattern)"
ADDRESS = (
    "is not a syslog address (write unix:///dev/log, unixgram:///run/log.sock, udp://host:514, tcp://host:514; "
    "TLS is not supported)"
)
NO_TAG = "is not a valid tag (at most 48 ASCII characters, no spaces)"


@pytest.mark.parametrize(
    ("written", "diagnostic"),
    [
        ("raw", ": expected a map, got 'raw' (write logging: {driver: raw})"),
        ("journald", ": expected a map, got 'journald' (write logging: {driver: json})"),
        ("[raw]", "[0]: expected a map, got 'raw' (write {driver: raw})"),
        ("[{driver: syslog}, '$$x']", "[1]: expected a map, got '$$x' (write {driver: json})"),
        ("5", ": expected a map, got 5"),
        ("[null]", "[0]: expected a map, got nothing"),
        ("[]", ": the list is empty (write driver: none for no output)"),
        ("{drivr: raw}", ".drivr: unknown key (did you mean 'driver'?)"),
        ("{driver: [raw]}", ".driver: expected a string, got a list"),
        ("{driver: [file], options: {path: /a}}", ".driver: expected a string, got a list"),
        ("{driver: jsno}", ".driver: unknown driver 'jsno' (did you mean 'json'?)"),
        ("[{driver: sylog}]", "[0].driver: unknown driver 'sylog' (did you mean 'syslog'?)"),
        ("{driver: json, options: x}", ".options: expected a map, got 'x'"),
        ("{driver: json, options: [x]}", ".options: expected a map, got a list"),
        (
            "{driver: inherit, options: {mode: blocking}}",
            ".options: the driver inherit has no options: cohabit does not read the output (remove them)",
        ),
        (
            "{driver: none, options: x}",
            ".options: the driver none has no options: cohabit does not read the output (remove them)",
        ),
        (
            "[{driver: raw}, {driver: none}]",
            "[1].driver: none cannot be combined with other entries (remove it, or the others)",
        ),
        (
            "[{driver: inherit}, {driver: syslog}, {driver: json}, {driver: raw}]",
            "[0].driver: inherit cannot be combined with other entries (remove it, or the others)",
        ),
        (
            "[{driver: json}, {driver: syslog}, {driver: prefix}]",
            "[2].driver: json already writes to the container's output (remove one of them)",
        ),
        (
            "[{driver: json}, {driver: local}]",
            "[1].driver: json already writes to the container's output (remove one of them)",
        ),
        ("[{driver: syslog}, {driver: syslog}]", "[1]: unix:///dev/log is listed twice (remove one of them)"),
        (
            "[{driver: file, options: {path: /a}}, {driver: file, options: {path: //a, format: json}}]",
            "[1]: /a is listed twice (remove one of them)",
        ),
        (
            "[{driver: json, options: {multiline-pattern: a}}, {driver: syslog, options: {multiline-pattern: b}}]",
            f"[1].options: multiline-pattern differs from services.web.logging[0]: {ONE}",
        ),
        ("{driver: file}", ".options: path is missing (write path: /var/log/name.log)"),
        ("{driver: file, options: {path: }}", ".options: path is missing (write path: /var/log/name.log)"),
    ],
)
def test_an_invalid_entry_is_one_error(written: str, diagnostic: str) -> None:
    """The message has the path and advice; the same in x-cohabit."""
    assert reported_once(f"logging: {written}") == f"logging{diagnostic}"
    inside = diagnostic.replace("services.web", "x-cohabit")
    assert reported(with_default(written)) == [f"1: x-cohabit.logging{inside}"]


@pytest.mark.parametrize(
    ("driver", "options", "diagnostic"),
    [
        ("json", "path: /a", f"path: unknown key {KNOWN}"),
        ("json", "mod: blocking", "mod: unknown key (did you mean 'mode'?)"),
        ("", "path: /a", "path: unknown key (a key of your own begins with x-)"),
        (
            "syslog",
            "max-size: 1m",
            "max-size: unknown key (a key of your own begins with x-)",
        ),
        ("file", "path: /a, max-fil: 1m", "max-fil: unknown key (did you mean 'max-file'?)"),
        (
            "json",
            "mode: nonblocking",
            "mode: expected blocking or non-blocking, got 'nonblocking' (did you mean 'non-blocking'?)",
        ),
        (
            "json",
            "mode: non-blocking, max-buffer-size: 4x",
            "max-buffer-size: '4x' is not a size (write 512k, 10m, 1g or a number of bytes)",
        ),
        (
            "json",
            "mode: non-blocking, max-buffer-size: 0",
            "max-buffer-size: expected a size from 1 byte to 1g, got '0'",
        ),
        (
            "json",
            "mode: non-blocking, max-buffer-size: 2g",
            "max-buffer-size: expected a size from 1 byte to 1g, got '2g'",
        ),
        (
            "json",
            "max-buffer-size: 1m",
            "max-buffer-size: only valid with mode: non-blocking (add that, or remove max-buffer-size)",
        ),
        (
            "json",
            "multiline-pattern: 'a('",
            "multiline-pattern: 'a(' is not a regular expression: missing ), unterminated subpattern at character 2",
        ),
        ("file", "path: a.log", "path: expected an absolute path, got 'a.log'"),
        ("file", "path: /log/", "path: '/log/' is a directory (name a file in it)"),
        ("file", "path: /log/.", "path: '/log/.' is a directory (name a file in it)"),
        ("file", "path: /log/..", "path: '/log/..' contains .. (write the path without ..)"),
        ("file", "path: /log/../log/a", "path: '/log/../log/a' contains .. (write the path without ..)"),
        ("file", 'path: "/a\\0b"', "path: contains a NUL character (remove it)"),
        (
            "file",
            "path: /a, format: jsn",
            "format: expected json, logfmt, prefix or raw, got 'jsn' (did you mean 'json'?)",
        ),
        ("file", "path: /a, max-size: -2", "max-size: '-2' is not a size (write 512k, 10m, 1g or a number of bytes)"),
        (
            "file",
            "path: /a, max-size: 9999999999t",
            "max-size: '9999999999t' is larger than any file can be (write -1 for no rotation)",
        ),
        ("file", "path: /a, max-file: 0", "max-file: expected a whole number from 1 to 1000, got '0'"),
        ("file", "path: /a, compress: gzip", "compress: expected true or false, got 'gzip'"),
        ("syslog", "syslog-address: logs", f"syslog-address: 'logs' {ADDRESS}"),
        ("syslog", "syslog-address: 'udp://::1'", f"syslog-address: 'udp://::1' {ADDRESS}"),
        ("syslog", "syslog-address: 'udp://'", f"syslog-address: 'udp://' {ADDRESS}"),
        ("syslog", "syslog-address: 'udp://[::g]'", "syslog-address: '::g' in 'udp://[::g]' is not an IPv6 address"),
        (
            "syslog",
            "syslog-address: 'tcp://a:70000'",
            "syslog-address: port 70000 is out of range (write 1 to 65535)",
        ),
        (
            "syslog",
            "syslog-address: 'unix://dev/log'",
            "syslog-address: expected the absolute path of a socket, got 'dev/log'",
        ),
        (
            "syslog",
            "syslog-facility: deamon",
            "syslog-facility: unknown facility 'deamon' (did you mean 'daemon'?)",
        ),
        (
            "syslog",
            "syslog-address: 'udp://a', syslog-format: rfc3164",
            "syslog-format: rfc3164 is only valid for unix sockets, not for udp://a:514 (remove it)",
        ),
        ("syslog", "tag: 'a b'", f"tag: 'a b' {NO_TAG}"),
        ("syslog", f"tag: {'a' * 49}", f"tag: {'a' * 49!r} {NO_TAG}"),
        ("syslog", "tag: é", f"tag: 'é' {NO_TAG}"),
    ],
)
def test_an_invalid_option_is_one_error(driver: str, options: str, diagnostic: str) -> None:
    """The same error alone and in a list."""
    written = f"{{driver: {driver}, options: {{{options}}}}}"
    assert reported_once(f"logging: {written}") == f"logging.options.{diagnostic}"
    assert reported_once(f"logging: [{written}]") == f"logging[0].options.{diagnostic}"


def test_all_errors_are_reported_together_with_their_lines() -> None:
    """In the order of entries and keys."""
    text = """\
x-cohabit:
  mask: maybe
  logging:
    driver: jsn
services:
  web:
    command: x
    logging:
      - driver: prefx
      - driver: file
        options:
          max-size: 10x
          max-file: 0
      - driver: raw
      - driver: json
        options:
          mode: blocking
          max-buffer-size: 1m
"""
    lines = [int(diagnostic.split(":")[0]) for diagnostic in reported(text)]
    assert sorted(lines) == [2, 4, 9, 11, 12, 13, 15, 18]


PASSED = "logging: with driver inherit cohabit does not see the output"
HIDDEN = "so secrets cannot be hidden (choose another driver, or remove x-cohabit: mask)"
SECRETS = """\
x-cohabit: {mask: true}
secrets: {s: {environment: TOKEN}}
services:
  a: {command: x, secrets: [s], logging: {driver: inherit}}
  b: {command: x, environment: {A_FILE: /run/secrets/a}, logging: {driver: inherit}}
  c: {command: x, logging: {driver: inherit}}
  d: {command: x, secrets: [s], logging: {driver: raw}}
"""
LOG = "healthcheck: {test: [LOG, ready]}"


@pytest.mark.parametrize(
    ("text", "diagnostics"),
    [
        (with_default("{driver: inherit}"), []),
        (with_default("{driver: raw}", LOG), []),
        (with_default("{driver: none}", LOG), []),
        (
            with_default("{driver: raw}", f"{LOG}, logging: {{driver: inherit}}"),
            [f"3: services.web.{PASSED}, so the LOG probe cannot work (choose another driver)"],
        ),
        (
            with_default("{driver: inherit}", LOG),
            [f"3: services.web.{PASSED}, so the LOG probe cannot work (choose another driver)"],
        ),
        (SECRETS, [f"{line}: services.{name}.{PASSED}, {HIDDEN}" for line, name in ((4, "a"), (5, "b"))]),
        (SECRETS.replace("true", "false"), []),
    ],
)
def test_output_that_cohabit_does_not_read(text: str, diagnostics: list[str]) -> None:
    """With `inherit` cohabit cannot match or mask the output."""
    assert build_diagnostics(text) == diagnostics


@pytest.mark.parametrize(
    ("one", "other", "allowed"),
    [
        ("", "", True),
        ("", "format: json, mode: non-blocking", True),
        ("max-size: 1024", "max-size: 1k", True),
        ("", "max-size: 1k", False),
        ("", "max-file: 2", False),
        ("compress: true", "", False),
    ],
)
def test_a_shared_file_must_be_rotated_in_one_way(one: str, other: str, *, allowed: bool) -> None:
    """Two services, or a service and x-cohabit."""
    first, second = (f"{{driver: file, options: {{path: /log/a, {options}}}}}" for options in (one, other))
    text = "/log/a is also a file of {}, with another max-size, max-file or compress (write the same)"
    services = f"services:\n  a: {{command: x, logging: {first}}}\n  b: {{command: x, logging: {second}}}\n"
    assert build_diagnostics(services) == ([] if allowed else [f"3: services.b.logging: {text.format('a')}"])
    found = build_diagnostics(with_default(first, f"logging: {second}"))
    assert found == ([] if allowed else [f"3: services.web.logging: {text.format('x-cohabit')}"])


OLD = "{} is a name of {} of {} after rotation (write another path)"


@pytest.mark.parametrize(
    ("options", "old", "allowed"),
    [
        ("", ".1", False),
        ("", ".4", False),
        ("", ".3.gz", False),
        ("max-size: -1, compress: true", ".1", False),
        ("", ".5", True),
        ("", ".0", True),
        ("", ".01", True),
        ("", ".2.gz.1", True),
        ("max-file: 1", ".1", True),
        ("max-size: -1", ".1", True),
    ],
)
def test_no_file_has_the_name_of_a_rotated_file_of_another(options: str, old: str, *, allowed: bool) -> None:
    """In either order, and also within the default, where it is reported once."""
    one, other = f"{{path: /log/x, {options}}}", f"{{path: /log/x{old}}}"
    first, second = (f"{{driver: file, options: {each}}}" for each in (one, other))
    services = "services:\n  a: {{command: x, logging: {}}}\n  b: {{command: x, logging: {}}}\n"
    text = OLD.format(f"/log/x{old}", "/log/x", "{}")
    assert build_diagnostics(services.format(first, second)) == (
        [] if allowed else [f"3: services.b.logging: {text.format('a')}"]
    )
    assert build_diagnostics(services.format(second, first)) == (
        [] if allowed else [f"2: services.a.logging: {text.format('b')}"]
    )
    found = build_diagnostics(with_default(f"[{first}, {second}]"))
    assert found == ([] if allowed else [f" x-cohabit.logging: {text.format('x-cohabit')}"])


def test_a_path_that_is_not_a_file_is_reported(tmp_path: Path) -> None:
    """Once for a service, and for x-cohabit."""
    (tmp_path / "log").write_text("")
    text = (
        f"x-cohabit: {{logging: {{driver: file, options: {{path: {tmp_path}}}}}}}\n"
        "services:\n"
        f"  a: {{command: sh, scale: 2, logging: {{driver: file, options: {{path: {tmp_path.parent}}}}}}}\n"
        "  b: {command: sh, logging: {driver: file, options: {path: /dev/null}}}\n"
        f"  c: {{command: sh, logging: {{driver: file, options: {{path: {tmp_path}/log}}}}}}\n"
        f"  d: {{command: sh, logging: {{driver: file, options: {{path: {tmp_path}/gone/log}}}}}}\n"
        f"  e: {{command: sh}}\n"
    )
    made = draft(text)
    plan, _ = build(made)
    assert plan is not None
    no_file = "it is not a regular file (for the container's output, write driver: raw)"
    assert [str(diagnostic).removeprefix("cohabit.yaml") for diagnostic in check_machine(plan, made, {})] == [
        f": x-cohabit.logging: cannot write {tmp_path}: it is a directory (name a file in it)",
        f":3: services.a.logging: cannot write {tmp_path.parent}: it is a directory (name a file in it)",
        f":4: services.b.logging: cannot write /dev/null: {no_file}",
    ]


def test_a_service_with_a_terminal_may_have_logging() -> None:
    """It counts where the container has no terminal, or several services ask for one."""
    assert reported("services: {web: {command: x, tty: true, logging: {driver: json}}}") == []


def test_output_to_a_terminal_is_not_masked() -> None:
    """A warning for a service with secrets and mask."""
    passed = "warning: services.{}.tty: cohabit does not see what the service writes to the terminal"
    end = ", so secrets are not hidden there (remove tty, or make sure that only the right people see it)"
    lines = SECRETS.replace("logging: {driver: inherit}", "tty: true").splitlines(keepends=True)
    assert build_diagnostics("".join(lines)) == []  # each has a terminal of its own
    for name in ("a", "b", "c"):
        text = "".join(line for line in lines if "command" not in line or f" {name}:" in line)
        assert build_diagnostics(text) == ([] if name == "c" else [f"4: {passed.format(name)}{end}"])
        assert build_diagnostics(text.replace("mask: true", "mask: false")) == []


def test_toml_has_the_same_meaning() -> None:
    made = draft(
        '[services.web]\ncommand = ["x"]\n[[services.web.logging]]\ndriver = "file"\n'
        'options = { path = "/a", max-file = 3, compress = true }\n[[services.web.logging]]\ndriver = "jsonn"\n',
        "cohabit.toml",
    )
    assert [str(diagnostic) for diagnostic in made.problems] == [
        "cohabit.toml:7: services.web.logging[1].driver: unknown driver 'jsonn' (did you mean 'json'?)"
    ]
    assert made.services["web"].service.logging == (Logging("file", path="/a", files_max=3, compress=True),)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("1048576", 1048576),
        ("512k", 524288),
        ("512K", 524288),
        ("10m", 10485760),
        ("10MB", 10485760),
        ("10 MiB", 10485760),
        ("1g", 1073741824),
        ("1.5k", 1536),
        ("7b", 7),
        ("2t", 2 << 40),
    ],
)
def test_sizes(text: str, size: int) -> None:
    """Docker's sizes."""
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "k", "-1", "1x", "1kk", "1.m", "1e3", "٣", "1 2", "9" * 40])
def test_an_invalid_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a size"):
        parse_size(text)


@given(st.integers(0, 1 << 60))
def test_a_size_is_read_back_unchanged(size: int) -> None:
    assert parse_size(format_size(size)) == size


@pytest.mark.parametrize(("size", "text"), [(0, "0"), (1 << 30, "1g"), (20 << 20, "20m"), (1536, "1536"), (2048, "2k")])
def test_a_size_has_its_shortest_text(size: int, text: str) -> None:
    assert format_size(size) == text


@given(st.integers(0, 23))
def test_a_facility_is_read_back_unchanged(number: int) -> None:
    assert parse_facility(facility_name(number)) == number


KEY_NAMES = [
    "driver",
    "options",
    "path",
    "mode",
    "tag",
    "max-size",
    "max-buffer-size",
    "syslog-address",
    "syslog-format",
    "multiline-pattern",
]
LEAVES = st.sampled_from(["json", "file", "syslog", "none", "/a", "1m", "udp://a", "$X", "$"]) | st.text(max_size=4)
ANY: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEY_NAMES), inner, max_size=4),
    max_leaves=12,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ANY, ANY)
def test_every_value_is_read_or_reported(default: object, written: object) -> None:
    """Every value is read or reported; a value that is read can be marshalled."""
    file = {"x-cohabit": {"logging": default}, "services": {"web": {"command": "x", "logging": written}}}
    plan, diagnostics = build(draft(yaml.dump(file, allow_unicode=True)))
    assert plan or diagnostics
    if plan:
        assert plan.services["web"].logging
        marshal.dumps(to_plain(plan))

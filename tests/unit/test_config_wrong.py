"""config/readers/compose.py, service.py and convert.py: errors in a cohabit file and their messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cohabit.config.readers.registry import read
from cohabit.config.text.yaml_text import NO_ANCHOR
from cohabit.plan.build import build
from unit.file_story import ENVIRON, draft, reported, reported_once

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("here")


CONDITIONS = "service_completed_successfully, service_healthy or service_started"
KINDS = "CMD, CMD-SHELL, HTTP, TCP, UNIX, LOG, NOTIFY, FD or NONE"
SCALES = "a whole number from 0 to 1000"
RESTARTS = "no, always, on-failure[:N] or unless-stopped"


@pytest.mark.parametrize(
    ("keys", "diagnostic"),
    [
        ("comand: y", "comand: unknown key (did you mean 'command'?)"),
        ("xyzzy: y", "xyzzy: unknown key (a key of your own begins with x-)"),
        ("restart: allways", f"restart: expected {RESTARTS}, got 'allways' (did you mean 'always'?)"),
        ("restart: false", f"restart: expected {RESTARTS}, got 'false'"),
        ("restart: always:3", f"restart: expected {RESTARTS}, got 'always:3'"),
        ("restart: on-failure:x", "restart: expected a whole number of 0 or more, got 'x'"),
        ("restart: [always]", f"restart: expected {RESTARTS}, got a list"),
        ("stop_signal: SIGTREM", "stop_signal: 'SIGTREM' is not a signal (write SIGTERM, TERM or a number up to 64)"),
        ("stop_grace_period: 10", "stop_grace_period: '10' is not a duration (write 500ms, 10s, 1m30s)"),
        ("stop_grace_period: -5s", "stop_grace_period: '-5s' is not a duration (write 500ms, 10s, 1m30s)"),
        ("stop_grace_period: 40000d", "stop_grace_period: '40000d' is longer than 100 years"),
        ("stop_grace_period: {a: b}", "stop_grace_period: expected a duration such as 10s or 1m30s, got a map"),
        ("essential: maybe", "essential: expected true or false, got 'maybe'"),
        ("essential: 5", "essential: expected true or false, got 5"),
        ("essential: [true]", "essential: expected true or false, got a list"),
        ("working_dir: [a]", "working_dir: expected a string, got a list"),
        ('working_dir: "a\\0b"', "working_dir: contains a NUL character (remove it)"),
        ("user: {a: b}", "user: expected a string, got a map"),
        ("environment: x", "environment: expected a map or a list, got a string"),
        ("environment: {A: [x]}", "environment.A: expected a string, got a list"),
        ("environment: [{A: x}]", "environment[0]: expected a string, got a map"),
        ("environment: [null]", "environment[0]: expected a string, got nothing"),
        ("environment: [=x]", "environment: invalid variable name of 0 characters (write NAME: value)"),
        ("environment: {'A=B': x}", "environment: invalid variable name of 3 characters (write NAME: value)"),
        (
            "env_file: nowhere.env",
            "env_file: cannot read nowhere.env: no such file (create it, or write required: false or read: start)",
        ),
        ("env_file: [{required: false}]", "env_file[0]: path is missing (write path: a string)"),
        ("env_file: [{path: a, format: yaml, required: false}]", "env_file[0].format: expected raw, got 'yaml'"),
        ("env_file: .", "env_file: cannot read .: it is a directory (name a file in it)"),
        ("depends_on: db", "depends_on: expected a list or a map, got 'db'"),
        ("depends_on: {db: null}", "depends_on.db: expected a map with condition, got nothing"),
        ("depends_on: {db: {}}", f"depends_on.db: condition is missing (write condition: {CONDITIONS})"),
        ("depends_on: {db: {condition: healthy}}", f"depends_on.db.condition: expected {CONDITIONS}, got 'healthy'"),
        (
            "depends_on: {db: {condition: service_healty}}",
            f"depends_on.db.condition: expected {CONDITIONS}, got 'service_healty' (did you mean 'service_healthy'?)",
        ),
        (
            "depends_on: {db: {condition: service_started, requird: no}}",
            "depends_on.db.requird: unknown key (did you mean 'required'?)",
        ),
        (
            "depends_on: {db: {condition: service_started, when: x}}",
            "depends_on.db.when: unknown key (known keys: condition, required, restart)",
        ),
        (
            "deploy: {restart_policy: {condition: allways}}",
            (
                "deploy.restart_policy.condition: expected always, any, no, none, on-failure or unless-stopped, "
                "got 'allways' (did you mean 'always'?)"
            ),
        ),
        (
            "deploy: {restart_policy: {max_attempts: -1}}",
            "deploy.restart_policy.max_attempts: expected a whole number of 0 or more, got '-1'",
        ),
        (
            "deploy: {restart_policy: {max_attempts: 99999999999999999999}}",
            "deploy.restart_policy.max_attempts: expected a whole number of 0 or more, got '99999999999999999999'",
        ),
        ("deploy: x", "deploy: expected a map, got 'x'"),
        ("profiles: dev", "profiles: expected a list, got 'dev'"),
        ("profiles: ['a b']", "profiles: 'a b' is not a valid profile name (use letters, digits, . _ -)"),
        (
            "healthcheck: {test: [TPC, 'localhost:1']}",
            f"healthcheck.test: unknown kind 'TPC': expected {KINDS} (did you mean 'TCP'?)",
        ),
        ("healthcheck: {test: [TCP]}", "healthcheck.test: TCP takes one address, got 0"),
        ("healthcheck: {test: [CMD-SHELL, ' ']}", "healthcheck.test: the command is empty"),
        ("healthcheck: {test: [CMD]}", "healthcheck.test: CMD needs a program and its arguments"),
        ("healthcheck: {test: [CMD, '']}", "healthcheck.test: CMD needs a program and its arguments"),
        ("healthcheck: {test: [HTTP]}", "healthcheck.test: HTTP takes one address, got 0"),
        (
            "healthcheck: {test: [HTTP, 'http://[::1]/', oops]}",
            "healthcheck.test: 'oops' is neither a header (Name: value) nor status=200-399",
        ),
        (
            'healthcheck: {test: [HTTP, "http://[::1]/", "A: b\\r\\nC: d"]}',
            "healthcheck.test: 'A: b\\r\\nC: d' is neither a header (Name: value) nor status=200-399",
        ),
        (
            "healthcheck: {test: [HTTP, 'http://[::1]/', 'status=299-200']}",
            "healthcheck.test: '299-200' is not a status code or range (write status=200-399,401)",
        ),
        (
            "healthcheck: {test: [HTTP, 'http://[::1]/', 'status=']}",
            "healthcheck.test: '' is not a status code or range (write status=200-399,401)",
        ),
        (
            "healthcheck: {test: [HTTP, 'unix:x.sock:/']}",
            "healthcheck.test: expected the absolute path of a socket, got 'x.sock'",
        ),
        ("healthcheck: {test: [UNIX, a, b]}", "healthcheck.test: UNIX takes one path, got 2"),
        (
            "healthcheck: {test: [UNIX, x.sock]}",
            "healthcheck.test: expected the absolute path of a socket, got 'x.sock'",
        ),
        (
            "healthcheck: {test: [LOG, 'a(b']}",
            "healthcheck.test: 'a(b' is not a regular expression: missing ), unterminated subpattern at character 2",
        ),
        (
            "healthcheck: {test: [LOG, 'a{9999999999}']}",
            "healthcheck.test: 'a{9999999999}' is not a regular expression: it is too large",
        ),
        ("healthcheck: {test: [LOG, '']}", "healthcheck.test: the regular expression is empty: any output would match"),
        ("healthcheck: {test: [NOTIFY, x]}", "healthcheck.test: NOTIFY takes no arguments, got 1"),
        (
            "healthcheck: {test: [FD, 2]}",
            "healthcheck.test: FD takes a descriptor number from 3 to 1023, got '2'",
        ),
        (
            "healthcheck: {test: [FD, 1024]}",
            "healthcheck.test: FD takes a descriptor number from 3 to 1023, got '1024'",
        ),
        (
            "healthcheck: {test: [FD, -3]}",
            "healthcheck.test: FD takes a descriptor number from 3 to 1023, got '-3'",
        ),
        (
            "healthcheck: {on_failure: die}",
            "healthcheck.on_failure: expected exit, none or restart, got 'die'",
        ),
        (
            "healthcheck: {test: [TCP, 'db:1']}",
            "healthcheck.test: the host 'db' of 'db:1' is neither an IP address nor localhost",
        ),
        (
            "healthcheck: {test: [HTTP, 'https://localhost/']}",
            "healthcheck.test: https is not supported (write http://, or probe the port with TCP)",
        ),
        ("healthcheck: {test: [TCP, '1'], timeout: 1us}", "healthcheck.timeout: must be at least 1ms"),
        ("healthcheck: {interval: often}", "healthcheck.interval: 'often' is not a duration (write 500ms, 10s, 1m30s)"),
        ("healthcheck: {retries: many}", "healthcheck.retries: expected a whole number of 0 or more, got 'many'"),
        ("scale: -1", f"scale: expected {SCALES}, got '-1'"),
        ("scale: 1001", f"scale: expected {SCALES}, got '1001'"),
        ("scale: 1.5", f"scale: expected {SCALES}, got '1.5'"),
        ("deploy: {replicas: 100000}", f"deploy.replicas: expected {SCALES}, got '100000'"),
        ("deploy: {replicas: many}", f"deploy.replicas: expected {SCALES}, got 'many'"),
        ("scale: 2, deploy: {replicas: 3}", "scale: 2 differs from deploy.replicas, 3 (write one of them)"),
        ("pid_file: x.pid", "pid_file: expected an absolute path, got 'x.pid'"),
        ("remove_before_start: [x.pid]", "remove_before_start: expected an absolute path, got 'x.pid'"),
        ("remove_before_start: ['']", "remove_before_start: expected an absolute path, got ''"),
        ("remove_before_start: /x.pid", "remove_before_start: expected a list, got '/x.pid'"),
        ("log_files: [x.log]", "log_files: expected an absolute path, got 'x.log'"),
        ("log_files: ['']", "log_files: expected an absolute path, got ''"),
        ("log_files: /x.log", "log_files: expected a list, got '/x.log'"),
        ("log_files: [{stream: stderr}]", "log_files[0]: path is missing (write path: a string)"),
        ("log_files: [{path: /x, stream: out}]", "log_files[0].stream: expected stderr or stdout, got 'out'"),
        ("log_files: [{path: /x, mode: 1}]", "log_files[0].mode: unknown key (known keys: path, stream)"),
        (
            "develop: {watch: [{action: restrat, path: x}]}",
            (
                "develop.watch[0].action: expected rebuild, restart, sync, sync+exec or sync+restart, got 'restrat' "
                "(did you mean 'restart'?)"
            ),
        ),
        ("develop: {watch: [{action: restart}]}", "develop.watch[0]: path is missing (write path: a string)"),
        (
            "develop: {watch: [{action: restart, path: ''}]}",
            "develop.watch[0]: path is empty (write the file or directory that is watched)",
        ),
        (
            "develop: {watch: [{action: sync+restart, path: x}]}",
            (
                "develop.watch[0]: sync+restart needs a target (write target: PATH, the place in the container, or "
                "action: restart)"
            ),
        ),
        (
            "develop: {watch: [{action: sync, path: x}]}",
            "develop.watch[0]: sync needs a target (write target: PATH, the place in the container)",
        ),
        (
            "develop: {watch: [{action: restart, path: x, ingore: y}]}",
            "develop.watch[0].ingore: unknown key (did you mean 'ignore'?)",
        ),
        ("develop: {wacth: []}", "develop.wacth: unknown key (did you mean 'watch'?)"),
        ("develop: [x]", "develop: expected a map, got a list"),
        ("kill_mode: group", "kill_mode: expected control-group or mixed, got 'group'"),
        ("setsid: maybe", "setsid: expected true or false, got 'maybe'"),
        ("autostart: maybe", "autostart: expected true or false, got 'maybe'"),
        ("tty: maybe", "tty: expected true or false, got 'maybe'"),
        ("pre_start: sh", "pre_start: expected a list, got 'sh'"),
        ("pre_start: [[sh]]", "pre_start[0]: expected a string or a map with command, got a list"),
        ("environment: ['F =1']", "environment: a name of 1 characters is followed by a space (remove it)"),
        (
            "depends_on: {a: {condition: '$EMPTY'}}",
            (
                "depends_on.a.condition: expected service_completed_successfully, "
                "service_healthy or service_started, got an empty text"
            ),
        ),
        ("post_start: [{user: root}]", "post_start[0]: command is missing (write command: a string or a list)"),
        (
            "pre_stop: [{command: x, workingdir: y}]",
            "pre_stop[0].workingdir: unknown key (did you mean 'working_dir'?)",
        ),
        (
            "pre_stop: [{command: []}]",
            'pre_stop[0].command: no program (write command: ["program", "argument"])',
        ),
        ("pre_stop: [{command: 'a \"b'}]", "pre_stop[0].command: a quote is not closed in 'a \"b'"),
        (
            "pre_stop: [{command: x, environment: ['=x']}]",
            "pre_stop[0].environment: invalid variable name of 0 characters (write NAME: value)",
        ),
        ("schedule: [x]", "schedule: expected a string or a map with cron, got a list"),
        ("schedule: {timezone: UTC}", "schedule: cron is missing (write cron: a string)"),
        ("working_dir: '${HOME'", "working_dir: ${ without } at character 1"),
        ("working_dir: '${NONE:?we need it}'", "working_dir: the variable NONE is not set: we need it"),
        ("1: x", "a key must be a string, got 1 (put it in quotes)"),
    ],
)
def test_an_invalid_value_is_one_error_with_advice(keys: str, diagnostic: str) -> None:
    """The message has the path, the expected and the actual value, and the nearest known word."""
    if keys == "1: x":
        assert diagnostic in " ".join(reported(f"services:\n  web: {{command: [x], {keys}}}\n"))
    else:
        assert reported_once(keys) == diagnostic


def test_an_unset_variable_is_one_warning() -> None:
    text = "services:\n  a: {command: 'x $NONE'}\n  b: {command: 'x $NONE $NADA'}\n"
    assert reported(text) == [
        "2: warning: the variable NONE is not set: replaced by an empty string",
        "3: warning: the variable NADA is not set: replaced by an empty string",
    ]


@pytest.mark.parametrize("keys", ["", "command: ", "command: []", "command: ''", "image: nginx", "entrypoint: []"])
def test_a_missing_command_is_reported_with_advice(keys: str) -> None:
    diagnostics = reported(f"services:\n  web: {{{keys}}}\n")
    assert len(diagnostics) == 1
    assert diagnostics[0].startswith("2: services.web: ")
    assert 'write command: ["program", "argument"]' in diagnostics[0]


def test_an_invalid_command_is_not_reported_as_missing() -> None:
    assert reported("services:\n  web: {command: {a: b}}\n") == [
        "2: services.web.command: expected a string or a list, got a map"
    ]
    assert reported('services:\n  web: {command: "a \'b"}\n') == [
        '2: services.web.command: a quote is not closed in "a \'b"'
    ]
    assert reported("services:\n  web: {command: ['', b]}\n") == ["2: services.web.command: the program name is empty"]


@pytest.mark.parametrize(
    ("text", "diagnostic"),
    [
        ("", " no services: the file is empty (write services: and a service below it)"),
        ("# only a comment\n", " no services: the file is empty (write services: and a service below it)"),
        ("name: x", " no services (write services: and a service with a command below it)"),
        ("name: x\nservices:", "2: no services (write services: and a service with a command below it)"),
        ("services: {}", "1: no services (write services: and a service with a command below it)"),
        ("services: [a, b]", "1: services: expected a map of names to services, got a list"),
        ("services: web", "1: services: expected a map of names to services, got 'web'"),
        ("[services]", "1: expected a map of keys such as services:, got a list"),
        ("services", "1: expected a map of keys such as services:, got 'services'"),
        ("services: {web: [x]}", "1: services.web: expected a map, got a list"),
        ("services: {web: x}", "1: services.web: expected a map, got 'x'"),
        ("services: {'a b': {command: x}}", "1: services.a b: not a valid service name (use letters, digits, . _ -)"),
        ("services: {'': {command: x}}", "1: services.: not a valid service name (use letters, digits, . _ -)"),
        ("services: {'..': {command: x}}", "1: services...: not a valid service name (use letters, digits, . _ -)"),
        (
            "services: {cohabit: {command: x}}",
            "1: services.cohabit: the name is reserved for cohabit's own messages (choose another)",
        ),
        ("servces: {}\nservices: {a: {command: x}}", "1: servces: unknown key (did you mean 'services'?)"),
        (
            "x-cohabit: {stop_grace: 5s}\nservices: {a: {command: x}}",
            "1: x-cohabit.stop_grace: unknown key (known keys: stop_grace_period, control_group, logging, mask)",
        ),
        ("x-cohabit: 5\nservices: {a: {command: x}}", "1: x-cohabit: expected a map, got 5"),
        ("services: {a: {command: x}, a: {command: y}}", "1: duplicate key 'a', first in line 1 (remove one)"),
        (
            "services: {web: *gone}",
            f"1: cannot read cohabit.yaml: {NO_ANCHOR}",
        ),
    ],
)
def test_an_invalid_file_is_one_error(text: str, diagnostic: str) -> None:
    """Empty, without services, of the wrong type, with invalid names: one error each."""
    assert [str(one) for one in draft(text).problems] == [f"cohabit.yaml:{diagnostic}"]


def test_all_errors_are_reported_together_with_their_lines() -> None:
    text = """\
services:
  web:
    comand: x
    restart: allways
    environment:
      A: [1]
      B: {}
  db:
    command: [a, {}, []]
    essential: 7
"""
    lines = [int(diagnostic.split(":")[0]) for diagnostic in reported(text)]
    assert sorted(lines) == [3, 4, 6, 7, 9, 9, 10]


def test_errors_of_an_env_file_have_its_lines_and_are_reported_once(tmp_path: Path) -> None:
    (tmp_path / "a.env").write_text("A=1\nB='\n")
    text = "services: {a: {command: x, env_file: a.env}, b: {command: x, env_file: a.env}}"
    assert [str(diagnostic) for diagnostic in draft(text).problems] == ["a.env:2: B: the quote ' is not closed"]


def test_the_draft_has_the_location_of_each_key() -> None:
    made = draft("""\
services:
  web:
    command: x
    depends_on:
      - a
      - b
  x:
    command: x
    depends_on:
      a:
        condition: service_started
""")
    web, other = made.services["web"], made.services["x"]
    assert (web.where.line, web.place("command").line, web.place("depends_on.b").line) == (2, 3, 6)
    assert web.place("restart").line == 2
    assert other.place("depends_on.a").line == 10


def test_toml_has_the_same_keys() -> None:
    made = draft('[services.web]\ncommand = ["x"]\nrestrt = "no"\nenvironment = { A = 1.10 }\n', "cohabit.toml")
    assert made.services["web"].service.environment == {"A": "1.10"}
    assert [str(diagnostic) for diagnostic in made.problems] == [
        "cohabit.toml:3: services.web.restrt: unknown key (did you mean 'restart'?)"
    ]


KEY_NAMES = """
    command entrypoint environment env_file working_dir user depends_on restart deploy stop_signal stop_grace_period
    essential profiles healthcheck logging x-a scale tty condition required path format test interval retries driver
    restart_policy max_attempts services x-cohabit << schedule cron timezone pre_start pre_stop image pid_file replicas
    options path mode max-buffer-size max-size multiline-pattern syslog-address tag mask
"""
KEYS = st.sampled_from(KEY_NAMES.split()) | st.text(max_size=4)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.dates()
    | st.text(max_size=8)
    | st.sampled_from(
        [
            "TCP",
            "10s",
            "$HOME",
            "${X:-y}",
            "on-failure:2",
            "a 'b",
            "service_healthy",
            "root:root",
            ".",
            "HTTP",
            "* * * * *",
            "2",
            "file",
            "syslog",
            "inherit",
            "fluentd",
            "non-blocking",
        ]
    )
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS | st.integers(), inner, max_size=4),
    max_leaves=12,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(VALUES | st.fixed_dictionaries({"services": st.dictionaries(KEYS, st.dictionaries(KEYS, VALUES))}))
def test_every_value_is_a_draft(value: Any) -> None:
    """Every YAML value is read without an exception, and every service in the Draft has a command."""
    made = draft(yaml.dump(value, allow_unicode=True))
    build(made)
    if not any(not diagnostic.warning for diagnostic in made.problems):
        assert all(item.service.command for item in made.services.values())
        assert made.services


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary() | st.text().map(str.encode), st.sampled_from(["f.yaml", "f.toml"]))
def test_every_sequence_of_bytes_is_a_draft(content: bytes, name: str) -> None:
    """No file raises an exception."""
    with open(name, "wb") as file:
        file.write(content)
    read({"files": [name]}, ENVIRON)

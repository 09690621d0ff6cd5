"""config/compose.py, service.py and convert.py: every way to get a cohabit file wrong, and what is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cohabit.config.compose import read
from cohabit.config.text.yaml_text import NO_ANCHOR
from cohabit.plan.build import build
from unit.file_story import ENVIRON, complaint, draft, told

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("here")


CONDITIONS = "service_completed_successfully, service_healthy or service_started"
KINDS = "CMD, CMD-SHELL, HTTP, TCP, UNIX, LOG, NOTIFY, FD or NONE"
SCALES = "a whole number from 0 to 1000"
RESTARTS = "no, always, on-failure[:N] or unless-stopped"


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ("comand: y", "comand: unknown key (did you mean 'command'?)"),
        ("xyzzy: y", "xyzzy: unknown key (x- in front makes it a note)"),
        ("restart: allways", f"restart: expected {RESTARTS}, got 'allways' (did you mean 'always'?)"),
        ("restart: false", f"restart: expected {RESTARTS}, got 'false'"),
        ("restart: always:3", f"restart: expected {RESTARTS}, got 'always:3'"),
        ("restart: on-failure:x", "restart: expected a whole number from 0 up, got 'x'"),
        ("restart: [always]", f"restart: expected {RESTARTS}, got a list"),
        ("stop_signal: SIGTREM", "stop_signal: 'SIGTREM' is not a signal (write SIGTERM, TERM or a number up to 64)"),
        ("stop_grace_period: 10", "stop_grace_period: '10' is not a duration (write 500ms, 10s, 1m30s)"),
        ("stop_grace_period: -5s", "stop_grace_period: '-5s' is not a duration (write 500ms, 10s, 1m30s)"),
        ("stop_grace_period: 40000d", "stop_grace_period: '40000d' is longer than a hundred years"),
        ("stop_grace_period: {a: b}", "stop_grace_period: expected a duration such as 10s or 1m30s, got a map"),
        ("essential: maybe", "essential: expected true or false, got 'maybe'"),
        ("essential: 5", "essential: expected true or false, got 5"),
        ("essential: [true]", "essential: expected true or false, got a list"),
        ("working_dir: [a]", "working_dir: expected a string, got a list"),
        ('working_dir: "a\\0b"', "working_dir: a zero character is in it (no program can be given one)"),
        ("user: {a: b}", "user: expected a string, got a map"),
        ("environment: x", "environment: expected a map or a list, got a text"),
        ("environment: {A: [x]}", "environment.A: expected a string, got a list"),
        ("environment: [{A: x}]", "environment[0]: expected a string, got a map"),
        ("environment: [null]", "environment[0]: expected a string, got nothing"),
        ("environment: [=x]", "environment: a name of 0 characters can be no variable's (write NAME: value)"),
        ("environment: {'A=B': x}", "environment: a name of 3 characters can be no variable's (write NAME: value)"),
        (
            "env_file: nowhere.env",
            "env_file: cannot read nowhere.env: no such file (create it, or write required: false)",
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
            "depends_on.db.when: unknown key (known here: condition, required, restart)",
        ),
        (
            "deploy: {restart_policy: {condition: always}}",
            "deploy.restart_policy.condition: expected any, none or on-failure, got 'always'",
        ),
        (
            "deploy: {restart_policy: {max_attempts: -1}}",
            "deploy.restart_policy.max_attempts: expected a whole number from 0 up, got '-1'",
        ),
        (
            "deploy: {restart_policy: {max_attempts: 99999999999999999999}}",
            "deploy.restart_policy.max_attempts: expected a whole number from 0 up, got '99999999999999999999'",
        ),
        ("deploy: x", "deploy: expected a map, got 'x'"),
        ("profiles: dev", "profiles: expected a list, got 'dev'"),
        ("profiles: ['a b']", "profiles: 'a b' can be no profile's name (letters, digits, . _ -)"),
        (
            "healthcheck: {test: [TPC, 'localhost:1']}",
            f"healthcheck.test: begins with 'TPC', not with {KINDS} (did you mean 'TCP'?)",
        ),
        ("healthcheck: {test: []}", f"healthcheck.test: begins with '', not with {KINDS}"),
        ("healthcheck: {test: [TCP]}", "healthcheck.test: TCP takes one address, got 0"),
        (
            "healthcheck: {test: [CMD-SHELL, curl, x]}",
            "healthcheck.test: CMD-SHELL takes one string (a program and its arguments are CMD), got 2",
        ),
        ("healthcheck: {test: [CMD-SHELL, ' ']}", "healthcheck.test: the command is empty"),
        ("healthcheck: {test: ''}", "healthcheck.test: the command is empty"),
        ("healthcheck: {test: [CMD]}", "healthcheck.test: CMD takes a program and its arguments"),
        ("healthcheck: {test: [CMD, '']}", "healthcheck.test: CMD takes a program and its arguments"),
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
            "healthcheck.test: '299-200' is no status code or range (write status=200-399,401)",
        ),
        (
            "healthcheck: {test: [HTTP, 'http://[::1]/', 'status=']}",
            "healthcheck.test: '' is no status code or range (write status=200-399,401)",
        ),
        (
            "healthcheck: {test: [HTTP, 'unix:x.sock:/']}",
            "healthcheck.test: a socket's path begins with /, got 'x.sock'",
        ),
        ("healthcheck: {test: [UNIX, a, b]}", "healthcheck.test: UNIX takes one path, got 2"),
        ("healthcheck: {test: [UNIX, x.sock]}", "healthcheck.test: a socket's path begins with /, got 'x.sock'"),
        (
            "healthcheck: {test: [LOG, 'a(b']}",
            "healthcheck.test: 'a(b' is no regular expression: missing ), unterminated subpattern at character 2",
        ),
        (
            "healthcheck: {test: [LOG, 'a{9999999999}']}",
            "healthcheck.test: 'a{9999999999}' is no regular expression: it is too large",
        ),
        ("healthcheck: {test: [LOG, '']}", "healthcheck.test: the regular expression is empty: any output would do"),
        ("healthcheck: {test: [NOTIFY, x]}", "healthcheck.test: NOTIFY stands alone, got 1 more"),
        (
            "healthcheck: {test: [FD, 2]}",
            "healthcheck.test: FD takes a descriptor's number from 3 to 1023, got '2'",
        ),
        (
            "healthcheck: {test: [FD, 1024]}",
            "healthcheck.test: FD takes a descriptor's number from 3 to 1023, got '1024'",
        ),
        (
            "healthcheck: {test: [FD, -3]}",
            "healthcheck.test: FD takes a descriptor's number from 3 to 1023, got '-3'",
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
            "healthcheck.test: https cannot be probed (write http://, or probe the port with TCP)",
        ),
        ("healthcheck: {test: [TCP, '1'], timeout: 1us}", "healthcheck.timeout: must be at least 1ms"),
        ("healthcheck: {interval: often}", "healthcheck.interval: 'often' is not a duration (write 500ms, 10s, 1m30s)"),
        ("healthcheck: {retries: many}", "healthcheck.retries: expected a whole number from 0 up, got 'many'"),
        ("scale: -1", f"scale: expected {SCALES}, got '-1'"),
        ("scale: 1001", f"scale: expected {SCALES}, got '1001'"),
        ("scale: 1.5", f"scale: expected {SCALES}, got '1.5'"),
        ("deploy: {replicas: 100000}", f"deploy.replicas: expected {SCALES}, got '100000'"),
        ("deploy: {replicas: many}", f"deploy.replicas: expected {SCALES}, got 'many'"),
        ("scale: 2, deploy: {replicas: 3}", "scale: is 2, but deploy.replicas is 3 (write one of them)"),
        ("pid_file: x.pid", "pid_file: a whole path is needed, beginning with /, got 'x.pid'"),
        ("tty: maybe", "tty: expected true or false, got 'maybe'"),
        ("pre_start: sh", "pre_start: expected a list, got 'sh'"),
        ("pre_start: [sh]", "pre_start[0]: expected a map with command, got 'sh'"),
        ("post_start: [{user: root}]", "post_start[0]: command is missing (write command: a string or a list)"),
        (
            "pre_stop: [{command: x, workingdir: y}]",
            "pre_stop[0].workingdir: unknown key (did you mean 'working_dir'?)",
        ),
        (
            "pre_stop: [{command: []}]",
            'pre_stop[0].command: there is no program (write command: ["program", "argument"])',
        ),
        ("pre_stop: [{command: 'a \"b'}]", "pre_stop[0].command: a quote is never closed in 'a \"b'"),
        (
            "pre_stop: [{command: x, environment: ['=x']}]",
            "pre_stop[0].environment: a name of 0 characters can be no variable's (write NAME: value)",
        ),
        ("schedule: [x]", "schedule: expected a string or a map with cron, got a list"),
        ("schedule: {timezone: UTC}", "schedule: cron is missing (write cron: a string)"),
        ("working_dir: '${HOME'", "working_dir: a ${ without its }, at character 1"),
        ("working_dir: '${NONE:?we need it}'", "working_dir: the variable NONE is not set: we need it"),
        ("1: x", "a key must be a string, got 1 (put it in quotes)"),
    ],
)
def test_a_wrong_value_is_one_problem_that_says_what_to_write(keys: str, problem: str) -> None:
    """Key by key: the path, what was expected, what stands there, and the nearest right word."""
    if keys == "1: x":
        assert problem in " ".join(told(f"services:\n  web: {{command: [x], {keys}}}\n"))
    else:
        assert complaint(keys) == problem


def test_an_unset_variable_is_a_warning_told_once() -> None:
    text = "services:\n  a: {command: 'x $NONE'}\n  b: {command: 'x $NONE $NADA'}\n"
    assert told(text) == [
        "2: warning: the variable NONE is not set: an empty string stands in",
        "3: warning: the variable NADA is not set: an empty string stands in",
    ]


@pytest.mark.parametrize("keys", ["", "command: ", "command: []", "command: ''", "image: nginx", "entrypoint: []"])
def test_nothing_to_run_says_what_to_write(keys: str) -> None:
    problems = told(f"services:\n  web: {{{keys}}}\n")
    assert len(problems) == 1
    assert problems[0].startswith("2: services.web: ")
    assert 'write command: ["program", "argument"]' in problems[0]


def test_a_command_that_is_wrong_is_not_called_missing_as_well() -> None:
    assert told("services:\n  web: {command: {a: b}}\n") == [
        "2: services.web.command: expected a string or a list, got a map"
    ]
    assert told('services:\n  web: {command: "a \'b"}\n') == [
        '2: services.web.command: a quote is never closed in "a \'b"'
    ]
    assert told("services:\n  web: {command: ['', b]}\n") == ["2: services.web.command: the program's name is empty"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", " cannot find any service: the file is empty (write services: and a service below it)"),
        ("# only a comment\n", " cannot find any service: the file is empty (write services: and a service below it)"),
        ("name: x", " cannot find any service (write services: and a service with a command below it)"),
        ("name: x\nservices:", "2: cannot find any service (write services: and a service with a command below it)"),
        ("services: {}", "1: cannot find any service (write services: and a service with a command below it)"),
        ("services: [a, b]", "1: services: expected a map of names to services, got a list"),
        ("services: web", "1: services: expected a map of names to services, got 'web'"),
        ("[services]", "1: expected a map of keys such as services:, got a list"),
        ("services", "1: expected a map of keys such as services:, got 'services'"),
        ("services: {web: [x]}", "1: services.web: expected a map, got a list"),
        ("services: {web: x}", "1: services.web: expected a map, got 'x'"),
        ("services: {'a b': {command: x}}", "1: services.a b: no service can have this name (letters, digits, . _ -)"),
        ("services: {'': {command: x}}", "1: services.: no service can have this name (letters, digits, . _ -)"),
        ("services: {'..': {command: x}}", "1: services...: no service can have this name (letters, digits, . _ -)"),
        (
            "services: {cohabit: {command: x}}",
            "1: services.cohabit: this name is kept for our own messages (choose another)",
        ),
        ("servces: {}\nservices: {a: {command: x}}", "1: servces: unknown key (did you mean 'services'?)"),
        (
            "x-cohabit: {stop_grace: 5s}\nservices: {a: {command: x}}",
            "1: x-cohabit.stop_grace: unknown key (known here: stop_grace_period, control_group, logging, mask)",
        ),
        ("x-cohabit: 5\nservices: {a: {command: x}}", "1: x-cohabit: expected a map, got 5"),
        ("services: {a: {command: x}, a: {command: y}}", "1: 'a' is written twice, first in line 1 (remove one)"),
        (
            "services: {web: *gone}",
            f"1: cannot read cohabit.yaml: {NO_ANCHOR}",
        ),
    ],
)
def test_a_file_that_is_wrong_as_a_whole(text: str, problem: str) -> None:
    """Empty, without services, of the wrong shape, with impossible names: one problem each."""
    assert [str(one) for one in draft(text).problems] == [f"cohabit.yaml:{problem}"]


def test_all_problems_are_told_at_once_with_their_lines() -> None:
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
    lines = [int(problem.split(":")[0]) for problem in told(text)]
    assert sorted(lines) == [2, 3, 4, 6, 7, 9, 9, 10]


def test_problems_of_an_env_file_have_its_own_lines_and_are_told_once(tmp_path: Path) -> None:
    (tmp_path / "a.env").write_text("A=1\nB='\n")
    text = "services: {a: {command: x, env_file: a.env}, b: {command: x, env_file: a.env}}"
    assert [str(problem) for problem in draft(text).problems] == ["a.env:2: B: the quote ' is never closed"]


def test_places_are_remembered_for_later_problems() -> None:
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


def test_toml_is_the_same_model() -> None:
    made = draft('[services.web]\ncommand = ["x"]\nrestrt = "no"\nenvironment = { A = 1.10 }\n', "cohabit.toml")
    assert made.services["web"].service.environment == {"A": "1.10"}
    assert [str(problem) for problem in made.problems] == [
        "cohabit.toml:3: services.web.restrt: unknown key (did you mean 'restart'?)"
    ]


WORDS = """
    command entrypoint environment env_file working_dir user depends_on restart deploy stop_signal stop_grace_period
    essential profiles healthcheck logging x-a scale tty condition required path format test interval retries driver
    restart_policy max_attempts services x-cohabit << schedule cron timezone pre_start pre_stop image pid_file replicas
    options path mode max-buffer-size max-size multiline-pattern syslog-address tag mask
"""
KEYS = st.sampled_from(WORDS.split()) | st.text(max_size=4)
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
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS | st.integers(), inner, max_size=4)
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(VALUES | st.fixed_dictionaries({"services": st.dictionaries(KEYS, st.dictionaries(KEYS, VALUES))}))
def test_any_value_is_a_draft(value: Any) -> None:
    """Whatever YAML can hold is read without raising, and a service that is in the Draft has a command."""
    made = draft(yaml.dump(value, allow_unicode=True))
    build(made)
    if not any(not problem.warning for problem in made.problems):
        assert all(item.service.command for item in made.services.values())
        assert made.services


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary() | st.text().map(str.encode), st.sampled_from(["f.yaml", "f.toml"]))
def test_any_bytes_are_a_draft(content: bytes, name: str) -> None:
    """No file raises."""
    with open(name, "wb") as file:
        file.write(content)
    read({"files": [name]}, ENVIRON)

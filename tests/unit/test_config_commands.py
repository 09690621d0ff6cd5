"""config/readers/commands.py: the command line of `cohabit run`."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cohabit.config.readers.registry import read
from cohabit.errors import EXIT_USAGE
from cohabit.plan.build import build
from cohabit.plan.model import HEALTHY, STARTED, Dependency, Logging, Plan, Probe


def plan(**request: Any) -> Plan:
    made, diagnostics = build(read({"commands": [], **request}, {}))
    assert diagnostics == ()
    assert made is not None
    return made


def diagnostics(**request: Any) -> list[str]:
    draft = read({"commands": [], **request}, {})
    assert {diagnostic.exit_code for diagnostic in draft.problems} <= {EXIT_USAGE}
    assert build(draft)[0] is None
    return [diagnostic.text for diagnostic in draft.problems]


def test_without_main_every_command_is_essential_and_never_restarted() -> None:
    services = plan(commands=["nginx -g 'daemon off;'", "php-fpm -F"]).services
    assert list(services) == ["nginx", "php-fpm"]
    assert services["nginx"].command == ("nginx", "-g", "daemon off;")
    assert all(service.essential and service.restart.condition == "no" for service in services.values())


def test_with_main_only_main_is_essential_and_helpers_wait_for_it() -> None:
    """Commands without an option start together with main."""
    services = plan(main="./server", helpers=["./seed"], commands=["./side"]).services
    assert {name: service.essential for name, service in services.items()} == {
        "server": True,
        "seed": False,
        "side": False,
    }
    assert services["seed"].depends_on == (Dependency("server", STARTED),)
    assert services["side"].depends_on == ()


@pytest.mark.parametrize(
    ("ready", "probe"),
    [
        ("tcp:5432", Probe("tcp", "127.0.0.1", 5432, timeout_seconds=5.0)),
        ("tcp:10.0.0.1:80", Probe("tcp", "10.0.0.1", 80, timeout_seconds=5.0)),
        ("http://localhost:8080/ready", Probe("http", "127.0.0.1", 8080, "/ready", timeout_seconds=5.0)),
    ],
)
def test_ready_is_the_probe_of_main_and_helpers_wait_for_it(ready: str, probe: Probe) -> None:
    services = plan(main="db", helpers=["./seed"], commands=["./side"], ready=ready).services
    assert services["db"].probe == probe
    assert services["seed"].depends_on == (Dependency("db", HEALTHY),)
    assert services["seed"].probe is None
    assert services["side"].probe is None


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("web=./server --x", "web"),
        ("my.app-1=./server", "my.app-1"),
        ("Web=./server", "Web"),
        ("PORT=80 ./server", "server"),
        ("A_B=80 ./server", "server"),
        ("/usr/sbin/nginx", "nginx"),
        ("g++ x", "g"),
        ("cohabit ps", "cohabit-2"),
        ("sleep 1; sleep 2", "sh"),
        ("echo hi", "echo"),
        ("'...' x", "command"),
    ],
)
def test_a_command_has_its_written_name_or_that_of_its_program(command: str, name: str) -> None:
    """name=command needs a lowercase letter; NAME=value is an assignment."""
    assert list(plan(commands=[command]).services) == [name]


def test_an_assignment_is_part_of_the_command() -> None:
    assert plan(commands=["PORT=80 ./server"]).services["server"].command == ("/bin/sh", "-c", "PORT=80 exec ./server")


def test_equal_names_are_numbered_and_written_names_are_skipped() -> None:
    assert list(plan(commands=["sleep 1", "sleep 2", "sleep-2=true x", "sleep 3"]).services) == [
        "sleep",
        "sleep-3",
        "sleep-2",
        "sleep-4",
    ]


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ({}, ["nothing to run (write each command as one string: cohabit run 'COMMAND' 'COMMAND')"]),
        ({"commands": ["a"], "helpers": ["b"]}, ["--helper needs --main (add --main COMMAND)"]),
        ({"commands": ["a"], "ready": "tcp:80"}, ["--ready needs --main (add --main COMMAND)"]),
        ({"commands": ["x=a", "x=b"]}, ["two commands are named x (rename one)"]),
        (
            {"commands": ["cohabit=a"]},
            ["no command can be named cohabit: the name is reserved for cohabit's own messages (choose another)"],
        ),
        ({"commands": ["a 'b"]}, ["cannot read \"a 'b\": the quote ' is not closed"]),
        (
            {"main": "", "commands": ["web="]},
            ["cannot read --main '': the command is empty", "cannot read 'web=': the command is empty"],
        ),
        (
            {"main": "a", "ready": "udp:80"},
            ["--ready 'udp:80': unknown kind of probe (write tcp:PORT, tcp:HOST:PORT or http://HOST:PORT/path)"],
        ),
    ],
)
def test_all_errors_of_the_command_line_are_reported(request_: dict[str, Any], expected: list[str]) -> None:
    """Every error of the command line has exit code 64."""
    assert diagnostics(**request_) == expected


@given(
    st.none() | st.text(),
    st.lists(st.text(), max_size=3),
    st.lists(st.text() | st.from_regex(r"[a-zA-Z.]{0,3}=.*"), max_size=3),
    st.none() | st.text(),
)
def test_every_command_line_is_a_plan_or_diagnostics(
    main: str | None, helpers: list[str], commands: list[str], ready: str | None
) -> None:
    """No command line raises; one without errors is a Plan."""
    draft = read({"main": main, "helpers": helpers, "commands": commands, "ready": ready}, {})
    assert (build(draft)[0] is None) == bool(draft.problems)


def test_log_driver_and_its_options() -> None:
    """The options apply to all commands and to cohabit's messages; without them the default is unchanged."""
    typed = {"main": None, "helpers": [], "commands": ["a", "b"], "ready": None}
    draft = read({**typed, "log_driver": "file", "log_opts": ["path=/log/a=b", "max-size=10k"]}, {})
    expected = (Logging("file", path="/log/a=b", bytes_max=10_240),)
    assert draft.problems == ()
    assert [item.service.logging for item in draft.services.values()] == [expected, expected]
    assert draft.logging == expected
    draft = read({**typed, "log_driver": None, "log_opts": ["multiline-pattern=^\\d+$"]}, {})
    assert [item.service.multiline_pattern for item in draft.services.values()] == ["^\\d+$"] * 2
    assert read(typed, {}).logging == (Logging(),)


@pytest.mark.parametrize(
    ("driver", "options", "diagnostic"),
    [
        ("json", ["mode"], "--log-opt 'mode': expected NAME=VALUE"),
        ("json", ["=x"], "--log-opt '=x': expected NAME=VALUE"),
        ("jsn", [], "--log-driver: unknown driver 'jsn' (did you mean 'json'?)"),
        ("file", ["pth=/x", "path=/y"], "--log-opt pth: unknown key (did you mean 'path'?)"),
        ("file", [], "--log-opt: path is missing (write path: /var/log/name.log)"),
    ],
)
def test_an_invalid_log_option_is_reported(driver: str, options: list[str], diagnostic: str) -> None:
    """The message names the options as `docker run` does."""
    draft = read({"main": None, "helpers": [], "commands": ["a"], "log_driver": driver, "log_opts": options}, {})
    assert [one.text for one in draft.problems] == [diagnostic]
    assert [one.exit_code for one in draft.problems] == [64]


@pytest.mark.parametrize(
    ("commands", "names"),
    [
        (["service cron start", "service ssh start"], ["cron", "ssh"]),
        (["/usr/sbin/service cron start"], ["cron"]),
        (["/etc/init.d/cron start", "service cron restart"], ["cron", "cron-2"]),
        (["A=1 service php8.2-fpm start >/dev/null", "rc-service nginx start"], ["php8.2-fpm", "nginx"]),
        (["invoke-rc.d redis-server start", "main=service cron start"], ["redis-server", "main"]),
        (["service --status-all", "service cron status"], ["service", "service-2"]),
        (["service cron start; sleep 1"], ["sh"]),
    ],
)
def test_init_scripts_give_their_names(commands: list[str], names: list[str]) -> None:
    """The service is the daemon, not the program that starts it."""
    assert list(plan(commands=commands).services) == names

"""config/commands.py: the command line of `cohabit run`."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cohabit.config.commands import read
from cohabit.errors import EXIT_USAGE
from cohabit.plan.build import build
from cohabit.plan.model import HEALTHY, STARTED, Dependency, Logging, Plan, Probe


def plan(**request: Any) -> Plan:
    made, problems = build(read(request, {}))
    assert problems == ()
    assert made is not None
    return made


def problems(**request: Any) -> list[str]:
    draft = read(request, {})
    assert {problem.exit_code for problem in draft.problems} <= {EXIT_USAGE}
    assert build(draft)[0] is None
    return [problem.text for problem in draft.problems]


def test_without_main_every_command_is_essential_and_never_restarted() -> None:
    services = plan(commands=["nginx -g 'daemon off;'", "php-fpm -F"]).services
    assert list(services) == ["nginx", "php-fpm"]
    assert services["nginx"].command == ("nginx", "-g", "daemon off;")
    assert all(service.essential and service.restart.condition == "no" for service in services.values())


def test_with_main_only_main_is_essential_and_helpers_wait_for_it() -> None:
    """Plain commands beside main start with it."""
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
def test_ready_is_mains_probe_and_helpers_wait_for_it(ready: str, probe: Probe) -> None:
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
def test_a_command_is_named_by_hand_or_after_its_program(command: str, name: str) -> None:
    """name=command needs a small letter, so that an assignment stays one."""
    assert list(plan(commands=[command]).services) == [name]


def test_an_assignment_stays_part_of_the_command() -> None:
    assert plan(commands=["PORT=80 ./server"]).services["server"].command == ("/bin/sh", "-c", "PORT=80 exec ./server")


def test_the_second_of_a_kind_is_numbered_around_names_given_by_hand() -> None:
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
        ({"commands": ["a"], "helpers": ["b"]}, ["--helper needs --main (write --main COMMAND, too)"]),
        ({"commands": ["a"], "ready": "tcp:80"}, ["--ready needs --main (write --main COMMAND, too)"]),
        ({"commands": ["x=a", "x=b"]}, ["two commands are named x (rename one)"]),
        (
            {"commands": ["cohabit=a"]},
            ["no command can be named cohabit: our own messages are (choose another name)"],
        ),
        ({"commands": ["a 'b"]}, ["cannot read \"a 'b\": the quote ' is never closed"]),
        (
            {"main": "", "commands": ["web="]},
            ["cannot read --main '': the command is empty", "cannot read 'web=': the command is empty"],
        ),
        (
            {"main": "a", "ready": "udp:80"},
            ["--ready 'udp:80': no such kind of probe (write tcp:PORT, tcp:HOST:PORT or http://HOST:PORT/path)"],
        ),
    ],
)
def test_wrong_usage_is_told_whole(request_: dict[str, Any], expected: list[str]) -> None:
    """Every problem of a command line is of the kind that exits 64."""
    assert problems(**request_) == expected


@given(
    st.none() | st.text(),
    st.lists(st.text(), max_size=3),
    st.lists(st.text() | st.from_regex(r"[a-zA-Z.]{0,3}=.*"), max_size=3),
    st.none() | st.text(),
)
def test_any_command_line_is_a_plan_or_problems(
    main: str | None, helpers: list[str], commands: list[str], ready: str | None
) -> None:
    """No words raise; what has no problem is a Plan."""
    draft = read({"main": main, "helpers": helpers, "commands": commands, "ready": ready}, {})
    assert (build(draft)[0] is None) == bool(draft.problems)


def test_log_driver_and_its_options() -> None:
    """All commands write as they say, and so do we; without them nothing is different."""
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
    ("driver", "options", "problem"),
    [
        ("json", ["mode"], "--log-opt 'mode': expected NAME=VALUE"),
        ("json", ["=x"], "--log-opt '=x': expected NAME=VALUE"),
        ("jsn", [], "--log-driver: there is no driver 'jsn' (did you mean 'json'?)"),
        ("file", ["pth=/x", "path=/y"], "--log-opt pth: unknown key (did you mean 'path'?)"),
        ("file", [], "--log-opt: path is missing (write path: /var/log/name.log)"),
    ],
)
def test_a_wrong_log_option(driver: str, options: list[str], problem: str) -> None:
    """It is a problem of what was typed, in docker's words."""
    draft = read({"main": None, "helpers": [], "commands": ["a"], "log_driver": driver, "log_opts": options}, {})
    assert [one.text for one in draft.problems] == [problem]
    assert [one.exit_code for one in draft.problems] == [64]

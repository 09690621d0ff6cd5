"""`cohabit up`: limits, users, secrets and sockets of a service, end to end."""

import socket
from pathlib import Path

import pytest

from linux.clients import ask, environment
from linux.conftest import Start
from linux.run import shell
from linux.spawned import PYTHON

TEXT = "hunter2"


def test_limits_and_groups(up: Start) -> None:
    """A service gets the settings of the file; another service does not."""
    script = (
        "ulimit -n; umask; nice; cat /proc/self/oom_score_adj; grep -E 'CapBnd|NoNewPrivs' /proc/self/status; id -G"
    )
    limited = {
        "command": shell(script),
        "user": "12345:12346",
        "group_add": [777],
        "ulimits": {"nofile": 99},
        "umask": "0027",
        "nice": 5,
        "oom_score_adj": 500,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "essential": False,
    }
    run = up({"limited": limited, "free": {"command": shell("umask; nice"), "essential": False}})
    assert run.wait() == 0
    assert run.lines("limited") == [
        "99",
        "0027",
        "5",
        "500",
        "CapBnd:\t0000000000000000",
        "NoNewPrivs:\t1",
        "12346 777",
    ]
    assert run.lines("free") == ["0022", "0"]


def test_group_add_alone_changes_no_more_than_the_groups(up: Start) -> None:
    """HOME stays that of cohabit."""
    run = up({"web": {"command": shell("id -u; id -G; echo $HOME"), "group_add": [777]}}, environment={"HOME": "/here"})
    run.wait()
    user, groups, home = run.lines("web")
    assert (user, groups.split()[-1], home) == ("0", "777", "/here")


def test_unavailable_socket_is_reported_before_anything_starts(up: Start, port: int) -> None:
    """A socket that cannot be opened: the message has its address and the reason, and nothing has run."""
    with socket.create_server(("127.0.0.1", port)):
        run = up({"web": {"command": shell("echo ran"), "sockets": [f"127.0.0.1:{port}"]}})
        assert run.wait() == 71
    assert f"web: cannot listen on 127.0.0.1:{port}: the address is in use" in run.text
    assert run.lines("web") == []


def test_secrets_are_passed_and_appear_nowhere_else(up: Start) -> None:
    """As a file that only its user can read, and as a variable; the source variable is removed."""
    own = "stat -c '%U %a' /run/secrets/db; cat /run/secrets/db; echo; echo [$DB] [$DB_FILE] [$SOURCE]"
    other = "cat /run/secrets/db || echo [$DB] [$SOURCE]"
    run = up(
        {
            "web": {
                "command": shell(own),
                "user": "daemon",
                "secrets": ["db"],
                "environment": {"DB_FILE": "/run/secrets/db"},
                "essential": False,
            },
            "other": {"command": shell(other), "user": "nobody", "essential": False},
        },
        top={"secrets": {"db": {"environment": "SOURCE"}}},
        environment={"SOURCE": TEXT},
        setup="mount -t tmpfs tmpfs /run",
    )
    assert run.wait() == 0
    assert run.lines("web") == ["daemon 400", TEXT, f"[{TEXT}] [] []"]
    assert run.lines("other", "out") == ["[] []"]
    assert run.text.count(TEXT) == 2  # the service's own output


def test_a_missing_secret_starts_nothing(up: Start) -> None:
    """The message has its path and the line that refers to it."""
    run = up({"web": {"command": shell("echo ran"), "environment": {"DB_FILE": "/run/secrets/none"}}})
    assert run.wait() == 78
    assert "cannot set DB for web: /run/secrets/none does not exist" in run.text
    assert run.lines("web") == []


@pytest.mark.parametrize("form", ["tcp", "unix"])
def test_no_client_is_refused_during_a_restart(up: Start, port: int, tmp_path: Path, form: str) -> None:
    """Each run serves one client and exits; the next client waits in the socket, which stays."""
    address = f"127.0.0.1:{port}" if form == "tcp" else str(tmp_path / "s")
    serve = (
        "import os, socket\n"
        "client, _ = socket.socket(fileno=3).accept()\n"
        'client.sendall(f\'{os.environ["LISTEN_PID"] == str(os.getpid())} {os.environ["LISTEN_FDNAMES"]}\'.encode())\n'
    )
    restart = {"deploy": {"restart_policy": {"condition": "any", "delay": "0s"}}}
    run = up({"web": {"command": [*PYTHON, serve], "sockets": [address], **restart}})
    run.until_printed("web: started")
    for _ in range(5):
        family = socket.AF_INET if form == "tcp" else socket.AF_UNIX
        with socket.socket(family) as client:
            client.connect(("127.0.0.1", port) if form == "tcp" else address)
            assert client.recv(99) == b"True web"
    assert run.stop() == 0
    assert not (tmp_path / "s").exists()


BIND = "import socket; socket.create_server(('', 80)).close(); print('bound')"
CAPABILITIES = shell("grep CapAmb /proc/self/status")
AMBIENT = "CapAmb:\t0000000000000400"
NONE = "CapAmb:\t0000000000000000"


@pytest.mark.parametrize("given", [True, False])
def test_a_port_below_1024_needs_an_ambient_capability(up: Start, given: bool) -> None:
    """The service is not root, and its program has no file capabilities."""
    own = {"ambient_capabilities": ["NET_BIND_SERVICE"]} if given else {"cap_add": ["NET_BIND_SERVICE"]}
    run = up(
        {"web": {"command": [*PYTHON, BIND], "user": "12345:12346", **own}},
        above=("unshare", "--net"),  # a new one, in which these ports need the capability
        process_1=False,
    )
    assert run.wait() == (0 if given else 1)
    assert ("bound" in run.lines("web"), "Permission denied" in run.text) == (given, not given)


def test_every_process_of_the_user_has_the_ambient_capabilities(up: Start, tmp_path: Path) -> None:
    """The command, its probe and its hooks; not a hook with a user of its own, nor another service, nor exec -u."""
    stages = ("pre_start", "post_start", "post_stop")
    run = up(
        {
            "web": {
                "command": shell("grep CapAmb /proc/self/status; exec sleep 1000"),
                "user": "12345:12346",
                "cap_drop": ["ALL"],
                "cap_add": ["NET_BIND_SERVICE"],
                "ambient_capabilities": ["NET_BIND_SERVICE"],
                "security_opt": ["no-new-privileges:true"],
                "healthcheck": {"test": ["CMD", "grep", "-q", AMBIENT.split("\t")[1], "/proc/self/status"]},
                **{stage: [{"command": CAPABILITIES}] for stage in stages},
                "pre_stop": [{"command": CAPABILITIES, "user": "12347"}],
            },
            "other": {
                "command": shell("grep CapAmb /proc/self/status; exec sleep 1000"),
                "user": "12345",
                "cap_drop": ["CHOWN"],
            },
        },
        environment=environment(str(tmp_path)),
    )
    run.until_printed("web: ready")
    run.until_printed(NONE)
    grep = ("--", "grep", "CapAmb", "/proc/self/status")
    assert ask(run, str(tmp_path), "exec", "-w", "/", "web", *grep).strip() == AMBIENT
    assert ask(run, str(tmp_path), "exec", "-w", "/", "-u", "12345", "web", *grep).strip() == NONE
    assert ask(run, str(tmp_path), "exec", "-w", "/", "-u", "0", "web", *grep).strip() == NONE
    assert ask(run, str(tmp_path), "exec", "-w", "/", "other", *grep).strip() == NONE
    assert run.stop() == 0
    assert run.lines("web") == [AMBIENT] * 3 + [NONE, AMBIENT]
    assert run.lines("other") == [NONE]


def test_a_capability_that_the_container_does_not_have(up: Start) -> None:
    """It is an error before anything starts."""
    run = up(
        {"web": {"command": ["true"], "user": "12345", "ambient_capabilities": ["SYS_TIME"]}},
        above=("setpriv", "--bounding-set=-sys_time", "--inh-caps=-sys_time"),
        process_1=False,
    )
    assert run.wait() == 78
    assert (
        "services.web.ambient_capabilities: cannot give SYS_TIME to the service: cohabit does not have it" in run.text
    )
    assert "web: started" not in run.text

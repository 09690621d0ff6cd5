"""The identity and privileges of services, as the kernel shows them in a container, and settings that are refused."""

from typing import Any, Final

import pytest

from docker.container import Logs, Start
from docker.mounted import Mounted

STATUS: Final = ["cat", "/proc/self/status"]
IDS: Final = ["sh", "-c", "id -u; id -g; id -G"]
WWW_DATA, MAIL, GAMES = "33", "8", "60"

# service -> its settings, its command, and the lines that it prints
WHO: Final[dict[str, tuple[dict[str, Any], list[str]]]] = {
    "name": ({"user": "www-data"}, [WWW_DATA, WWW_DATA, WWW_DATA]),
    "number": ({"user": WWW_DATA}, [WWW_DATA, WWW_DATA, WWW_DATA]),
    "numbers": ({"user": f"{WWW_DATA}:{MAIL}"}, [WWW_DATA, MAIL, MAIL]),
    "unknown": ({"user": "4711:4712"}, ["4711", "4712", "4712"]),
    "puid": ({"user": "${PUID}:${PGID:-100}"}, ["1234", "100", "100"]),
    "groups": ({"user": "www-data", "group_add": ["mail", int(GAMES)]}, [WWW_DATA, WWW_DATA, f"33 {MAIL} {GAMES}"]),
}
WHAT: Final[dict[str, tuple[dict[str, Any], list[str]]]] = {
    "ulimits": (
        {
            "ulimits": {"nofile": {"soft": 123, "hard": 456}, "core": 0},
            "command": ["sh", "-c", "ulimit -n; ulimit -Hn; ulimit -c"],
        },
        ["123", "456", "0"],
    ),
    "nice": ({"nice": 7, "command": ["nice"]}, ["7"]),
    "oom": ({"oom_score_adj": 321, "command": ["cat", "/proc/self/oom_score_adj"]}, ["321"]),
    "umask": ({"umask": "027", "command": ["sh", "-c", "umask"]}, ["0027"]),
    "place": ({"working_dir": "/var/lib", "command": ["pwd"]}, ["/var/lib"]),
}
NOTHING: Final = "0000000000000000"
NET_BIND_SERVICE: Final = f"{1 << 10:016x}"


def status(logs: Logs, name: str) -> dict[str, str]:
    """Return the /proc/self/status that a service printed."""
    lines = (line.partition(":") for line in logs.of(name))
    return {key: value.strip() for key, _, value in lines}


def test_every_service_has_its_user_and_groups(servers: str, file: Mounted, start: Start) -> None:
    """`user` by name, number, uid:gid and PUID; group_add; without further groups and without capabilities."""
    file.write({name: {"command": IDS, "essential": False, **settings} for name, (settings, _) in WHO.items()})
    container = start(servers, options=(*file.options, "--env=PUID=1234"))
    assert container.wait().code == 0
    logs = container.logs()
    assert {name: logs.of(name) for name in WHO} == {name: lines for name, (_, lines) in WHO.items()}


def test_every_service_has_its_limits(servers: str, file: Mounted, start: Start) -> None:
    """ulimits, nice, oom_score_adj, umask and working_dir apply to the service only."""
    settings = {name: service for name, (service, _) in WHAT.items()} | {"other": {"command": STATUS}}
    file.write({name: {"essential": False, **service} for name, service in settings.items()})
    container = start(servers, options=file.options)
    assert container.wait().code == 0
    logs = container.logs()
    assert {name: logs.of(name) for name in WHAT} == {name: lines for name, (_, lines) in WHAT.items()}
    assert status(logs, "other")["Umask"] == "0022"


def test_privileges_are_dropped(servers: str, file: Mounted, start: Start) -> None:
    """cap_drop: ALL removes root's capabilities, cap_add keeps one, no-new-privileges is set; others are unchanged."""
    settings: dict[str, dict[str, Any]] = {
        "bare": {"cap_drop": ["ALL"], "security_opt": ["no-new-privileges:true"]},
        "spared": {"cap_drop": ["ALL"], "cap_add": ["NET_BIND_SERVICE"]},
        "other": {},
    }
    file.write({name: {"command": STATUS, "essential": False, **service} for name, service in settings.items()})
    container = start(servers, options=file.options)
    assert container.wait().code == 0
    bare, spared, other = (status(container.logs(), name) for name in ("bare", "spared", "other"))
    sets = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
    assert [bare[name] for name in sets] == [NOTHING] * len(sets)
    assert bare["NoNewPrivs"] == "1"
    assert (spared["CapEff"], spared["CapBnd"]) == (NET_BIND_SERVICE, NET_BIND_SERVICE)
    assert spared["NoNewPrivs"] == other["NoNewPrivs"] == "0"
    assert int(other["CapEff"], 16) > 1 << 10


UNPRIVILEGED: Final = ("--user=1000:1000",)
BARE: Final = ("--cap-drop=ALL",)
# Options of `docker run`, and for each service that cannot start with them: its settings, and the message.
IMPOSSIBLE: Final[dict[str, tuple[tuple[str, ...], dict[str, tuple[dict[str, Any], str]]]]] = {
    "unprivileged": (
        (*UNPRIVILEGED, "--ulimit=nofile=100:200"),
        {
            "changing": ({"user": "www-data"}, "user"),
            "joining": ({"group_add": ["mail"]}, "group_add: cannot change groups"),
            "urgent": ({"nice": -5}, "nice: cannot be lower than 0"),
            "spared": ({"oom_score_adj": -500}, "oom_score_adj: cannot be lower than"),
            "hungry": ({"ulimits": {"nofile": 300}}, "ulimits: nofile: cannot raise the hard limit 200 to 300"),
            "bare": ({"cap_drop": ["ALL"]}, "cohabit has no CAP_SETPCAP"),
        },
    ),
    "without capabilities": (
        BARE,
        {
            "changing": ({"user": "www-data"}, "user"),
            "joining": ({"group_add": ["mail"]}, "group_add: cannot change groups"),
            "urgent": ({"nice": -5}, "nice: cannot be lower than 0"),
        },
    ),
    "unknown user": ((), {"changing": ({"user": "nobody-knows"}, "nobody-knows")}),
}


@pytest.mark.parametrize("what", IMPOSSIBLE)
def test_refused_settings_are_reported_before_anything_starts(
    what: str, servers: str, file: Mounted, start: Start
) -> None:
    """Exit code 78, a message for each service with the key, and no service is started."""
    options, asking = IMPOSSIBLE[what]
    services = {name: {"command": STATUS, **settings} for name, (settings, _) in asking.items()}
    file.write({**services, "other": {"command": "echo started"}})
    container = start(servers, options=(*file.options, *options))
    assert container.wait().code == 78
    logs = container.logs()
    for name, (_, message) in asking.items():
        assert [line for line in logs.stderr.splitlines() if name in line and message in line], name
    assert [logs.of(name) for name in (*services, "other")] == [[]] * (len(services) + 1)


def test_unprivileged_settings_are_accepted(servers: str, file: Mounted, start: Start) -> None:
    """Without root and without any capability: the current user, lower limits, and no new privileges."""
    settings = {
        "user": "1000:1000",
        "nice": 3,
        "oom_score_adj": 900,
        "umask": "077",
        "ulimits": {"nofile": 64},
        "security_opt": ["no-new-privileges"],
        "cap_drop": ["ALL"],
    }
    file.write({"modest": {"command": STATUS, **settings}})
    container = start(servers, options=(*file.options, *UNPRIVILEGED, *BARE))
    assert container.wait().code == 0
    seen = status(container.logs(), "modest")
    assert (seen["Umask"], seen["NoNewPrivs"], seen["CapBnd"]) == ("0077", "1", NOTHING)

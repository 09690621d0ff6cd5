"""config/compose.py and service.py: what each key of a cohabit file means."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING

import pytest

from cohabit.config.compose import read
from cohabit.errors import EXIT_USAGE
from cohabit.plan.model import COMPLETED, HEALTHY, STARTED, Dependency, Restart, Service
from unit.file_story import ENVIRON, complaint, draft, service, told

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("here")


@pytest.mark.parametrize(
    ("keys", "command"),
    [
        ("command: [sh, -c, 'a  b', 5]", ("sh", "-c", "a  b", "5")),
        ("command: server --port 80 'a b' $$HOME", ("server", "--port", "80", "a b", "$HOME")),
        ("entrypoint: [sh, -c], command: ['a b']", ("sh", "-c", "a b")),
        ("entrypoint: /entry.sh -x, command: server", ("/entry.sh", "-x", "server")),
        ("entrypoint: [server]", ("server",)),
        ("entrypoint: [], command: server", ("server",)),
        ("entrypoint: [server], command: []", ("server",)),
        ("command: [server, '']", ("server", "")),
        ("command: ['${HOME}/x', '$TOKEN']", ("/root/x", "t0")),
        ("command: server && other", ("server", "&&", "other")),
    ],
)
def test_command_and_entrypoint(keys: str, command: tuple[str, ...]) -> None:
    """A list is used as it is, a string is split into words without a shell; entrypoint goes before command."""
    made = draft(f"services:\n  web: {{{keys}}}\n")
    assert made.services["web"].service.command == command
    assert [problem.warning for problem in made.problems] == [True] * ("&&" in command)


@pytest.mark.parametrize(
    ("keys", "environment"),
    [
        (
            "environment: {A: 1.10, B: 0777, C: true, D: x, E: '', F: '${TOKEN}'}",
            {"A": "1.10", "B": "0777", "C": "true", "D": "x", "E": "", "F": "t0"},
        ),
        ("environment: [A=1, B=x=y, C=, TOKEN, GONE]", {"A": "1", "B": "x=y", "C": "", "TOKEN": "t0", "GONE": None}),
        ("environment: {TOKEN: , GONE: null}", {"TOKEN": "t0", "GONE": None}),
        ("environment: {yes: on, 'a.b': 22:22}", {"yes": "on", "a.b": "22:22"}),
        ("environment: {}", {}),
    ],
)
def test_environment(keys: str, environment: dict[str, str | None]) -> None:
    """A map or a list; numbers as they were written, names without a value from our own environment."""
    assert service(keys).environment == environment


def test_env_files_come_before_environment_and_later_ones_win(tmp_path: Path) -> None:
    (tmp_path / "a.env").write_text("A=a\nB=a\nC=a\n")
    (tmp_path / "b.env").write_text("B='$HOME'\nC=b\n")
    keys = "env_file: [a.env, {path: b.env, format: raw}], environment: {C: own}"
    assert service(keys).environment == {"A": "a", "B": "'$HOME'", "C": "own"}
    assert service("env_file: a.env").environment == {"A": "a", "B": "a", "C": "a"}
    assert service("env_file: [{path: none.env, required: false}]").environment == {}


def test_env_files_are_found_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.env").write_text("A=1\n")
    made = draft("services: {web: {command: x, env_file: a.env}}", "sub/cohabit.yaml")
    assert made.problems == ()
    assert made.services["web"].service.environment == {"A": "1"}


def test_a_dotenv_file_beside_the_file_serves_variables_behind_the_environment(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("TOKEN=from-file\nOWN=o\n")
    assert service("environment: {A: '$TOKEN $OWN', OWN: }").environment == {"A": "t0 o", "OWN": "o"}


def test_a_directory_called_dotenv_is_no_matter(tmp_path: Path) -> None:
    (tmp_path / ".env").mkdir()
    assert service("environment: {A: b}").environment == {"A": "b"}


@pytest.mark.parametrize(
    ("keys", "restart"),
    [
        ("essential: true", Restart("no")),
        ("restart: no", Restart("no")),
        ("restart: always", Restart("always")),
        ("restart: unless-stopped", Restart("always")),
        ("restart: on-failure", Restart("on-failure")),
        ("restart: 'on-failure:3'", Restart("on-failure", 3)),
        ("restart: on-failure:0", Restart("on-failure")),
        ("deploy: {restart_policy: {}}", Restart("always")),
        ("deploy: {restart_policy: {condition: none}}", Restart("no")),
        (
            "restart: no, deploy: {restart_policy: {condition: on-failure, delay: 0s, max_attempts: 3, window: 2m}}",
            Restart("on-failure", 3, 0.0, 120.0),
        ),
        ("deploy: {resources: {limits: {cpus: 1}}, replicas: 1}, restart: always", Restart("always")),
    ],
)
def test_restart(keys: str, restart: Restart) -> None:
    """The short form, and deploy.restart_policy, which goes before it; no delay means Docker's back-off."""
    assert service(keys).restart == restart


@pytest.mark.parametrize(
    ("keys", "depends_on"),
    [
        ("depends_on: [db, cache]", (Dependency("db"), Dependency("cache"))),
        ("depends_on: [db, db]", (Dependency("db"),)),
        ("depends_on: []", ()),
        (
            """depends_on: {a: {condition: service_started}, b: {condition: service_healthy, required: false},
                c: {condition: service_completed_successfully, restart: true}}""",
            (
                Dependency("a", STARTED),
                Dependency("b", HEALTHY, required=False),
                Dependency("c", COMPLETED, restart=True),
            ),
        ),
    ],
)
def test_depends_on(keys: str, depends_on: tuple[Dependency, ...]) -> None:
    """The short form waits for the start, the long form for a condition."""
    assert service(keys).depends_on == depends_on


def test_single_values() -> None:
    """Grace periods in seconds, signals by number, the rest as written; a variable may stand for any of them."""
    made = service("working_dir: /srv, stop_signal: SIGQUIT, stop_grace_period: 1m30s, essential: '$YES', user: '0'")
    assert (made.working_dir, made.stop_signal, made.stop_grace_seconds) == ("/srv", 3, 90.0)
    assert made.user is not None
    assert made.user.uid == 0
    assert service("stop_grace_period: $GRACE, stop_signal: 3").stop_grace_seconds == 3.0


def test_defaults_are_composes() -> None:
    assert service("essential: ") == Service("web", ("x",))


def test_essential_and_profiles_are_kept_for_the_whole_to_decide() -> None:
    made = draft("services: {a: {command: x, essential: false, profiles: [dev]}, b: {command: x}}")
    assert (made.services["a"].essential, made.services["a"].profiles) == (False, ("dev",))
    assert (made.services["b"].essential, made.services["b"].profiles) == (None, ())


def test_the_total_grace_period_is_the_containers() -> None:
    made = draft("x-cohabit: {stop_grace_period: 25s}\nservices: {a: {command: x}}")
    assert made.stop_grace_seconds == 25.0
    assert draft("services: {a: {command: x}}").stop_grace_seconds == 9.0


def test_anchors_extensions_and_merges_make_services() -> None:
    text = """
x-base: &base
  restart: always
  environment: &env {A: 1}
services:
  web:
    <<: *base
    command: web
    environment: {<<: *env, B: 2}
  worker: {<<: *base, command: worker, restart: no, x-note: anything}
"""
    made = draft(text)
    assert made.problems == ()
    assert made.services["web"].service.environment == {"A": "1", "B": "2"}
    assert [item.service.restart.condition for item in made.services.values()] == ["always", "no"]


def test_keys_for_whoever_makes_the_container_are_accepted_in_silence() -> None:
    """A Compose file runs as it is, its variables of the host unset and all."""
    keys = (
        "image: '$TAG:?', build: ., ports: [80:80], volumes: [a:/b], networks: {n: }, container_name: c, hostname: h, "
        "labels: {a: b}, init: true, cap_add: [X], privileged: true, cpus: 0.5, mem_limit: 1g, tmpfs: /tmp, x-y: z"
    )
    assert service(keys) == Service("web", ("x",))
    top = "version: '3'\nname: n\nnetworks: {}\nvolumes: {v: }\nsecrets: {}\nconfigs: {}\nmodels: {}\nx-z: 1\n"
    assert told(top + "services: {a: {command: x}}") == []


@pytest.mark.parametrize(
    "key",
    [
        "extends: {service: x}",
    ],
)
def test_keys_that_ask_for_what_is_not_there_yet_warn(key: str) -> None:
    """One line each, and the service is read all the same."""
    assert complaint(key) == f"warning: services.web.{key.partition(':')[0]} is not acted on yet"


@pytest.mark.parametrize(
    "key",
    ["tty: false", "stdin_open: false", "ulimits: ", "cap_drop: []", "deploy: ", "pre_start: []", "pid_file: "],
)
def test_they_do_not_warn_where_they_ask_for_nothing(key: str) -> None:
    assert service(key) == Service("web", ("x",))


def test_include_is_not_acted_on_yet() -> None:
    assert told("include: [other.yaml]\nservices: {a: {command: x}}") == ["1: warning: include is not acted on yet"]


def test_the_file_is_looked_for_here_in_order(tmp_path: Path) -> None:
    """yaml, then yml, then toml."""
    for name in ("cohabit.toml", "cohabit.yml", "cohabit.yaml"):
        (tmp_path / name).write_text("" if name.endswith("toml") else "# nothing\n")
        assert read({"files": []}, ENVIRON).where.file == name


def test_no_file_at_all_says_where_it_was_looked_for(tmp_path: Path) -> None:
    (problem,) = read({"files": []}, ENVIRON).problems
    assert problem.text == (
        f"cannot find cohabit.yaml, cohabit.yml or cohabit.toml in {tmp_path} or /etc/cohabit "
        "(write one, or name it with -f FILE)"
    )


def test_a_file_that_is_named_must_be_there(tmp_path: Path) -> None:
    (problem,) = read({"files": ["gone.yaml"]}, ENVIRON).problems
    assert str(problem) == "gone.yaml: cannot read gone.yaml: no such file (name another with -f FILE)"
    (problem,) = read({"files": [str(tmp_path)]}, ENVIRON).problems
    assert problem.text == f"cannot read {tmp_path}: it is a directory (name a file in it)"


def test_several_files_are_wrong_usage() -> None:
    (problem,) = read({"files": ["a", "b"]}, ENVIRON).problems
    assert problem.exit_code == EXIT_USAGE


def test_a_dash_is_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    text = io.BytesIO(b"services: {web: {command: [x], restart: allways}}")
    monkeypatch.setattr(os, "read", lambda _fd, size: text.read(size))
    made = read({"files": ["-"]}, ENVIRON)
    assert [str(problem.where) for problem in made.problems] == ["standard input:1"]

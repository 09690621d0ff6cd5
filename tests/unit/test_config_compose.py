"""config/readers/compose.py and service.py: the meaning of each key."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING

import pytest

from cohabit.config.readers.registry import read
from cohabit.plan.model import COMPLETED, HEALTHY, STARTED, Dependency, LogFile, Restart, Service
from unit.file_story import ENVIRON, draft, reported, service

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
        ("command: server && other", ("server",)),
        ("command: 'sh -c \"echo $$(date)\"'", ("sh", "-c", "echo $(date)")),
    ],
)
def test_command_and_entrypoint(keys: str, command: tuple[str, ...]) -> None:
    """A list is used as it is, a string is split without a shell; entrypoint precedes command."""
    made = draft(f"services:\n  web: {{{keys}}}\n")
    assert made.services["web"].service.command == command
    assert [diagnostic.warning for diagnostic in made.problems] == [True] * ("&&" in keys)


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
    """A map or a list; numbers stay as written, names without a value take cohabit's own."""
    assert service(keys).environment == environment


def test_environment_overrides_env_files_and_later_files_override_earlier_ones(tmp_path: Path) -> None:
    (tmp_path / "a.env").write_text("A=a\nB=a\nC=a\n")
    (tmp_path / "b.env").write_text("B='$HOME'\nC=b\n")
    keys = "env_file: [a.env, {path: b.env, format: raw}], environment: {C: own}"
    assert service(keys).environment == {"A": "a", "B": "'$HOME'", "C": "own"}
    assert service("env_file: a.env").environment == {"A": "a", "B": "a", "C": "a"}
    assert service("env_file: [{path: none.env, required: false}]").environment == {}


@pytest.mark.parametrize(("value", "words"), [(None, ("x", "y")), ("3", ("x", "--workers=3", "y"))])
def test_a_flag_of_an_empty_variable_is_dropped_from_a_text(value: str | None, words: tuple[str, ...]) -> None:
    """A text is split after the interpolation. In a list an empty item stays an argument, as in Compose."""
    environ = {} if value is None else {"W": value}
    made = draft("services: {a: {command: 'x ${W:+--workers=$W} y'}, b: {command: [x, '${W:+w}']}}", environ=environ)
    assert made.services["a"].service.command == words
    assert made.services["b"].service.command == ("x", "" if value is None else "w")


def test_env_files_are_relative_to_the_directory_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.env").write_text("A=1\n")
    made = draft("services: {web: {command: x, env_file: a.env}}", "sub/cohabit.yaml")
    assert made.problems == ()
    assert made.services["web"].service.environment == {"A": "1"}


def test_the_environment_overrides_the_dotenv_file(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("TOKEN=from-file\nOWN=o\n")
    assert service("environment: {A: '$TOKEN $OWN', OWN: }").environment == {"A": "t0 o", "OWN": "o"}


def test_a_directory_named_dotenv_is_ignored(tmp_path: Path) -> None:
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
    """The short form, and deploy.restart_policy, which overrides it; no delay means Docker's back-off."""
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
    """The short form means service_started, the long form has a condition."""
    assert service(keys).depends_on == depends_on


def test_single_values() -> None:
    """Grace periods become seconds, signals numbers; each value may come from a variable."""
    made = service("working_dir: /srv, stop_signal: SIGQUIT, stop_grace_period: 1m30s, essential: '$YES', user: '0'")
    assert (made.working_dir, made.stop_signal, made.stop_grace_seconds) == ("/srv", 3, 90.0)
    assert made.user is not None
    assert made.user.uid == 0
    assert service("stop_grace_period: $GRACE, stop_signal: 3").stop_grace_seconds == 3.0


def test_defaults_are_those_of_compose() -> None:
    assert service("essential: ") == Service("web", ("x",))


def test_essential_and_profiles_are_kept_in_the_draft() -> None:
    made = draft("services: {a: {command: x, essential: false, profiles: [dev]}, b: {command: x}}")
    assert (made.services["a"].essential, made.services["a"].profiles) == (False, ("dev",))
    assert (made.services["b"].essential, made.services["b"].profiles) == (None, ())


def test_the_total_grace_period_is_in_x_cohabit() -> None:
    made = draft("x-cohabit: {stop_grace_period: 25s}\nservices: {a: {command: x}}")
    assert made.stop_grace_seconds == 25.0
    assert draft("services: {a: {command: x}}").stop_grace_seconds == 9.0


def test_anchors_extensions_and_merge_keys_work() -> None:
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


def test_ignored_keys_have_no_diagnostics() -> None:
    """A Compose file works unchanged, even if variables of the host are not set."""
    keys = (
        "image: '$TAG:?', build: ., ports: [80:80], volumes: [a:/b], networks: {n: }, container_name: c, hostname: h, "
        "labels: {a: b}, init: true, cap_add: [X], privileged: true, cpus: 0.5, mem_limit: 1g, tmpfs: /tmp, x-y: z"
    )
    assert service(keys) == Service("web", ("x",))
    top = "version: '3'\nname: n\nnetworks: {}\nvolumes: {v: }\nsecrets: {}\nconfigs: {}\nmodels: {}\nx-z: 1\n"
    assert reported(top + "services: {a: {command: x}}") == []


def test_log_files() -> None:
    """By path, or with a stream; a later entry with the same path replaces the earlier one."""
    files = service("log_files: [/a.log, {path: /b.log, stream: stderr}, {path: /a.log}]").log_files
    assert files == (LogFile("/a.log"), LogFile("/b.log", "stderr"))
    assert service("log_files: [/a, {path: /a, stream: stderr}]").log_files == (LogFile("/a", "stderr"),)


@pytest.mark.parametrize(
    "key",
    ["tty: false", "stdin_open: false", "ulimits: ", "cap_drop: []", "deploy: ", "pre_start: []", "pid_file: "],
)
def test_a_key_with_its_default_changes_nothing(key: str) -> None:
    assert service(key) == Service("web", ("x",))


def test_the_first_existing_file_is_read(tmp_path: Path) -> None:
    """The order is yaml, yml, toml."""
    for name in ("cohabit.toml", "cohabit.yml", "cohabit.yaml"):
        (tmp_path / name).write_text("" if name.endswith("toml") else "# nothing\n")
        assert read({"files": []}, ENVIRON).where.file == name


def test_a_missing_file_is_reported_with_the_searched_directories(tmp_path: Path) -> None:
    (diagnostic,) = read({"files": []}, ENVIRON).problems
    assert diagnostic.text == (
        f"cannot find cohabit.yaml, cohabit.yml or cohabit.toml in {tmp_path} or /etc/cohabit "
        "(create one, or use -f FILE)"
    )


def test_a_named_file_must_exist(tmp_path: Path) -> None:
    (diagnostic,) = read({"files": ["gone.yaml"]}, ENVIRON).problems
    assert str(diagnostic) == "gone.yaml: cannot read gone.yaml: no such file (correct the path after -f)"
    (diagnostic,) = read({"files": [str(tmp_path)]}, ENVIRON).problems
    assert diagnostic.text == f"cannot read {tmp_path}: it is a directory (name a file in it)"


def test_a_dash_means_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    text = io.BytesIO(b"services: {web: {command: [x], restart: allways}}")
    monkeypatch.setattr(os, "read", lambda _fd, size: text.read(size))
    made = read({"files": ["-"]}, ENVIRON)
    assert [str(diagnostic.where) for diagnostic in made.problems] == ["standard input:1"]

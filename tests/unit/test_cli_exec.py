"""`cohabit exec`: this process becomes a command as a service would."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from unit.control_story import MAIN, answer, run_client, serving

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="to become another user needs root")

NOBODY = {"uid": 65_534, "gid": 65_534, "groups": [65_534], "name": "nobody", "home": "/nonexistent"}


def _exec(directory: Path, told: dict[str, Any], *words: str, **variables: str) -> tuple[int, str, str]:
    told = {
        "name": "web", "environment": {"PATH": os.environ["PATH"], "A": "1"}, "working_dir": None, "user": None,
        "command": ["serve"], "secret_files": {}, "umask": None,
    } | told  # fmt: skip
    with serving(directory, {"service": answer(0, "", told)}):
        done = run_client("exec", *words, COHABIT_RUNTIME_DIR=str(directory), **variables)
    return done.returncode, done.stdout, done.stderr


def test_environment_user_directory_and_umask(tmp_path: Path) -> None:
    """All as the service has them; nothing of ours but what belongs to the terminal."""
    told = {"user": NOBODY, "working_dir": "/", "umask": 0o27}
    script = "id -u; id -G; pwd; umask; echo $A $TERM ${B-unset}"
    code, out, err = _exec(tmp_path, told, "web", "--", "sh", "-c", script, TERM="vt100", B="ours")
    assert (code, out, err) == (0, "65534\n65534\n/\n0027\n1 vt100 unset\n", "")


def test_a_service_without_a_directory_is_where_its_cohabit_is(tmp_path: Path) -> None:
    """Here that is this test, wherever whoever asks may be; another directory is reckoned from there."""
    told = {"environment": {"PATH": os.environ["PATH"]}, "working_dir": None, "user": None, "secret_files": {}}
    with serving(tmp_path, {"service": answer(0, "", told | {"umask": None})}) as server:

        def asked(*words: str) -> str:
            command = [sys.executable, "-I", "-S", MAIN, "exec", "--socket", server.path, *words]
            return subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path, timeout=60).stdout

        assert asked("web", "pwd", "-P") == f"{os.getcwd()}\n"
        assert asked("-w", ".", "web", "pwd", "-P") == f"{tmp_path}\n"
        assert json.loads(asked("--json", "web"))["working_dir"] == os.getcwd()


def test_what_is_typed_comes_first(tmp_path: Path) -> None:
    """Another user, another directory, more variables; a name alone takes ours."""
    words = [
        "-u",
        "0:0",
        "-w",
        "/tmp",
        "-e",
        "A=2",
        "-e",
        "B",
        "-e",
        "C",
        "web",
        "sh",
        "-c",
        "id -u; pwd; echo $A $B ${C-unset}",
    ]
    assert _exec(tmp_path, {"user": NOBODY}, *words, B="ours") == (0, "0\n/tmp\n2 ours unset\n", "")


def test_secrets_come_from_their_files(tmp_path: Path) -> None:
    """Read here, with the rights that we have before we give them up."""
    (tmp_path / "secret").write_text("hush\n\n")
    (tmp_path / "secret").chmod(0o600)
    told = {"user": NOBODY, "secret_files": {"TOKEN": str(tmp_path / "secret")}}
    assert _exec(tmp_path, told, "web", "sh", "-c", "echo [$TOKEN]") == (0, "[hush]\n", "")


@pytest.mark.parametrize(
    ("told", "words", "code", "why"),
    [
        ({}, ["web", "nothing-of-that-name"], 127, "'nothing-of-that-name' is not found in PATH"),
        ({}, ["web", "/tmp"], 126, "'/tmp' is a directory"),
        (
            {"working_dir": "/nowhere"},
            ["web", "true"],
            126,
            "cannot change to its working directory /nowhere: it does not exist",
        ),
        ({"secret_files": {"X": "/nowhere"}}, ["web", "true"], 126, "cannot read its secret: /nowhere"),
        ({}, ["-u", "nobdy", "web", "true"], 64, "no such user in /etc/passwd (did you mean 'nobody'?)"),
        ({}, ["-e", "=x", "web", "true"], 64, "--env without a name (write NAME=VALUE)"),
    ],
)
def test_what_cannot_be(told: dict[str, Any], words: list[str], code: int, why: str, tmp_path: Path) -> None:
    """The shell's codes, and the words of a service's start."""
    found, out, err = _exec(tmp_path, told, *words)
    assert (found, out) == (code, "")
    assert why in err


@pytest.mark.parametrize("code", [0, 3, 143])
def test_the_exit_code_is_the_commands(code: int, tmp_path: Path) -> None:
    """No process of ours is left in between."""
    assert _exec(tmp_path, {}, "web", "--", "sh", "-c", f"exit {code}")[0] == code


def test_as_json_nothing_runs(tmp_path: Path) -> None:
    """What the command would get."""
    code, out, _ = _exec(tmp_path, {"user": NOBODY}, "--json", "-e", "B=2", "web")
    told = json.loads(out)
    assert (code, told["user"]["uid"], told["environment"]["B"]) == (0, 65_534, "2")


def test_no_permission_is_the_servers_answer(tmp_path: Path) -> None:
    """77."""
    with serving(tmp_path, {"service": answer(77, "cannot exec: for root only")}):
        done = run_client("exec", "web", "true", COHABIT_RUNTIME_DIR=str(tmp_path))
    assert (done.returncode, done.stderr) == (77, "cohabit: cannot exec: for root only\n")

"""`cohabit exec`: run a command in the environment of a service."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from unit.control_story import MAIN, answer, run_client, serving

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="switching users needs root")

NOBODY = {"uid": 65_534, "gid": 65_534, "groups": [65_534], "name": "nobody", "home": "/nonexistent"}


def _exec(directory: Path, changed: dict[str, Any], *arguments: str, **variables: str) -> tuple[int, str, str]:
    """Run `cohabit exec` against a description with these fields changed; returns (exit code, stdout, stderr)."""
    description = {
        "name": "web", "environment": {"PATH": os.environ["PATH"], "A": "1"}, "working_dir": None, "user": None,
        "command": ["serve"], "secret_files": {}, "umask": None,
    } | changed  # fmt: skip
    with serving(directory, {"service": answer(0, "", description)}):
        done = run_client("exec", *arguments, COHABIT_RUNTIME_DIR=str(directory), **variables)
    return done.returncode, done.stdout, done.stderr


def test_environment_user_directory_and_umask(tmp_path: Path) -> None:
    """As for the service; of this process, only the variables of the terminal are kept."""
    changed = {"user": NOBODY, "working_dir": "/", "umask": 0o27}
    script = "id -u; id -G; pwd; umask; echo $A $TERM ${B-unset}"
    code, out, err = _exec(tmp_path, changed, "web", "--", "sh", "-c", script, TERM="vt100", B="ours")
    assert (code, out, err) == (0, "65534\n65534\n/\n0027\n1 vt100 unset\n", "")


def test_default_working_directory_is_the_supervisors(tmp_path: Path) -> None:
    """Here, that is this test's, not the client's; --workdir is relative to the client's."""
    description = {"environment": {"PATH": os.environ["PATH"]}, "working_dir": None, "user": None, "secret_files": {}}
    with serving(tmp_path, {"service": answer(0, "", description | {"umask": None})}) as server:

        def output(*arguments: str) -> str:
            command = [sys.executable, "-I", "-S", MAIN, "exec", "--socket", server.path, *arguments]
            return subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path, timeout=60).stdout

        assert output("web", "pwd", "-P") == f"{os.getcwd()}\n"
        assert output("-w", ".", "web", "pwd", "-P") == f"{tmp_path}\n"
        assert json.loads(output("--json", "web"))["working_dir"] == os.getcwd()


def test_options_take_precedence(tmp_path: Path) -> None:
    """Another user, another directory, more variables; a name alone copies this process's variable."""
    arguments = [
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
    assert _exec(tmp_path, {"user": NOBODY}, *arguments, B="ours") == (0, "0\n/tmp\n2 ours unset\n", "")


def test_secrets_are_read_from_their_files(tmp_path: Path) -> None:
    """By the client, before it gives up its privileges."""
    (tmp_path / "secret").write_text("hush\n\n")
    (tmp_path / "secret").chmod(0o600)
    changed = {"user": NOBODY, "secret_files": {"TOKEN": str(tmp_path / "secret")}}
    assert _exec(tmp_path, changed, "web", "sh", "-c", "echo [$TOKEN]") == (0, "[hush]\n", "")


@pytest.mark.parametrize(
    ("changed", "arguments", "code", "why"),
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
        ({}, ["-u", "nobdy", "web", "true"], 64, "unknown user 'nobdy': not in /etc/passwd (did you mean 'nobody'?)"),
        ({}, ["-e", "=x", "web", "true"], 64, "--env without a name (write NAME=VALUE)"),
    ],
)
def test_failure(changed: dict[str, Any], arguments: list[str], code: int, why: str, tmp_path: Path) -> None:
    """The exit codes of a shell, and the messages of a service's start."""
    found, out, err = _exec(tmp_path, changed, *arguments)
    assert (found, out) == (code, "")
    assert why in err


@pytest.mark.parametrize("code", [0, 3, 143])
def test_exit_code_is_that_of_the_command(code: int, tmp_path: Path) -> None:
    """No process of cohabit stays in between."""
    assert _exec(tmp_path, {}, "web", "--", "sh", "-c", f"exit {code}")[0] == code


def test_json_runs_nothing(tmp_path: Path) -> None:
    """It prints what the command would get."""
    code, out, _ = _exec(tmp_path, {"user": NOBODY}, "--json", "-e", "B=2", "web")
    printed = json.loads(out)
    assert (code, printed["user"]["uid"], printed["environment"]["B"]) == (0, 65_534, "2")


def test_refusal_of_the_server_is_printed(tmp_path: Path) -> None:
    """With its exit code, 77."""
    with serving(tmp_path, {"service": answer(77, "cannot exec: for root only")}):
        done = run_client("exec", "web", "true", COHABIT_RUNTIME_DIR=str(tmp_path))
    assert (done.returncode, done.stderr) == (77, "cohabit: cannot exec: for root only\n")

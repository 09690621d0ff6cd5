"""`cohabit doctor` in namespaces of its own, as unprivileged user, and on read-only file systems."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from linux import places
from linux.conftest import Start
from linux.run import COHABIT, MAIN, Run, write_file

PROGRAM = os.path.join(os.path.dirname(MAIN), "doctor", "__main__.py")


def command_line(dockerfile: str = "", file: str = "", *, as_json: bool = True, strict: bool = False) -> list[str]:
    """Return the command line that `cohabit doctor` executes."""
    request: dict[str, object] = {
        "dockerfile": dockerfile,
        "file": file,
        "context": "",
        "format": "json" if as_json else "text",
        "threshold": "warning" if strict else "error",
        "ignore": [],
    }
    return [sys.executable, "-I", PROGRAM, repr(request)]


def found(run: Run) -> list[dict[str, Any]]:
    """Wait for the end; return the printed findings."""
    run.wait()
    assert not run.err, run
    return [json.loads(line) for line in run.out.splitlines()]


def beside_cohabit(argv: list[str], *first: str) -> list[str]:
    """Return a command line: cohabit as process 1 (or as child of `first`), with the doctor as its command."""
    return [*first, *COHABIT, "init", "--", *argv]


def test_a_dockerfile(start: Start, tmp_path: Path) -> None:
    """Three lines for each finding, a last line with the counts, and exit code 1 for an error."""
    (tmp_path / "Dockerfile").write_text("FROM debian\nCMD ./a & ./app\n")
    run = start(*command_line(str(tmp_path), as_json=False))
    assert run.wait() == 1
    lines = run.out.decode().splitlines()
    assert lines[0].startswith(f"error   {tmp_path}/Dockerfile:2: ")
    assert lines[2] == '        do:  CMD ["cohabit", "run", "./a", "./app"]'
    assert lines[-1] == f"{tmp_path}/Dockerfile: 1 error"


def test_an_unknown_instruction(start: Start, tmp_path: Path) -> None:
    """Errors of `docker build` are reported with the other findings."""
    (tmp_path / "Dockerfile").write_text(
        'FROM debian\nRUM true\nENTRYPOINT ["cohabit", "up", "--"]\nHEALTHCHECK NONE\n'
    )
    (finding,) = found(start(*command_line(str(tmp_path))))
    assert (finding["level"], finding["what"]) == ("error", "RUM is not an instruction")


def test_the_services_beside_a_dockerfile(start: Start, tmp_path: Path) -> None:
    """The file in the Dockerfile's directory is checked, without the users of this machine."""
    (tmp_path / "Dockerfile").write_text('FROM debian\nENTRYPOINT ["cohabit", "up", "--"]\nHEALTHCHECK NONE\n')
    write_file(str(tmp_path), {"cron": {"command": "cron", "user": "nobody-has-this-name"}})
    run = start(*command_line(str(tmp_path / "Dockerfile"), strict=True))
    (finding,) = found(run)
    assert finding["place"] == f"{tmp_path}/cohabit.yaml:1"
    assert finding["service"] == "cron"
    assert run.wait() == 1


def test_a_script_of_the_build_context(start: Start, tmp_path: Path) -> None:
    """It is found with --context, and its findings are printed for GitHub with the path as it was given."""
    (tmp_path / "docker").mkdir()
    (tmp_path / "Dockerfile").write_text('FROM debian\nCOPY docker/start.sh /\nCMD ["/start.sh"]\n')
    (tmp_path / "docker" / "Dockerfile").write_text((tmp_path / "Dockerfile").read_text())
    script = tmp_path / "docker" / "start.sh"
    script.write_text("#!/bin/sh\n./a &\n./b &\nwait\n")
    script.chmod(0o755)
    arguments = ("doctor", "--format", "github", "--ignore", "not-cohabit")
    run = start(
        *COHABIT, *arguments, "--failure-threshold", "none", f"{tmp_path}/docker/Dockerfile", "--context", str(tmp_path)
    )
    assert run.wait() == 0
    (line,) = run.out.decode().splitlines()
    assert line.startswith(f"::error file={tmp_path}/docker/start.sh,line=2,title=background-process::")
    run = start(*COHABIT, *arguments, f"{tmp_path}/docker/Dockerfile")
    assert run.wait() == 0
    assert "title=script-not-examined" in run.text


def test_sarif(start: Start, tmp_path: Path) -> None:
    """The log has the finding, and the exit code is that of the threshold."""
    (tmp_path / "Dockerfile").write_text("FROM debian\nCMD sleep infinity\n")
    run = start(*COHABIT, "doctor", "--format", "sarif", "--failure-threshold", "warning", str(tmp_path))
    assert run.wait() == 1
    (result,) = json.loads(run.out)["runs"][0]["results"]
    assert result["ruleId"] == "keep-alive"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--format", "xml"), "must be text or json or sarif or github"),
        (("--failure-threshold", "warn"), "must be error or warning or hint or none"),
        (("--ignore", "keep-alve"), "did you mean keep-alive?"),
        (("--json", "--format", "sarif"), "exclude each other"),
        (("--context", "."), "--context belongs to a Dockerfile"),
        (("--context", "/nowhere", "Dockerfile"), "is not a directory"),
    ],
)
def test_wrong_usage(start: Start, tmp_path: Path, arguments: tuple[str, ...], reason: str) -> None:
    """Exit code 64, and what to write instead."""
    (tmp_path / "Dockerfile").write_text("FROM debian\n")
    words = [str(tmp_path / word) if word == "Dockerfile" else word for word in arguments]
    run = start(*COHABIT, "doctor", *words)
    assert run.wait() == 64
    assert reason in run.text


@pytest.mark.parametrize(("text", "reason"), [(None, "no such file"), ("hello\n", "no FROM"), ("\0", "binary")])
def test_an_unreadable_dockerfile(start: Start, tmp_path: Path, text: str | None, reason: str) -> None:
    """It leads to a message and exit code 64."""
    if text is not None:
        (tmp_path / "Dockerfile").write_text(text)
    run = start(*command_line(str(tmp_path / "Dockerfile")))
    assert run.wait() == 64
    assert reason in run.text
    assert "Traceback" not in run.text


def test_process_1_is_cohabit(start: Start) -> None:
    """There are no findings on process 1, /proc, directories or descriptors."""
    run = start(*beside_cohabit(command_line()))
    for finding in found(run):
        assert "memory" in finding["what"], finding
    assert run.wait() == 0


def test_a_shell_is_process_1(start: Start) -> None:
    """A shell as the parent of cohabit is an error."""
    script = '"$@"; exit $?'
    run = start("sh", "-c", script, "sh", *beside_cohabit(command_line()))
    assert "process 1 is sh, and cohabit is its child" in [one["what"] for one in found(run)]
    assert run.wait() == 1


def test_the_doctor_is_process_1(start: Start) -> None:
    """As process 1 (docker run IMAGE cohabit doctor) it has no finding on process 1."""
    assert all("process 1" not in one["what"] for one in found(start(*command_line())))


def test_the_file_of_the_running_cohabit(start: Start, tmp_path: Path) -> None:
    """Without -f it is the file of the running cohabit, from any working directory."""
    sleeper = {"command": ["sleep", "1000"], "essential": False}
    file = write_file(str(tmp_path), {"doctor": {"command": command_line(), "working_dir": "/"}, "sleeper": sleeper})
    os.rename(file, tmp_path / "other.yaml")
    run = start(*COHABIT, "up", "-f", "other.yaml")
    run.until_printed("its end has no effect")
    assert f"{tmp_path}/other.yaml:1" in run.text


@pytest.mark.parametrize("user", [places.UNPRIVILEGED, places.NO_CAPABILITIES], ids=["uid 12345", "no capabilities"])
def test_without_privileges(start: Start, tmp_path: Path, user: tuple[str, ...]) -> None:
    """An unprivileged user gets the findings."""
    tmp_path.chmod(0o777)
    run = start(*beside_cohabit(command_line()), above=user, setup=places.open_to_all(str(tmp_path)))
    assert all(one["level"] != "error" for one in found(run))


def test_a_read_only_container(start: Start) -> None:
    """Without any tmpfs: an error that says what to mount."""
    setup = places.READ_ONLY + "mount --rbind /mnt /mnt; umount /mnt/dev/shm 2>/dev/null || true\n"
    run = start(*beside_cohabit(command_line()), setup=setup, above=("chroot", "/mnt"))
    (finding,) = [one for one in found(run) if "socket" in one["what"]]
    assert finding["level"] == "error"
    assert "--tmpfs" in finding["do"]


def test_without_proc(start: Start) -> None:
    """A missing /proc is reported."""
    run = start(*beside_cohabit(command_line()), setup=places.NO_PROC)
    assert any("/proc" in one["what"] for one in found(run))

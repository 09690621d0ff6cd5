"""`cohabit doctor` as a user starts it: in namespaces of its own, as anybody, on nothing that can be written."""

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


def words(dockerfile: str = "", file: str = "", *, as_json: bool = True, strict: bool = False) -> list[str]:
    """Return the command line that the verb becomes."""
    request = {"dockerfile": dockerfile, "file": file, "json": as_json, "strict": strict}
    return [sys.executable, "-I", PROGRAM, repr(request)]


def found(life: Run) -> list[dict[str, Any]]:
    """Wait for the end; return the findings that were printed."""
    life.wait()
    assert not life.err, life
    return [json.loads(line) for line in life.out.splitlines()]


def beside_cohabit(words: list[str], *first: str) -> list[str]:
    """Return a process 1 that is cohabit with the doctor as its command (or another one in between)."""
    return [*first, *COHABIT, "init", "--", *words]


def test_a_dockerfile(start: Start, tmp_path: Path) -> None:
    """Three lines for each finding, a last one with the sum, and 1 for an error."""
    (tmp_path / "Dockerfile").write_text("FROM debian\nCMD nginx & ./app\n")
    life = start(*words(str(tmp_path), as_json=False))
    assert life.wait() == 1
    lines = life.out.decode().splitlines()
    assert lines[0].startswith(f"error   {tmp_path}/Dockerfile:2: ")
    assert lines[2] == '        do:  CMD ["cohabit", "run", "nginx", "./app"]'
    assert lines[-1] == f"{tmp_path}/Dockerfile: 1 error"


def test_what_is_no_dockerfile(start: Start, tmp_path: Path) -> None:
    """What `docker build` refuses is told with all the rest."""
    (tmp_path / "Dockerfile").write_text(
        'FROM debian\nRUM true\nENTRYPOINT ["cohabit", "up", "--"]\nHEALTHCHECK NONE\n'
    )
    (finding,) = found(start(*words(str(tmp_path))))
    assert (finding["level"], finding["what"]) == ("error", "RUM is no instruction")


def test_the_services_beside_a_dockerfile(start: Start, tmp_path: Path) -> None:
    """The file in the Dockerfile's directory is examined, without asking this machine for its users."""
    (tmp_path / "Dockerfile").write_text('FROM debian\nENTRYPOINT ["cohabit", "up", "--"]\nHEALTHCHECK NONE\n')
    write_file(str(tmp_path), {"cron": {"command": "cron", "user": "nobody-has-this-name"}})
    life = start(*words(str(tmp_path / "Dockerfile"), strict=True))
    (finding,) = found(life)
    assert finding["place"] == f"{tmp_path}/cohabit.yaml:1"
    assert finding["service"] == "cron"
    assert life.wait() == 1


@pytest.mark.parametrize(("text", "says"), [(None, "no such file"), ("hello\n", "no FROM"), ("\0", "binary")])
def test_no_dockerfile(start: Start, tmp_path: Path, text: str | None, says: str) -> None:
    """What cannot be read is a sentence and 64."""
    if text is not None:
        (tmp_path / "Dockerfile").write_text(text)
    life = start(*words(str(tmp_path / "Dockerfile")))
    assert life.wait() == 64
    assert says in life.text
    assert "Traceback" not in life.text


def test_process_1_is_cohabit(start: Start) -> None:
    """Then nothing is said of process 1, /proc, places or descriptors."""
    life = start(*beside_cohabit(words()))
    for finding in found(life):
        assert "memory" in finding["what"], finding
    assert life.wait() == 0


def test_a_shell_is_process_1(start: Start) -> None:
    """A shell in front of cohabit is an error, with what follows from it."""
    script = '"$@"; exit $?'
    life = start("sh", "-c", script, "sh", *beside_cohabit(words()))
    assert "process 1 is sh, and cohabit its child" in [one["what"] for one in found(life)]
    assert life.wait() == 1


def test_nobody_is_there(start: Start) -> None:
    """As process 1 itself (docker run IMAGE cohabit doctor) it has nothing to say of process 1."""
    assert all("process 1" not in one["what"] for one in found(start(*words())))


def test_the_file_of_the_running_cohabit(start: Start, tmp_path: Path) -> None:
    """Without -f it is the one that process 1 was given, wherever the doctor is started."""
    sleeper = {"command": ["sleep", "1000"], "essential": False}
    file = write_file(str(tmp_path), {"doctor": {"command": words(), "working_dir": "/"}, "sleeper": sleeper})
    os.rename(file, tmp_path / "other.yaml")
    life = start(*COHABIT, "up", "-f", "other.yaml")
    life.until_printed("nothing follows from its death")
    assert f"{tmp_path}/other.yaml:1" in life.text


@pytest.mark.parametrize("who", [places.UNPRIVILEGED, places.NO_CAPABILITIES], ids=["uid 12345", "no capabilities"])
def test_without_privileges(start: Start, tmp_path: Path, who: tuple[str, ...]) -> None:
    """Whoever asks gets an answer."""
    tmp_path.chmod(0o777)
    life = start(*beside_cohabit(words()), above=who, setup=places.open_to_all(str(tmp_path)))
    assert all(one["level"] != "error" for one in found(life))


def test_where_nothing_can_be_written(start: Start) -> None:
    """A read-only container without a single tmpfs: an error with what to mount, and nothing is left behind."""
    setup = places.READ_ONLY + "mount --rbind /mnt /mnt; umount /mnt/dev/shm 2>/dev/null || true\n"
    life = start(*beside_cohabit(words()), setup=setup, above=("chroot", "/mnt"))
    (finding,) = [one for one in found(life) if "socket" in one["what"]]
    assert finding["level"] == "error"
    assert "--tmpfs" in finding["do"]


def test_without_proc(start: Start) -> None:
    """Nothing can be seen of process 1 then, and that is said."""
    life = start(*beside_cohabit(words()), setup=places.NO_PROC)
    assert any("/proc" in one["what"] for one in found(life))

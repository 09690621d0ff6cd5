"""`conditions` on the real kernel: what is skipped, and what is started once the condition holds."""

from pathlib import Path

from linux.clients import ask, environment
from linux.conftest import Start
from linux.run import shell


def test_a_skipped_service_starts_once_its_condition_holds(up: Start, tmp_path: Path) -> None:
    """Its hooks are skipped, too. `ps` names the condition, and `cohabit start` checks it again."""
    mark = tmp_path / "mark"
    sshd = {
        "command": shell("echo started > started; exec sleep 1000"),
        "pre_start": [{"command": shell("echo hook >> hooks")}],
        "restart": "always",
        "conditions": {"path_exists": str(mark), "environment": ["MODE=on", "!OFF"]},
    }
    web = {"command": ["sleep", "881"], "depends_on": {"sshd": {"condition": "service_started"}}}
    run = up({"sshd": sshd, "web": web}, environment={"MODE": "on", "OFF": "", **environment(str(tmp_path))})
    run.one("sleep 881")
    assert f"sshd: was skipped: {mark} does not exist (conditions)" in run.text
    assert f"SKIPPED ({mark} does not exist)" in ask(run, str(tmp_path), "ps")
    assert "was skipped" in ask(run, str(tmp_path), "start", "sshd")
    assert not (tmp_path / "hooks").exists()
    mark.touch()
    assert "ready" in ask(run, str(tmp_path), "start", "sshd")
    assert run.until_written(str(tmp_path / "started")) == ["started"]
    assert (tmp_path / "hooks").read_text() == "hook\n"
    assert run.stop() == 0


def test_a_container_in_which_all_is_skipped_ends_with_0(up: Start) -> None:
    """The variables are those of the container, not those of the service."""
    run = up({
        "a": {"command": "no-such-program", "environment": {"KEY": "x"}, "conditions": {"environment": "KEY"}},
        "b": {"command": "true", "conditions": {"path_exists": "/nowhere/b"}},
    })  # fmt: skip
    assert run.wait() == 0
    assert "all services have ended; a was skipped: the variable KEY is not set (conditions)" in run.text

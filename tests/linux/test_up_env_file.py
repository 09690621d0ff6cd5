"""An env file that a job writes, on the real kernel (`env_file` with `read: start`)."""

from pathlib import Path

from linux.clients import ask, environment
from linux.conftest import Start
from linux.run import shell

DONE = "service_completed_successfully"


def test_a_job_writes_the_file_once(up: Start, tmp_path: Path) -> None:
    """The command, its hooks, its probe and `exec` have the values; `environment` overrides them."""
    path = tmp_path / "made.env"
    services = {
        "secrets": {
            "command": shell(f"umask 077; printf 'PW=%s\\nOWN=file\\n' made > {path}; echo written >> writes"),
            "conditions": {"path_exists": f"!{path}"},
        },
        "app": {
            "command": shell("echo command $PW $OWN; exec sleep 1000"),
            "environment": {"OWN": "own"},
            "env_file": [{"path": str(path), "read": "start"}],
            "pre_start": [{"command": shell("echo before [$PW]")}],
            "post_start": [{"command": shell("echo after $PW")}],
            "healthcheck": {"test": ["CMD", "sh", "-c", "test $PW = made"]},
            "depends_on": {"secrets": {"condition": DONE}},
        },
    }
    for start in range(2):
        run = up(services, environment=environment(str(tmp_path)))
        run.until_printed("after made")
        ask(run, str(tmp_path), "wait", "app")
        assert run.lines("app")[:3] == ["before []", "command made own", "after made"]
        assert ask(run, str(tmp_path), "exec", "app", "--", "sh", "-c", "echo $PW").strip() == "made"
        if start == 0:
            ask(run, str(tmp_path), "reexec")
            assert ask(run, str(tmp_path), "exec", "app", "--", "sh", "-c", "echo $PW").strip() == "made"
        assert run.stop() == 0
    assert (tmp_path / "writes").read_text() == "written\n"


def test_a_file_of_another_user_fails_the_start(up: Start, tmp_path: Path) -> None:
    """A job that runs as nobody must not give a root service its LD_PRELOAD."""
    tmp_path.chmod(0o777)
    job = {"command": shell("echo LD_PRELOAD=/x.so > bad.env"), "user": "nobody"}
    app = {
        "command": "true",
        "env_file": [{"path": str(tmp_path / "bad.env"), "read": "start"}],
        "depends_on": {"job": {"condition": DONE}},
    }
    run = up({"job": job, "app": app})
    assert run.wait() == 126
    assert "bad.env: it belongs to user 65534, who could decide what runs" in run.text
    assert "x.so" not in run.text

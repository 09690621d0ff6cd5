"""Our own sections of a supervisord.conf on the real kernel: how the container ends, what programs wait for, health."""

from collections.abc import Callable
from pathlib import Path

import pytest

from linux.clients import ask, environment
from linux.conftest import Start
from linux.run import COHABIT, Run

STDOUT = "stdout_logfile=/dev/stdout\nstdout_logfile_maxbytes=0\nredirect_stderr=true\n"
ONCE = f"startsecs=0\nautorestart=false\n{STDOUT}"
FOREVER = f"command=sleep 1000\n{STDOUT}"
Supervisord = Callable[..., Run]


@pytest.fixture
def supervisord(start: Start, tmp_path: Path) -> Supervisord:
    """Give the function that runs `cohabit supervisord` with a conf."""

    def run(text: str, **more: object) -> Run:
        (tmp_path / "s.conf").write_text(f"[supervisord]\nnodaemon=true\n{text}")
        return start(*COHABIT, "supervisord", "-c", "s.conf", **more)

    return run


def test_an_essential_program_ends_the_container(supervisord: Supervisord) -> None:
    own = "[x-cohabit:b]\nessential=true\n"
    run = supervisord(f"[program:a]\n{FOREVER}[program:b]\ncommand=sh -c 'exit 3'\n{ONCE}{own}")
    assert run.wait() == 3


def test_an_essential_program_that_is_fatal_ends_it(supervisord: Supervisord) -> None:
    """It exits too quickly, with 0, which is a failure with startsecs."""
    run = supervisord(
        f"[program:a]\n{FOREVER}[program:b]\ncommand=true\nstartretries=0\n{STDOUT}[x-cohabit:b]\nessential=true\n"
    )
    assert run.wait() == 1


def test_the_container_ends_when_all_have_ended(supervisord: Supervisord, tmp_path: Path) -> None:
    """The gateway and the event listener do not keep it."""
    listener = "while read -r line; do :; done"
    run = supervisord(
        f"[unix_http_server]\nfile={tmp_path}/s.sock\n"
        f"[eventlistener:l]\ncommand=sh -c '{listener}'\nevents=TICK_3600\n"
        f"[program:no]\ncommand=/no/such\nstartretries=0\n{STDOUT}"
        f"[program:job]\ncommand=sh -c 'echo done; exit 4'\n{ONCE}"
        f"[program:later]\nautostart=false\n{FOREVER}"
        "[x-cohabit]\nexit_when_all_ended=true\n"
    )
    assert run.wait() in (127, 4)  # that of the first failure
    assert "done\n" in run.text


def test_a_program_waits_for_another(supervisord: Supervisord) -> None:
    run = supervisord(
        f"[program:web]\npriority=1\ncommand=sh -c 'echo web; exec sleep 1000'\n{STDOUT}"
        f"[program:migrate]\ncommand=sh -c 'echo migrated'\n{ONCE}"
        f"[program:db]\ncommand=sh -c 'echo open > db.ready; exec sleep 1000'\n{STDOUT}"
        "[x-cohabit:db]\nhealthcheck=test -e db.ready\n"
        "[x-cohabit:web]\ndepends_on=migrate: service_completed_successfully, db: service_healthy\n"
    )
    run.until_printed("web\n")
    assert run.text.index("migrated\n") < run.text.index("web\n")
    assert run.stop() == 0


def test_output_as_json_and_variables(supervisord: Supervisord, tmp_path: Path) -> None:
    (tmp_path / "a.env").write_text("GREETING=good day\n")
    run = supervisord(
        f"[program:a]\ncommand=sh -c 'echo $GREETING; exec sleep 1000'\n{STDOUT}"
        "[x-cohabit]\nlogging=json\n[x-cohabit:a]\nenv_file=a.env\n"
    )
    run.until_printed('"message":"good day"')
    assert run.stop() == 0


def test_health_fails_if_all_are_fatal(supervisord: Supervisord, tmp_path: Path) -> None:
    """The container stays, and its health has the reason."""
    conf = f"[program:a]\ncommand=/no/such\nstartretries=0\n{STDOUT}"
    run = supervisord(conf, environment=environment(str(tmp_path)))
    run.until_printed("gave up: a entered FATAL state")
    assert ask(run, str(tmp_path), "health", code=1).startswith("all have failed: a cannot start: ")
    ask(run, str(tmp_path), "health", "--live", code=1)
    assert "startretries" in ask(run, str(tmp_path), "why", "a")
    assert run.stop() == 0

"""The traps of an image for supervisord: each is reported with its line, and the corrected file has no finding."""

from pathlib import Path

import pytest

from cohabit.doctor.context import Context
from cohabit.doctor.dockerfile import image_of, parse
from cohabit.doctor.findings import Finding
from cohabit.doctor.image import examine

DOCKERFILE = 'FROM debian\nCOPY . /etc/\nHEALTHCHECK CMD supervisorctl status\nCMD ["/usr/bin/supervisord"]\n'
GOOD = (
    "[supervisord]\nnodaemon=true\n[unix_http_server]\nfile=/run/s.sock\n"
    "[program:web]\ncommand=web\nstdout_logfile=/dev/stdout\nstdout_logfile_maxbytes=0\nredirect_stderr=true\n"
)
LISTENER = "[eventlistener:end]\nevents=PROCESS_STATE_FATAL\ncommand="


def found(directory: Path, conf: str, dockerfile: str = DOCKERFILE) -> list[Finding]:
    """The findings of the rules for a supervisord.conf."""
    (directory / "supervisord.conf").write_text(conf)
    read = parse(dockerfile)
    image = image_of(read)
    assert image
    context = Context(read, str(directory))
    findings = examine(image, "Dockerfile", lambda name: context.find(image, name))
    return [one for one in findings if one.rule.startswith("supervisord-")]


@pytest.mark.parametrize(
    ("conf", "rule", "level", "line", "do"),
    [
        (GOOD.replace("nodaemon=true\n", ""), "daemonizes", "error", 1, 'CMD ["cohabit", "supervisord"]'),
        (GOOD.replace("nodaemon=true", "nodaemon=off"), "daemonizes", "error", 2, "nodaemon=true"),
        (GOOD.replace("stdout_logfile_maxbytes=0\n", ""), "log", "error", 7, "stdout_logfile_maxbytes=0"),
        (GOOD.replace("maxbytes=0", "maxbytes=1MB"), "log", "error", 7, "stdout_logfile_maxbytes=0"),
        (GOOD + "stderr_logfile=/proc/1/fd/2\n", "log", "error", 10, "stderr_logfile_maxbytes=0"),
        (GOOD.replace("unix_http_server", "x"), "server", "error", 3, "HEALTHCHECK"),
        (f"{GOOD}{LISTENER}sh -c 'read x; kill -3 $PPID'\n", "listener", "hint", 10, "essential=true"),
        (f"{GOOD}{LISTENER}/etc/stop.py 1\n", "listener", "hint", 10, "essential=true"),
        (f"{GOOD}{LISTENER}supervisor_stdout\n", "stdout", "warning", 10, "logging=prefix"),
        (f"{GOOD}{LISTENER}x\nresult_handler=supervisor_stdout:h\n", "stdout", "warning", 10, "logging=prefix"),
    ],
)
def test_a_trap(tmp_path: Path, conf: str, rule: str, level: str, line: int, *, do: str) -> None:
    (tmp_path / "stop.py").write_text("import os\nos.kill(1, 15)\n")
    (finding,) = found(tmp_path, conf)
    assert (finding.rule, finding.level, finding.place.line) == (f"supervisord-{rule}", level, line)
    assert finding.place.file == ("Dockerfile" if rule == "server" else str(tmp_path / "supervisord.conf"))
    assert do in finding.do


@pytest.mark.parametrize(
    ("conf", "dockerfile"),
    [
        (GOOD, DOCKERFILE),
        (f"{GOOD}{LISTENER}memmon -a 1GB\n", DOCKERFILE),
        (GOOD.replace("true", "%(ENV_X)s"), DOCKERFILE),
        ("[supervisord]\n[include]\nfiles=conf.d/*.conf\n", DOCKERFILE),
        (GOOD.replace("nodaemon=true", ""), DOCKERFILE.replace('supervisord"', 'supervisord", "-n"')),
        (GOOD.replace("nodaemon=true", ""), DOCKERFILE.replace('supervisord"', 'supervisord", "-c", "/other.conf"')),
        (GOOD.replace("nodaemon=true", ""), DOCKERFILE.replace("/usr/bin/supervisord", 'cohabit", "supervisord')),
        ("no sections", DOCKERFILE),
    ],
)
def test_no_finding(tmp_path: Path, conf: str, dockerfile: str) -> None:
    assert not found(tmp_path, conf, dockerfile)


def test_the_line_to_change_runs_the_same_file() -> None:
    image = image_of(parse('FROM debian\nCMD ["supervisord", "-c", "/x.conf"]\n'))
    assert image
    (finding,) = [one for one in examine(image, "Dockerfile") if one.rule == "other-supervisor"]
    assert finding.do == 'CMD ["cohabit", "supervisord", "-c", "/x.conf"], which runs the same file'

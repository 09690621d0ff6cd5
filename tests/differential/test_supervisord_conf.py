"""The same supervisord.conf read by the real supervisord and by cohabit: all options of all sections, and errors."""

import json
import os
import pwd
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as some

from differential import supervisord_oracle
from differential.supervisord_reading import difference, ours

CONFS: Final = os.path.join(os.path.dirname(os.path.abspath(__file__)), "supervisord")
NAMES: Final = sorted(name for name in os.listdir(CONFS) if name.endswith(".conf"))
ENVIRON: Final = {
    "PATH": "/usr/bin:/bin", "HOME": "/root", "PORT": "8080", "WORKERS": "4", "APP_ENV": "production",
    "RESOLUTION": "1024x768", "SUPERVISOR_PHP_COMMAND": "php artisan serve --host=0.0.0.0",
    "SUPERVISOR_PHP_USER": "sail", "LOG_LEVEL": "Debug", "RUN": "/run", "USER_ROOT": "root", "AUTOSTART": "true",
}  # fmt: skip
AT_MOST_SECONDS: Final = 120.0


def ask(cases: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What supervisord understands of each case."""
    command = [sys.executable, supervisord_oracle.__file__]
    found = subprocess.run(
        command, input=json.dumps(cases), capture_output=True, text=True, timeout=AT_MOST_SECONDS, check=False
    )
    assert found.returncode == 0, found.stderr
    answers: list[dict[str, Any]] = json.loads(found.stdout)
    return answers


def case(directory: str, name: str, arguments: tuple[str, ...] = ()) -> dict[str, Any]:
    """A case for both."""
    return {"directory": directory, "name": name, "environ": ENVIRON, "arguments": arguments}


def text_case(directory: Path, number: int, text: str) -> dict[str, Any]:
    """The case of a text."""
    name = f"{number}.conf"
    (directory / name).write_text(text)
    return case(str(directory), name)


@pytest.fixture(autouse=True)
def same_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let cohabit see the machine of the oracle: the values come back after the test."""
    for where, name in ((os.path, "isdir"), (pwd, "getpwnam"), (pwd, "getpwuid")):
        monkeypatch.setattr(where, name, getattr(where, name))
    monkeypatch.chdir("/")
    monkeypatch.setenv("HOME", ENVIRON["HOME"])
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    supervisord_oracle.fake_machine()


@pytest.fixture(scope="module")
def answers() -> dict[str, dict[str, Any]]:
    """Give what supervisord understands of each file."""
    return dict(zip(NAMES, ask([case(CONFS, name) for name in NAMES]), strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_a_file_means_what_it_means_to_supervisord(name: str, answers: dict[str, dict[str, Any]]) -> None:
    assert "error" not in answers[name]
    assert not difference(ours(case(CONFS, name)), answers[name])


def test_the_options_of_the_command_line() -> None:
    cases = [case(CONFS, "booleans.conf", ("-n",)), case(CONFS, "delimiters.conf", ("-s", "-k", "-t", "-n"))]
    for one, answer in zip(cases, ask(cases), strict=True):
        assert not difference(ours(one), answer)


WRONG: Final = {
    "no supervisord": "[program:x]\ncommand=x\n",
    "an unknown user": "[supervisord]\n[program:x]\ncommand=x\nuser=unknown-user\n",
    "an unknown user of the whole": "[supervisord]\nuser=unknown-user\n",
    "a missing variable": "[supervisord]\n[program:x]\ncommand=%(ENV_MISSING)s\n",
    "an unknown name": "[supervisord]\n[program:x]\ncommand=%(nothing)s\n",
    "a single percent sign": "[supervisord]\n[program:x]\ncommand=date +%Y\n",
    "a percent sign at the end": "[supervisord]\n[program:x]\ncommand=100%\n",
    "process_num in priority": "[supervisord]\n[program:x]\ncommand=x\npriority=%(process_num)d\n",
    "program_name in the group's priority": "[supervisord]\n[program:x]\ncommand=x\npriority=%(program_name)s\n",
    "several without process_num": "[supervisord]\n[program:x]\ncommand=x\nnumprocs=2\n",
    "a number that is none": "[supervisord]\n[program:x]\ncommand=x\nstartsecs=1.5\n",
    "a priority that is none": "[supervisord]\n[program:x]\ncommand=x\npriority=high\n",
    "a boolean that is none": "[supervisord]\nnodaemon=maybe\n",
    "a boolean of a program": "[supervisord]\n[program:x]\ncommand=x\nautostart=ja\n",
    "autorestart": "[supervisord]\n[program:x]\ncommand=x\nautorestart=Always\n",
    "a signal": "[supervisord]\n[program:x]\ncommand=x\nstopsignal=STOPP\n",
    "a number of a signal": "[supervisord]\n[program:x]\ncommand=x\nstopsignal=99\n",
    "exit codes": "[supervisord]\n[program:x]\ncommand=x\nexitcodes=0,256\n",
    "exit codes that are none": "[supervisord]\n[program:x]\ncommand=x\nexitcodes=0;1\n",
    "a size": "[supervisord]\nlogfile_maxbytes=50M\n",
    "a size of a log": "[supervisord]\n[program:x]\ncommand=x\nstdout_logfile_maxbytes=big\n",
    "a level": "[supervisord]\nloglevel=warning\n",
    "an umask": "[supervisord]\numask=9\n",
    "a program's umask": "[supervisord]\n[program:x]\ncommand=x\numask=u+x\n",
    "no command": "[supervisord]\n[program:x]\nautostart=true\n",
    "a name with a space": "[supervisord]\n[program:a b]\ncommand=x\n",
    "a process name with a colon": "[supervisord]\n[program:a]\ncommand=x\nprocess_name=a:b\n",
    "a group with a slash": "[supervisord]\n[group:a/b]\nprograms=x\n[program:x]\ncommand=x\n",
    "an unknown program": "[supervisord]\n[group:a]\nprograms=x\n",
    "an ambiguous program": (
        "[supervisord]\n[group:a]\nprograms=x\n[program:x]\ncommand=x\n"
        "[fcgi-program:x]\ncommand=x\nsocket=tcp://127.0.0.1:1\n"
    ),
    "stopasgroup without killasgroup": "[supervisord]\n[program:x]\ncommand=x\nstopasgroup=true\nkillasgroup=false\n",
    "no events": "[supervisord]\n[eventlistener:x]\ncommand=x\n",
    "an unknown event": "[supervisord]\n[eventlistener:x]\ncommand=x\nevents=TICK_7\n",
    "redirect_stderr of a listener": "[supervisord]\n[eventlistener:x]\ncommand=x\nevents=TICK\nredirect_stderr=true\n",
    "a buffer without room": "[supervisord]\n[eventlistener:x]\ncommand=x\nevents=TICK\nbuffer_size=0\n",
    "a listener in a group": "[supervisord]\n[group:g]\nprograms=x\n[eventlistener:x]\ncommand=x\nevents=TICK\n",
    "no socket": "[supervisord]\n[fcgi-program:x]\ncommand=x\n",
    "a backlog": "[supervisord]\n[fcgi-program:x]\ncommand=x\nsocket=tcp://a:1\nsocket_backlog=0\n",
    "an owner of a TCP socket": "[supervisord]\n[fcgi-program:x]\ncommand=x\nsocket=tcp://a:1\nsocket_owner=app\n",
    "an owner of a socket": "[supervisord]\n[fcgi-program:x]\ncommand=x\nsocket=unix:///x\nsocket_owner=a:b\n",
    "a mode of a socket": "[supervisord]\n[fcgi-program:x]\ncommand=x\nsocket=unix:///x\nsocket_mode=u+x\n",
    "a server without a port": "[supervisord]\n[inet_http_server]\n",
    "a server without a file": "[supervisord]\n[unix_http_server]\n",
    "a port": "[supervisord]\n[inet_http_server]\nport=http\n",
    "a port that is too large": "[supervisord]\n[inet_http_server]\nport=:70000\n",
    "a port after a colon": "[supervisord]\n[inet_http_server]\nport=localhost:\n",
    "a user name without a password": "[supervisord]\n[inet_http_server]\nport=1\nusername=x\n",
    "here in a server": "[supervisord]\n[inet_http_server]\nport=%(here)s\n",
    "an owner of a server": "[supervisord]\n[unix_http_server]\nfile=/s\nchown=a:b\n",
    "a mode of a server": "[supervisord]\n[unix_http_server]\nfile=/s\nchmod=rw\n",
    "a plug-in without a factory": "[supervisord]\n[rpcinterface:x]\nretries=1\n",
    "include without files": "[supervisord]\n[include]\nfile=x\n",
    "include of a missing variable": "[supervisord]\n[include]\nfiles=%(ENV_MISSING)s/*.conf\n",
    "environment, twice expanded": '[supervisord]\nminfds=x\nenvironment=A="%(host_node_name)s"\n',
}


def test_errors_have_the_words_of_supervisord(tmp_path: Path) -> None:
    """And of several errors, the first one is that of supervisord."""
    cases = [text_case(tmp_path, i, text) for i, text in enumerate(WRONG.values())]
    for what, one, answer in zip(WRONG, cases, ask(cases), strict=True):
        assert "error" in answer, what
        assert ours(one) == answer, what


WRONG_ENVIRONMENT: Final = (
    'A="x",B', "A=foo@bar", "A=a%%b", "A={x}", "A=", 'A="x', r'A="\""', 'A="x",B="%(ENV_NO)s"', "A=%", "=1", "A B",
)  # fmt: skip


def test_what_is_wrong_in_an_environment_is_wrong_here_and_not_quoted(tmp_path: Path) -> None:
    texts = [f"[supervisord]\n[program:x]\ncommand=x\nenvironment={one}\n" for one in WRONG_ENVIRONMENT]
    cases = [text_case(tmp_path, i, text) for i, text in enumerate(texts)]
    for text, one, answer in zip(WRONG_ENVIRONMENT, cases, ask(cases), strict=True):
        mine = ours(one)
        assert "error" in answer, text
        assert "error" in mine, text
        assert text not in mine["error"]
        assert mine["error"][:12] == answer["error"][:12], text


# Each example is a process of supervisord's, which reads many texts: it would take too long to make a smaller one.
EXAMPLES: Final = 3
PHASES: Final = (Phase.explicit, Phase.generate)
LINES: Final = some.sampled_from(
    [
        "[program:x]", "[program:y]", "[supervisord]", "[DEFAULT]", "[group:g]", " [program:x]", "[program:x] ; c",
        "command=x", "command = a 'b c' ; d", "command=a;b", "  more", "\tmore # c", "", "   ", "; c", "  # c", "#c",
        "programs=x", "programs=x, y", "priority=5", "PRIORITY:7", "numprocs=2", "process_name=p%(process_num)d",
        "process_name=%(program_name)s-%(process_num)02d", 'environment=A=1,B="2"', "environment=A='x',", "user=app",
        "directory=/%(ENV_A)s", "directory=%(here)s", "autorestart=true", "autorestart=", "exitcodes=1,2", "x", "=",
        "stopsignal=INT", "stdout_logfile=NONE", "stdout_logfile=/x-%(group_name)s", "stdout_logfile=/dev/stdout",
        "redirect_stderr=true", "stdout_logfile_maxbytes=1KB", "startsecs=0", "numprocs_start=2", "nodaemon=true",
    ]
)  # fmt: skip
TEXTS: Final = some.lists(LINES, max_size=14).map(lambda lines: "\n".join(["[supervisord]", *lines, ""]))
WORDS: Final = some.text("abAB12=,;'\"#%()s \t\n./:+-[]{}@\\", max_size=30)
OPTIONS: Final = some.sampled_from(["command", "environment", "process_name", "stdout_logfile", "user", "exitcodes"])


@settings(max_examples=EXAMPLES, phases=PHASES)
@given(texts=some.lists(TEXTS, min_size=20, max_size=40))
def test_random_lines(texts: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    _compare(texts, tmp_path_factory.mktemp("confs"))


@settings(max_examples=EXAMPLES, phases=PHASES)
@given(values=some.lists(some.tuples(OPTIONS, WORDS), min_size=20, max_size=40))
def test_random_values(values: list[tuple[str, str]], tmp_path_factory: pytest.TempPathFactory) -> None:
    texts = [f"[supervisord]\n[program:x]\ncommand=x\n{option}={value}\n" for option, value in values]
    _compare(texts, tmp_path_factory.mktemp("confs"))


def _compare(texts: list[str], directory: Path) -> None:
    cases = [text_case(directory, i, text) for i, text in enumerate(texts)]
    for text, one, answer in zip(texts, cases, ask(cases), strict=True):
        mine = ours(one)
        if "error" not in answer:
            found = difference(mine, answer)
            assert not found or mine.get("error", "").startswith("Invalid name: "), f"{text}\n{found}"
        elif not _is_other_here(answer["error"]):
            assert mine == answer, text


def _is_other_here(error: str) -> bool:
    """Whether an error has other words here, or none.

    A text that is not INI; a value of `environment`; a number of a user without an entry; the second unknown name of a
    group, for which supervisord names the section of the first one.
    """
    beginnings = ("Source contains", "File contains", "Invalid user id", "[program:")
    return error.startswith(beginnings) or "environment" in error or "key/value" in error

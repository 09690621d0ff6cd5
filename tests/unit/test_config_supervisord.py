"""config/readers/supervisord.py: what each option of a supervisord.conf becomes in the Plan, and what is said."""

from __future__ import annotations

import marshal
import os
import resource
from typing import TYPE_CHECKING, Any

import pytest

from cohabit.config import load
from cohabit.config.readers import registry
from cohabit.config.supervisord import reading
from cohabit.config.supervisord.pid_file import write_pid_file
from cohabit.config.text.source import LIMIT_BYTES
from cohabit.plan.build import build
from cohabit.plan.model import CONTROL_GROUP, MAIN_LOG, MIXED, Logging, Socket, Startup

if TYPE_CHECKING:
    from pathlib import Path

    from cohabit.plan.draft import Draft
    from cohabit.plan.model import Plan, Service

pytestmark = pytest.mark.usefixtures("here")
ENVIRON = {"PATH": "/usr/bin:/bin", "PORT": "8080"}


def read(text: str, typed: dict[str, Any] | None = None, name: str = "supervisord.conf") -> Draft:
    """The Draft of a text."""
    with open(name, "w", encoding="utf-8") as file:
        file.write(text)
    request: dict[str, Any] = {"files": [name]} if typed is None else {"supervisord": {"configuration": name, **typed}}
    return registry.read(request, ENVIRON)


def plan_of(text: str, typed: dict[str, Any] | None = None) -> Plan:
    """The Plan of a text without errors."""
    plan, problems = build(read(text, typed), ())
    assert plan is not None, problems
    return plan


def program(options: str, before: str = "nodaemon=true") -> Service:
    """The service of a program x."""
    return plan_of(f"[supervisord]\n{before}\n[program:x]\ncommand=x\n{options}\n").services["x"]


def warnings(text: str, typed: dict[str, Any] | None = None) -> str:
    """All warnings of a text; it has no errors."""
    problems = read(text, typed).problems
    assert all(problem.warning for problem in problems), problems
    return "\n".join(map(str, problems))


def errors(text: str) -> list[str]:
    """All errors of a text, each with exit code 2."""
    found = [problem for problem in read(text).problems if not problem.warning]
    assert {problem.exit_code for problem in found} <= {2}
    return [str(problem) for problem in found]


@pytest.mark.parametrize(
    ("options", "field", "value"),
    [
        ("", "autostart", True),
        ("autostart=false", "autostart", False),
        ("", "startup", Startup(1.0, 3)),
        ("startsecs=0\nstartretries=7", "startup", Startup(0.0, 7)),
        ("startsecs=-1\nstartretries=-1", "startup", Startup(0.0, 0)),
        ("startsecs=" + "9" * 30, "startup", Startup(1e9, 3)),
        ("stopsignal=QUIT", "stop_signal", 3),
        ("", "stop_grace_seconds", 10.0),
        ("stopwaitsecs=55", "stop_grace_seconds", 55.0),
        ("", "kill_mode", MIXED),
        ("killasgroup=true", "kill_mode", MIXED),
        ("stopasgroup=true", "kill_mode", CONTROL_GROUP),
        ("priority=5", "priority", 5),
        ("directory=/tmp", "working_dir", "/tmp"),
        ("", "working_dir", None),
        ("redirect_stderr=true", "stderr_to_stdout", True),
        ("", "stdin", True),
        ("", "console", False),
        ("", "essential", False),
        ("", "ends_on_success", False),
        ("", "user", None),
        ("command=a  'b c'\n  d", "command", ("a", "b c", "d")),
    ],
)
def test_options_of_a_program(options: str, field: str, value: object) -> None:
    assert getattr(program(options), field) == value


@pytest.mark.parametrize(
    ("written", "condition", "codes"),
    [
        ("", "on-failure", (0,)),
        ("autorestart=unexpected\nexitcodes=0,2", "on-failure", (0, 2)),
        ("autorestart=true", "always", (0,)),
        ("autorestart=false", "no", (0,)),
        ("exitcodes=", "on-failure", ()),
    ],
)
def test_restart(written: str, condition: str, codes: tuple[int, ...]) -> None:
    found = program(written).restart
    assert (found.condition, found.delay_seconds, found.attempts, found.expected_codes) == (condition, 0.0, None, codes)


STDOUT, STDERR = Logging(stream="stdout", before=()), Logging(stream="stderr", before=())
BOTH = Logging(before=())


@pytest.mark.parametrize(
    ("options", "logging"),
    [
        ("", (Logging("none"),)),
        ("stdout_logfile=NONE\nstderr_logfile=off", (Logging("none"),)),
        ("stdout_logfile=/dev/null\nstderr_logfile=/dev/null", (Logging("none"),)),
        *((f"stdout_logfile={path}", (STDOUT,)) for path in ("/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")),
        *((f"stderr_logfile={path}", (STDERR,)) for path in ("/dev/stderr", "/dev/fd/2", "/proc/1/fd/2")),
        ("stdout_logfile=/dev/stdout\nstdout_logfile_maxbytes=0\nstderr_logfile=/dev/stderr", (BOTH,)),
        ("stdout_logfile=/dev/fd/1\nstderr_logfile=/dev/fd/1", (STDOUT, STDERR.replace(output="stdout"))),
        ("stdout_logfile=/dev/stdout\nredirect_stderr=true", (BOTH.replace(output="stdout"),)),
        ("stdout_logfile=/dev/stderr\nredirect_stderr=true", (BOTH.replace(output="stderr"),)),
        ("stdout_logfile=/tmp/a", (Logging("file", path="/tmp/a", bytes_max=50 << 20, files_max=11, stream="stdout"),)),
        (
            "stdout_logfile=/tmp/a\nstderr_logfile=/tmp/a\nstdout_logfile_maxbytes=0\nstderr_logfile_maxbytes=0",
            (Logging("file", path="/tmp/a", bytes_max=0, files_max=11),),
        ),
        (
            "stderr_logfile=/tmp/a\nstderr_logfile_backups=0\nstderr_logfile_maxbytes=1KB",
            (Logging("file", path="/tmp/a", bytes_max=1024, files_max=1, stream="stderr"),),
        ),
        (
            "stdout_syslog=true\nredirect_stderr=true",
            (Logging("syslog", blocking=False, address="unix:///dev/log", format="rfc3164", tag="x"),),
        ),
    ],
)
def test_logs(options: str, logging: tuple[Logging, ...]) -> None:
    assert program(options).logging == logging


def test_a_relative_log_file_is_in_the_working_directory() -> None:
    assert program("stdout_logfile=x.log").logging[0].path == f"{os.getcwd()}/x.log"


def test_a_file_of_two_programs_has_one_rotation() -> None:
    text = "[program:{}]\ncommand=x\nstdout_logfile=/tmp/a\nstdout_logfile_maxbytes={}\nstderr_logfile=NONE\n"
    text = "[supervisord]\n" + text.format("x", "1MB") + text.format("y", "2MB")
    found = [service.logging[0].bytes_max for service in plan_of(text).services.values()]
    assert found == [1 << 20, 1 << 20]
    assert "/tmp/a has several sizes" in warnings(text)


def test_no_file_of_two_owners_prevents_the_start() -> None:
    """The main log as the log of a program, and a program whose log has the name of a rotated file."""
    text = (
        "[supervisord]\nlogfile=/tmp/a\n[program:x]\ncommand=x\nstdout_logfile=/tmp/a\nstdout_logfile_maxbytes=0\n"
        "[program:y]\ncommand=y\nstdout_logfile=/tmp/a.1\n"
    )
    plan, problems = build(read(text), ())
    assert plan is not None
    assert plan.services["x"].logging[0].bytes_max == plan.logging[1].bytes_max
    assert any("/tmp/a.1 is a name of /tmp/a of x-cohabit after rotation" in one.text for one in problems)


def test_names_and_groups() -> None:
    draft = read(
        "[supervisord]\n[group:g]\nprograms=x,y\npriority=5\n[program:x]\ncommand=x\npriority=9\n"
        "[program:y]\ncommand=y\npriority=8\n[program:z]\ncommand=z\nnumprocs=2\nprocess_name=p%(process_num)d\n"
    )
    assert list(draft.services) == ["g:y", "g:x", "z:p0", "z:p1"]
    assert draft.groups == {"g:y": "g", "g:x": "g", "z:p0": "z", "z:p1": "z"}
    assert [item.service.priority for item in draft.services.values()] == [5, 5, 999, 999]


def test_the_order_is_that_of_the_priorities() -> None:
    plan = plan_of(
        "[supervisord]\n[program:b]\ncommand=b\npriority=2\n[program:c]\ncommand=c\npriority=1\n[program:a]\ncommand=a\n"
        "priority=2\n"
    )
    assert list(plan.services) == ["c", "a", "b"]


def test_the_whole() -> None:
    """It stays without services, and there is time for all levels of priorities."""
    assert plan_of("[supervisord]\n").stays
    plan = plan_of(
        "[supervisord]\n[program:a]\ncommand=a\nstopwaitsecs=30\n[program:b]\ncommand=b\nstopwaitsecs=20\n"
        "[program:c]\ncommand=c\nstopwaitsecs=5\npriority=1\n"
    )
    assert plan.stop_grace_seconds == 35.0
    assert (plan.stays, plan.main, plan.reloads) == (True, "", True)


def test_environment() -> None:
    text = (
        '[unix_http_server]\nfile=/run/s.sock\n[supervisord]\nenvironment=A="1",B="1"\n[group:g]\nprograms=x\n'
        '[program:x]\ncommand=x\nenvironment=B="2",PORT_FILE="/run/secrets/x",SUPERVISOR_ENABLED="0"\n'
    )
    assert plan_of(text).services["g:x"].environment == {
        "SUPERVISOR_ENABLED": "0", "SUPERVISOR_SERVER_URL": "unix:///run/s.sock", "SUPERVISOR_PROCESS_NAME": "x",
        "SUPERVISOR_GROUP_NAME": "g", "A": "1", "B": "2", "PORT_FILE": "/run/secrets/x",
    }  # fmt: skip
    assert "SUPERVISOR_SERVER_URL" not in program("").environment
    assert program("serverurl=http://x:1").environment["SUPERVISOR_SERVER_URL"] == "http://x:1"


def test_a_user_keeps_the_home_of_supervisord(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with supervisord. A number needs no entry in /etc/passwd, which is an improvement."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    found = program("user=54321").user
    assert found is not None
    assert (found.uid, found.gid, found.name, found.home) == (54321, 0, "", "")
    assert program("user=root").user is None
    default = program("", "user=54321").user
    assert default is not None
    assert default.uid == 54321
    assert program("user=root", "user=54321").user is None


def test_umask_and_directory_are_those_of_a_daemon() -> None:
    """Supervisord uses them when it puts itself in the background, and not with nodaemon."""
    before = "umask=027\ndirectory=/tmp"
    assert (program("", before).limits.umask, program("", before).working_dir) == (0o027, "/tmp")
    assert program("", "").limits.umask == 0o022
    before += "\nnodaemon=true"
    assert (program("", before).limits.umask, program("", before).working_dir) == (None, None)
    assert program("umask=077\ndirectory=/", before).limits.umask == 0o077
    assert "without effect here: [supervisord] umask, directory" in warnings(f"[supervisord]\n{before}\n")


def test_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Minfds and minprocs raise lower limits only."""
    monkeypatch.setattr(
        resource, "getrlimit", lambda number: (1000, 2000) if number == resource.RLIMIT_NOFILE else (-1, -1)
    )
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert program("", "minfds=1000").limits.ulimits == ()
    assert program("", "minfds=1500").limits.ulimits == ((int(resource.RLIMIT_NOFILE), 1500, 2000),)
    assert program("", "minfds=3000").limits.ulimits == ((int(resource.RLIMIT_NOFILE), 3000, 3000),)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    found = errors("[supervisord]\nminfds=3000\n")
    assert len(found) == 1
    assert 'is 3000 as per the "minfds" command-line argument' in found[0]
    assert "will only allow you to open 2000 file descriptors" in found[0]


OWN = Logging(MAIN_LOG)


def test_the_main_log() -> None:
    to_file = Logging("file", path="/tmp/s.log", bytes_max=1 << 20, files_max=3, format=MAIN_LOG)
    written = "[supervisord]\nlogfile=/tmp/s.log\nlogfile_maxbytes=1MB\nlogfile_backups=2\n"
    assert plan_of("[supervisord]\n").logging == (OWN,)
    assert plan_of(written).logging == (OWN, to_file)
    assert plan_of(f"{written}silent=true\n").logging == (to_file,)
    assert plan_of("[supervisord]\nlogfile=/dev/null\nsilent=true\n").logging == (Logging("none"),)
    assert plan_of("[supervisord]\nlogfile=/dev/stdout\n").logging == (OWN,)
    assert plan_of("[supervisord]\nlogfile=/dev/stdout\nsilent=true\n").logging == (OWN,)
    assert plan_of("[supervisord]\nlogfile=syslog\n").logging[1].driver == "syslog"


def test_options_of_the_command_line_take_precedence() -> None:
    text = "[supervisord]\nlogfile=/tmp/a\npidfile=/tmp/a.pid\n"
    assert read(text, {}).pid_file == "/tmp/a.pid"
    draft = read(text, {"pidfile": "/tmp/b.pid", "logfile": "/tmp/b", "logfile_backups": "1"})
    assert (draft.pid_file, draft.logging[1].path, draft.logging[1].files_max) == ("/tmp/b.pid", "/tmp/b", 2)
    found = read(text, {"loglevel": "loud"}).problems
    assert [each.text for each in found] == [
        "Error: invalid value for --loglevel 'loud': bad logging level name 'loud'"
    ]


def test_one_notice_lists_what_is_unknown() -> None:
    text = (
        "[supervisord]\nstdout_logfile=/x\n[program:x]\ncommand=x\nstdout_logfile=NONE\nstderr_logfile=NONE\n"
        "depends_on=y\nautorestrat=true\n[watcher:x]\n[progam:y]\n"
    )
    assert warnings(text) == (
        "supervisord.conf: warning: ignored, as by supervisord: [supervisord] stdout_logfile, [program:x] depends_on, "
        "[program:x] autorestrat (did you mean 'autorestart'?), [watcher:x], [progam:y] (did you mean 'program:'?)"
    )


def test_servers_and_listeners_need_the_gateway() -> None:
    """It starts last and stops last; a listener is connected to it, and a FastCGI program gets its socket."""
    text = (
        "[inet_http_server:a]\nport=9001\n[unix_http_server]\nfile=/run/s.sock\nchmod=0770\nchown=0:7\n[supervisord]\n"
        "[eventlistener:e]\ncommand=x\nevents=TICK_5\nstdout_logfile=NONE\nstderr_logfile=NONE\n"
        "[fcgi-program:f]\ncommand=x\nsocket=tcp://127.0.0.1:9000\nstdout_logfile=NONE\nstderr_logfile=NONE\n"
    )
    assert warnings(text) == ""
    services = {name: item.service for name, item in read(text).services.items()}
    assert list(services) == ["e", "f", "gateway"]
    gateway = services["gateway"]
    assert gateway.priority < min(services[name].priority for name in "ef")
    assert gateway.sockets == (
        Socket("server0", "inet", "stream", "0.0.0.0", 9001),  # noqa: S104 - as written
        Socket("server1", "unix", "stream", "/run/s.sock", mode=0o770, uid=0, gid=7),
        Socket("listeners", "pair", "seqpacket", "gateway"),
    )
    assert (services["e"].stdio_to, services["f"].socket_as_stdin) == ("gateway", True)
    assert services["f"].sockets == (Socket("fcgi", "inet", "stream", "127.0.0.1", 9000),)


def test_a_file_without_servers_has_no_gateway() -> None:
    text = "[supervisord]\n[program:x]\ncommand=x\n"
    assert list(read(text).services) == ["x"]
    named = text.replace("program:x", "program:gateway") + "[inet_http_server]\nport=127.0.0.1:9001\n"
    assert list(read(named).services) == ["gateway", "gateway-"]


def test_what_is_not_supported_is_named() -> None:
    text = (
        "[supervisord]\nstrip_ansi=true\n[rpcinterface:x]\nsupervisor.rpcinterface_factory=a:b\n"
        "[eventlistener:e]\ncommand=x\nevents=TICK_5\nresult_handler=a:b\nstdout_logfile=NONE\nstderr_logfile=NONE\n"
    )
    found = warnings(text)
    assert "not supported yet: [supervisord] strip_ansi" in found
    assert "not supported, and the default is used: result_handler of eventlistener:e" in found
    assert "not supported, and left out: [rpcinterface:x]" in found


def test_a_command_that_cannot_be_parsed_is_a_failed_start_only() -> None:
    """Supervisord starts the other programs, too."""
    text = "[supervisord]\n[program:x]\ncommand=sh -c 'a ; b'\n[program:y]\ncommand=\n[program:z]\ncommand=true\n"
    plan = plan_of(text)
    assert [plan.services[name].command for name in "xyz"] == [("sh -c 'a",), ("?",), ("true",)]
    assert "3: warning: x cannot start: can't parse command" in warnings(text)
    assert "5: warning: y cannot start: command is empty" in warnings(text)


def test_all_errors_are_reported_with_their_lines() -> None:
    text = "[supervisord]\numask=9\n[program:x]\nautostart=y\nstdout_logfile=/no-such/x\n"
    assert errors(text) == [
        "supervisord.conf:2: Error: 9 can not be converted to an octal type",
        ("supervisord.conf:4: Error: not a valid boolean value: 'y' in section 'program:x' (file: 'supervisord.conf')"),
        (
            "supervisord.conf:5: Error: The directory named as part of the path /no-such/x does not exist in section "
            "'program:x' (file: 'supervisord.conf')"
        ),
        (
            "supervisord.conf:3: Error: program section program:x does not specify a command in section 'program:x' "
            "(file: 'supervisord.conf')"
        ),
    ]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("[program:x]\ncommand=x\n", ".ini file does not include supervisord section"),
        ("[supervisord]\n[program:cohabit]\ncommand=x\n", "the name cohabit is reserved"),
        ("[supervisord]\n[program:x]\ncommand=x\nprocess_name=%(ENV_PATH)s\n", "Invalid name: "),
        ("[supervisord]\n[program:..]\ncommand=x\n", "Invalid name: "),
        ("[supervisord]\n[program:x]\ncommand=x\nnumprocs=99999\nprocess_name=%(process_num)d\n", "numprocs is more"),
        ("[supervisord]\n[program:x]\ncommand=%(here)999999999s\n", "the width is too large"),
        ("[supervisord]\n[fcgi-program:x]\ncommand=x\nsocket=unix://x\n", "path x is not an absolute path"),
        ("[supervisord]\n[fcgi-program:x]\ncommand=x\nsocket=x\n", "Bad socket format x"),
    ],
)
def test_errors_of_our_own(text: str, error: str) -> None:
    assert error in errors(text)[0]


def test_a_missing_variable_is_a_note_in_a_build() -> None:
    problems = read("[supervisord]\n[program:x]\ncommand=%(ENV_MISSING)s\n").problems
    assert [each.at_run_time for each in problems if not each.warning] == [True]


@pytest.mark.parametrize("written", ["P=hunter2@x", 'P="hunter2",Q', 'P="%(ENV_NO)s hunter2"', 'P="hunter2%"'])
def test_a_value_of_an_environment_is_never_quoted(written: str) -> None:
    for section in ("[supervisord]\n", "[supervisord]\n[program:x]\ncommand=x\n"):
        found = errors(f"{section}environment={written}\n")
        assert found
        assert "hunter2" not in str(found)


@pytest.mark.parametrize(
    ("option", "error"),
    [
        ("user=%(ENV_KEY)s", "Invalid user name %(ENV_KEY)s in"),
        ("autostart=%(ENV_KEY)s", "not a valid boolean value: '%(ENV_KEY)s' in"),
        ("stdout_logfile_maxbytes=%(ENV_KEY)s", "the value of %(ENV_KEY)s is not valid in"),
        ("stdout_logfile=/%(ENV_KEY)s/x", "of the path /%(ENV_KEY)s/x does not exist"),
        ("exitcodes=1,%(ENV_KEY)s", "exit codes: '1,%(ENV_KEY)s' in"),
        ("exitcodes=1,%(ENV_NUMBER)s", "exit codes: '1,%(ENV_NUMBER)s' in"),
        ("process_name=%(ENV_KEY)s:", "'%(ENV_KEY)s:'"),
        ("process_name=%(ENV_SPACE)s", "'%(ENV_SPACE)s'"),
        ("stopsignal=%(ENV_NUMBER)s", "'%(ENV_NUMBER)s' is not a valid signal number"),
    ],
)
def test_a_variable_of_the_container_is_not_quoted(option: str, error: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENVIRON, "KEY", "HunterTwoKB")
    monkeypatch.setitem(ENVIRON, "SPACE", "hunter two")
    monkeypatch.setitem(ENVIRON, "NUMBER", "987654")
    found = errors(f"[supervisord]\n[program:x]\ncommand=x\n{option}\n")
    assert error in found[0]
    assert not any(piece in found[0].lower() for piece in ("hunt", "twok", "9876", "r two"))


def test_a_port_of_a_variable_is_not_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENVIRON, "NUMBER", "987654")
    found = errors("[supervisord]\n[inet_http_server]\nport=:%(ENV_NUMBER)s\n")
    assert found == ["supervisord.conf:3: Error: the value of :%(ENV_NUMBER)s is not valid"]


def test_a_log_that_is_not_a_file_does_not_stop_the_program() -> None:
    """A named pipe: supervisord writes to it; here the output is kept in memory, and the program goes on."""
    os.mkfifo("pipe")
    text = "[supervisord]\n[program:x]\ncommand=x\nredirect_stderr=true\nstdout_logfile=%(here)s/pipe\n"
    assert plan_of(text).services["x"].logging == (Logging("none"),)
    assert f"[program:x] cannot log to {os.getcwd()}/pipe: it is not a regular file" in warnings(text)


def test_includes(tmp_path: Path) -> None:
    """A pattern without a file is a warning, as are files that cannot be read, and includes of included files."""
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "b.conf").write_text("[program:b]\ncommand=%(here)s/b\n[include]\nfiles=x\n")
    (tmp_path / "conf.d" / "a.conf").mkdir()
    (tmp_path / "conf.d" / "c.conf").write_text("x" * (LIMIT_BYTES + 1))
    text = "[supervisord]\n[include]\nfiles=conf.d/*.conf none/*.conf\n[program:main]\ncommand=%(here)s/main\n"
    draft = read(text)
    here = os.getcwd()
    assert [item.service.command for item in draft.services.values()] == [(f"{here}/conf.d/b",), (f"{here}/main",)]
    assert draft.files == ("supervisord.conf", f"{here}/conf.d/b.conf")
    assert str(draft.services["b"].where) == f"{here}/conf.d/b.conf:1"
    said = warnings(text)
    assert f'supervisord.conf:3: warning: No file matches via include "{here}/none/*.conf"' in said
    assert f"cannot read {here}/conf.d/a.conf: it is a directory" in said
    assert f"{here}/conf.d/c.conf: warning: cannot read" in said
    assert f"[include] of {here}/conf.d/b.conf" in said


@pytest.mark.parametrize("limit", ["_LIMIT_FILES", "_LIMIT_CHARACTERS"])
def test_includes_have_limits(limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, limit, 3)
    for i in range(4):
        with open(f"{i}.conf", "w", encoding="utf-8") as file:
            file.write(f"[program:x{i}]\ncommand=x\n")
    assert "the files are more than" in errors("[supervisord]\n[include]\nfiles=?.conf\n")[0]


@pytest.mark.parametrize("name", ["x.conf", "anything"])
def test_a_file_is_known_by_its_name_or_its_beginning(name: str) -> None:
    assert list(read("; c\n[supervisord]\n[program:x]\ncommand=x\n", name=name).services) == ["x"]


def test_the_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The working directory is searched, unless another user could have put the file there."""
    found = registry.read({"supervisord": {}}, ENVIRON).problems
    assert "Error: No config file found at default paths (" in str(found[0])
    assert found[0].exit_code == 2
    (tmp_path / "supervisord.conf").write_text("[supervisord]\n")
    assert registry.read({"supervisord": {}}, ENVIRON).where.file == "supervisord.conf"
    tmp_path.chmod(0o777)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    found = registry.read({"supervisord": {}}, ENVIRON).problems
    assert "supervisord.conf is ignored: other users can change its directory" in str(found[0])


def test_a_missing_file_has_the_words_of_supervisord() -> None:
    found = registry.read({"supervisord": {"configuration": "none.conf"}}, ENVIRON).problems
    assert [(each.text, each.exit_code) for each in found] == [("Error: could not find config file none.conf", 2)]


def test_files_are_not_merged() -> None:
    read("[supervisord]\n", name="a.conf")
    read("[supervisord]\n", name="b.conf")
    found = registry.read({"files": ["a.conf", "b.conf"]}, ENVIRON).problems
    assert "b.conf cannot be added: use [include] in a.conf" in str(found[0])


def test_the_pid_file_is_that_of_our_parent(tmp_path: Path) -> None:
    path = tmp_path / "x.pid"
    path.write_text("an older and longer text\n")
    assert write_pid_file(str(path)) == ""
    assert path.read_text() == f"{os.getppid()}\n"
    assert write_pid_file(str(tmp_path)).startswith(f"could not write pidfile {tmp_path}: ")


def test_config_prints_it_as_a_cohabit_yaml(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """What has no key there is a comment, and the result is a valid file."""
    read(
        "[supervisord]\nnodaemon=true\n[group:g]\nprograms=x\n[program:x]\ncommand=true '%%d $'\nautorestart=true\n"
        "stdout_logfile=/dev/stdout\nstderr_logfile=NONE\n[program:y]\ncommand=true\npriority=1\nuser=54321\nstartsecs=0\n"
    )
    assert load.main("config", {"files": ["supervisord.conf"]}) == 0
    text = capfdbinary.readouterr().out.decode()
    notes = [line[2:] for line in text.splitlines() if line.startswith("# ") and "supervisord.conf" not in line]
    assert notes == [
        "priority has no key here: all services start, and stop, together",
        "startsecs and startretries: no key here: g-x",
        "the stream of a log (stdout and stderr are separate): no key here: g-x",
        "the container ends when all services have ended, not on request only",
    ]
    with open("cohabit.yaml", "w", encoding="utf-8") as file:
        file.write(text)
    again, problems = build(registry.read({"files": ["cohabit.yaml"]}, ENVIRON), ())
    assert again is not None, problems
    found = again.services["g-x"]
    assert list(again.services) == ["y", "g-x"]
    assert (found.command, found.restart.condition, found.restart.delay_seconds) == (("true", "%d $"), "always", 0.0)
    assert (found.essential, found.logging[0].driver) == (False, "raw")


def test_the_answer_for_process_1_has_the_groups(
    capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`cohabit logs GROUP` means all processes of a group; what the machine cannot run is a warning."""
    monkeypatch.setenv("HOST_FILE", "/etc/hosts")
    read(
        "[supervisord]\npidfile=x.pid\n[group:g]\nprograms=x,y\n[program:y]\ncommand=/no/such\n[program:x]\ncommand=x\n"
        'environment=A_FILE="/run/secrets/a"\n'
        "[program:z]\ncommand=true\n"
    )
    assert load.main("plan", {"supervisord": {"configuration": "supervisord.conf"}}) == 0
    answer = marshal.loads(capfdbinary.readouterr().out)  # noqa: S302 - our own
    assert answer["problems"] == []
    assert [(name, one["service"]) for name, one in answer["plan"]["services"].items()] == [
        ("g:x", "g"), ("g:y", "g"), ("z", "z"),
    ]  # fmt: skip
    assert answer["plan"]["stays"] is True
    assert answer["plan"]["services"]["g:x"]["environment"]["A_FILE"] == "/run/secrets/a"
    assert "HOST_FILE" not in str(answer)
    assert any("cannot start g:y: /no/such does not exist" in text for text in answer["warnings"])
    with open("x.pid", encoding="ascii") as file:
        assert file.read() == f"{os.getppid()}\n"


def test_one_warning_for_all_processes_of_a_program(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    read("[supervisord]\n[program:x]\ncommand=no-such\nnumprocs=3\nprocess_name=p%(process_num)d\nuser=54321\n")
    assert load.main("check", {"files": ["supervisord.conf"]}) == 0
    assert capfdbinary.readouterr().out.count(b"'no-such' is not found") == 1


def test_check_says_how_the_container_ends(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    read("[supervisord]\n[program:x]\ncommand=true\nstdout_logfile=NONE\nstderr_logfile=NONE\n")
    assert load.main("check", {"files": ["supervisord.conf"]}) == 0
    assert capfdbinary.readouterr().out.decode().splitlines() == [
        "supervisord.conf: the container ends on request only, as with supervisord",
        "supervisord.conf: valid: 1 service (x)",
    ]
    assert not os.path.exists("supervisord.pid")
    read("[supervisord]\n[program:x]\nstartsecs=x\n")
    assert load.main("check", {"files": ["supervisord.conf"]}) == 2


def test_a_command_in_the_foreground(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """`cohabit up -f supervisord.conf -- bash`: it has the terminal, and the container ends with it."""
    read("[supervisord]\npidfile=x.pid\n[program:x]\ncommand=true\n")
    request = {"files": ["supervisord.conf"], "command": ["sh"], "terminal": False}
    assert load.main("plan", request) == 0
    services = marshal.loads(capfdbinary.readouterr().out)["plan"]["services"]  # noqa: S302 - our own
    found = {
        name: (one["service"], one.get("console", False), one.get("essential", True)) for name, one in services.items()
    }
    assert found == {"x": ("x", False, False), "sh": ("sh", True, True)}

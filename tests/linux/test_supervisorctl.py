"""The real supervisorctl, XML-RPC and event listeners, with the real supervisord and with cohabit: the same answers."""

import contextlib
import http.client
import io
import json
import os
import re
import signal
import socket
import sys
import threading
from collections.abc import Callable
from typing import Any
from xmlrpc.client import Fault, ServerProxy, Transport

import pytest
from supervisor import supervisorctl

from linux.conftest import Start
from linux.run import COHABIT, Run, program

REAL = (sys.executable, "-c", "from supervisor.supervisord import main; main()", "-n")
OURS = (*COHABIT, "supervisord", "-n")

CONF = """
[supervisord]
logfile=/dev/null
logfile_maxbytes=0
pidfile={folder}/supervisord.pid
user=root
[unix_http_server]
file={folder}/supervisor.sock
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
[supervisorctl]
serverurl=unix://{folder}/supervisor.sock
[program:cat]
command=cat
startsecs=0
stdout_logfile={folder}/cat.log
stderr_logfile=NONE
[program:web]
command=sh -c "echo hello; exec sleep 1000"
numprocs=2
process_name=%(program_name)s_%(process_num)02d
startsecs=0
priority=20
stdout_logfile={folder}/%(program_name)s.log
redirect_stderr=true
[program:false]
command=/bin/false
startsecs=60
startretries=0
autostart=false
stdout_logfile=NONE
stderr_logfile=NONE
[program:missing]
command=/nonexistent/x
autostart=false
startretries=0
stdout_logfile=NONE
stderr_logfile=NONE
[program:later]
command=sleep 1000
autostart=false
startsecs=0
stdout_logfile=NONE
stderr_logfile=NONE
"""


class _Connection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=60)
        self.path = path

    def connect(self) -> None:
        """Connect to the path."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(self.path)


class _Transport(Transport):
    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    def make_connection(self, _host: Any) -> http.client.HTTPConnection:
        """Give a new connection."""
        return _Connection(self.path)


class Server:
    """A running supervisord, real or ours. control(words): what supervisorctl prints, and its exit code."""

    def __init__(self, run: Run, folder: str) -> None:
        self.run = run
        self.folder = folder
        self.rpc = ServerProxy("http://localhost/RPC2", transport=_Transport(f"{folder}/supervisor.sock"))

    def call(self, name: str, *values: Any) -> Any:
        """The result of a method, or the code and the text of its fault."""
        method = self.rpc
        for part in name.split("."):
            method = getattr(method, part)
        try:
            return method(*values)
        except Fault as fault:
            return fault.faultCode, fault.faultString

    def states(self) -> dict[str, str]:
        """The states of all processes; {} while there is no answer, or everything is being restarted."""
        try:
            infos = self.rpc.supervisor.getAllProcessInfo()
        except (OSError, http.client.HTTPException, Fault):
            return {}
        assert isinstance(infos, list)
        return {str(info["name"]): str(info["statename"]) for info in infos}

    def until(self, **states: str) -> None:
        """Wait until these processes have these states."""
        self.run.until(lambda: states.items() <= self.states().items(), f"{states}")

    def control(self, *words: str) -> tuple[str, int]:
        """Run supervisorctl in this process; pids and times are replaced."""
        printed = io.StringIO()
        code: Any = 0
        with contextlib.redirect_stdout(printed):
            try:
                supervisorctl.main(["-c", f"{self.folder}/supervisord.conf", *words])
            except SystemExit as error:
                code = error.code
        return _without_times(printed.getvalue()), int(code or 0)


def _without_times(text: str) -> str:
    text = re.sub(r"pid \d+, uptime [\d:]+", "pid N, uptime T", text)
    return re.sub(r"[A-Z][a-z]{2} \d\d \d\d:\d\d [AP]M", "T", text)


@pytest.fixture
def both(start: Start, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], list[Server]]:
    """Give the function that starts the real supervisord and ours with the same conf, each in its own folder."""

    def both(conf: str) -> list[Server]:
        servers = []
        for name, command in (("real", REAL), ("ours", OURS)):
            folder = str(tmp_path_factory.mktemp(name))
            with open(f"{folder}/supervisord.conf", "w", encoding="utf-8") as file:
                file.write(conf.format(folder=folder))
            servers.append(Server(start(*command, "-c", f"{folder}/supervisord.conf", cwd=folder), folder))
        return servers

    return both


def _same(servers: list[Server], act: Callable[[Server], Any]) -> list[Any]:
    """Do the same with both at the same time; returns both results, with their folders replaced."""
    results: list[Any] = [None, None]

    def one(index: int) -> None:
        results[index] = act(servers[index])

    thread = threading.Thread(target=one, args=(0,))
    thread.start()
    one(1)
    thread.join()
    return [json.loads(json.dumps(r).replace(s.folder, "FOLDER")) for r, s in zip(results, servers, strict=True)]


ACTIONS = [
    "status", "status web:*", "status nosuch", "pid", "pid cat", "version", "avail", "start later", "start later",
    "stop later", "stop later", "status later", "start false", "start missing", "start nosuch", "start nosuch:*",
    "start web:nosuch", "stop web:web_00", "status web:*", "start web:*", "restart web:web_01", "signal HUP later",
    "signal NOSUCH cat", "signal CONT cat", "signal CONT web:*", "tail web:web_00", "tail -3 web:web_00",
    "tail cat stderr", "tail nosuch", "clear web:web_00", "tail web:web_00", "clear nosuch", "reread", "update",
    "remove cat", "stop cat", "remove cat", "status", "add cat", "add cat", "add nosuch", "status cat",
    "stop all", "status", "start all", "status", "help status", "maintail", "open", "nosuch",
]  # fmt: skip


def test_supervisorctl_prints_the_same(both: Callable[[str], list[Server]]) -> None:
    """All commands, with their exit codes; a program that ends at once, one that does not exist, and groups."""
    servers = both(CONF)

    def act(server: Server) -> list[tuple[str, str, int]]:
        server.until(cat="RUNNING", web_00="RUNNING", web_01="RUNNING")
        done: list[tuple[str, str, int]] = []
        for action in ACTIONS:
            if action.startswith("tail web") and "clear web:web_00" not in [each[0] for each in done]:
                server.run.until_written(f"{server.folder}/web.log", 4)
            done.append((action, *server.control(*action.split())))
            if action == "add cat":
                server.until(cat="RUNNING")
            elif action == "start all":
                server.until(false="FATAL")
        return done

    real, ours = map(act, servers)  # one after the other: both print to the same standard output
    different = [(mine, theirs) for mine, theirs in zip(ours, real, strict=True) if _shown(mine) != _shown(theirs)]
    assert different == []
    assert [server.control("shutdown") for server in servers] == [("Shut down\n", 0)] * 2
    assert [server.run.wait() for server in servers] == [0, 0]


def _shown(done: tuple[str, str, int]) -> Any:
    """What must be the same: where several processes start or stop at once, their order does not count."""
    action, text, code = done
    if action in {"pid", "pid cat"}:
        text = re.sub(r"\d+", "N", text)
    elif action == "maintail":
        return action, code
    return action, sorted(text.splitlines()), code


CALLS: list[tuple[str, tuple[Any, ...]]] = [
    ("supervisor.getAPIVersion", ()),
    ("supervisor.getSupervisorVersion", ()),
    ("supervisor.getIdentification", ()),
    ("supervisor.getState", ()),
    ("supervisor.getAllConfigInfo", ()),
    ("supervisor.getAllProcessInfo", ()),
    ("supervisor.getProcessInfo", ("web:web_00",)),
    ("supervisor.getProcessInfo", ("web",)),
    ("supervisor.getProcessInfo", ("nosuch",)),
    ("supervisor.startProcess", ("cat",)),
    ("supervisor.startProcess", ("missing",)),
    ("supervisor.startProcess", ("false",)),
    ("supervisor.startProcess", ("web:*",)),
    ("supervisor.startProcessGroup", ("web",)),
    ("supervisor.startProcessGroup", ("nosuch",)),
    ("supervisor.stopProcess", ("later",)),
    ("supervisor.stopProcess", ("web:",)),
    ("supervisor.startProcessGroup", ("web", False)),
    ("supervisor.signalProcess", ("cat", "CONT")),
    ("supervisor.signalProcess", ("cat", "18")),
    ("supervisor.signalProcess", ("cat", "x")),
    ("supervisor.signalProcessGroup", ("web", "CONT")),
    ("supervisor.readProcessStdoutLog", ("cat", 0, 10)),
    ("supervisor.readProcessStdoutLog", ("cat", -1, 10)),
    ("supervisor.readProcessStdoutLog", ("cat", 0, -10)),
    ("supervisor.readProcessStderrLog", ("cat", 0, 10)),
    ("supervisor.tailProcessStdoutLog", ("cat", 0, 10)),
    ("supervisor.tailProcessStderrLog", ("cat", 0, 10)),
    ("supervisor.clearProcessLogs", ("cat",)),
    ("supervisor.clearAllProcessLogs", ()),
    ("supervisor.sendProcessStdin", ("later", "x")),
    ("supervisor.sendRemoteCommEvent", ("a", "b")),
    ("supervisor.addProcessGroup", ("cat",)),
    ("supervisor.removeProcessGroup", ("cat",)),
    ("supervisor.reloadConfig", ()),
    ("supervisor.nosuch", ()),
    ("supervisor._update", ("x",)),
    ("nosuch.getState", ()),
    ("supervisor.startProcess", ()),
    ("supervisor.getState", ("x",)),
    ("system.listMethods", ()),
    ("system.methodSignature", ("supervisor.startProcess",)),
    ("system.methodSignature", ("nosuch",)),
    ("system.multicall", ([{"methodName": "supervisor.getState"}, {"methodName": "x"}, {}],)),
]


def test_xml_rpc_gives_the_same(both: Callable[[str], list[Server]]) -> None:
    """Results and faults of methods; times and pids aside."""
    servers = both(CONF)

    def act(server: Server) -> list[Any]:
        server.until(cat="RUNNING", web_00="RUNNING", web_01="RUNNING")
        return [[name, _comparable(name, server.call(name, *values))] for name, values in CALLS]

    real, ours = _same(servers, act)
    assert [(mine, theirs) for mine, theirs in zip(ours, real, strict=True) if mine != theirs] == []


def _comparable(name: str, value: Any) -> Any:
    if isinstance(value, dict) and "description" in value:
        hidden = {**value, "start": bool(value.get("start")), "stop": bool(value.get("stop")), "now": 0, "pid": 0}
        return {**hidden, "description": _without_times(value["description"])}
    if isinstance(value, list):
        found = [_comparable(name, one) for one in value]
        return sorted(found, key=str) if name.endswith(("Group", "Logs", "Process")) else found
    return value


def test_what_is_written_to_standard_input(both: Callable[[str], list[Server]]) -> None:
    """It reaches the process, and its output the log."""
    servers = both(CONF)

    def act(server: Server) -> list[Any]:
        server.until(cat="RUNNING")
        sent = server.call("supervisor.sendProcessStdin", "cat", "one\ntwo\n")
        server.run.until_written(f"{server.folder}/cat.log", 2)
        return [sent, server.call("supervisor.readProcessStdoutLog", "cat", 0, 0)]

    assert _same(servers, act) == [[True, "one\ntwo\n"]] * 2


EVENTS = """
[eventlistener:listener]
command={listener} {{folder}}/events
events=PROCESS_STATE,REMOTE_COMMUNICATION,PROCESS_GROUP,SUPERVISOR_STATE_CHANGE
buffer_size=100
"""


def test_listeners_get_the_same_events(both: Callable[[str], list[Server]]) -> None:
    """For each process in the same order, with the same payloads; pids aside."""
    servers = both(CONF + EVENTS.format(listener=" ".join(program("listener.py"))))

    def act(server: Server) -> dict[str, list[str]]:
        events = f"{server.folder}/events"
        server.until(cat="RUNNING", web_00="RUNNING", web_01="RUNNING", listener="RUNNING")
        server.call("supervisor.stopProcess", "cat")
        server.call("supervisor.startProcess", "cat")
        server.call("supervisor.startProcess", "false")
        server.until(false="FATAL")
        server.call("supervisor.signalProcess", "web:web_00", "KILL")
        server.run.until(lambda: len(_by_process(_read(events)).get("processname:web_00", [])) == 5, "its restart")
        server.call("supervisor.removeProcessGroup", "later")
        server.run.until(lambda: "PROCESS_GROUP_REMOVED" in _read(events), "the last event")
        return _by_process(_read(events))

    real, ours = _same(servers, act)
    assert ours == real


ADDED = """
[eventlistener:added]
command={listener} {{folder}}/added
events=REMOTE_COMMUNICATION
startretries=0
[program:new]
command=cat
stdout_logfile=NONE
stderr_logfile=NONE
"""


@pytest.mark.parametrize("action", ["update", "reload"])
def test_a_new_listener_gets_events(both: Callable[[str], list[Server]], action: str) -> None:
    """A changed one gets those that it wants now; the events of new programs are posted, too."""
    listener = " ".join(program("listener.py"))
    servers = both(CONF + EVENTS.format(listener=listener))

    def act(server: Server) -> Any:
        server.until(cat="RUNNING", listener="RUNNING")
        path = f"{server.folder}/supervisord.conf"
        text = _read(path).replace("events=PROCESS_STATE,", "events=TICK_3600,PROCESS_STATE_RUNNING,")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text + ADDED.format(listener=listener).format(folder=server.folder))
        reread = server.call("supervisor.reloadConfig")
        server.control(action)
        server.until(listener="RUNNING", added="RUNNING", new="RUNNING")
        server.run.until(
            lambda: "processname:new groupname:new from_state:STARTING" in _read(server.folder + "/events"), "new"
        )
        server.call("supervisor.sendRemoteCommEvent", "a", "b")
        server.run.until_written(f"{server.folder}/added", 1)
        return [sorted(names) for names in reread[0]]

    assert [act(server) for server in servers] == [[["added", "new"], ["listener"], []]] * 2


def test_listeners_survive_the_end_of_the_gateway(both: Callable[[str], list[Server]]) -> None:
    """They have lost their pipes, so they are started again."""
    server = both(CONF + EVENTS.format(listener=" ".join(program("listener.py"))))[1]
    server.until(cat="RUNNING", listener="RUNNING")
    server.run.until(lambda: "STATE_RUNNING" in _read(f"{server.folder}/events"), "the first events")
    os.kill(_gateway_pid(server), signal.SIGKILL)
    server.until(listener="RUNNING")
    server.call("supervisor.stopProcess", "cat")
    stopped = "processname:cat groupname:cat from_state:STOPPING"
    server.run.until(lambda: stopped in _read(f"{server.folder}/events"), "the events of a restarted listener")


def _gateway_pid(server: Server) -> int:
    """The child of process 1 that runs it."""
    pid = server.run.process_1().pid
    for child in _read(f"/proc/{pid}/task/{pid}/children").split():
        if "gateway/__main__" in _read(f"/proc/{child}/cmdline"):
            return int(child)
    raise AssertionError


def test_reload_takes_over_new_credentials(both: Callable[[str], list[Server]]) -> None:
    """Of a server section, which had none before."""
    servers = both(CONF)

    def act(server: Server) -> int:
        server.until(cat="RUNNING")
        path = f"{server.folder}/supervisord.conf"
        text = _read(path).replace("[rpcinterface", "username=u\npassword=p\n[rpcinterface", 1)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        server.control("reload")
        server.run.until(lambda: _status(server) == 401, "the new password")
        return _status(server)

    assert [act(server) for server in servers] == [401, 401]


def _status(server: Server) -> int:
    with contextlib.suppress(OSError, http.client.HTTPException):
        connection = _Connection(f"{server.folder}/supervisor.sock")
        connection.request("GET", "/")
        return connection.getresponse().status
    return 0


SHELL = """
[eventlistener:listener]
command=bash -c 'printf "READY\\n"; while read -r line; do echo "$line" >> {folder}/lines; done < /dev/stdin'
events=REMOTE_COMMUNICATION
"""


def test_a_listener_may_open_its_standard_input_again(both: Callable[[str], list[Server]]) -> None:
    """As the listeners in shell do that many images carry, which end supervisord when a program fails."""
    servers = both(CONF + SHELL)

    def act(server: Server) -> str:
        server.until(listener="RUNNING")
        server.call("supervisor.sendRemoteCommEvent", "a", "b")
        server.run.until_written(f"{server.folder}/lines", 1)
        return _read(f"{server.folder}/lines").split(" ")[-2]

    assert [act(server) for server in servers] == ["eventname:REMOTE_COMMUNICATION"] * 2


def _read(path: str) -> str:
    with contextlib.suppress(FileNotFoundError), open(path, encoding="utf-8") as file:
        return file.read()
    return ""


def _by_process(text: str) -> dict[str, list[str]]:
    """The types and payloads by process; those of the listener itself depend on when it is ready."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        header, payload = json.loads(line)
        name = payload.split(" ")[0]
        if name != "processname:listener":
            found.setdefault(name, []).append(f"{header['eventname']} {re.sub(r'pid:[0-9]+', 'pid:N', payload)}")
    return found


def test_hup_reads_the_file_again_and_restarts_everything(both: Callable[[str], list[Server]]) -> None:
    """What was stopped starts again; what has no autostart stays down. USR2 changes nothing."""
    servers = both(CONF)

    def act(server: Server) -> Any:
        server.until(cat="RUNNING", web_00="RUNNING", web_01="RUNNING")
        server.call("supervisor.stopProcess", "cat")
        server.call("supervisor.startProcess", "later")
        with open(f"{server.folder}/supervisord.conf", encoding="utf-8") as file:
            text = file.read()
        with open(f"{server.folder}/supervisord.conf", "w", encoding="utf-8") as file:
            file.write(text.replace("[program:false]", "[program:added]\ncommand=cat\nstartsecs=0\n[program:false]"))
        os.kill(server.run.process_1().pid, signal.SIGUSR2)
        os.kill(server.run.process_1().pid, signal.SIGHUP)
        server.until(added="RUNNING", cat="RUNNING", web_00="RUNNING", web_01="RUNNING", later="STOPPED")
        return server.states()

    real, ours = _same(servers, act)
    assert ours == real
    for server in servers:
        server.run.until_printed("received SIGHUP indicating restart request")
        server.run.until_printed("received SIGUSR2 indicating log reopen request")


FASTCGI = """
[fcgi-program:php]
command={program} %(process_num)d
socket=unix://{{folder}}/php.sock
socket_mode=0600
process_name=%(program_name)s_%(process_num)d
numprocs=2
startsecs=0
stdout_logfile=NONE
stderr_logfile=NONE
"""


def test_a_fastcgi_program_gets_its_socket(both: Callable[[str], list[Server]]) -> None:
    """At its standard input, shared by all of its processes; clients that come during a restart wait."""
    servers = both(CONF + FASTCGI.format(program=" ".join(program("fastcgi.py"))))

    def act(server: Server) -> list[Any]:
        server.until(php_0="RUNNING", php_1="RUNNING")
        mode = os.stat(f"{server.folder}/php.sock").st_mode
        server.call("supervisor.stopProcess", "php:php_0")
        return [oct(mode), _answer(f"{server.folder}/php.sock"), server.states()]

    real, ours = _same(servers, act)
    assert ours == real
    assert ours[1] == "1"


def _answer(path: str) -> str:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(60)
        client.connect(path)
        return client.recv(100).decode()

"""The supervisors and their configurations, with the same services for each.

A writer gets an empty folder and name -> command line (arguments without spaces and quotes), writes the tool's files
there and returns the arguments that start it in the foreground. Every tool restarts ended services with the smallest
delay that it supports, and copies their output to its own stdout, as in a container.
"""

import json
import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

PARTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "parts")
Services = Mapping[str, str]
Writer = Callable[[str, Services], list[str]]


@dataclass(frozen=True)
class Tool:
    """One tool in one configuration.

    program: the name for the installer. write: makes the configuration. stop_signal: stops the tool and its services.
    restarts: it restarts ended services. passes_output: the output of services goes through it.
    """

    name: str
    program: str
    write: Writer
    stop_signal: signal.Signals = signal.SIGTERM
    restarts: bool = True
    passes_output: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)


def _save(folder: str, name: str, text: str, mode: int = 0o644) -> str:
    """Write one file below a folder and return its path."""
    path = os.path.join(folder, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    os.chmod(path, mode)
    return path


def _cohabit(folder: str, services: Services, logging: str) -> list[str]:
    policy = "deploy: {restart_policy: {condition: any, delay: 0s}}"
    lines = [f"  {name}: {{command: {command}, {policy}{logging}}}\n" for name, command in services.items()]
    return ["up", "-f", _save(folder, "cohabit.yaml", "services:\n" + "".join(lines))]


def cohabit(folder: str, services: Services) -> list[str]:
    """Write cohabit.yaml with the default logging: a prefix for each line."""
    return _cohabit(folder, services, "")


def cohabit_logging(options_text: str) -> Writer:
    """Return a writer of cohabit.yaml with `logging: {OPTIONS_TEXT}` for every service.

    `{folder}` in the text stands for the folder of the files.
    """

    def write(folder: str, services: Services) -> list[str]:
        return _cohabit(folder, services, f", logging: {{{options_text.replace('{folder}', folder)}}}")

    return write


def _supervisord(folder: str, services: Services, logging: str) -> list[str]:
    text = (
        "[supervisord]\nnodaemon=true\nlogfile=/dev/null\nlogfile_maxbytes=0\npidfile=supervisord.pid\nuser=root\n"
        "minfds=4096\n"
        "[unix_http_server]\nfile=supervisor.sock\n"
        "[rpcinterface:supervisor]\n"
        "supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface\n"
        f"[supervisorctl]\nserverurl=unix://{folder}/supervisor.sock\n"
    )
    for name, command in services.items():
        text += f"[program:{name}]\ncommand={command}\nautorestart=true\nstartsecs=0\nredirect_stderr=true\n{logging}"
    return ["-n", "-c", _save(folder, "supervisord.conf", text)]


def supervisord(folder: str, services: Services) -> list[str]:
    """Write supervisord.conf as images have it: in the foreground, all output to its own stdout."""
    return _supervisord(folder, services, "stdout_logfile=/dev/fd/1\nstdout_logfile_maxbytes=0\n")


def _circus(folder: str, services: Services, check_seconds: float, stream: str = "class = StdoutStream") -> list[str]:
    text = (
        f"[circus]\ncheck_delay = {check_seconds:g}\nendpoint = ipc://{folder}/endpoint\n"
        f"pubsub_endpoint = ipc://{folder}/pubsub\n"
    )
    for name, command in services.items():
        text += f"[watcher:{name}]\ncmd = {command}\ncopy_env = True\nstdout_stream.{stream}\n"
    return [_save(folder, "circus.ini", text)]


def circus(folder: str, services: Services) -> list[str]:
    """Write circus.ini with the default check for ended processes, every 5 s."""
    return _circus(folder, services, 5)


def circus_fast(folder: str, services: Services) -> list[str]:
    """Write circus.ini with a check for ended processes every 0.2 s, which costs wake-ups."""
    return _circus(folder, services, 0.2)


def circus_json(folder: str, services: Services) -> list[str]:
    """Write circus.ini with a custom stream that writes JSON (parts/circus_json.py)."""
    return _circus(folder, services, 5, "class = circus_json.JsonStream")


def honcho(folder: str, services: Services) -> list[str]:
    """Write a Procfile."""
    lines = "".join(f"{name}: {command}\n" for name, command in services.items())
    return ["-f", _save(folder, "Procfile", lines), "start"]


def pm2(folder: str, services: Services) -> list[str]:
    """Write an ecosystem file of programs that are not JavaScript."""
    apps = []
    for name, command in services.items():
        script, *arguments = command.split()
        apps.append({"name": name, "script": script, "args": arguments, "interpreter": "none", "vizion": False})
    text = f"module.exports = {json.dumps({'apps': apps})}\n"
    return ["start", _save(folder, "ecosystem.config.js", text)]


def _run_scripts(folder: str, services: Services) -> str:
    for name, command in services.items():
        _save(folder, f"scan/{name}/run", f"#!/bin/sh\nexec {command}\n", 0o755)
    scan = os.path.join(folder, "scan")
    os.utime(scan, (1, 1))  # runsvdir waits a second if the folder has changed within this second
    return scan


def s6(folder: str, services: Services) -> list[str]:
    """Write a scan folder of run scripts for s6-svscan."""
    return ["-c", "1000", _run_scripts(folder, services)]


def runit(folder: str, services: Services) -> list[str]:
    """Write a folder of run scripts for runsvdir."""
    return [_run_scripts(folder, services)]


def piped(into: str) -> Writer:
    """Return a writer of a shell command line: the output of every service goes through a pipe to this command."""
    return lambda _folder, services: ["-c", "".join(f"{command} | {into} & " for command in services.values()) + "wait"]


def into_files(mib: int, count: int) -> list[Tool]:
    """Return all tools that write the output of a service into `count` files of `mib` MiB.

    All write into the folder `logs`. The current file is `a.log` or `current`.
    """
    size = mib << 20

    def logger(command: str) -> Writer:
        def write(folder: str, services: Services) -> list[str]:
            _save(folder, "logs/config", f"s{size}\nn{count}\n")  # svlogd's
            return piped(command)(folder, services)

        return write

    def to_supervisord(folder: str, services: Services) -> list[str]:
        os.mkdir(os.path.join(folder, "logs"))
        options = (
            f"stdout_logfile={folder}/logs/a.log\nstdout_logfile_maxbytes={size}\nstdout_logfile_backups={count}\n"
        )
        return _supervisord(folder, services, options)

    def to_circus(folder: str, services: Services) -> list[str]:
        os.mkdir(os.path.join(folder, "logs"))
        names = {"class": "FileStream", "filename": f"{folder}/logs/a.log", "max_bytes": size, "backup_count": count}
        return _circus(folder, services, 5, "\nstdout_stream.".join(f"{key} = {names[key]}" for key in names))

    options = f"path: '{{folder}}/logs/a.log', max-size: {mib}m, max-file: '{count}'"
    return [
        Tool("cohabit", "cohabit", cohabit_logging(f"driver: file, options: {{{options}}}")),
        Tool("supervisord", "supervisord", to_supervisord),
        Tool("circus", "circusd", to_circus),
        Tool("s6-log", "sh", logger(f"s6-log s{size} n{count} ./logs")),
        Tool("svlogd", "sh", logger("svlogd ./logs")),
        Tool("cat", "sh", logger("cat >> logs/current")),
    ]


COHABIT = Tool("cohabit", "cohabit", cohabit, passes_output=True)
PEERS = (
    Tool("supervisord", "supervisord", supervisord, passes_output=True),
    Tool("circus", "circusd", circus, passes_output=True),
    Tool("circus 0.2 s", "circusd", circus_fast),
    Tool("honcho", "honcho", honcho, restarts=False, passes_output=True),
    Tool(
        "pm2",
        "pm2-runtime",
        pm2,
        environment={"PM2_HOME": "pm2", "PM2_DISCRETE_MODE": "true", "PM2_NO_INTERACTION": "1"},
    ),
    Tool("s6", "s6-svscan", s6),
    Tool("runit", "runsvdir", runit, stop_signal=signal.SIGHUP),
)
CIRCUS_JSON = Tool("circus", "circusd", circus_json, passes_output=True, environment={"PYTHONPATH": PARTS})
CAT = Tool("cat", "sh", piped("cat"), passes_output=True)
S6_LOG = Tool("s6-log", "sh", piped("s6-log t 1"), passes_output=True)  # with a timestamp in each line
LOGGERS = {"s6-log": "s6", "svlogd": "runit"}  # log programs, and the peer that they belong to

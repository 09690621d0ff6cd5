"""Command lines of docker, docker compose and supervisorctl that cohabit does not have: what to type instead.

Loaded only when a command or an option is unknown, or when options come before the command. A hint completes
"cannot COMMAND: OPTION: …" and has the form "why (what to do)". tests/unit/test_cli_compose_lines.py has a table of
command lines with their outcomes.
"""

from __future__ import annotations

from cohabit.cli.options import HELP, Option, WrapperCommand
from cohabit.cli.reading import READING
from cohabit.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

BEFORE = WrapperCommand(
    "read the options before the command", "", "", (*READING, Option(("-V", "--version"), "the version"))
)

# What to type instead of a command; {} stands for its arguments, after a space.
COMMANDS = {
    "add": "the services of a changed file: cohabit reload",
    "avail": "write: cohabit ps{}",
    "build": "cohabit has no images: this is done outside, with docker build",
    "bridge": "this is done outside, with docker compose",
    "cat": "write: cohabit config{}",
    "clear": "the lines that are kept are limited, and not cleared; new ones only: cohabit logs -f --tail 0{}",
    "commit": "this is done outside, with docker commit CONTAINER",
    "cp": "all services have the same files: cp; from outside: docker cp",
    "create": "services have no containers to create; to examine the file: cohabit check",
    "daemon-reload": "write: cohabit reload",
    "delete": "there are no containers to remove; to stop a service: cohabit stop{}",
    "describe": "write: cohabit why{}",
    "diff": "this is done outside, with docker diff CONTAINER",
    "enable": "services start with the container; to start one now: cohabit start{}",
    "disable": "to stop a service now: cohabit stop{}; to keep it out of the start, write profiles: in the file",
    "exit": "there is no prompt to leave; to end the container: cohabit down",
    "export": "services have no files of their own; outside: docker export CONTAINER",
    "fg": "write: cohabit attach{}",
    "images": "services have no images of their own; outside: docker image ls",
    "info": "write: cohabit version, or cohabit ps",
    "inspect": "write: cohabit ps --json{}",
    "is-active": "write: cohabit health{}",
    "is-enabled": "write: cohabit ps{}",
    "is-failed": "write: cohabit why{}",
    "journalctl": "write: cohabit logs",
    "list": "write: cohabit ps{}",
    "list-units": "write: cohabit ps{}",
    "ls": "write: cohabit ps{}",
    "maintail": "cohabit's own messages: cohabit logs -f cohabit",
    "monit": "write: cohabit top --watch",
    "network": "networks are those of the container; outside: docker network",
    "pid": "write: cohabit ps{}",
    "port": "ports are those of the container; outside: docker port CONTAINER",
    "publish": "cohabit has no images: this is done outside, with docker compose publish",
    "pull": "cohabit has no images: this is done outside, with docker pull",
    "push": "cohabit has no images: this is done outside, with docker push",
    "rename": "the name of a service is its key in the file",
    "quit": "there is no prompt to leave; to end the container: cohabit down",
    "reload-or-restart": "write: cohabit restart{}",
    "reread": "to see what a reload would read: cohabit check; to apply it: cohabit reload",
    "reset-failed": "write: cohabit start{}",
    "rm": "there are no containers to remove; to stop a service: cohabit stop{}",
    "remove": "there are no containers to remove; to stop a service: cohabit stop{}",
    "show": "write: cohabit why{}",
    "shutdown": "write: cohabit down",
    "status": "write: cohabit ps{}",
    "system": "this is done outside, with docker system",
    "tail": "write: cohabit logs -f{}",
    "try-restart": "write: cohabit restart{}",
    "update": "write: cohabit reload",
    "volume": "volumes are those of the container; outside: docker volume",
    "volumes": "volumes are those of the container; outside: docker inspect CONTAINER",
    "watch": "to restart services when files change: cohabit up --watch; to see changes of states: cohabit ps --watch",
}
# Programs whose commands have the same names here.
_FRONTS = ("docker", "compose", "docker-compose", "podman", "podman-compose", "supervisorctl", "systemctl")
# Options of the commands above whose value is not the name of a service.
_VALUED = ("--format", "--filter", "--index", "--tail", "-n", "--since", "--until", "--protocol", "-o", "--output")
_NO_PROJECT = "a container has one cohabit (leave it out; -p is for up, check and config)"
_NO_DIRECTORY = "the running cohabit has its own directory (--project-directory is for up, check and config)"
_OWN_FILE = "the running cohabit has its own file (-f is for up, check, config and doctor)"
_INIT = "this is an option of init (write: cohabit init [options] -- COMMAND)"
_NO_IMAGE = "cohabit has no images and builds nothing (leave it out; outside: docker build, docker pull)"
_NO_CONTAINER = "services have no containers of their own (leave it out; to restart them: cohabit restart)"
_NO_ORPHANS = "a service that is removed from the file is stopped by cohabit reload (leave it out)"
_NO_VOLUMES = "volumes are those of the container (leave it out; outside: docker rm -v)"
_FOREGROUND = (
    "up stays in the foreground, since the container ends with process 1 (leave it out; the container runs in the "
    "background with docker run -d)"
)
_READY = (
    "up stays in the foreground (to wait until services are ready, in another process: cohabit wait --all; for "
    "HEALTHCHECK: cohabit health)"
)
_ALWAYS_ALL = "without names it means all services (leave it out)"
_PATIENCE = "how long to wait for the answer is another option (write: --wait-timeout DURATION)"
_ONE_OFF = (
    "cohabit run starts the commands of a container (to run a command with a service's environment: cohabit exec "
    "SERVICE -- COMMAND)"
)
_ONE_OFF_OPTIONS = (
    *("--rm", "-d", "--detach", "-e", "--env", "--env-from-file", "--entrypoint", "-i", "-t", "-T", "--tty"),
    *("--interactive", "--no-TTY", "--no-tty", "--name", "--no-deps", "-p", "--publish", "-P", "--service-ports"),
    *("-u", "--user", "-v", "--volume", "-w", "--workdir", "--use-aliases", "-l", "--label", "--build", "--pull"),
    *("--quiet-pull", "--quiet-build", "--cap-add", "--cap-drop", "--file", "--profile", "--env-file"),
)
_BACKGROUND = "the command takes the place of this program (write: docker exec -d CONTAINER cohabit exec …)"

# What to type instead of an option, by command; "" for every command.
OPTIONS: Mapping[str, Mapping[str, str]] = {
    "": {
        "--file": _OWN_FILE,
        "-f": _OWN_FILE,
        "--profile": "the running cohabit has the profiles of its start (--profile is for up, check and config)",
        "--env-file": "the running cohabit has read its files (--env-file is for up, check and config)",
        "-p": _NO_PROJECT,
        "--project-name": _NO_PROJECT,
        "--project-directory": _NO_DIRECTORY,
        "--workdir": "this is the former name of another option (write: --project-directory DIR)",
        "--ansi": "colours are for terminals only (without them: NO_COLOR=1)",
        "--no-ansi": "colours are for terminals only (without them: NO_COLOR=1)",
        "--compatibility": "there are no names of containers (leave it out)",
        "--parallel": "everything whose dependencies allow it starts at once (leave it out)",
        "--progress": "there is no progress to show (leave it out)",
        "--dry-run": "nothing is changed by cohabit check (write: cohabit check)",
        "--all-resources": "there are services only (leave it out)",
        "--verbose": "cohabit writes all its messages (leave it out)",
        "-v": "this is not an option of cohabit (write: cohabit --version)",
        "-D": "cohabit has no debug mode (leave it out)",
        "--debug": "cohabit has no debug mode (leave it out)",
        "--log-level": "cohabit has one level (leave it out; cohabit up -q prints warnings and errors only)",
        "-l": "cohabit has one level (leave it out; cohabit up -q prints warnings and errors only)",
        "-c": "there is no other machine to reach (write: docker -c CONTEXT exec CONTAINER cohabit …)",
        "--context": "there is no other machine to reach (write: docker --context CONTEXT exec CONTAINER cohabit …)",
        "-H": "there is no other machine to reach (write: docker -H HOST exec CONTAINER cohabit …)",
        "--host": "there is no other machine to reach (write: docker -H HOST exec CONTAINER cohabit …)",
        "--remove-orphans": _NO_ORPHANS,
    },
    BEFORE.name: dict.fromkeys(("-s", "-g", "-w", "-e"), _INIT),
    "up": {
        "-d": _FOREGROUND,
        "--detach": _FOREGROUND,
        "--wait": _READY,
        "--wait-timeout": _READY,
        "--build": _NO_IMAGE,
        "--no-build": _NO_IMAGE,
        "--pull": _NO_IMAGE,
        "--quiet-pull": _NO_IMAGE,
        "--quiet-build": _NO_IMAGE,
        "--force-recreate": _NO_CONTAINER,
        "--no-recreate": _NO_CONTAINER,
        "--always-recreate-deps": _NO_CONTAINER,
        "-V": _NO_VOLUMES,
        "--renew-anon-volumes": _NO_VOLUMES,
        "--no-start": "nothing is created before the start (to examine the file: cohabit check)",
        "--attach-dependencies": "that of dependencies is printed, too (otherwise: --no-attach SERVICE)",
        "--menu": "there is no menu (leave it out)",
        "-y": "nothing is asked (leave it out)",
        "--yes": "nothing is asked (leave it out)",
    },
    "attach": {
        "--detach-keys": "there are none (to leave the service running on ^C: cohabit attach --sig-proxy=false SERVICE)"
    },
    "run": dict.fromkeys(_ONE_OFF_OPTIONS, _ONE_OFF),
    "ps": {
        "--orphans": "a service that is removed from the file is shown until it has ended (leave it out)",
        "-n": "there is one container (leave it out)",
        "-l": "there is one container (leave it out)",
        "--last": "there is one container (leave it out)",
        "--latest": "there is one container (leave it out)",
        "-s": "this is not shown (for memory: cohabit top)",
        "--size": "this is not shown (for memory: cohabit top)",
    },
    "exec": {
        "-d": _BACKGROUND,
        "--detach": _BACKGROUND,
        "--privileged": "a command has no more rights than its user has here (as root: -u root)",
        "--env-file": "variables are given one by one (write: -e NAME=VALUE)",
        "--detach-keys": "there is no detaching (leave it out)",
    },
    "check": dict.fromkeys(("-q", "--quiet"), "this prints only errors: cohabit config -q"),
    "convert": {"--format": "Compose's convert is config here (write: cohabit config --format FORM)"},
    "config": {
        "--no-normalize": "the output is always in canonical form (as it is written: --no-interpolate)",
        "--no-path-resolution": "paths are printed as they are written (leave it out)",
        "--no-consistency": "a file with errors has no configuration (its errors: cohabit check)",
        "--no-env-resolution": "env files are always read (without values: --no-interpolate)",
        "--images": "cohabit uses no images (they are in the file: grep image: FILE)",
        "--lock-image-digests": "cohabit uses no images (leave it out)",
        "--resolve-image-digests": "cohabit uses no images (leave it out)",
        "--volumes": "cohabit mounts no volumes (they are in the file: grep -A9 volumes: FILE)",
        "--networks": "cohabit makes no networks (they are in the file: grep -A9 networks: FILE)",
        "--models": "cohabit runs no models (leave it out)",
    },
    "down": {
        "--rmi": _NO_IMAGE,
        "-v": _NO_VOLUMES,
        "--volumes": _NO_VOLUMES,
    },
    "start": {
        "--all": _ALWAYS_ALL,
        "--timeout": _PATIENCE,
        "--wait": "start waits until the services are ready (leave it out; otherwise: --no-wait)",
        "-a": "the output of services: cohabit logs -f SERVICE (leave it out)",
        "--attach": "the output of services: cohabit logs -f SERVICE (leave it out)",
    },
    "stop": {
        "--all": _ALWAYS_ALL,
        "-s": "the signal is stop_signal in the file (another one: cohabit kill -s SIGNAL SERVICE)",
        "--signal": "the signal is stop_signal in the file (another one: cohabit kill -s SIGNAL SERVICE)",
    },
    "restart": {
        "--all": _ALWAYS_ALL,
        "--no-deps": "dependents are restarted only if they ask for it (leave it out; without waiting: --no-wait)",
        "-s": "the signal is stop_signal in the file (another one: cohabit kill -s SIGNAL SERVICE)",
        "--signal": "the signal is stop_signal in the file (another one: cohabit kill -s SIGNAL SERVICE)",
    },
    "kill": {"--all": _ALWAYS_ALL},
    "wait": {
        "--timeout": _PATIENCE,
        "--down-project": "this ends the container (write: cohabit wait --for exit SERVICE; cohabit down)",
    },
    "scale": {"--timeout": _PATIENCE, "--no-deps": "scale changes only this service (leave it out)"},
    "logs": {
        "--no-prefix": "this is --no-log-prefix, as in Compose (write: cohabit logs --no-log-prefix)",
        "--details": "there are no further details (leave it out; with the stream of each line: --json)",
    },
    "events": {
        "--filter": "the services are named (write: cohabit events SERVICE)",
        "--format": "the other form is --json (write: cohabit events --json)",
    },
    "top": {
        "--no-stream": "top prints one table (leave it out)",
        "--format": "the other form is --json (in Docker's words: cohabit stats --format FORMAT)",
    },
    "version": {
        "-f": "there are two forms (write: --json, or --short)",
        "--format": "there are two forms (write: --json, or --short)",
    },
}


def option_hint(command: str, option: str) -> str:
    """Why a command does not have this option, with what to do; "" if nothing is known of it."""
    return OPTIONS.get(command, {}).get(option) or OPTIONS[""].get(option, "")


def command_hint(name: str, arguments: list[str]) -> str:
    """What to type instead of a command and its arguments; "" if nothing is known of it."""
    front = ""
    while name in _FRONTS and arguments and not arguments[0].startswith("-"):
        front, name, arguments = name, arguments[0], arguments[1:]
    names = [
        argument
        for argument, before in zip(arguments, ["", *arguments], strict=False)
        if not argument.startswith("-") and before not in _VALUED
    ]
    default = f"write: cohabit {name}{{}}" if front else "leave it out" if name in _FRONTS else ""
    return COMMANDS.get(name, default).format("".join(f" {one}" for one in names))


def options_after(arguments: list[str]) -> list[str]:
    """`-f FILE COMMAND …` as `COMMAND --file=FILE …`: the options of docker compose before the command."""
    values, rest = BEFORE.parse(arguments)
    if values["help"] or values["version"]:
        return [HELP.names[1] if values["help"] else "--version"]
    if not rest:
        raise UsageError(f"there is no command after {arguments[0]} (write: cohabit {arguments[0]} … up)")
    moved = []
    for option in READING:
        given = values[option.key] or []
        moved += [f"{option.names[-1]}={value}" for value in (given if option.repeat else [given] if given else [])]
    return [rest[0], *moved, *rest[1:]]

"""Command lines of docker compose, docker and supervisorctl: each means the same here, or says what to type instead."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from cohabit.cli import compose, load, main, up
from cohabit.config import loader
from cohabit.errors import UsageError
from cohabit.reactor.signals import InheritedSignals
from unit.control_story import answer, run_client, service, serving, status

if TYPE_CHECKING:
    from pathlib import Path

    from cohabit.cli.options import Command

# The commands of docker compose (2.40) with their options, and those of docker that act on one container.
DOCUMENTED = {
    "": (
        "--all-resources --ansi --compatibility --dry-run --env-file -f --file --parallel --profile --progress "
        "--project-directory -p --project-name --help -h --verbose --version -v --workdir --no-ansi --context -c "
        "--debug -D --host -H --log-level -l"
    ),
    "attach": "--detach-keys --index --no-stdin --sig-proxy",
    "bridge": "",
    "build": "",
    "commit": "",
    "config": (
        "--environment --format --hash --images --lock-image-digests --models --networks --no-consistency "
        "--no-env-resolution --no-interpolate --no-normalize --no-path-resolution -o --output --profiles -q --quiet "
        "--resolve-image-digests --services --variables --volumes"
    ),
    "convert": "--format",
    "cp": "",
    "create": "",
    "diff": "",
    "down": "--remove-orphans --rmi -t --timeout -v --volumes",
    "events": "--json --since --until",
    "exec": (
        "-d --detach -e --env --index -T --no-tty --no-TTY --privileged -u --user -w --workdir -i --interactive -t "
        "--tty --env-file --detach-keys"
    ),
    "images": "",
    "inspect": "",
    "kill": "--remove-orphans -s --signal",
    "logs": ("-f --follow --index --no-color --no-log-prefix --since -n --tail -t --timestamps --until --details"),
    "ls": "",
    "pause": "",
    "port": "",
    "ps": (
        "-a --all --filter --format --no-trunc --orphans -q --quiet --services --status -n --last -l --latest -s --size"
    ),
    "publish": "",
    "pull": "",
    "push": "",
    "rename": "",
    "restart": "--no-deps -t --timeout -s --signal",
    "rm": "",
    "run": (
        "--build --cap-add --cap-drop -d --detach --entrypoint -e --env --env-from-file -i --interactive -l --label "
        "--name -T --no-TTY --no-deps -p --publish --pull -q --quiet --quiet-build --quiet-pull --remove-orphans --rm "
        "-P --service-ports --use-aliases -u --user -v --volume -w --workdir -t --tty"
    ),
    "scale": "--no-deps",
    "start": "--wait --wait-timeout -a --attach",
    "stats": "-a --all --format --no-stream --no-trunc",
    "stop": "-t --timeout -s --signal",
    "top": "",
    "unpause": "",
    "up": (
        "--abort-on-container-exit --abort-on-container-failure --always-recreate-deps --attach --attach-dependencies "
        "--build -d --detach --exit-code-from --force-recreate --menu --no-attach --no-build --no-color --no-deps "
        "--no-log-prefix --no-recreate --no-start --pull --quiet-build --quiet-pull --remove-orphans -V "
        "--renew-anon-volumes --scale -t --timeout --timestamps --wait --wait-timeout -w --watch -y --yes"
    ),
    "version": "-f --format --short",
    "volumes": "",
    "wait": "--down-project",
    "watch": "",
    "status": "",
    "tail": "",
    "list": "",
    "update": "",
    "reread": "",
    "shutdown": "",
    "maintail": "",
    "fg": "",
}
CASES = [(command, option) for command, options in DOCUMENTED.items() for option in options.split() or [""]]


@pytest.fixture(autouse=True)
def _signals_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client restores the dispositions that it was started with: not in the process that runs the tests."""
    monkeypatch.setattr(InheritedSignals, "restore", lambda _: None)


def _given() -> InheritedSignals:
    return InheritedSignals((), ())


def _refusal(line: str) -> str:
    with pytest.raises(UsageError) as caught:
        main._dispatch(_given(), line.split())
    return str(caught.value)


@pytest.mark.parametrize(("command", "option"), CASES)
def test_nothing_that_is_documented_is_unknown(command: str, option: str) -> None:
    """Each command and option of docker compose is one of cohabit, or has its own hint."""
    if not command:
        known = {name for one in compose.BEFORE.options for name in one.names} | {"-h", "--help"}
        assert option in known or compose.option_hint("", option)
    elif command not in main.COMMANDS:
        assert compose.command_hint(command, [])
    elif option:
        page: Command = load(f"cohabit.cli.{command}").COMMAND
        known = {name for one in page.options for name in one.names}
        assert option in known or compose.option_hint(command, option)
        assert not (known & compose.OPTIONS.get(command, {}).keys())


def test_the_table_is_complete() -> None:
    """All hints are for command lines that people type, and none for what cohabit has itself."""
    assert len(CASES) + len(REFUSED) + len(SENT) + len(READ) > 300
    assert not compose.COMMANDS.keys() & main.COMMANDS.keys()
    assert compose.OPTIONS.keys() - {"", compose.BEFORE.name} <= main.COMMANDS.keys()


REFUSED = [
    ("-f x.yaml", "there is no command after -f"),
    ("-f x.yaml ps", "the running cohabit has its own file"),
    ("--profile p restart", "the running cohabit has the profiles of its start"),
    ("--env-file e logs", "--env-file is for up, check and config"),
    ("-p app ps", "-p is for up, check and config"),
    ("-p A.b up", "'A.b' is not the name of a project"),
    ("-p -x check", "'-x' is not the name of a project"),
    ("config --project-name=", "'' is not the name of a project"),
    ("-p a -p b up", "-p is given twice"),
    ("--project-directory /x logs", "--project-directory is for up, check and config"),
    ("--workdir /x up", "write: --project-directory DIR"),
    ("--ansi never up", "NO_COLOR=1"),
    ("--dry-run up", "write: cohabit check"),
    ("--context c ps", "docker --context CONTEXT exec"),
    ("-v", "cohabit --version"),
    ("--nothing up", "unknown option --nothing"),
    ("attach", "no service is named"),
    ("attach web db", "several: cohabit logs -f"),
    ("attach --sig-proxy=maybe web", "true or false"),
    ("attach --detach-keys ctrl-q web", "--sig-proxy=false"),
    ("attach --index x web", "not the number of a replica"),
    ("fg web", "cohabit attach web"),
    ("build", "docker build"),
    ("convert --format json", "cohabit config"),
    ("cp web:/a b", "all services have the same files"),
    ("create", "cohabit check"),
    ("images", "docker image ls"),
    ("inspect web", "cohabit ps --json web"),
    ("list", "cohabit ps"),
    ("ls", "cohabit ps"),
    ("port web 80", "docker port CONTAINER"),
    ("pull", "docker pull"),
    ("rm -fsv web", "cohabit stop web"),
    ("stats --format {{.NetIO}}", "there is no field .NetIO"),
    ("stats --json --format table", "exclude each other"),
    ("status web", "cohabit ps web"),
    ("tail -f web", "cohabit logs -f web"),
    ("update", "cohabit reload"),
    ("reread", "cohabit check"),
    ("shutdown", "cohabit down"),
    ("maintail", "cohabit logs -f cohabit"),
    ("watch", "cohabit up --watch"),
    ("watch --no-up", "cohabit up --watch"),
    ("docker compose watch web", "cohabit up --watch"),
    ("-g -- nginx", "cohabit init [options] -- COMMAND"),
    ("-- nginx", "cohabit init -- COMMAND"),
    ("docker compose up -d", "write: cohabit up)"),
    ("docker ps -a", "write: cohabit ps)"),
    ("docker-compose -f x.yaml up", "leave it out"),
    ("compose restart web db", "write: cohabit restart web db)"),
    ("supervisorctl status", "write: cohabit ps)"),
    ("supervisorctl tail -f web", "write: cohabit logs -f web)"),
    ("supervisorctl restart web", "write: cohabit restart web)"),
    ("systemctl is-failed web", "write: cohabit why web)"),
    ("systemctl daemon-reload", "write: cohabit reload"),
    ("add web", "cohabit reload"),
    ("clear web", "cohabit logs -f --tail 0 web"),
    ("exit", "cohabit down"),
    ("inspect --format {{.State}} web", "write: cohabit ps --json web)"),
    ("ls -a --format json", "write: cohabit ps)"),
    ("export -o x.tar web", "docker export"),
    ("start -f Procfile", "-f is for up"),
    ("events --filter service=web", "cohabit events SERVICE"),
    ("events --format json", "cohabit events --json"),
    ("top --format json", "cohabit stats --format"),
    ("up --menu=false", "there is no menu"),
    ("logs --follow=maybe web", "true or false"),
    ("logs -n -2", "not a number of lines"),
    ("sleep 1", "cohabit init -- COMMAND"),
    ("pss", "did you mean 'ps'?"),
    ("up -d", "docker run -d"),
    ("up --detach web", "docker run -d"),
    ("up --build", "docker build"),
    ("up --wait", "cohabit wait"),
    ("up --exit-code-from tests --abort-on-container-failure", "exclude each other"),
    ("up --force-recreate", "cohabit restart"),
    ("up --no-start", "cohabit check"),
    ("up --remove-orphans", "leave it out"),
    ("up --no-deps", "no service is named"),
    ("up --scale web", "not of the form SERVICE=N"),
    ("up --scale web=x", "not of the form SERVICE=N"),
    ("up -t soon", "whole seconds"),
    ("up -t 1.5", "whole seconds"),
    ("stop -t 1m web", "whole seconds"),
    ("restart -t -1 web", "whole seconds"),
    ("down -t soon", "whole seconds"),
    ("up --abort-on-container-exit --abort-on-container-failure", "exclude each other"),
    ("run --rm web sh", "cohabit exec SERVICE -- COMMAND"),
    ("run -e A=b web sh", "cohabit exec SERVICE -- COMMAND"),
    ("run web echo hi", "cohabit exec web -- echo hi"),
    ("exec -d web sh", "docker exec -d CONTAINER"),
    ("exec --privileged web sh", "-u root"),
    ("exec --index x web sh", "not the number of a replica"),
    ("exec -T", "no service is named"),
    ("exec web", "cohabit exec web -- COMMAND"),
    ("check -q", "cohabit config -q"),
    ("config --images", "cohabit uses no images"),
    ("config --no-normalize", "--no-interpolate"),
    ("config --no-interpolate --environment", "--no-interpolate and --environment exclude each other"),
    ("config --format toml", "must be yaml or json"),
    ("config --services -q", "exclude each other"),
    ("ps --format {{.Foo}}", "there is no field .Foo"),
    ("ps --format {{range}}", "is not supported"),
    ("ps --status gone", "must be created or running or paused or restarting or exited"),
    ("ps --filter label=x", "is not known"),
    ("ps --filter status=gone", "the states are created"),
    ("ps -q --services", "exclude each other"),
    ("ps --orphans", "leave it out"),
    ("logs -f --until 1m", "exclude each other"),
    ("logs --until soon", "--until 'soon' is not a time"),
    ("logs --index 1", "no service is named"),
    ("logs --details", "--json"),
    ("logs --no-prefix", "--no-log-prefix"),
    ("events -f --until 1m", "exclude each other"),
    ("events --until soon", "--until 'soon' is not a time"),
    ("start --all", "without names"),
    ("start --timeout 5s web", "--wait-timeout"),
    ("restart --no-deps web", "--no-wait"),
    ("restart --all", "without names"),
    ("stop --all", "without names"),
    ("stop -s INT web", "cohabit kill -s"),
    ("kill --all", "without names"),
    ("kill --remove-orphans", "cohabit reload"),
    ("wait", "no service is named"),
    ("wait --down-project web", "cohabit down"),
    ("signal HUP", "no service is named"),
    ("scale", "no service is named"),
    ("scale --no-deps web=2", "leave it out"),
    ("down -v", "docker rm -v"),
    ("down --rmi all", "leave it out"),
    ("down web", "cohabit stop web"),
    ("top --watsh", "did you mean --watch?"),
    ("version -f json", "--json, or --short"),
    ("version web", "does not accept arguments"),
]


@pytest.mark.parametrize(("line", "hint"), REFUSED)
def test_a_refused_line_says_what_to_type(line: str, hint: str) -> None:
    """The exit code is 64."""
    assert hint in _refusal(line)


@pytest.mark.parametrize("service", ["dbg", "cp", "web2"])
def test_another_short_name_is_not_taken_for_a_misspelt_one(service: str) -> None:
    """`cp` is not `up`, and dbg is not db: an empty hint lists what there is."""
    assert load("cohabit.nearest").nearest(service, ["up", "db", "ps"]) is None


SERVICES = (
    service("db", starts=1, health="healthy"),
    service("web-1", service="web", replica=1, starts=1),
    service("web-2", service="web", replica=2, state="EXITED", starts=1, code=3, pid=0, pids=[]),
    service("job", state="STOPPED", want="down", starts=0, pid=0, pids=[]),
)
SENT = [
    ("start", "start db web-1 web-2 job"),
    ("start web", "start web"),
    ("stop", "stop db web-1 web-2 job"),
    ("restart", "restart db web-1 web-2 job"),
    ("kill", "kill db web-1 web-2 job signal=KILL"),
    ("kill -s HUP web", "kill web signal=HUP"),
    ("wait --for exit web", "wait web for=exit"),
    ("logs -n 5 web", "logs web tail=5"),
    ("logs --index 2 web", "logs web-2"),
    ("logs --follow=false --tail=-1 web", "logs web"),
    ("logs -n=5 web", "logs web tail=5"),
    ("kill -s=HUP web", "kill web signal=HUP"),
    ("restart --no-wait=true -t=5 web", "restart web grace=5 wait=no"),
    ("logs --no-color --no-log-prefix web", "logs web"),
    ("logs --since 1700000000 --until 1700000100 -n 5", "logs since=1700000000.000000"),
    ("scale web=3", "scale web=3"),
    ("down", "down"),
    ("down -t 3", "down grace=3"),
    ("down --timeout=30", "down grace=30"),
    ("stop -t 0 web", "stop web grace=0"),
    ("stop --timeout 30", "stop db web-1 web-2 job grace=30"),
    ("restart -t 5 web", "restart web grace=5"),
    ("restart --no-wait -t5 web", "restart web grace=5 wait=no"),
    ("exec --index 2 --json web", "service web-2"),
    ("exec -it --json web", "service web"),
    ("exec -T --json web", "service web"),
    ("ps -a", "status"),
    ("ps web", "status web"),
    ("events --since 1700000000 web", "events web since=1700000000.000000"),
    ("events --until 1700000000 --json web", "events web"),
]


@pytest.mark.parametrize(("line", "request_"), SENT)
def test_an_accepted_line_sends_its_request(line: str, request_: str, tmp_path: Path) -> None:
    """Without names, start, stop, restart and kill mean all services."""
    name = request_.partition(" ")[0]
    described: dict[str, Any] = {
        "command": [],
        "environment": {},
        "user": None,
        "working_dir": None,
        "secret_files": {},
        "umask": None,
    }
    answers: dict[str, Any] = {"status": status(*SERVICES), name: answer(0, "")}
    answers |= {"status": status(*SERVICES), "service": answer(0, "", described)}
    with serving(tmp_path, answers) as server:
        done = run_client(*line.split(), COHABIT_RUNTIME_DIR=str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    assert server.requests[-1].removeprefix("cohabit/2 ") == request_


PRINTED = [
    ("ps -q", "db\nweb-1\nweb-2\njob\n"),
    ("ps --services", "db\nweb\njob\n"),
    ("ps --status running -q", "db\nweb-1\n"),
    ("ps --status exited --status created -q", "web-2\njob\n"),
    ("ps --filter status=exited -q", "web-2\n"),
    ("ps -f status=exited -qa", "web-2\n"),
    ("ps --quiet=false --services", "db\nweb\njob\n"),
    ("ps --filter health=healthy -q", "db\n"),
    ("ps --filter service=web --status running -q", "web-1\n"),
    ("ps --filter name=web-2 --services", "web\n"),
    ("ps --format {{.Name}}={{.ExitCode}} web", "db=0\nweb-1=0\nweb-2=3\njob=0\n"),
    (r"ps --format {{.Service}}\t{{.State}}", "db\trunning\nweb\trunning\nweb\texited\njob\tcreated\n"),
]


@pytest.mark.parametrize(("line", "expected"), PRINTED)
def test_ps_prints_as_docker_does(line: str, expected: str, tmp_path: Path) -> None:
    """Filters, templates and names."""
    assert _printed(line.split(), tmp_path) == expected


def _printed(arguments: list[str], directory: Path) -> str:
    with serving(directory, {"status": status(*SERVICES)}):
        done = run_client(*arguments, COHABIT_RUNTIME_DIR=str(directory))
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_ps_json_has_an_object_in_each_line(tmp_path: Path) -> None:
    """With Docker's names; `{{json .}}` is the same, and `table` has a header."""
    rows = [json.loads(line) for line in _printed(["ps", "--format", "json"], tmp_path).splitlines()]
    assert [row["State"] for row in rows] == ["running", "running", "exited", "created"]
    assert rows[2] | {"RunningFor": "", "Status": ""} == {
        "Name": "web-2", "Service": "web", "State": "exited", "Status": "", "Health": "", "ExitCode": 3,
        "RunningFor": "", "PID": 0, "Restarts": 0, "Command": "serve", "Schedule": "",
    }  # fmt: skip
    (tmp_path / "control").unlink()
    assert [json.loads(line) for line in _printed(["ps", "--format", "{{json .}}"], tmp_path).splitlines()] == rows
    (tmp_path / "control").unlink()
    table = _printed(["ps", "--format", r"table {{.Name}}\t{{.State}}"], tmp_path)
    assert table.splitlines()[:2] == ["NAME   STATE", "db     running"]


READ = [
    ("-f a.yaml up", {"files": ["a.yaml"]}),
    ("-f a.yaml -f b.yaml up", {"files": ["a.yaml", "b.yaml"]}),
    ("--file=a.yaml --profile p --env-file e up web", {"profiles": ["p"], "env_files": ["e"], "services": ["web"]}),
    ("-fa.yaml up -- bash -l", {"files": ["a.yaml"], "command": ["bash", "-l"]}),
    ("up --scale web=3 --scale db=0", {"replicas": {"web": 3, "db": 0}}),
    ("up --no-deps web", {"no_deps": True, "services": ["web"]}),
    ("up --abort-on-container-exit", {"end_with": "exit"}),
    ("up --abort-on-container-failure", {"end_with": "failure"}),
    ("up --exit-code-from tests", {"end_with": "exit", "exit_code_from": "tests"}),
    ("up -t 3", {"timeout": 3.0}),
    ("up --timeout=30 web", {"timeout": 30.0}),
    ("up --no-log-prefix", {"no_log_prefix": True}),
    ("up --attach web --attach=db --no-attach cache", {"attach": ["web", "db"], "no_attach": ["cache"]}),
    ("up --no-log-prefix=false --no-deps=true web", {"no_log_prefix": False, "no_deps": True}),
    ("up --watch", {"watch": True}),
    ("up -w web", {"watch": True, "services": ["web"]}),
    ("up --timestamps --no-color", {"timestamps": True, "no_color": True}),
    ("up", {"end_with": "", "no_deps": False, "replicas": {}, "no_log_prefix": False}),
    ("-f a.yaml config", {"files": ["a.yaml"], "json": False, "show": ""}),
    ("config --services", {"show": "services"}),
    ("config --profiles", {"show": "profiles"}),
    ("config --hash *", {"show": "hash *"}),
    ("config -q", {"show": "quiet"}),
    ("config --format json -o out.json web", {"json": True, "output": "out.json", "services": ["web"]}),
    ("config --format yaml", {"json": False}),
    ("config --no-interpolate", {"show": "no_interpolate"}),
    ("config --environment", {"show": "environment"}),
    ("config --variables --json", {"show": "variables", "json": True}),
    ("-p app up", {"project_name": "app", "project_directory": None}),
    ("--project-name=app --project-directory=/x config", {"project_name": "app", "project_directory": "/x"}),
    ("--project-directory /x -f a.yaml check", {"project_directory": "/x", "files": ["a.yaml"]}),
    ("--profile p check", {"profiles": ["p"]}),
]


@pytest.mark.parametrize(("line", "expected"), READ)
def test_an_accepted_line_makes_a_request_for_the_loader(
    line: str, expected: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The keys that config/load.py and config/overrides.py read."""
    requests: list[dict[str, Any]] = []

    def keep(*arguments: Any, **_: Any) -> int:
        requests.append(arguments[1])
        return 0

    monkeypatch.setattr(up, "begin", keep)
    monkeypatch.setattr(loader, "run", keep)
    main._dispatch(_given(), line.split())
    assert {key: requests[0][key] for key in expected} == expected


def test_help_comes_before_everything() -> None:
    """Options before it do not matter."""
    assert compose.options_after(["-f", "x", "--help"]) == ["--help"]
    assert compose.options_after(["-f", "x", "--version"]) == ["--version"]

"""`cohabit completion`: the scripts, run in the real shells."""

import os
import pty
import re
import select
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from cohabit.cli import completion
from cohabit.cli.main import COMMANDS
from cohabit.cli.options import Command, Option, WrapperCommand

_AT_MOST_SECONDS = 30.0
_NEXT = "---"  # printed after the candidates of one command line
_CLIENT = "#!/bin/sh\n[ \"$*\" != 'ps -q' ] || printf '%s\\n' api web-1 web-2\n"

Complete = Callable[[Sequence[str]], list[set[str]]]

# (a command line up to the cursor, some candidates that must be offered, some that must not be)
LINES = [
    ("cohabit lo", {"logs"}, {"start", "ps"}),
    ("cohabit ", set(COMMANDS), {"--json"}),
    ("cohabit ps --", {"--json", "--watch", "--quiet", "--socket", "--help"}, {"--follow"}),
    ("cohabit logs --f", {"--follow"}, {"--tail"}),
    ("cohabit stop w", {"web-1", "web-2"}, {"api"}),
    ("cohabit stop api w", {"web-1", "web-2"}, {"api"}),
    ("cohabit kill -s HU", {"HUP"}, {"TERM"}),
    ("cohabit kill --signal HU", {"HUP"}, {"TERM"}),
    ("cohabit kill -s HUP a", {"api"}, {"web-1"}),
    ("cohabit signal US", {"USR1", "USR2"}, {"api"}),
    ("cohabit signal USR1 a", {"api"}, {"USR1"}),
    ("cohabit wait --for r", {"ready"}, {"exit"}),
    ("cohabit wait --for ready a", {"api"}, {"ready"}),
    ("cohabit scale w", {"web="}, {"web-1"}),
    ("cohabit exec a", {"api"}, {"web-1"}),
    ("cohabit exec api tru", {"true"}, {"api"}),
    ("cohabit exec api -- tru", {"true"}, {"api"}),
    ("cohabit init tru", {"true"}, {"api"}),
    ("cohabit check -f oth", {"other.yaml"}, {"api"}),
    ("cohabit check --file oth", {"other.yaml"}, {"api"}),
    ("cohabit help tim", {"timeline"}, {"ps"}),
    ("cohabit completion z", {"zsh"}, {"bash"}),
    (
        "cohabit --",
        {"--file", "--profile", "--env-file", "--project-name", "--help", "--version"},
        {"--json", "--no-deps"},
    ),
    ("cohabit -f oth", {"other.yaml"}, {"logs"}),
    ("cohabit --env-file oth", {"other.yaml"}, {"logs"}),
    ("cohabit -f other.yaml ", set(COMMANDS), {"--json"}),
    ("cohabit -f other.yaml --profile p lo", {"logs"}, {"start", "ps"}),
    ("cohabit --profile p --prof", {"--profile"}, {"--file"}),
    ("cohabit -f other.yaml up --no-", {"--no-deps"}, {"--file"}),
    ("cohabit --env-file other.yaml up w", {"web-1", "web-2"}, {"api"}),
    ("cohabit -f other.yaml exec api tru", {"true"}, {"api"}),
    ("cohabit attach --sig", {"--sig-proxy"}, {"--no-stdin"}),
    ("cohabit attach w", {"web-1", "web-2"}, {"api"}),
    ("cohabit stats --no-s", {"--no-stream"}, {"--format"}),
]


# Each candidate is printed between < and >; ^X prints a mark when all input before it has been processed, and
# empties the line.
_ZSH_SETUP = """
PROMPT= RPS1=
autoload -Uz compinit
compinit -u -D
source SCRIPT
compadd() {
    local -a offered
    [[ " $* " == *" -"[OAD]" "* ]] || { builtin compadd -O offered "$@"; print -rl -- '<'${^offered}'>' }
    builtin compadd "$@"
}
done_() { print -r -- DO''NE; BUFFER= }
zle -N done_
bindkey '^X' done_
print -r -- RE''ADY
"""


def _script(directory: Path, shell: str) -> Path:
    """Write the script of a shell, and a `cohabit` in PATH that lists three services; returns the script's path."""
    client = directory / "bin" / "cohabit"
    client.parent.mkdir()
    client.write_text(_CLIENT)
    client.chmod(0o755)
    (directory / "other.yaml").write_text("")
    script = directory / f"completion.{shell}"
    script.write_text(completion.script(shell))
    return script


def _environment(directory: Path) -> dict[str, str]:
    return {
        "PATH": f"{directory}/bin:{os.environ['PATH']}",
        "HOME": str(directory),
        "LC_ALL": "C.UTF-8",
        "TERM": "xterm",
    }


def _run(directory: Path, *command: str) -> list[str]:
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=directory, env=_environment(directory), timeout=60
    )
    assert not done.stderr
    return done.stdout.splitlines()


def _bash(directory: Path) -> Complete:
    script = _script(directory, "bash")

    def complete(lines: Sequence[str]) -> list[set[str]]:
        drive = [f"source {script}"]
        for line in lines:
            last = "''" if line.endswith(" ") else ""
            drive += [
                f"(COMP_WORDS=({line} {last})",
                'COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _cohabit 2>/dev/null; printf "%s\\n" "${COMPREPLY[@]}")',
                f"echo {_NEXT}",
            ]
        return _each(_run(directory, "bash", "--norc", "-c", "\n".join(drive)))

    return complete


def _fish(directory: Path) -> Complete:
    script = _script(directory, "fish")

    def complete(lines: Sequence[str]) -> list[set[str]]:
        drive = [f"source {script}", *(f"complete -C '{line}'; echo {_NEXT}" for line in lines)]
        found = _each(_run(directory, "fish", "--no-config", "-c", "\n".join(drive)))
        return [{one.partition("\t")[0] for one in each} for each in found]

    return complete


def _each(printed: list[str]) -> list[set[str]]:
    """The lines that were printed for each command line."""
    found: list[set[str]] = [set()]
    for one in printed:
        if one == _NEXT:
            found.append(set())
        else:
            found[-1].add(one)
    return found[:-1]


def _zsh(directory: Path) -> Complete:
    """Zsh completes only interactive input: it runs on a terminal, and prints the candidates."""
    script = _script(directory, "zsh")
    (directory / "setup").write_text(_ZSH_SETUP.replace("SCRIPT", str(script)))

    def complete(lines: Sequence[str]) -> list[set[str]]:
        pid, fd = pty.fork()
        if pid == 0:
            os.chdir(directory)
            os.execvpe("zsh", ["zsh", "-f", "-i"], _environment(directory))
        found = []
        try:
            os.write(fd, b"source ./setup\n")
            _until(fd, b"READY")
            for line in lines:
                os.write(fd, f"{line}\t\x18".encode())
                shown = _until(fd, b"DONE").decode("utf-8", "replace")
                found.append(set(re.findall(r"<([^<>]+)>", shown)))
        finally:
            os.close(fd)
            os.kill(pid, 9)
            os.waitpid(pid, 0)
        return found

    return complete


def _until(fd: int, mark: bytes) -> bytes:
    """The output of a terminal up to a mark."""
    shown, deadline = b"", time.monotonic() + _AT_MOST_SECONDS
    while mark not in shown:
        left = deadline - time.monotonic()
        assert left > 0, f"{mark!r} did not appear: {shown!r}"
        if select.select([fd], [], [], left)[0]:
            shown += os.read(fd, 65_536)
    return shown


SHELLS = {"bash": _bash, "zsh": _zsh, "fish": _fish}


@pytest.fixture(
    scope="module",
    params=[pytest.param(shell, marks=pytest.mark.xdist_group(f"completion-{shell}")) for shell in SHELLS],
)
def found(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """By command line, what a shell offers. One process of the shell completes all lines, as a user's does."""
    shell = request.param
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} (apt-get install {shell})")
    lines = [line for line, _, _ in LINES]
    offered = SHELLS[shell](tmp_path_factory.mktemp(shell))(lines)
    return dict(zip(lines, offered, strict=True))


@pytest.mark.parametrize(("line", "offered", "not_offered"), LINES, ids=[line for line, _, _ in LINES])
def test_tab_offers_candidates(found: dict[str, set[str]], line: str, offered: set[str], not_offered: set[str]) -> None:
    """Commands, options and the kinds of each argument, the same in every shell."""
    names = {one.strip() for one in found[line]}
    assert offered <= names
    assert not not_offered & names


def test_bash_completes_a_value_after_an_equals_sign(tmp_path: Path) -> None:
    """Bash splits --signal=HU into three words."""
    lines = ("cohabit kill --signal = HU", "cohabit --file = oth", "cohabit --file = other.yaml lo")
    signals, files, commands = _bash(tmp_path)(lines)
    assert "HUP" in signals
    assert files == {"other.yaml"}
    assert "logs" in commands


def test_without_a_running_cohabit_nothing_is_printed(tmp_path: Path) -> None:
    """The names of services are then not completed."""
    complete = _bash(tmp_path)
    (tmp_path / "bin" / "cohabit").write_text("#!/bin/sh\necho none >&2; exit 69\n")
    assert complete(["cohabit stop "]) == [{""}]


@pytest.mark.parametrize(
    ("usage", "kinds"),
    [
        ("[-f FILE] [SERVICE...]", ["SERVICE"]),
        ("SIGNAL SERVICE...", ["SIGNAL", "SERVICE"]),
        ("[--for ready|exit] SERVICE...", ["SERVICE"]),
        ("SERVICE=N...", ["SERVICE=N"]),
        ("bash|zsh|fish", ["bash|zsh|fish"]),
        ("[options] [--] COMMAND [ARG...]", ["COMMAND"]),
        ("", []),
    ],
)
def test_kinds_of_arguments_are_read_from_the_usage(usage: str, kinds: list[str]) -> None:
    """The usage is for people and for completion."""
    assert completion.kinds(usage) == kinds


@pytest.mark.parametrize("shell", completion.SHELLS)
def test_special_characters_in_help_are_quoted(shell: str, tmp_path: Path) -> None:
    """A help text may contain characters that a shell interprets."""
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} (apt-get install {shell})")
    option = Option(("--odd",), 'it\'s [a] "test": $HOME `id`', "X:Y")
    rows = [completion.Row(command.name, command.summary, command) for command in (
        Command("odd", "[SERVICE...]", "it's: [odd] $(id)", (option,)), WrapperCommand("more", "COMMAND", "fine", ()),
    )]  # fmt: skip
    path = tmp_path / "script"
    path.write_text(completion.script_of(shell, rows))
    subprocess.run([shell, "-n", str(path)], check=True)

"""A main under `cohabit init` has the same environment, descriptors and signal state as without it, in both modes.

Tests of signals use the sh script, because only it can read what CPython changes.
"""

import os
import subprocess
from pathlib import Path

import pytest

from linux.conftest import Start
from linux.run import COHABIT, program, shell

SIGNALS = ("grep", "-E", "^Sig(Blk|Ign|Cgt)", "/proc/self/status")
GIVEN = [
    "nothing=",
    "ignore=INT",
    "ignore=PIPE",
    "ignore=XFSZ",
    "ignore=HUP",
    "ignore=TSTP,TTIN,TTOU",
    "ignore=INT,QUIT",
    "block=TERM,USR1",
    "block=CHLD",
    "ignore=PIPE block=PIPE",
]


def _with_signal_state(words: str) -> tuple[str, ...]:
    return tuple(program("signal_state.py", *(word for word in words.split() if not word.startswith("nothing"))))


@pytest.mark.parametrize("given", GIVEN)
def test_signal_state_is_inherited(start: Start, installed: str, process_1: bool, given: str) -> None:
    """The mask and dispositions of main are exactly those that cohabit inherited."""
    without = subprocess.run([*_with_signal_state(given), *SIGNALS], stdout=subprocess.PIPE, check=True).stdout
    run = start(installed, "init", "--", *SIGNALS, above=_with_signal_state(given), process_1=process_1)
    assert run.wait() == 0
    assert bytes(run.out) == without


def test_nohup_reaches_main(start: Start, installed: str) -> None:
    """`nohup cohabit init` applies to main: HUP stays ignored, and a forwarded HUP has no effect."""
    run = start("nohup", installed, "init", "--", *shell("grep ^SigIgn /proc/self/status; kill -HUP $$; echo alive"))
    assert run.wait() == 0
    ignored = int(run.text.partition("SigIgn:\t")[2].split()[0], 16)
    assert ignored & 0x7FFFFFFF == 1  # make and posix_spawn ignore 32 and 33, which belong to the C library
    assert "alive" in run.text


@pytest.mark.parametrize("through_script", [True, False])
def test_ignored_chld_does_not_hide_the_end(
    start: Start, installed: str, process_1: bool, through_script: bool
) -> None:
    """A parent that ignores CHLD passes that on; the exit of main is noticed anyway."""
    cohabit = (installed,) if through_script else COHABIT
    run = start(*cohabit, "init", "--", *shell("exit 3"), above=_with_signal_state("ignore=CHLD"), process_1=process_1)
    assert run.wait() == 3


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_descriptors_stay_closed(
    start: Start, installed: str, tmp_path: Path, process_1: bool, closed: str
) -> None:
    """Closed standard descriptors are closed for main, too; no descriptor of cohabit gets their number."""
    script = "for fd in 0 1 2; do [ ! -e /proc/$$/fd/$fd ] || echo $fd >> open; done; echo >> open"
    run = start(*shell(f'exec "$@" {closed}'), "sh", installed, "init", "--", *shell(script), process_1=process_1)
    assert run.wait() == 0
    still_open = [fd for fd, sign in (("0", "<&-"), ("1", ">&-"), ("2", "2>&-")) if sign not in closed.split()]
    assert (tmp_path / "open").read_text().split() == still_open


def test_extra_descriptors_are_kept(start: Start, installed: str, process_1: bool) -> None:
    """Main inherits an extra descriptor under its number, and none of cohabit's descriptors."""
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    script = f"ls /proc/$$/fd; echo hello > /proc/self/fd/{writer}"
    run = start(installed, "init", "--", *shell(script), process_1=process_1, pass_fds=(writer,))
    assert run.wait() == 0
    os.close(writer)
    with open(reader, "rb") as file:
        assert file.read() == b"hello\n"
    assert sorted(run.text.split()) == sorted(["0", "1", "2", str(writer)])


def test_directory_is_unchanged(start: Start, installed: str, tmp_path: Path, process_1: bool) -> None:
    """Main has the working directory of cohabit."""
    run = start(installed, "init", "--", "pwd", "-P", process_1=process_1)
    assert run.wait() == 0
    assert run.text == f"{tmp_path}\n"


# Names that a shell does not accept, or uses itself.
ODD = {"a.b": "c", "x-y": "", "PYTHONPATH": "/nowhere", "LATIN": "\udce9", "_": "x", "PWD": "/x", "LC_CTYPE": "C"}
PLAIN = {"EMPTY": "", "PYTHONPATH": "/nowhere", "LATIN": "\udce9", "PWD": "", "SHLVL": "7", "OLDPWD": "/x"}
PLAIN |= dict.fromkeys(("self", "bin", "python", "ignored", "main", "_"), "not ours")


@pytest.mark.parametrize("given", [{}, ODD, {"LC_CTYPE": "C.UTF-8"}, {"LC_ALL": "C"}])
def test_environment_is_unchanged(start: Start, process_1: bool, given: dict[str, str]) -> None:
    """Main's environment is that of cohabit, byte for byte, without CPython's additions."""
    found = start(
        "env", "-i", *_words(given), *COHABIT, "init", "--", "/bin/cat", "/proc/self/environ", process_1=process_1
    )
    assert found.wait() == 0
    assert _environment(found.out) == given


def test_script_leaves_the_environment_alone(start: Start, installed: str, tmp_path: Path) -> None:
    """The sh script has variables of its own; environment variables with the same names are unchanged."""
    given = {**PLAIN, "PWD": str(tmp_path)}
    found = start("env", "-i", *_words(given), installed, "init", "--", "/bin/cat", "/proc/self/environ")
    assert found.wait() == 0
    assert _environment(found.out) == given


@pytest.mark.parametrize("command", [["init", "--", "env"], ["run", "env"]])
@pytest.mark.parametrize(
    ("given", "dropped"),
    [
        (["A=1", "discovery.type=single-node"], True),
        (["A=1", "PWD=/", "SHLVL=3", "PATH=/usr/bin:/bin", "discovery.type=single-node"], True),
        (["A=1"], False),
        (["A=\udce9", "SHLVL=3", "PATH=/usr/bin:/bin"], False),
        (["LC_CTYPE=C", "discovery_type=single-node"], False),
    ],
)
def test_script_warns_of_variables_that_the_shell_dropped(
    start: Start, installed: str, command: list[str], given: list[str], *, dropped: bool
) -> None:
    """As process 1 it warns if /bin/sh dropped a variable whose name is not valid in a shell."""
    if os.path.realpath("/bin/sh").endswith("bash"):
        pytest.skip("bash hands on everything")
    found = start("env", "-i", *given, installed, *command, cwd="/")
    assert found.wait() == 0
    assert (b"variables are missing" in found.out + found.err) is dropped


def _environment(data: bytearray) -> dict[str, str]:
    items = bytes(data).decode("utf-8", "surrogateescape").split("\0")
    return dict(item.split("=", 1) for item in items if item)


def _words(environment: dict[str, str]) -> list[str]:
    return [f"{name}={value}" for name, value in environment.items()]


def test_arguments_are_unchanged(start: Start, installed: str) -> None:
    """Options and arbitrary bytes after the command are passed to the command."""
    run = start(installed, "init", "printf", "%s|", "-g", "--help", "", "a b", "\udce9", "--")
    assert run.wait() == 0
    assert bytes(run.out) == b"-g|--help||a b|\xe9|--|"


def test_script_works_through_a_link(start: Start, installed: str, tmp_path: Path) -> None:
    """The script finds its package through a symbolic link in another directory."""
    (tmp_path / "link").symlink_to(installed)
    assert start("./link", "init", "--", *shell("exit 4")).wait() == 4


def test_script_works_from_path(start: Start, installed: str) -> None:
    """The script finds its package when PATH found it."""
    path = f"{os.path.dirname(installed)}:/usr/bin:/bin"
    assert start("cohabit", "init", "--", *shell("exit 4"), environment={"PATH": path}).wait() == 4


def test_closed_stderr_does_not_hide_the_code(start: Start, installed: str) -> None:
    """With stderr closed, a missing command still gives 127."""
    run = start(*shell(f"{installed} init -- no-such-program 2>&-; echo $?"))
    assert run.wait() == 0
    assert run.text == "127\n"

"""`cohabit completion bash|zsh|fish`: a script that lets the shell complete commands, options and their values.

It is generated from the same tables as the help. At each Tab it queries the running cohabit for the names of services;
without one, these are not completed, and nothing is printed. The parts for the three shells are in completion_bash.py,
completion_zsh.py and completion_fish.py.
"""

from __future__ import annotations

import re

from cohabit.cli import client, load
from cohabit.cli.main import COMMANDS
from cohabit.cli.options import HELP, Command, Option
from cohabit.errors import UsageError
from cohabit.nearest import did_you_mean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cohabit.reactor.signals import InheritedSignals

SHELLS = ("bash", "zsh", "fish")

COMMAND = Command(
    "completion",
    "bash|zsh|fish",
    "Print a shell script that completes commands, options, services and signals.",
    (),
    exit_codes=(("0", "done"), ("64", "wrong usage, or a shell for which there is no script")),
    examples=(
        ("source <(cohabit completion bash)", "bash: for this shell; in ~/.bashrc: for every shell"),
        ("cohabit completion bash > /etc/bash_completion.d/cohabit", "bash: for all users"),
        ("source <(cohabit completion zsh)", "zsh: after compinit in ~/.zshrc"),
        ("cohabit completion fish > ~/.config/fish/completions/cohabit.fish", "fish"),
    ),
)

SIGNALS = ("TERM", "HUP", "INT", "QUIT", "KILL", "USR1", "USR2", "CONT", "STOP", "WINCH", "ALRM", "ABRT", "PIPE")
# The kinds of arguments in usages that are completed. SUBCOMMAND: one of ours, COMMAND: any program.
KINDS = ("SERVICE", "SERVICE=N", "SIGNAL", "COMMAND", "FILE", "DOCKERFILE", "PATH", "DIR", "USER", "SUBCOMMAND")


class Row:
    """A command, as completion needs it. kinds: of its arguments; the last kind is for all further ones, too."""

    def __init__(self, name: str, summary: str, command: Command) -> None:
        self.name = name
        self.summary = summary
        self.options: tuple[Option, ...] = (*command.options, HELP)
        self.kinds = kinds(command.usage)
        self.intermixed = command.intermixed


def main(inherited: InheritedSignals, arguments: list[str]) -> int:
    """Parse, print, return the exit code."""
    values, shells = COMMAND.parse(arguments)
    if values["help"]:
        return COMMAND.show_help()
    if len(shells) > 1:
        raise UsageError(f"cannot completion: more than one shell is named: {' and '.join(shells)} (name one)")
    if shells[:1] == [] or shells[0] not in SHELLS:
        shell = shells[0] if shells else ""
        hint = did_you_mean(shell, SHELLS) if shell else ""
        raise UsageError(f"cannot completion: the shell must be {', '.join(SHELLS[:-1])} or {SHELLS[-1]}{hint}")
    inherited.restore()
    client.write(script(shells[0]))
    return 0


def script(shell: str) -> str:
    """The whole script for a shell."""
    rows = [Row(name, summary, load(f"cohabit.cli.{name}").COMMAND) for name, summary in COMMANDS.items()]
    return script_of(shell, rows)


def script_of(shell: str, rows: list[Row]) -> str:
    """The script for a shell, for these commands only, and for the options before a command."""
    before = (*load("cohabit.cli.compose").BEFORE.options, HELP)
    text: str = load(f"cohabit.cli.completion_{shell}").script(rows, SIGNALS, before)
    return text


def kinds(usage: str) -> list[str]:
    """The kinds of arguments in a usage: "[-f FILE] [SERVICE...]" -> ["SERVICE"]."""
    words = re.findall(r"[A-Za-z|=]+", re.sub(r"\[-[^\[\]]*\]", "", usage))
    return [word for word in words if word in KINDS or "|" in word]

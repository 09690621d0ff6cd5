"""Random process trees for the ownership test, as shell scripts, with the owner of each process in its argv.

The last argument of each process is its token. The token names the owner that started the process (a service, its
probe, its hook, or `docker exec`), the instance, and the number of the process in that instance. A change of user,
session, environment or parent does not change the command line, so the test always knows the owner.
"""

import random
import shlex
from typing import Final, NamedTuple

PROBE, HOOK, OUTSIDE = 100, 200, 900  # added to a service's number; the owner of what `docker exec` starts
_BASE: Final = 10**9
_OWNER, _INSTANCE = 10**6, 10**2
_USERS = (65534, 12345, 23456)
_WRAPS_MAX = 4
_LEAVES_MAX = 3  # in addition to the main process

# Reads the instance number from a file, then runs the script of that instance (see `numbered`).
COUNT: Final = 'read n < "n-$1"; n=$((n + 1)); echo $n > "n-$1"; . "./$1.sh"\n'
WAIT: Final = 'read x < "$1"; exit 0\n'


class Token(NamedTuple):
    """The identity of a process, by construction."""

    owner: int
    instance: int
    leaf: int

    def __str__(self) -> str:
        return str(_BASE + self.owner * _OWNER + self.instance * _INSTANCE + self.leaf)


def token(word: str) -> Token | None:
    """The token that a command-line argument contains, or None."""
    if len(word) != len(str(_BASE)) or not word.isdecimal() or not _BASE < int(word) < 2 * _BASE:
        return None
    number = int(word) - _BASE
    return Token(number // _OWNER, number % _OWNER // _INSTANCE, number % _INSTANCE)


class Kind(NamedTuple):
    """A kind of service.

    main: "sleep" (runs until it is ended), "exits" (ends with 0 on request), "daemon" (daemonizes), "pid_file"
    (daemonizes with a pid file, perhaps as another user). user: its uid. probe, hook: whether it has one.
    """

    main: str
    user: int = 0
    probe: bool = False
    hook: str = ""


class Script(NamedTuple):
    """A shell script, and the tokens of all processes that are alive when it has run."""

    text: str
    tokens: frozenset[Token]


def numbered(scripts: list[str]) -> str:
    """A script that runs the one with the number n, from 1. One file, because thousands would take seconds."""
    return "\n".join(["case $n in", *(f"{n})\n{text};;" for n, text in enumerate(scripts, 1)), "esac", ""])


def wrapped(rng: random.Random, command: str, *, root: bool, sessions: bool = True) -> str:
    """A command below random changes of session, user, environment and parent, except the excluded ones."""
    choices = ["env -i", "fork", "nohup"] + ["setsid"] * (2 * sessions) + ["user"] * root
    for wrap in rng.choices(choices, k=rng.randrange(_WRAPS_MAX)):
        if wrap == "fork":
            command = f"sh -c {shlex.quote(f'({command} &)')}"
        elif wrap != "user":
            command = f"{wrap} {command}"
        elif "setpriv" not in command:  # a process that is no longer root cannot change its user again
            command = f"setpriv --reuid {rng.choice(_USERS)} --clear-groups {command}"
    return command


def leaves(
    rng: random.Random, owner: int, instance: int, *, root: bool, sessions: bool = True, least: int = 0
) -> Script:
    """Background processes, most of which lose their parent at once."""
    lines = []
    tokens = set()
    for leaf in range(1, 1 + rng.randint(least, _LEAVES_MAX)):
        one = Token(owner, instance, leaf)
        command = wrapped(rng, f"sleep {one}", root=root, sessions=sessions)
        lines.append(f"({command} &)" if rng.random() < 0.7 else f"{command} &")
        tokens.add(one)
    return Script("\n".join([*lines, ""]), frozenset(tokens))


def main(rng: random.Random, kind: Kind, name: str, owner: int, instance: int) -> Script:
    """One instance of a service's main process and the processes that it starts."""
    one = Token(owner, instance, 0)
    root = not kind.user
    around = leaves(rng, owner, instance, root=root, sessions=kind.main in ("sleep", "pid_file"))
    if kind.main == "sleep":
        last = f"exec sleep {one}"
    elif kind.main == "exits":
        last = f"exec sh ./wait.sh go-{name} {one}"
    elif kind.main == "daemon":
        last = f"{rng.choice(('setsid', 'env -i setsid', 'setsid env -i'))} sleep {one} &\nexit 0"
    else:
        user = rng.choice(("", f"setpriv --reuid {_USERS[0]} --clear-groups "))
        script = f"echo $$ > {name}.pid; exec {user}{rng.choice(('', 'env -i '))}sleep {one}"
        last = f"env -i setsid sh -c {shlex.quote(script)} &\nexit 0"
    return Script(f"{around.text}{last}\n", around.tokens | {one})


def probe(rng: random.Random, owner: int, instance: int, *, root: bool) -> str:
    """One run of a probe, which may leave a process behind."""
    return leaves(rng, owner, instance, root=root).text if rng.random() < 0.5 else ""


def outside(rng: random.Random, instance: int) -> Script:
    """A command of an administrator in `docker exec`: at least one process that loses its parent."""
    rest = leaves(rng, OUTSIDE, instance, root=True)
    one = Token(OUTSIDE, instance, 0)
    how = rng.choice(
        ("setsid env -i", "env -i setsid", "setsid", "env -i", "setpriv --reuid 65534 --clear-groups setsid")
    )
    return Script(f"({how} sleep {one} &)\n{rest.text}exit 0\n", rest.tokens | {one})

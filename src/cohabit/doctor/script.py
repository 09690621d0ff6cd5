"""What a script of a shell does as the first process of a container: its jobs, its traps, and how it ends. Pure.

Functions that are called are read in place of their calls. Nothing is evaluated: a command in a branch is conditional.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from cohabit.doctor import known, sh
from cohabit.doctor.services import daemonizes, known_name, program
from cohabit.doctor.sh import Block, Simple
from cohabit.doctor.sh_tokens import UnparsedError
from cohabit.plan.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cohabit.doctor.sh import Node

# The ends of a script.
EXEC, PROGRAM, WAIT_ALL, WAIT_ANY, WAIT_ONE, FOREVER, POLL, JOB, NOTHING, UNKNOWN = (
    "exec", "program", "wait all", "wait any", "wait one", "forever", "poll", "job", "nothing", "unknown",
)  # fmt: skip
# Commands that print, wait or set something: never a service, and never the reason why a container runs.
MINOR = frozenset(
    {
        "sleep", "wait", "tail", "echo", "printf", "fg", "bg", "jobs", "trap", "set", "cd", "export", "true", ":",
        "ulimit", "umask", "exit", "return", "unset", "local", "declare", "readonly", "shopt", "disown", "kill",
        "pkill", "killall", "false", "break", "continue", "shift", "test", "[", "[[", "typeset", "eval", "read",
    }
)  # fmt: skip
_FOREVER_ARGUMENTS = frozenset({"infinity", "inf", "/dev/null", "-f", "-F", "--follow"})
_LOG_FILE = re.compile(r"/(?!dev/)[^\s$`*?\[\]{}]*")  # whose name does not depend on the shell
_STOPS = frozenset({"TERM", "SIGTERM", "15"})
_ENDS = frozenset({"EXIT", "0"})
_CHILD = frozenset({"CHLD", "SIGCHLD", "17"})
_HARMLESS = frozenset(
    {"exit", "echo", "printf", "true", ":", "rm", "touch", "sleep", "set", "trap", "date", "return", ""}
)
_KILLS = frozenset({"kill", "pkill", "killall"})
_NGINX = frozenset({"nginx", "openresty"})
_DAEMON_OFF = re.compile(r"daemon\s+off\b")
_DEEPEST = 10
_OPENED_MAX = 2000  # calls of functions: those that call each other many times would never end
_SETS = frozenset({"export", "local", "declare", "readonly", "typeset", "read"})
_LOOKS = frozenset({"ps", "pgrep", "pidof", "kill", "jobs"})
_LOOPS_ON = _LOOKS | {"true", ":", "sleep", "grep", "wc", "wait"}
# Arguments with which a daemon's program does not start it.
_NO_START = frozenset(
    {"stop", "configtest", "graceful", "graceful-stop", "status", "reload", "check", "-h", "--help", "--version", "-V"}
)


class Job(Record):
    """Something that runs in the background: `&` applies to it, or it daemonizes itself.

    commands: its simple commands; nodes: its parts at the top of the script. conditional: it is in a branch or a loop,
    or follows && or ||. daemon: it puts itself in the background.
    """

    source: str
    line: int
    commands: tuple[Simple, ...]
    conditional: bool = False
    daemon: bool = False
    nodes: tuple[Node, ...] = ()


class Trap(Record):
    """A trap that acts on TERM. commands: all that it runs, functions included.

    known: whether its action could be read; ignores: its action is empty, and TERM is ignored.
    """

    line: int
    commands: tuple[Simple, ...]
    known: bool = True
    ignores: bool = False


class Step(Record):
    """A command in the order of execution. conditional: as of Job; called: it is in the body of a called function."""

    node: Node
    conditional: bool = False


class Conduct(Record):
    """What a script does.

    steps: at the top. jobs: in the background. end: one of the constants above; last: the command that it names, None
    if there is none. traps: on TERM. exit_trap: one on EXIT reaches the jobs, or one on TERM is set for a time
    only. child_trap: there is one on CHLD. sourced: files that it reads. assigned: variables that it sets. after: the
    commands after the end, such as those after `wait`.
    other_arguments: it may change its arguments (`set --`, `shift`). foreground: programs that do not daemonize.
    """

    steps: tuple[Step, ...]
    jobs: tuple[Job, ...]
    end: str
    last: Node | None
    traps: tuple[Trap, ...] = ()
    exit_trap: bool = False
    child_trap: bool = False
    sourced: tuple[str, ...] = ()
    assigned: frozenset[str] = frozenset()
    after: tuple[Simple, ...] = ()
    other_arguments: bool = False
    foreground: frozenset[str] = frozenset()


class _Functions(dict[str, Block]):
    """The functions of a script by name."""

    opened = 0

    def body(self, call: Simple) -> tuple[Node, ...]:
        """What a call executes."""
        self.opened += 1
        if self.opened > _OPENED_MAX:
            raise UnparsedError(call.line, "its functions call each other too often")
        return self[call.argv[0]].branches[0]


def conduct(nodes: Sequence[Node], foreground: frozenset[str] = frozenset()) -> Conduct:
    """Return what a script does. foreground: programs whose configuration keeps them from daemonizing.

    Raises UnparsedError if its functions call each other too often.
    """
    functions = _Functions({one.name: one for one in _functions(nodes)})
    steps = tuple(_steps(nodes, functions))
    at = next((n for n, one in enumerate(steps) if not one.conditional and _is_exec(one.node)), None)
    steps = steps if at is None else steps[: at + 1]
    if any(_DAEMON_OFF.search(one.source) and one.program not in _NGINX for one in sh.walk(nodes, functions=True)):
        foreground |= _NGINX  # the script writes its configuration
    everything = [
        *sh.walk([one.node for one in steps], functions=True),
        *sh.walk(list(functions.values()), functions=True),
    ]
    end, last, after = _end(steps, functions, foreground)
    waited = [one.node.line for one in steps if isinstance(one.node, Simple) and one.node.program == "wait"]
    begin = waited[-1] if waited and end in (EXEC, PROGRAM) else 0  # jobs that have ended before the end
    jobs = [one for one in _jobs(steps, functions) if one.line >= begin]
    jobs += _daemons(steps, functions, foreground)
    traps = [(one, signals) for one in everything if (signals := _signals(one))]
    removed = [one for one, signals in traps if signals & _STOPS and _trap_words(one)[0] == "-"]
    return Conduct(
        steps,
        tuple(sorted((one for one in jobs if one.source), key=lambda one: one.line)),
        end,
        last,
        () if removed else tuple(_trap(one, functions) for one, signals in traps if signals & _STOPS),
        bool(removed) or any(reaches_children(_trap(one, functions)) for one, signals in traps if signals & _ENDS),
        any(signals & _CHILD for _, signals in traps),
        tuple(one.source for one in everything if one.argv[:1] in ((".",), ("source",))),
        frozenset(name for one in everything for name in _assigned(one)) | frozenset(_loop_variables(nodes)),
        after,
        any(one.argv[:1] == ("shift",) or (one.argv[:1] == ("set",) and "--" in one.argv) for one in everything),
        foreground,
    )


def _functions(nodes: Sequence[Node]) -> Iterator[Block]:
    for node in nodes:
        if isinstance(node, Block):
            if node.kind == sh.FUNCTION:
                yield node
            for branch in node.branches:
                yield from _functions(branch)


def _steps(
    nodes: Sequence[Node], functions: _Functions, depth: int = 0, *, conditional: bool = False
) -> Iterator[Step]:
    """The commands at the top, with groups and called functions opened."""
    follows = False
    for node in nodes:
        maybe = conditional or follows
        follows = (
            node.operator == "||" or (node.operator == "&&" and _is_test(node)) or (follows and node.operator == "&&")
        )
        if isinstance(node, Block) and node.kind == sh.FUNCTION:
            continue
        opened = None
        if not node.background and depth < _DEEPEST:
            if isinstance(node, Block) and node.kind == sh.GROUP:
                opened = node.branches[0]
            elif isinstance(node, Simple) and node.argv and node.argv[0] in functions and not node.execs:
                opened = functions.body(node)
        if opened is None:
            yield Step(node, maybe)
        else:
            yield from _steps(opened, functions, depth + 1, conditional=maybe)


def _is_test(node: Node) -> bool:
    return not isinstance(node, Simple) or node.program in ("[", "[[", "test", "") or node.source.startswith("((")


def _is_exec(node: Node) -> bool:
    return isinstance(node, Simple) and node.execs and not node.background


# --- jobs ------------------------------------------------------------------------------------------------


def _jobs(steps: Sequence[Step], functions: _Functions) -> Iterator[Job]:
    waiting: list[Step] = []
    for step in steps:
        if step.node.background:
            waiting.append(step)
            if step.node.operator == "&":
                yield _job(waiting, functions)
                waiting = []
        elif isinstance(step.node, Block):
            for branch in step.node.branches:
                for job in _jobs([Step(node) for node in branch], functions):
                    yield job.replace(conditional=job.conditional or step.node.kind in (sh.IF, sh.CASE, sh.LOOP))
        elif step.node.argv and step.node.argv[0] in functions:
            continue
    if waiting:
        yield _job(waiting, functions)


def _job(steps: Sequence[Step], functions: _Functions) -> Job:
    """A job of these commands; its source is empty if no command of it can be a service."""
    nodes = [step.node for step in steps]
    inside = tuple(_called(nodes, functions))
    source = " ".join(part for node in nodes for part in (node.source, node.operator))
    if not any(one.argv and one.program not in MINOR for one in inside):
        source = ""
    return Job(
        source.removesuffix("&").rstrip(),
        nodes[0].line,
        inside,
        any(one.conditional for one in steps),
        nodes=tuple(nodes),
    )


def _called(nodes: Sequence[Node], functions: _Functions) -> Iterator[Simple]:
    """The simple commands, with those of called functions in place of the calls."""
    yield from _opened(nodes, functions, 0)


def _opened(nodes: Sequence[Node], functions: _Functions, depth: int) -> Iterator[Simple]:
    for one in sh.walk(nodes):
        if one.argv and one.argv[0] in functions and depth < _DEEPEST:
            yield from _opened(functions.body(one), functions, depth + 1)
        else:
            yield one


def _daemons(steps: Sequence[Step], functions: _Functions, foreground: frozenset[str]) -> Iterator[Job]:
    for step in steps:
        if step.node.background:
            continue
        branched = isinstance(step.node, Block)
        for one in _called([step.node], functions):
            if not one.background and becomes_daemon(one.argv, foreground):
                yield Job(one.source, one.line, (one,), step.conditional or branched, True, (step.node,))


def becomes_daemon(argv: Sequence[str], foreground: frozenset[str] = frozenset()) -> bool:
    """Whether a command certainly puts its program in the background."""
    name, arguments = program(argv)
    row = known.DAEMONS.get(known_name(name))
    if row is None or known_name(name) in foreground:
        return False
    if known_name(name) == "php-fpm":
        return bool({"-D", "--daemonize"} & set(arguments))  # its configuration decides without a flag
    if any(
        one in row.config_flags or one.startswith(tuple(f"{flag}=" for flag in row.config_flags)) for one in arguments
    ):
        return False
    if not row.background_flags and any("$" in one for one in arguments):
        return False  # the variable may be the flag that keeps it in the foreground
    return row.certain and not _NO_START.intersection(arguments) and daemonizes(row, arguments)


# --- the end ---------------------------------------------------------------------------------------------


def _end(
    steps: Sequence[Step], functions: _Functions, foreground: frozenset[str]
) -> tuple[str, Node | None, tuple[Simple, ...]]:
    """How the script ends, the command that decides it, and what follows that command."""
    at = len(steps) - 1 if steps and _is_exec(steps[-1].node) else None
    if at is None:
        at = next((n for n, one in enumerate(steps) if not one.conditional and _waits(one.node)), None)
    if at is None:
        at = next((n for n in range(len(steps) - 1, -1, -1) if not _is_minor(steps[n].node)), None)
    if at is None:
        return NOTHING, None, ()
    node = steps[at].node
    after = tuple(_called([one.node for one in steps[at + 1 :]], functions))
    return (_kind(node, foreground) if not steps[at].conditional or _is_exec(node) else UNKNOWN), node, after


def _waits(node: Node) -> bool:
    """Whether the script stays at this command: `wait`, `sleep infinity`, a loop without an end."""
    if node.background:
        return False
    if isinstance(node, Simple):
        return node.program in ("wait", "fg") or waits_forever(node)
    return _is_endless(node)


def _is_minor(node: Node) -> bool:
    if isinstance(node, Simple):
        return not node.argv or (node.program in MINOR and not waits_forever(node))
    return False


def _kind(node: Node, foreground: frozenset[str]) -> str:
    if node.background:
        return JOB
    if isinstance(node, Block):
        return _kind_of_block(node)
    if node.execs:
        return EXEC
    if node.program in ("wait", "fg"):
        return WAIT_ANY if any(re.match(r"-[a-z]*n", one) for one in node.argv[1:]) else _kind_of_wait(node)
    if waits_forever(node):
        return FOREVER
    if becomes_daemon(node.argv, foreground):
        return JOB
    return PROGRAM


def _kind_of_wait(node: Simple) -> str:
    operands = [one for one in node.argv[1:] if not one.startswith("-")]
    return WAIT_ONE if len(operands) == 1 or node.program == "fg" else WAIT_ALL


def _kind_of_block(node: Block) -> str:
    if not _is_endless(node):
        return UNKNOWN
    inside = list(sh.walk([node]))
    if any(one.program == "wait" for one in inside):
        return UNKNOWN
    working = [one for one in inside if one.argv and one.program not in MINOR]
    if not working and not any(one.program in _LOOKS for one in inside):
        return FOREVER
    return POLL if any(one.program in _LOOKS for one in inside) else UNKNOWN


def _is_endless(node: Node) -> bool:
    """A loop that sleeps or waits each time, as long as `true`, a sleep, or a look at living processes says so."""
    if not isinstance(node, Block) or node.kind != sh.LOOP or node.name not in ("while", "until"):
        return False
    head = list(sh.walk(node.heads[0]))
    paused = any(one.program in ("sleep", "wait", "read") for one in sh.walk([node]))
    if node.name == "until":
        return paused and [one.program for one in head] == ["false"]
    negated = re.match(r"while\s+!", node.source)
    return paused and not negated and bool(head) and all(one.program in _LOOPS_ON for one in head)


def waits_forever(node: Simple) -> bool:
    """Whether a command only waits: `sleep infinity`, `tail -f`, `cat` without input is not known."""
    if node.background or node.program not in ("sleep", "tail"):
        return False
    return bool(_FOREVER_ARGUMENTS.intersection(node.argv)) or (
        node.program == "tail" and any(re.match(r"-[a-zA-Z]*[fF]", one) for one in node.argv[1:])
    )


def followed_files(node: Node | None) -> tuple[str, ...]:
    """The log files that a `tail -f` follows; () for other commands, and for names that only the shell knows."""
    if not isinstance(node, Simple) or node.program != "tail":
        return ()
    if not any(re.match(r"-[a-zA-Z]*[fF]|--follow", one) for one in node.argv[1:]):
        return ()
    return tuple(one for one in node.argv[1:] if _LOG_FILE.fullmatch(one))


# --- traps and variables ---------------------------------------------------------------------------------


def _signals(one: Simple) -> frozenset[str]:
    """The signals of a `trap` command."""
    return frozenset(word.upper() for word in _trap_words(one)[1:])


def _trap_words(one: Simple) -> list[str]:
    """The action and the signals of a `trap` command; [] for other commands."""
    words = list(one.argv[1:]) if one.argv[:1] == ("trap",) else []
    return words[1:] if words[:1] == ["--"] else words


def _trap(one: Simple, functions: _Functions) -> Trap:
    try:
        commands = tuple(_called(sh.parse(_trap_words(one)[0]), functions))
    except UnparsedError:
        return Trap(one.line, (), known=False)
    return Trap(one.line, commands, ignores=not _trap_words(one)[0])


def reaches_children(trap: Trap) -> bool:
    """Whether a trap may pass the signal on: it kills something, or runs a program that is not known."""
    return not trap.known or any(one.program in _KILLS or one.program not in _HARMLESS for one in trap.commands)


def _assigned(one: Simple) -> Iterator[str]:
    if not one.words:
        yield from one.assigns
    elif one.words[0].text in _SETS:
        yield from (word.text.partition("=")[0] for word in one.words[1:] if not word.text.startswith("-"))


def _loop_variables(nodes: Sequence[Node]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, Block):
            if node.kind == sh.LOOP and (found := re.match(r"(?:for|select)\s+([A-Za-z_]\w*)", node.source)):
                yield found[1]
            for branch in node.branches:
                yield from _loop_variables(branch)

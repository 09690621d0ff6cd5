"""Between fork and exec: the child's side of a start, alone in this file.

Everything is decided beforehand by the parent; nothing here logs, waits or imports. Errors go back through a
pipe that closes by itself when exec succeeds: no bytes mean that the command runs, else `step NUL errno NUL
detail`. The child begins with every signal blocked and ends by restoring what we were given, so a signal
sent to it in between waits for the command instead of being lost. What limits and capabilities are is known
to limits.py, and how secrets are read to secrets.py: here they are steps with a name.
"""

from __future__ import annotations

from cohabit.reactor.linux import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import NoReturn, TypeAlias

    from cohabit.plan.model import Credentials
    from cohabit.reactor.processes.secrets import SecretFiles
    from cohabit.reactor.signals import InheritedSignals

    Step: TypeAlias = tuple[str, Callable[[], object]]

# Steps as they complete the sentence "cannot start: cannot …".
STEP_SESSION = "make a session of its own"
STEP_TERMINAL = "take the terminal"
STEP_OUTPUT = "connect its output"
STEP_SECRETS = "read its secret"
STEP_USER = "switch to its user"
STEP_DIRECTORY = "change to its working directory"
STEP_EXEC = "execute"

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
FIRST_SOCKET = 3  # SD_LISTEN_FDS_START of sd_listen_fds(3)
_ENOENT, _ENOTDIR, _EACCES = 2, 20, 13
_KIND, _PIPE = 0o170000, 0o010000  # inode(7)


class SpawnSpec:
    """All that a child needs to know.

    stdio: descriptors from 3 up (or the same) to become 0, 1 and 2; () leaves all three as they are.
    descriptors: (ours, its number in the child); listen_names: what LISTEN_FDNAMES says of those from 3 up,
    which are sockets then. session: a session of its own, otherwise a process group of its own. terminal: a
    controlling terminal whose foreground that group shall take, or -1. foreground: no session, and our own
    terminal's foreground if we have it. cgroup: the cgroup.procs file of its cgroup. track: gives the process the mark
    of its tree (tracking.py), or None. secrets: the variables that
    get the text of a file, or None. before_user, after_user: what limits.steps gives.
    """

    __slots__ = (
        "after_user",
        "argv",
        "before_user",
        "cgroup",
        "descriptors",
        "directory",
        "environment",
        "foreground",
        "given",
        "identity",
        "listen_names",
        "secrets",
        "session",
        "stdio",
        "terminal",
        "track",
    )

    def __init__(
        self,
        argv: tuple[str, ...],
        environment: dict[str, str],
        given: InheritedSignals,
        *,
        stdio: tuple[int, ...] = (),
        session: bool = True,
    ) -> None:
        self.argv = argv
        self.environment = environment
        self.given = given
        self.stdio = stdio
        self.session = session
        self.foreground = False
        self.terminal = -1
        self.descriptors: tuple[tuple[int, int], ...] = ()
        self.listen_names: tuple[str, ...] = ()
        self.cgroup = ""
        self.track: Callable[[], object] | None = None
        self.secrets: SecretFiles | None = None
        self.directory: str | None = None
        self.identity: Credentials | None = None
        self.before_user: Sequence[Step] = ()
        self.after_user: Sequence[Step] = ()


def become(start: SpawnSpec, errors: int) -> NoReturn:
    """Turn this process into the command, or tell `errors` why not and exit 127."""
    step = STEP_SESSION
    try:
        if start.cgroup:
            _enter(start.cgroup)
        if start.track is not None:
            start.track()
        if start.foreground:
            _come_forward()
        elif start.session:
            os.setsid()
        else:
            os.setpgid(0, 0)
        step = STEP_TERMINAL
        if start.terminal >= 0:
            os.tcsetpgrp(start.terminal, os.getpgrp())
        step = STEP_OUTPUT
        if start.descriptors:
            errors = _connect(start, errors)
        else:
            for target, source in enumerate(start.stdio):
                os.dup2(source, target)
        step = STEP_SECRETS
        if start.secrets is not None:
            start.secrets.read(start.environment, start.identity)
        if start.listen_names:
            _name_sockets(start.listen_names, start.environment)
        for name, act in start.before_user:
            step = name
            act()
        step = STEP_USER
        if start.identity is not None:
            switch(start.identity, terminal=start.foreground)
        if start.secrets is not None:
            step = STEP_SECRETS
            start.secrets.read_as_user(start.environment)
        for name, act in start.after_user:
            step = name
            act()
        step = STEP_DIRECTORY
        if start.directory is not None:
            os.chdir(start.directory)
        step = STEP_EXEC
        start.given.restore()
        execute(start.argv, start.environment)
    except OSError as error:
        os.write(errors, describe(step, error).encode("utf-8", "surrogateescape"))
    except BaseException as error:  # noqa: BLE001 - whatever it is, this process must not go on as ours
        detail = type(error).__name__  # the error may quote the environment that it met
        os.write(errors, f"{step}\0{0}\0{detail}".encode("utf-8", "replace"))
    finally:
        os._exit(127)


def describe(step: str, error: OSError) -> str:
    """A failed step as the parent's `spawn.failure` takes it."""
    detail = error.strerror
    if step == STEP_DIRECTORY:
        detail = error.filename
    elif step != STEP_EXEC and error.filename:
        detail = f"{error.filename}: {error.strerror}"
    return f"{step}\0{error.errno}\0{detail}"


def _enter(cgroup: str) -> None:
    """Before anything else, so that nothing that the child does happens outside.

    A service that enables controllers in its own cgroup, as a Docker inside does, leaves no room there for its hooks
    (EBUSY): then the other rules of tree.py know whose process this is.
    """
    try:
        os.mkdir(cgroup.rpartition("/")[0], 0o755)
    except OSError:
        pass  # it is there
    try:
        fd = os.open(cgroup, os.O_WRONLY | os.O_CLOEXEC)
        os.write(fd, b"0")
        os.close(fd)
    except OSError:
        return


def _come_forward() -> None:
    """Our process group leaves the foreground of the terminal, if it has it, to the child's own.

    It is also taken where nobody has it: the group of the run before this one is gone, and still has the place.
    """
    ours = os.getpgrp()
    os.setpgid(0, 0)
    try:
        terminal = os.open("/dev/tty", os.O_RDWR | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError:
        return  # there is none
    front = os.tcgetpgrp(terminal)
    if front in (ours, os.getpgrp()) or not _is_group(front):
        os.tcsetpgrp(terminal, os.getpgrp())
    os.close(terminal)


def _is_group(group: int) -> bool:
    """Whether anybody is in that process group."""
    if group <= 0:
        return False
    try:
        os.kill(-group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _connect(start: SpawnSpec, errors: int) -> int:
    """Bring every descriptor to its number; returns where the error pipe is then.

    A source that stands where another one has to go is moved out of the way first, the error pipe, too.
    """
    wanted = [(source, target) for target, source in enumerate(start.stdio)]
    wanted += start.descriptors
    targets = {target for _, target in wanted}
    last = max(targets)
    if errors in targets:
        errors = _lift(errors, last)
    free = [
        (_lift(source, last) if source in targets and source != target else source, target) for source, target in wanted
    ]
    for source, target in free:
        if source == target:
            os.set_inheritable(target, True)
        else:
            os.dup2(source, target)
    return errors


def _lift(fd: int, last: int) -> int:
    """A copy beyond that number; what it takes to get there is closed by the exec."""
    while fd <= last:
        fd = os.dup(fd)
    return fd


def _name_sockets(names: tuple[str, ...], environment: dict[str, str]) -> None:
    """What sd_listen_fds(3) looks for; the pid is that of the command, which only this process knows in time."""
    environment["LISTEN_FDS"] = str(len(names))
    environment["LISTEN_PID"] = str(os.getpid())
    environment["LISTEN_FDNAMES"] = ":".join(names)


def switch(identity: Credentials, *, terminal: bool) -> None:
    """Become the user for good. Who has our terminal gets to own it, to be able to open /dev/stdout, as Docker does.

    A pipe, too; not /dev/null, nor a file to which our output was redirected: those are not this service's.
    """
    if terminal:
        for fd in (0, 1, 2):
            try:
                if os.isatty(fd) or os.fstat(fd).st_mode & _KIND == _PIPE:
                    os.fchown(fd, identity.uid, -1)
            except OSError:
                continue
    try:
        os.setgroups(identity.groups)
    except PermissionError:  # fine for who is that user and has those groups already
        if not {os.getgid(), *os.getgroups()}.issuperset(identity.groups):
            raise
    os.setresgid(*(identity.gid,) * 3)
    os.setresuid(*(identity.uid,) * 3)


def execute(argv: tuple[str, ...], environment: dict[str, str]) -> NoReturn:
    """Search PATH as execvp(3) does: the first hit runs; EACCES is remembered over ENOENT."""
    name = argv[0]
    if "/" in name:
        os.execve(name, argv, environment)
    worst: OSError | None = None
    for directory in environment.get("PATH", DEFAULT_PATH).split(":"):
        path = f"{directory or '.'}/{name}"
        if not os.access(path, os.F_OK):  # a tenth of what a failing exec and its exception cost
            continue
        try:
            os.execve(path, argv, environment)
        except OSError as error:
            if error.errno not in (_ENOENT, _ENOTDIR, _EACCES):
                raise
            if worst is None or error.errno == _EACCES:
                worst = error
    raise worst or FileNotFoundError(_ENOENT, "No such file or directory")

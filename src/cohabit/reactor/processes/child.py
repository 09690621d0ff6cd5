"""The child's side of a start, between fork and exec.

The parent decides everything beforehand; nothing here logs, waits or imports. Errors are reported through a pipe that
is closed when exec succeeds: no bytes mean that the command runs, otherwise it contains `step NUL errno NUL detail`.
The child begins with every signal blocked and ends by restoring the inherited mask and dispositions. So a signal that
is sent to it meanwhile waits for the command and is not lost. limits.py knows what limits and capabilities are, and
secrets.py how secrets are read: here they are named steps.
"""

from __future__ import annotations

import errno

from cohabit.reactor.linux import os
from cohabit.units import DEFAULT_PATH

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import NoReturn, TypeAlias

    from cohabit.plan.model import Credentials
    from cohabit.reactor.processes.secrets import SecretFiles
    from cohabit.reactor.signals import InheritedSignals

    Step: TypeAlias = tuple[str, Callable[[], object]]

# Steps that complete the message "cannot start: cannot …".
STEP_SESSION = "create a session"
STEP_CONDITIONS = "check its conditions"
STEP_TERMINAL = "take the terminal"
STEP_OUTPUT = "connect its output"
STEP_SECRETS = "read its secret"
STEP_USER = "switch to its user"
STEP_DIRECTORY = "change to its working directory"
STEP_EXEC = "execute"

FIRST_SOCKET = 3  # SD_LISTEN_FDS_START of sd_listen_fds(3)
_SHELL, _FIRST_LINE = "/bin/sh", 128
_KIND, _PIPE = 0o170000, 0o010000  # inode(7)


class SpawnSpec:
    """What a child needs to know.

    stdio: descriptors from 3 up (or the same) that become 0, 1 and 2; () leaves all three as they are.
    descriptors: (ours, its number in the child); listen_names: LISTEN_FDNAMES for the descriptors from 3 up, which are
    sockets then. session: a session of its own; False: a process group of its own; None: our session and process group.
    terminal: a controlling terminal whose foreground that group takes, or -1. foreground: no session, and our own
    terminal's foreground if we have it. cgroup: the cgroup.procs file of its cgroup. first: the steps that come
    right after its cgroup and its session. secrets: the variables that get the text of a file, or None. before_user,
    after_user: the steps of limits.steps, and others by name.
    """

    __slots__ = (
        "after_user",
        "argv",
        "before_user",
        "cgroup",
        "descriptors",
        "directory",
        "environment",
        "first",
        "foreground",
        "given",
        "identity",
        "listen_names",
        "secrets",
        "session",
        "stdio",
        "terminal",
    )

    def __init__(
        self,
        argv: tuple[str, ...],
        environment: dict[str, str],
        given: InheritedSignals,
        *,
        stdio: tuple[int, ...] = (),
        session: bool | None = True,
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
        self.first: Sequence[Step] = ()
        self.secrets: SecretFiles | None = None
        self.directory: str | None = None
        self.identity: Credentials | None = None
        self.before_user: Sequence[Step] = ()
        self.after_user: Sequence[Step] = ()


def become(start: SpawnSpec, errors: int) -> NoReturn:
    """Turn this process into the command, or write to `errors` why it failed and exit with 127."""
    step = STEP_SESSION
    try:
        if start.cgroup:
            _enter(start.cgroup)
        _create_session(start)
        for name, act in start.first:
            step = name
            act()
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
    except BaseException as error:  # noqa: BLE001 - this process must never continue as process 1
        detail = type(error).__name__  # the message may quote the environment
        os.write(errors, f"{step}\0{0}\0{detail}".encode("utf-8", "replace"))
    finally:
        os._exit(127)


def describe(step: str, error: OSError) -> str:
    """Return a failed step in the form that the parent's `start_failure.exec_failure` expects."""
    detail = error.strerror
    if step == STEP_DIRECTORY:
        detail = error.filename
    elif step != STEP_EXEC and error.filename:
        detail = f"{error.filename}: {error.strerror}"
    return f"{step}\0{error.errno}\0{detail}"


def _enter(cgroup: str) -> None:
    """Enter the cgroup before anything else, so that everything the child does happens inside.

    If a service enables controllers in its own cgroup, as a Docker inside does, its hooks cannot enter it (EBUSY). Then
    the other evidence of tree.py attributes the process.
    """
    try:
        os.mkdir(cgroup.rpartition("/")[0], 0o755)
    except OSError:
        pass  # it exists
    try:
        fd = os.open(cgroup, os.O_WRONLY | os.O_CLOEXEC)
        os.write(fd, b"0")
        os.close(fd)
    except OSError:
        return


def _create_session(start: SpawnSpec) -> None:
    if start.foreground:
        _take_foreground()
    elif start.session:
        os.setsid()
    elif start.session is not None:
        os.setpgid(0, 0)


def _take_foreground() -> None:
    """Put the child's own process group into the foreground of the terminal, if our group is there.

    Also if the foreground group no longer exists: it is that of the previous run.
    """
    ours = os.getpgrp()
    os.setpgid(0, 0)
    try:
        terminal = os.open("/dev/tty", os.O_RDWR | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError:
        return  # no controlling terminal
    foreground = os.tcgetpgrp(terminal)
    if foreground in (ours, os.getpgrp()) or not _group_exists(foreground):
        os.tcsetpgrp(terminal, os.getpgrp())
    os.close(terminal)


def _group_exists(group: int) -> bool:
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
    """Move every descriptor to its number; returns the number of the error pipe then.

    A source whose number is also a target is copied to a free number first, and so is the error pipe.
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
    """Return a copy with a number above `last`. The copies in between are closed by the exec."""
    while fd <= last:
        fd = os.dup(fd)
    return fd


def _name_sockets(names: tuple[str, ...], environment: dict[str, str]) -> None:
    """Set the variables of sd_listen_fds(3). LISTEN_PID is the command's pid, which only this process knows."""
    environment["LISTEN_FDS"] = str(len(names))
    environment["LISTEN_PID"] = str(os.getpid())
    environment["LISTEN_FDNAMES"] = ":".join(names)


def switch(identity: Credentials, *, terminal: bool) -> None:
    """Switch to the user for good. With our terminal, the user becomes its owner, so that /dev/stdout can be opened.

    Docker does the same. A pipe changes its owner too; /dev/null and files do not: they are not this service's.
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
    except PermissionError:  # no error if we are that user and have those groups already
        if not {os.getgid(), *os.getgroups()}.issuperset(identity.groups):
            raise
    os.setresgid(*(identity.gid,) * 3)
    os.setresuid(*(identity.uid,) * 3)


def execute(argv: tuple[str, ...], environment: dict[str, str]) -> NoReturn:
    """Search PATH as execvp(3) does: the first executable runs; EACCES takes precedence over ENOENT."""
    name = argv[0]
    if "/" in name:
        _execute_file(name, argv, environment)
    worst: OSError | None = None
    for directory in environment.get("PATH", DEFAULT_PATH).split(":"):
        path = f"{directory or '.'}/{name}"
        if not os.access(path, os.F_OK):  # a tenth of the cost of a failed exec and its exception
            continue
        try:
            _execute_file(path, argv, environment)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.EACCES):
                raise
            if worst is None or error.errno == errno.EACCES:
                worst = error
    raise worst or FileNotFoundError(errno.ENOENT, "No such file or directory")


def _execute_file(path: str, argv: tuple[str, ...], environment: dict[str, str]) -> NoReturn:
    """A text file without #! is run by /bin/sh, as execvp(3) does; a shell could only misread a program."""
    try:
        os.execve(path, argv, environment)
    except OSError as error:
        if error.errno != errno.ENOEXEC or not _is_text(path):
            raise
    os.execve(_SHELL, ("sh", path, *argv[1:]), environment)


def _is_text(path: str) -> bool:
    """Whether the first line can be one of a script, as bash decides it: it has no NUL."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    start = os.read(fd, _FIRST_LINE)
    return bool(start) and b"\0" not in start.partition(b"\n")[0]

"""A service that runs as nobody, and owns a directory that cohabit uses as root, gains no access through it.

Each test is an attack that would succeed if root followed a path through such a directory. The relevant capabilities
are CAP_DAC_OVERRIDE, CAP_CHOWN and CAP_FOWNER, which Docker's default set contains; the tests run with all that root
has here. fs.protected_symlinks and fs.protected_hardlinks do not help, because the directories are not sticky.
"""

import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from linux import places
from linux.clients import environment, request
from linux.conftest import Gate, Start
from linux.run import COHABIT, Run, shell, write_file

UID = 65534
# An interpreter that the user nobody can reach; one in a home directory cannot be reached.
PYTHON = "/usr/bin/python3" if os.path.exists("/usr/bin/python3") else sys.executable
TEXT = "root-only-text"
SLEEP = ["sleep", "1000"]
Services = dict[str, dict[str, Any]]


class Ground:
    """A directory with `own`, which belongs to the user nobody, and `roots`, of root, with a file `secret`."""

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        self.path.chmod(0o755)
        self.own = self.path / "own"
        self.roots = self.path / "roots"
        for directory in (self.own, self.roots):
            directory.mkdir(mode=0o755)
        os.chown(self.own, UID, UID)
        self.secret = self.roots / "secret"
        self.secret.write_text(f"A={TEXT}\n")
        self.secret.chmod(0o600)
        os.utime(self.secret, (1, 1))
        self._before = self._state()

    def link(self, name: str, target: Path) -> Path:
        """Create a link in nobody's directory, as nobody."""
        link = self.own / name
        link.symlink_to(target)
        os.chown(link, UID, UID, follow_symlinks=False)
        return link

    def file(self, name: str, text: str, mode: int = 0o644) -> Path:
        """Create a file in nobody's directory, as nobody."""
        path = self.own / name
        path.write_text(text)
        path.chmod(mode)
        os.chown(path, UID, UID)
        return path

    def attack(self, script: str) -> None:
        """Run a script as nobody, in nobody's directory."""
        command = ["setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups", "sh", "-euc", script]
        subprocess.run(command, cwd=self.own, check=True)

    def untouched(self) -> None:
        """Check that no file of root has changed, and none was added."""
        assert self._state() == self._before

    def _state(self) -> dict[str, tuple[Any, ...]]:
        found = {}
        for path in [self.roots, *self.roots.iterdir()]:
            status = path.lstat()
            text = path.read_text() if stat.S_ISREG(status.st_mode) else ""
            times = status.st_mtime_ns if path != self.roots else 0
            found[path.name] = (status.st_mode, status.st_uid, status.st_gid, times, text)
        return found


@pytest.fixture
def ground() -> Iterator[Ground]:
    """Give one in /tmp."""
    path = tempfile.mkdtemp()
    yield Ground(path)
    shutil.rmtree(path)


@pytest.fixture
def run_services(up: Start, tmp_path: Path) -> Callable[..., Run]:
    """Give the function that runs these services; clients find this cohabit."""

    def run_services(services: Services, **options: Any) -> Run:
        variables = {**environment(str(tmp_path)), **options.pop("environment", {})}
        return up(services, environment=variables, **options)

    return run_services


def unprivileged(command: list[str], **more: object) -> dict[str, Any]:
    """A service that runs as nobody."""
    return {"command": command, "user": f"{UID}:{UID}", **more}


def reload(container: Run, directory: Path, services: Services, *, code: int = 0, **top: object) -> str:
    """Write another file and reload; returns the answer."""
    write_file(str(directory), services, **top)
    return request(container, str(directory), "reload", code=code)


# --- log files -------------------------------------------------------------------------------------------


@pytest.fixture
def gate(ground: Ground) -> Iterator[Gate]:
    """Give a gate that the user nobody cannot reach."""
    gate = Gate(str(ground.path))
    yield gate
    gate.close()


def logged(path: Path, **options: object) -> Services:
    """Two services: one writes a line to a file for each line in the gate, the other is only shown."""
    logging = {"driver": "file", "options": {"path": str(path), **options}}
    script = "echo one; read x < ../gate; echo two; read x < ../gate; echo three; exec sleep 1000"
    return {
        "web": unprivileged(shell(script), logging=logging),
        "beat": {"command": shell("echo here; exec sleep 1000")},
    }


@pytest.mark.parametrize("kind", ["link", "dangling", "directory", "hard link", "anothers"])
def test_a_log_file_gives_no_access_to_a_file_of_root(
    run_services: Callable[..., Run], ground: Ground, gate: Gate, kind: str
) -> None:
    """Links, hard links and another user's file: no file of root is written, renamed, compressed or created."""
    logs = ground.own / "logs"
    ground.attack("mkdir logs")
    if kind == "link":
        ground.link("logs/web.log", ground.secret)
    elif kind == "dangling":
        ground.link("logs/web.log", ground.roots / "new")
    elif kind == "directory":
        ground.attack(f"rmdir logs; ln -s {ground.roots} logs")
    elif kind == "hard link":
        os.link(ground.secret, logs / "web.log")
    else:
        ground.file("logs/web.log", "")
        os.chown(logs / "web.log", UID - 1, -1)
    container = run_services(
        logged(logs / "web.log", **{"max-size": "10", "max-file": 3, "compress": True}), cwd=ground.own
    )
    container.until_printed("cannot write")
    why = {"hard link": "it has 2 names", "anothers": f"it belongs to user {UID - 1}"}.get(kind, "is a link")
    assert f"{why}" in container.text
    assert f"user {UID} can change {ground.own}" in container.text
    container.until(lambda: container.lines("beat"), "the others")
    gate.open()
    assert container.stop() in {0, 137}
    if kind == "hard link":
        (logs / "web.log").unlink()
    ground.untouched()


def test_a_log_file_becomes_a_link_while_it_is_open(
    run_services: Callable[..., Run], ground: Ground, gate: Gate
) -> None:
    """The next line is not written through the link or into the moved directory; then logging continues."""
    ground.attack("mkdir logs")
    logs = ground.own / "logs"
    container = run_services(logged(logs / "web.log"), cwd=ground.own)
    container.until_written(str(logs / "web.log"))
    ground.attack(f"mv logs moved; ln -s {ground.roots} logs")
    gate.open()
    container.until_printed("cannot write")
    ground.untouched()
    ground.attack(f"rm logs; mkdir logs; ln -s {ground.secret} logs/web.log")
    gate.open()
    container.until_printed("cannot write")
    ground.attack("rm logs/web.log")
    container.until_written(str(logs / "web.log"), 2)
    ground.untouched()
    assert container.stop() == 0


def test_check_warns_of_a_log_directory_that_others_can_change(start: Start, ground: Ground, tmp_path: Path) -> None:
    """With file and line, and the action to take; a directory of root gives no warning."""
    services = logged(ground.own / "web.log")
    services["beat"]["logging"] = {"driver": "file", "options": {"path": str(ground.roots / "beat.log")}}
    file = write_file(str(tmp_path), services)
    container = start(*COHABIT, "check", "-f", file)
    assert container.wait() == 0
    assert f"services.web.logging: user {UID} can change {ground.own}: links in it are not followed" in container.text
    assert f"{file}:1: warning: " in container.text
    assert f"chown root {ground.own}" in container.text
    assert str(ground.roots) not in container.text


def test_check_warns_of_a_file_that_a_service_can_change(start: Start, ground: Ground) -> None:
    """Its own cohabit.yaml: root would run its content after the next reload."""
    services = {"web": unprivileged(SLEEP), "api": {"command": SLEEP}}
    for directory, warned in ((ground.own, True), (ground.roots, False)):
        container = start(*COHABIT, "check", "-f", write_file(str(directory), services))
        assert container.wait() == 0
        path = directory / "cohabit.yaml"
        assert (f"services.web: user {UID} can change {path} and so become root" in container.text) is warned


# --- sockets ---------------------------------------------------------------------------------------------


def with_socket(path: Path | str, command: list[str] | None = None, **more: object) -> Services:
    """A service with a socket."""
    return {"web": unprivileged(command or SLEEP, sockets=[{"listen": str(path), **more}])}


@pytest.mark.parametrize("kind", ["link", "hard link", "gone", "another socket"])
def test_a_replaced_socket_keeps_its_owner(
    run_services: Callable[..., Run], ground: Ground, tmp_path: Path, kind: str
) -> None:
    """A reload with another mode and owner changes no other file, and is not an internal error."""
    path = ground.own / "b.sock"
    container = run_services(with_socket(path, mode="0600"))
    container.one("sleep 1000")
    pid = container.pid
    ground.attack("rm -f b.sock")
    if kind == "link":
        ground.link("b.sock", ground.secret)
    elif kind == "hard link":
        os.link(ground.secret, path)
    elif kind == "another socket":
        ground.attack(f"{PYTHON} -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"b.sock\")'")
    output = reload(container, tmp_path, with_socket(path, mode="0666", user=str(UID)), code=71)
    assert f"web: cannot change {path}: " in output + container.text
    assert "internal error" not in container.text
    if kind == "hard link":
        path.unlink()
    ground.untouched()
    assert container.pid == pid
    container.one("sleep 1000")
    assert container.stop() == 0


def test_a_socket_in_the_services_own_directory(
    run_services: Callable[..., Run], ground: Ground, tmp_path: Path
) -> None:
    """It has its mode and owner at the start and after a reload, and replaces a stale socket."""
    path = ground.own / "run" / "b.sock"
    ground.attack(f"mkdir run; {PYTHON} -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"run/b.sock\")'")
    container = run_services(with_socket(path, mode="0640", user=str(UID)))
    container.one("sleep 1000")
    found = path.lstat()
    assert (found.st_mode, found.st_uid) == (stat.S_IFSOCK | 0o640, UID)
    reload(container, tmp_path, with_socket(path, mode="0600", user="0"))
    found = path.lstat()
    assert (found.st_mode, found.st_uid) == (stat.S_IFSOCK | 0o600, 0)
    assert container.stop() == 0
    assert not path.exists()


def test_a_socket_is_not_created_through_a_link(run_services: Callable[..., Run], ground: Ground) -> None:
    """Neither the socket nor its parent directories are created where only root may write."""
    ground.link("run", ground.roots)
    container = run_services(with_socket(ground.own / "run" / "sub" / "b.sock"))
    assert container.wait() == 71
    assert f"cannot listen on {ground.own}/run/sub/b.sock: run in it is a link, and user {UID} can" in container.text
    ground.untouched()


PEER = """
import socket, struct
def peer(address):
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(address)
        print(*struct.unpack("3i", client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)), flush=True)
"""


@pytest.mark.parametrize("form", ["file", "abstract", "root's"])
def test_the_peer_of_a_socket_is_not_process_1(
    run_services: Callable[..., Run], ground: Ground, tmp_path: Path, form: str
) -> None:
    """Clients see who called listen(2): the service's user, and never process 1; also after a reload."""
    path = f"@hostile-{os.getpid()}" if form == "abstract" else str(ground.own / "b.sock")
    address = repr("\0" + path[1:] if form == "abstract" else path)
    command = [PYTHON, "-c", f"{PEER}\npeer({address})\nimport time; time.sleep(1000)"]
    services = with_socket(path, command)
    if form == "root's":
        del services["web"]["user"]
    container = run_services(services)
    container.until(lambda: container.lines("web"), "its peer")
    services["web"]["sockets"][0]["backlog"] = 99
    services["web"]["environment"] = {"A": "changed"}
    reload(container, tmp_path, services)
    container.until(lambda: len(container.lines("web")) == 2, "its peer")
    for line in container.lines("web"):
        pid, uid, gid = map(int, line.split())
        assert (uid, gid) == ((0, 0) if form == "root's" else (UID, UID))
        assert pid > 1
    assert container.stop() == 0


def test_a_service_cannot_stop_the_listening_child(
    run_services: Callable[..., Run], ground: Ground, tmp_path: Path
) -> None:
    """A service that stops every process of its user cannot stop the listening child, for which process 1 waits."""
    stops = "import os, signal\nwhile True:\n try: os.kill(-1, signal.SIGSTOP)\n except OSError: pass"
    sockets = [{"listen": str(ground.own / f"{number}.sock"), "backlog": 1} for number in range(5)]
    services = {"web": unprivileged(SLEEP, sockets=sockets), "stops": unprivileged([PYTHON, "-c", stops])}
    container = run_services(services)
    container.until_printed("started", 2)
    for backlog in (2, 3):  # each time five new children; the other service stops all that it can without a pause
        for each in sockets:
            each["backlog"] = backlog
        reload(container, tmp_path, services)
    assert "cannot" not in container.text
    container.signal(signal.SIGTERM)
    container.signal(signal.SIGTERM)
    container.wait()


# --- cohabit's own sockets -------------------------------------------------------------------------------


def test_a_runtime_directory_that_a_service_can_change_is_refused(up: Start, ground: Ground) -> None:
    """The directory in COHABIT_RUNTIME_DIR: cohabit creates nothing in it, and reports the reason."""
    probe = {"test": ["NOTIFY"]}
    run = ground.own / "run"
    ground.attack("mkdir run")
    services = {"web": unprivileged(SLEEP, healthcheck=probe, essential=False), "beat": {"command": SLEEP}}
    container = up(services, environment={"COHABIT_RUNTIME_DIR": str(run)})
    container.until_printed("cannot open the control socket")
    container.until_printed("cannot start")
    assert f"{run} cannot be used: user {UID} can change {ground.own}" in container.text
    assert list(run.iterdir()) == []
    assert container.stop() == 0


@pytest.mark.parametrize("shm", ["sticky", "not there"])
def test_a_tmp_without_the_sticky_bit_is_not_used(start: Start, shm: str) -> None:
    """Any user could rename cohabit's directory there; /dev/shm is used, or none, and the reason is reported."""
    setup = "mount -t tmpfs -o ro none /run\n" + places.new_tmp("0777") + "cd /; "
    setup += "mount -t tmpfs -o " + ("mode=1777" if shm == "sticky" else "ro") + " none /dev/shm"
    script = "for each in /tmp/* /dev/shm/*; do echo $each; done; echo done; exec sleep 1000"
    container = start(*COHABIT, "run", f"sh -c '{script}'", setup=setup)
    container.until_printed("| done")
    if shm == "sticky":
        assert [line for line in container.lines("sh") if line.startswith("/dev/shm/cohabit-")]
    else:
        assert "cannot open the control socket" in container.text
        assert "any user can change /tmp: chmod +t" in container.text
    assert not [line for line in container.lines("sh") if line.startswith("/tmp/cohabit-")]
    assert container.stop() == 0


def test_the_runtime_directory_cannot_be_replaced(up: Start, ground: Ground) -> None:
    """The directory of cohabit in the sticky /tmp of a container cannot be moved; a name taken first has no effect."""
    setup = "mount -t tmpfs -o mode=1777 none /run"
    squat = f"mkdir -p /run/cohabit; ln -sf {ground.secret} /run/cohabit/control; echo there; exec sleep 1000"
    notify = {"test": ["NOTIFY"], "interval": "1s"}
    services = {
        "squat": unprivileged(shell(squat)),
        "late": unprivileged(shell("echo $NOTIFY_SOCKET; exec sleep 1000"), healthcheck=notify, depends_on=["squat"]),
    }
    container = up(services, setup=setup)
    container.until(lambda: container.lines("late"), "its path")
    assert container.lines("late")[0].startswith("/run/cohabit/")
    ground.untouched()
    assert container.stop() == 0


# --- files whose text services receive -------------------------------------------------------------------


PRINT = shell('echo "[$A] [$X]"; cat /run/secrets/x /run/configs/x 2>/dev/null; echo done; exec sleep 1000')


@pytest.mark.parametrize("kind", ["link", "directory", "hard link", "moved"])
def test_the_text_of_a_variable_is_not_a_file_of_root(
    run_services: Callable[..., Run], ground: Ground, kind: str
) -> None:
    """FILE__X in a directory of the service is read as the service's user, and the start fails with a reason."""
    path = ground.own / "token"
    if kind == "link":
        ground.link("token", ground.secret)
    elif kind == "directory":
        ground.link("way", ground.roots)
        path = ground.own / "way" / "secret"
    elif kind == "hard link":
        os.link(ground.secret, path)
    else:
        path.write_text(TEXT)
        path.chmod(0o600)
    container = run_services(
        {"web": unprivileged(PRINT, environment={"FILE__X": str(path)}, essential=False), "b": {"command": SLEEP}}
    )
    container.until_printed("cannot read its secret")
    assert f"{path}: user {UID} may not read it, and users other than root can change its path" in container.text
    assert container.stop() == 0
    assert TEXT not in container.text


def test_secrets_of_root_in_directories_of_root_are_read(run_services: Callable[..., Run], ground: Ground) -> None:
    """As Docker mounts them; and a file of the service's own anywhere."""
    own = ground.file("token", "own-text", 0o400)
    services = {
        "web": unprivileged(PRINT, environment={"FILE__X": str(ground.secret)}),
        "api": unprivileged(PRINT, environment={"FILE__X": str(own)}),
    }
    container = run_services(services)
    container.until_printed("| done", 2)
    assert container.lines("web")[0] == f"[] [A={TEXT}]"
    assert container.lines("api")[0] == "[] [own-text]"
    assert container.stop() == 0


@pytest.mark.parametrize("kind", ["secrets", "configs", "env_file", "a directory"])
@pytest.mark.parametrize("what", ["link", "fifo"])
def test_a_passed_file_is_not_a_file_of_root(
    run_services: Callable[..., Run], ground: Ground, tmp_path: Path, kind: str, what: str
) -> None:
    """The service replaced a source by a link, or by a FIFO on which the loader would wait for ever."""
    source = ground.file("source", "B=own\n")
    if kind == "a directory":
        ground.attack("mkdir sub; mv source sub")
        source = ground.own / "sub" / "source"
    service = unprivileged(PRINT)
    top: dict[str, Any] = {}
    if kind == "env_file":
        service["env_file"] = [str(source)]
    else:
        key = "configs" if kind == "configs" else "secrets"
        service[key] = [{"source": "x", "target": f"/run/{key}/x"}]  # by default a config's path is directly under /
        top = {key: {"x": {"file": str(source)}}}
    container = run_services({"web": service}, top=top, setup="mount -t tmpfs none /run")
    container.until_printed("| done")
    target = ground.secret if kind != "a directory" else ground.roots
    place = {"a directory": "sub"}.get(kind, "source")
    made = f"ln -s {target} {place}" if what == "link" else f"mkdir -p sub; mkfifo {'sub/' * (place == 'sub')}source"
    ground.attack(f"rm -r {place}; {made}")
    if kind == "a directory" and what == "link":
        ground.secret.rename(ground.roots / "source")
    service["environment"] = {"C": "changed"}
    if what == "fifo" and kind != "env_file":  # the previous text stays
        reload(container, tmp_path, {"web": service}, **top)
        container.until_printed("| done", 2)
        assert container.stop() == 0
        return
    output = reload(container, tmp_path, {"web": service}, code=78, **top)
    reasons = ("is a link", "made a link", "regular file", "there is no file")
    assert any(why in output for why in reasons), output
    container.one("sleep 1000")
    assert container.stop() == 0
    assert TEXT not in container.text


def test_a_secret_is_not_written_through_a_link(
    run_services: Callable[..., Run], ground: Ground, tmp_path: Path
) -> None:
    """A target in a directory of the service has become a link to a directory of root."""
    ground.attack("mkdir sub")
    service = unprivileged(PRINT, configs=[{"source": "x", "target": str(ground.own / "sub" / "secret")}])
    top = {"configs": {"x": {"content": "first"}}}
    container = run_services({"web": service}, top=top, setup="mount -t tmpfs none /run")
    container.until_printed("| done")
    assert (ground.own / "sub" / "secret").read_text() == "first"
    ground.attack(f"mv sub moved; ln -s {ground.roots} sub")
    top = {"configs": {"x": {"content": "second"}}}
    output = reload(container, tmp_path, {"web": service}, code=78, **top)
    assert "is a link" in output or "another file" in output
    ground.untouched()
    assert container.stop() == 0


def test_secrets_are_not_written_to_a_directory_of_a_service(up: Start) -> None:
    """A service created /run/secrets first, in a world-writable /run as `docker run --tmpfs` creates it."""
    setup = f"mount -t tmpfs -o mode=1777 none /run; mkdir /run/secrets; chown {UID} /run/secrets"
    services = {"web": {"command": SLEEP, "secrets": ["x"], "user": f"{UID - 1}"}}
    container = up(services, top={"secrets": {"x": {"environment": "X"}}}, environment={"X": TEXT}, setup=setup)
    assert container.wait() == 78
    assert f"cannot provide the secret x: /run/secrets/x: user {UID} can change /run/secrets" in container.text


def test_the_record_of_written_secrets_is_protected(run_services: Callable[..., Run], ground: Ground) -> None:
    """Another user created /run/cohabit first, with a link under the name of cohabit's record."""
    setup = "mount -t tmpfs -o mode=1777 none /run; mkdir /run/cohabit; "
    setup += f"ln -s {ground.secret} /run/cohabit/handed-over; chown -hR {UID} /run/cohabit"
    service = unprivileged(PRINT, configs=[{"source": "x", "target": str(ground.roots / "made")}])
    container = run_services({"web": service}, top={"configs": {"x": {"content": "first"}}}, setup=setup)
    container.until_printed("| done")
    assert (ground.roots / "made").read_text() == "first"
    (ground.roots / "made").unlink()
    ground.untouched()
    assert container.stop() == 0


def test_masking_does_not_reveal_a_file_of_root(run_services: Callable[..., Run], ground: Ground) -> None:
    """With mask, a service that guesses a line of a file would see that the line is masked."""
    ground.link("token", ground.secret)
    guess = unprivileged(
        shell(f"echo guess A={TEXT}; exec sleep 1000"), environment={"FILE__X": str(ground.own / "token")}
    )
    beat = {"command": shell(f"echo guess A={TEXT}; exec sleep 1000")}
    container = run_services({"guess": {**guess, "essential": False}, "beat": beat}, top={"x-cohabit": {"mask": True}})
    container.until(lambda: container.lines("beat"), "the guess")
    assert container.lines("beat") == [f"guess A={TEXT}"]
    assert container.stop() == 0


# --- connections, descriptors, directories ---------------------------------------------------------------


def test_a_probe_does_not_connect_to_another_daemon(run_services: Callable[..., Run], ground: Ground) -> None:
    """A UNIX probe connects as root: it does not follow a link to a socket of root."""
    server = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen()\n"
    server += "print('listening', flush=True)\nwhile True: print(s.accept()[0].recv(1), flush=True)"
    door = ground.roots / "door"
    ground.link("b.sock", door)
    probe = {"test": ["UNIX", str(ground.own / "b.sock")], "interval": "1s", "retries": 1}
    daemon = {"command": [PYTHON, "-uc", server, str(door)]}
    container = run_services({"daemon": daemon, "web": unprivileged(SLEEP, healthcheck=probe, depends_on=["daemon"])})
    container.until_printed("unhealthy")
    assert "it is a link, and user" in container.text
    assert container.lines("daemon") in (["listening"], [])
    assert container.stop() == 0


def test_lines_are_not_sent_to_another_daemon(run_services: Callable[..., Run], ground: Ground) -> None:
    """The socket of a syslog server has become a link."""
    server = "import socket, sys; s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.bind(sys.argv[1])\n"
    server += "print('bound', flush=True)\nprint(s.recv(999), flush=True)"
    door = ground.roots / "door"
    ground.link("log", door)
    logging = {
        "driver": "syslog",
        "options": {"syslog-address": f"unixgram://{ground.own}/log", "mode": "non-blocking"},
    }
    daemon = {
        "command": [PYTHON, "-uc", server, str(door)],
        "healthcheck": {"test": ["CMD", "test", "-S", str(door)]},
    }
    web = unprivileged(
        shell("echo attack; exec sleep 1000"),
        logging=logging,
        depends_on={"daemon": {"condition": "service_healthy"}},
    )
    container = run_services({"daemon": daemon, "web": web})
    container.until_printed("it is a link, and user")
    assert container.lines("daemon") == ["bound"]
    assert container.stop() == 0


def test_a_stdin_that_is_not_its_terminal_keeps_its_owner(up: Start, ground: Ground) -> None:
    """A service with tty whose stdin is /dev/null and whose stdout is a file: both stay owned by root."""
    null, out = ground.roots / "null", ground.roots / "out"
    os.mknod(null, stat.S_IFCHR | 0o666, os.makedev(1, 3))
    out.touch(mode=0o600)
    with open(null, "r+b") as stdin, open(out, "wb") as stdout:
        container = up({"web": unprivileged(shell("echo ran"), tty=True, stdin_open=True)}, stdin=stdin, stdout=stdout)
        assert container.wait() == 0
    assert "ran" in out.read_text()
    assert (null.stat().st_uid, out.stat().st_uid) == (0, 0)


def test_a_working_directory_is_entered_as_the_user(run_services: Callable[..., Run], ground: Ground) -> None:
    """A link to a directory of root that others may not enter is not followed, also for a hook."""
    ground.roots.chmod(0o700)
    ground.link("way", ground.roots)
    hook = [{"command": shell("pwd"), "working_dir": str(ground.own / "way")}]
    services = {
        "web": unprivileged(shell("pwd; ls"), working_dir=str(ground.own / "way"), essential=False),
        "api": unprivileged(shell("echo started"), pre_start=hook, essential=False),
    }
    container = run_services(services)
    container.wait()
    assert container.lines("web") == []
    assert "permission denied" in container.text
    assert "secret" not in container.text
    assert "| started" not in container.text


def test_a_pid_file_that_is_a_fifo_or_a_link_does_not_block(run_services: Callable[..., Run], ground: Ground) -> None:
    """It is checked without waiting."""
    ground.attack("mkfifo fifo; ln -s /dev/zero zero")
    services = {
        name: unprivileged(shell("setsid sleep 777 & exit 0"), pid_file=str(ground.own / name), essential=False)
        for name in ("fifo", "zero")
    }
    container = run_services({**services, "beat": {"command": SLEEP}})
    container.until_printed("pid_file", 2)
    container.one("sleep 1000")
    assert container.stop() in {0, 137}

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
from linux.clients import ask, environment
from linux.conftest import Gate, Start
from linux.run import COHABIT, Run, shell, write_file

NOBODY = 65534
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
        os.chown(self.own, NOBODY, NOBODY)
        self.secret = self.roots / "secret"
        self.secret.write_text(f"A={TEXT}\n")
        self.secret.chmod(0o600)
        os.utime(self.secret, (1, 1))
        self._before = self._state()

    def link(self, name: str, target: Path) -> Path:
        """Create a link in nobody's directory, as nobody."""
        link = self.own / name
        link.symlink_to(target)
        os.chown(link, NOBODY, NOBODY, follow_symlinks=False)
        return link

    def file(self, name: str, text: str, mode: int = 0o644) -> Path:
        """Create a file in nobody's directory, as nobody."""
        path = self.own / name
        path.write_text(text)
        path.chmod(mode)
        os.chown(path, NOBODY, NOBODY)
        return path

    def attack(self, script: str) -> None:
        """Run a script as nobody, in nobody's directory."""
        command = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "sh", "-euc", script]
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
    return {"command": command, "user": f"{NOBODY}:{NOBODY}", **more}


def reload(life: Run, directory: Path, services: Services, *, code: int = 0, **top: object) -> str:
    """Write another file and reload; returns the client's output."""
    write_file(str(directory), services, **top)
    return ask(life, str(directory), "reload", code=code)


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
        os.chown(logs / "web.log", NOBODY - 1, -1)
    life = run_services(logged(logs / "web.log", **{"max-size": "10", "max-file": 3, "compress": True}), cwd=ground.own)
    life.until_printed("cannot write")
    why = {"hard link": "it has 2 names", "anothers": f"it belongs to user {NOBODY - 1}"}.get(kind, "is a link")
    assert f"{why}" in life.text
    assert f"user {NOBODY} can change {ground.own}" in life.text
    life.until(lambda: life.lines("beat"), "the others")
    gate.open()
    assert life.stop() in {0, 137}
    if kind == "hard link":
        (logs / "web.log").unlink()
    ground.untouched()


def test_a_log_file_becomes_a_link_while_it_is_open(
    run_services: Callable[..., Run], ground: Ground, gate: Gate
) -> None:
    """The next line is not written through the link or into the moved directory; then logging continues."""
    ground.attack("mkdir logs")
    logs = ground.own / "logs"
    life = run_services(logged(logs / "web.log"), cwd=ground.own)
    life.until_written(str(logs / "web.log"))
    ground.attack(f"mv logs moved; ln -s {ground.roots} logs")
    gate.open()
    life.until_printed("cannot write")
    ground.untouched()
    ground.attack(f"rm logs; mkdir logs; ln -s {ground.secret} logs/web.log")
    gate.open()
    life.until_printed("cannot write")
    ground.attack("rm logs/web.log")
    life.until_written(str(logs / "web.log"), 2)
    ground.untouched()
    assert life.stop() == 0


def test_check_warns_of_a_log_directory_that_others_can_change(start: Start, ground: Ground, tmp_path: Path) -> None:
    """With file and line, and the action to take; a directory of root gives no warning."""
    services = logged(ground.own / "web.log")
    services["beat"]["logging"] = {"driver": "file", "options": {"path": str(ground.roots / "beat.log")}}
    file = write_file(str(tmp_path), services)
    life = start(*COHABIT, "check", "-f", file)
    assert life.wait() == 0
    assert f"services.web.logging: user {NOBODY} can change {ground.own}: links in it are not followed" in life.text
    assert f"{file}:1: warning: " in life.text
    assert f"chown root {ground.own}" in life.text
    assert str(ground.roots) not in life.text


def test_check_warns_of_a_file_that_a_service_can_change(start: Start, ground: Ground) -> None:
    """Its own cohabit.yaml: root would run its content after the next reload."""
    services = {"web": unprivileged(SLEEP), "api": {"command": SLEEP}}
    for directory, warned in ((ground.own, True), (ground.roots, False)):
        life = start(*COHABIT, "check", "-f", write_file(str(directory), services))
        assert life.wait() == 0
        path = directory / "cohabit.yaml"
        assert (f"services.web: user {NOBODY} can change {path} and so become root" in life.text) is warned


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
    life = run_services(with_socket(path, mode="0600"))
    life.one("sleep 1000")
    pid = life.pid
    ground.attack("rm -f b.sock")
    if kind == "link":
        ground.link("b.sock", ground.secret)
    elif kind == "hard link":
        os.link(ground.secret, path)
    elif kind == "another socket":
        ground.attack(f"{PYTHON} -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"b.sock\")'")
    said = reload(life, tmp_path, with_socket(path, mode="0666", user=str(NOBODY)), code=71)
    assert f"web: cannot change {path}: " in said + life.text
    assert "internal error" not in life.text
    if kind == "hard link":
        path.unlink()
    ground.untouched()
    assert life.pid == pid
    life.one("sleep 1000")
    assert life.stop() == 0


def test_a_socket_in_the_services_own_directory(
    run_services: Callable[..., Run], ground: Ground, tmp_path: Path
) -> None:
    """It has its mode and owner at the start and after a reload, and replaces a stale socket."""
    path = ground.own / "run" / "b.sock"
    ground.attack(f"mkdir run; {PYTHON} -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"run/b.sock\")'")
    life = run_services(with_socket(path, mode="0640", user=str(NOBODY)))
    life.one("sleep 1000")
    found = path.lstat()
    assert (found.st_mode, found.st_uid) == (stat.S_IFSOCK | 0o640, NOBODY)
    reload(life, tmp_path, with_socket(path, mode="0600", user="0"))
    found = path.lstat()
    assert (found.st_mode, found.st_uid) == (stat.S_IFSOCK | 0o600, 0)
    assert life.stop() == 0
    assert not path.exists()


def test_a_socket_is_not_created_through_a_link(run_services: Callable[..., Run], ground: Ground) -> None:
    """Neither the socket nor its parent directories are created where only root may write."""
    ground.link("run", ground.roots)
    life = run_services(with_socket(ground.own / "run" / "sub" / "b.sock"))
    assert life.wait() == 71
    assert f"cannot listen on {ground.own}/run/sub/b.sock: run in it is a link, and user {NOBODY} can" in life.text
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
    life = run_services(services)
    life.until(lambda: life.lines("web"), "its peer")
    services["web"]["sockets"][0]["backlog"] = 99
    services["web"]["environment"] = {"A": "changed"}
    reload(life, tmp_path, services)
    life.until(lambda: len(life.lines("web")) == 2, "its peer")
    for line in life.lines("web"):
        pid, uid, gid = map(int, line.split())
        assert (uid, gid) == ((0, 0) if form == "root's" else (NOBODY, NOBODY))
        assert pid > 1
    assert life.stop() == 0


def test_a_service_cannot_stop_the_listening_child(
    run_services: Callable[..., Run], ground: Ground, tmp_path: Path
) -> None:
    """A service that stops every process of its user cannot stop the listening child, for which process 1 waits."""
    stops = "import os, signal\nwhile True:\n try: os.kill(-1, signal.SIGSTOP)\n except OSError: pass"
    services = {**with_socket(ground.own / "b.sock"), "stops": unprivileged([PYTHON, "-c", stops])}
    life = run_services(services)
    life.until_printed("started", 2)
    for backlog in range(1, 31):
        services["web"]["sockets"][0]["backlog"] = backlog
        reload(life, tmp_path, services)
    assert "cannot" not in life.text
    life.signal(signal.SIGTERM)
    life.signal(signal.SIGTERM)
    life.wait()


# --- cohabit's own sockets -------------------------------------------------------------------------------


def test_a_runtime_directory_that_a_service_can_change_is_refused(up: Start, ground: Ground) -> None:
    """The directory in COHABIT_RUNTIME_DIR: cohabit creates nothing in it, and reports the reason."""
    probe = {"test": ["NOTIFY"]}
    run = ground.own / "run"
    ground.attack("mkdir run")
    services = {"web": unprivileged(SLEEP, healthcheck=probe, essential=False), "beat": {"command": SLEEP}}
    life = up(services, environment={"COHABIT_RUNTIME_DIR": str(run)})
    life.until_printed("cannot open the control socket")
    life.until_printed("cannot start")
    assert f"{run} cannot be used: user {NOBODY} can change {ground.own}" in life.text
    assert list(run.iterdir()) == []
    assert life.stop() == 0


@pytest.mark.parametrize("shm", ["sticky", "not there"])
def test_a_tmp_without_the_sticky_bit_is_not_used(start: Start, shm: str) -> None:
    """Any user could rename cohabit's directory there; /dev/shm is used, or none, and the reason is reported."""
    setup = "mount -t tmpfs -o ro none /run\n" + places.new_tmp("0777") + "cd /; "
    setup += "mount -t tmpfs -o " + ("mode=1777" if shm == "sticky" else "ro") + " none /dev/shm"
    script = "for each in /tmp/* /dev/shm/*; do echo $each; done; echo done; exec sleep 1000"
    life = start(*COHABIT, "run", f"sh -c '{script}'", setup=setup)
    life.until_printed("| done")
    if shm == "sticky":
        assert [line for line in life.lines("sh") if line.startswith("/dev/shm/cohabit-")]
    else:
        assert "cannot open the control socket" in life.text
        assert "any user can change /tmp: chmod +t" in life.text
    assert not [line for line in life.lines("sh") if line.startswith("/tmp/cohabit-")]
    assert life.stop() == 0


def test_the_runtime_directory_cannot_be_replaced(up: Start, ground: Ground) -> None:
    """The directory of cohabit in the sticky /tmp of a container cannot be moved; a name taken first has no effect."""
    setup = "mount -t tmpfs -o mode=1777 none /run"
    squat = f"mkdir -p /run/cohabit; ln -sf {ground.secret} /run/cohabit/control; echo there; exec sleep 1000"
    notify = {"test": ["NOTIFY"], "interval": "1s"}
    services = {
        "squat": unprivileged(shell(squat)),
        "late": unprivileged(shell("echo $NOTIFY_SOCKET; exec sleep 1000"), healthcheck=notify, depends_on=["squat"]),
    }
    life = up(services, setup=setup)
    life.until(lambda: life.lines("late"), "its path")
    assert life.lines("late")[0].startswith("/run/cohabit/")
    ground.untouched()
    assert life.stop() == 0


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
    life = run_services(
        {"web": unprivileged(PRINT, environment={"FILE__X": str(path)}, essential=False), "b": {"command": SLEEP}}
    )
    life.until_printed("cannot read its secret")
    assert f"{path}: user {NOBODY} may not read it, and users other than root can change its path" in life.text
    assert life.stop() == 0
    assert TEXT not in life.text


def test_secrets_of_root_in_directories_of_root_are_read(run_services: Callable[..., Run], ground: Ground) -> None:
    """As Docker mounts them; and a file of the service's own anywhere."""
    own = ground.file("token", "own-text", 0o400)
    services = {
        "web": unprivileged(PRINT, environment={"FILE__X": str(ground.secret)}),
        "api": unprivileged(PRINT, environment={"FILE__X": str(own)}),
    }
    life = run_services(services)
    life.until_printed("| done", 2)
    assert life.lines("web")[0] == f"[] [A={TEXT}]"
    assert life.lines("api")[0] == "[] [own-text]"
    assert life.stop() == 0


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
    life = run_services({"web": service}, top=top, setup="mount -t tmpfs none /run")
    life.until_printed("| done")
    target = ground.secret if kind != "a directory" else ground.roots
    place = {"a directory": "sub"}.get(kind, "source")
    made = f"ln -s {target} {place}" if what == "link" else f"mkdir -p sub; mkfifo {'sub/' * (place == 'sub')}source"
    ground.attack(f"rm -r {place}; {made}")
    if kind == "a directory" and what == "link":
        ground.secret.rename(ground.roots / "source")
    service["environment"] = {"C": "changed"}
    if what == "fifo" and kind != "env_file":  # the previous text stays
        reload(life, tmp_path, {"web": service}, **top)
        life.until_printed("| done", 2)
        assert life.stop() == 0
        return
    said = reload(life, tmp_path, {"web": service}, code=78, **top)
    whys = ("is a link", "made a link", "regular file", "there is no file")
    assert any(why in said for why in whys), said
    life.one("sleep 1000")
    assert life.stop() == 0
    assert TEXT not in life.text


def test_a_secret_is_not_written_through_a_link(
    run_services: Callable[..., Run], ground: Ground, tmp_path: Path
) -> None:
    """A target in a directory of the service has become a link to a directory of root."""
    ground.attack("mkdir sub")
    service = unprivileged(PRINT, configs=[{"source": "x", "target": str(ground.own / "sub" / "secret")}])
    top = {"configs": {"x": {"content": "first"}}}
    life = run_services({"web": service}, top=top, setup="mount -t tmpfs none /run")
    life.until_printed("| done")
    assert (ground.own / "sub" / "secret").read_text() == "first"
    ground.attack(f"mv sub moved; ln -s {ground.roots} sub")
    top = {"configs": {"x": {"content": "second"}}}
    said = reload(life, tmp_path, {"web": service}, code=78, **top)
    assert "is a link" in said or "another file" in said
    ground.untouched()
    assert life.stop() == 0


def test_secrets_are_not_written_to_a_directory_of_a_service(up: Start) -> None:
    """A service created /run/secrets first, in a world-writable /run as `docker run --tmpfs` creates it."""
    setup = f"mount -t tmpfs -o mode=1777 none /run; mkdir /run/secrets; chown {NOBODY} /run/secrets"
    services = {"web": {"command": SLEEP, "secrets": ["x"], "user": f"{NOBODY - 1}"}}
    life = up(services, top={"secrets": {"x": {"environment": "X"}}}, environment={"X": TEXT}, setup=setup)
    assert life.wait() == 78
    assert f"cannot provide the secret x: /run/secrets/x: user {NOBODY} can change /run/secrets" in life.text


def test_the_record_of_written_secrets_is_protected(run_services: Callable[..., Run], ground: Ground) -> None:
    """Another user created /run/cohabit first, with a link under the name of cohabit's record."""
    setup = "mount -t tmpfs -o mode=1777 none /run; mkdir /run/cohabit; "
    setup += f"ln -s {ground.secret} /run/cohabit/handed-over; chown -hR {NOBODY} /run/cohabit"
    service = unprivileged(PRINT, configs=[{"source": "x", "target": str(ground.roots / "made")}])
    life = run_services({"web": service}, top={"configs": {"x": {"content": "first"}}}, setup=setup)
    life.until_printed("| done")
    assert (ground.roots / "made").read_text() == "first"
    (ground.roots / "made").unlink()
    ground.untouched()
    assert life.stop() == 0


def test_masking_does_not_reveal_a_file_of_root(run_services: Callable[..., Run], ground: Ground) -> None:
    """With mask, a service that guesses a line of a file would see that the line is masked."""
    ground.link("token", ground.secret)
    guess = unprivileged(
        shell(f"echo guess A={TEXT}; exec sleep 1000"), environment={"FILE__X": str(ground.own / "token")}
    )
    beat = {"command": shell(f"echo guess A={TEXT}; exec sleep 1000")}
    life = run_services({"guess": {**guess, "essential": False}, "beat": beat}, top={"x-cohabit": {"mask": True}})
    life.until(lambda: life.lines("beat"), "the guess")
    assert life.lines("beat") == [f"guess A={TEXT}"]
    assert life.stop() == 0


# --- connections, descriptors, directories ---------------------------------------------------------------


def test_a_probe_does_not_connect_to_another_daemon(run_services: Callable[..., Run], ground: Ground) -> None:
    """A UNIX probe connects as root: it does not follow a link to a socket of root."""
    server = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen()\n"
    server += "print('listening', flush=True)\nwhile True: print(s.accept()[0].recv(1), flush=True)"
    door = ground.roots / "door"
    ground.link("b.sock", door)
    probe = {"test": ["UNIX", str(ground.own / "b.sock")], "interval": "1s", "retries": 1}
    daemon = {"command": [PYTHON, "-uc", server, str(door)]}
    life = run_services({"daemon": daemon, "web": unprivileged(SLEEP, healthcheck=probe, depends_on=["daemon"])})
    life.until_printed("unhealthy")
    assert "it is a link, and user" in life.text
    assert life.lines("daemon") in (["listening"], [])
    assert life.stop() == 0


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
    life = run_services({"daemon": daemon, "web": web})
    life.until_printed("it is a link, and user")
    assert life.lines("daemon") == ["bound"]
    assert life.stop() == 0


def test_a_stdin_that_is_not_its_terminal_keeps_its_owner(up: Start, ground: Ground) -> None:
    """A service with tty whose stdin is /dev/null and whose stdout is a file: both stay owned by root."""
    null, out = ground.roots / "null", ground.roots / "out"
    os.mknod(null, stat.S_IFCHR | 0o666, os.makedev(1, 3))
    out.touch(mode=0o600)
    with open(null, "r+b") as stdin, open(out, "wb") as stdout:
        life = up({"web": unprivileged(shell("echo ran"), tty=True, stdin_open=True)}, stdin=stdin, stdout=stdout)
        assert life.wait() == 0
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
    life = run_services(services)
    life.wait()
    assert life.lines("web") == []
    assert "permission denied" in life.text
    assert "secret" not in life.text
    assert "| started" not in life.text


def test_a_pid_file_that_is_a_fifo_or_a_link_does_not_block(run_services: Callable[..., Run], ground: Ground) -> None:
    """It is checked without waiting."""
    ground.attack("mkfifo fifo; ln -s /dev/zero zero")
    services = {
        name: unprivileged(shell("setsid sleep 777 & exit 0"), pid_file=str(ground.own / name), essential=False)
        for name in ("fifo", "zero")
    }
    life = run_services({**services, "beat": {"command": SLEEP}})
    life.until_printed("pid_file", 2)
    life.one("sleep 1000")
    assert life.stop() in {0, 137}

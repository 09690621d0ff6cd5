"""A service that runs as nobody, and owns a directory that cohabit uses as root, gains nothing by what it puts there.

Each test is an attack that would succeed where root follows a path through such a directory. What matters of root's
capabilities is CAP_DAC_OVERRIDE, CAP_CHOWN and CAP_FOWNER, which Docker's default has; the tests run with all that root
has here. fs.protected_symlinks and fs.protected_hardlinks do not help, since the directories are not sticky.
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
# An interpreter that nobody can get to; one in a home directory is none.
PYTHON = "/usr/bin/python3" if os.path.exists("/usr/bin/python3") else sys.executable
TEXT = "root-only-text"
SLEEP = ["sleep", "1000"]
Services = dict[str, dict[str, Any]]


class Ground:
    """A directory that everybody can get to: `own` is nobody's, `roots` is root's with a file `secret` in it."""

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
        """Put a link of nobody's into nobody's directory."""
        link = self.own / name
        link.symlink_to(target)
        os.chown(link, NOBODY, NOBODY, follow_symlinks=False)
        return link

    def file(self, name: str, text: str, mode: int = 0o644) -> Path:
        """Put a file of nobody's into nobody's directory."""
        path = self.own / name
        path.write_text(text)
        path.chmod(mode)
        os.chown(path, NOBODY, NOBODY)
        return path

    def attack(self, script: str) -> None:
        """Run a script as nobody, in nobody's directory."""
        words = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "sh", "-euc", script]
        subprocess.run(words, cwd=self.own, check=True)

    def untouched(self) -> None:
        """See that nothing of root's has changed, and nothing is new there."""
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
def house(up: Start, tmp_path: Path) -> Callable[..., Run]:
    """Give the function that runs these services, whose clients find it."""

    def house(services: Services, **options: Any) -> Run:
        variables = {**environment(str(tmp_path)), **options.pop("environment", {})}
        return up(services, environment=variables, **options)

    return house


def nobodys(command: list[str], **more: object) -> dict[str, Any]:
    """Describe a service of nobody's."""
    return {"command": command, "user": f"{NOBODY}:{NOBODY}", **more}


def reload(life: Run, directory: Path, services: Services, *, code: int = 0, **top: object) -> str:
    """Write another file and have it read; returns what the client says."""
    write_file(str(directory), services, **top)
    return ask(life, str(directory), "reload", code=code)


# --- log files -------------------------------------------------------------------------------------------


@pytest.fixture
def gate(ground: Ground) -> Iterator[Gate]:
    """Give a gate that nobody can get to."""
    gate = Gate(str(ground.path))
    yield gate
    gate.close()


def logged(path: Path, **options: object) -> Services:
    """Two services: one writes a line to a file each time it is told to, the other is there to be seen."""
    logging = {"driver": "file", "options": {"path": str(path), **options}}
    script = "echo one; read x < ../gate; echo two; read x < ../gate; echo three; exec sleep 1000"
    return {"web": nobodys(shell(script), logging=logging), "beat": {"command": shell("echo here; exec sleep 1000")}}


@pytest.mark.parametrize("kind", ["link", "dangling", "directory", "hard link", "anothers"])
def test_a_log_file_is_no_way_to_a_file_of_root(
    house: Callable[..., Run], ground: Ground, gate: Gate, kind: str
) -> None:
    """Neither appended to, renamed, compressed nor made: by a link, a directory that is one, a hard link, a file."""
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
    life = house(logged(logs / "web.log", **{"max-size": "10", "max-file": 3, "compress": True}), cwd=ground.own)
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


def test_a_log_file_becomes_a_link_while_it_is_open(house: Callable[..., Run], ground: Ground, gate: Gate) -> None:
    """The next line is not written through it, nor is the directory followed that was moved; then all goes on."""
    ground.attack("mkdir logs")
    logs = ground.own / "logs"
    life = house(logged(logs / "web.log"), cwd=ground.own)
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
    """With file and line, and what to do; a directory of root's is fine."""
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
    """Its own cohabit.yaml: what stands there is run as root after the next reload."""
    services = {"web": nobodys(SLEEP), "api": {"command": SLEEP}}
    for directory, warned in ((ground.own, True), (ground.roots, False)):
        life = start(*COHABIT, "check", "-f", write_file(str(directory), services))
        assert life.wait() == 0
        path = directory / "cohabit.yaml"
        assert (f"services.web: user {NOBODY} can change {path} and so become root" in life.text) is warned


# --- sockets ---------------------------------------------------------------------------------------------


def with_socket(path: Path | str, command: list[str] | None = None, **more: object) -> Services:
    """A service with a socket."""
    return {"web": nobodys(command or SLEEP, sockets=[{"listen": str(path), **more}])}


@pytest.mark.parametrize("kind", ["link", "hard link", "gone", "another socket"])
def test_a_socket_that_was_replaced_is_not_given_away(
    house: Callable[..., Run], ground: Ground, tmp_path: Path, kind: str
) -> None:
    """A reload with another mode and owner changes no other file, and is no error of ours."""
    path = ground.own / "b.sock"
    life = house(with_socket(path, mode="0600"))
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


def test_a_socket_in_the_services_own_directory(house: Callable[..., Run], ground: Ground, tmp_path: Path) -> None:
    """It has its mode and owner, at the start, after a reload, and a stale one gives way."""
    path = ground.own / "run" / "b.sock"
    ground.attack(f"mkdir run; {PYTHON} -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"run/b.sock\")'")
    life = house(with_socket(path, mode="0640", user=str(NOBODY)))
    life.one("sleep 1000")
    found = path.lstat()
    assert (found.st_mode, found.st_uid) == (stat.S_IFSOCK | 0o640, NOBODY)
    reload(life, tmp_path, with_socket(path, mode="0600", user="0"))
    found = path.lstat()
    assert (found.st_mode, found.st_uid) == (stat.S_IFSOCK | 0o600, 0)
    assert life.stop() == 0
    assert not path.exists()


def test_a_socket_is_not_made_through_a_link(house: Callable[..., Run], ground: Ground) -> None:
    """Neither the socket nor directories above it come to be where root alone may write."""
    ground.link("run", ground.roots)
    life = house(with_socket(ground.own / "run" / "sub" / "b.sock"))
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
def test_the_other_end_of_a_socket_is_not_process_1(
    house: Callable[..., Run], ground: Ground, tmp_path: Path, form: str
) -> None:
    """Clients see who called listen(2): the service's user, and never our pid; also after a reload."""
    path = f"@hostile-{os.getpid()}" if form == "abstract" else str(ground.own / "b.sock")
    address = repr("\0" + path[1:] if form == "abstract" else path)
    command = [PYTHON, "-c", f"{PEER}\npeer({address})\nimport time; time.sleep(1000)"]
    services = with_socket(path, command)
    if form == "root's":
        del services["web"]["user"]
    life = house(services)
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


def test_nobody_holds_up_the_child_that_listens(house: Callable[..., Run], ground: Ground, tmp_path: Path) -> None:
    """A service that stops every process of its user cannot stop that one, for which process 1 waits."""
    stops = "import os, signal\nwhile True:\n try: os.kill(-1, signal.SIGSTOP)\n except OSError: pass"
    services = {**with_socket(ground.own / "b.sock"), "stops": nobodys([PYTHON, "-c", stops])}
    life = house(services)
    life.until_printed("started", 2)
    for backlog in range(1, 31):
        services["web"]["sockets"][0]["backlog"] = backlog
        reload(life, tmp_path, services)
    assert "cannot" not in life.text
    life.signal(signal.SIGTERM)
    life.signal(signal.SIGTERM)
    life.wait()


# --- our own sockets -------------------------------------------------------------------------------------


def test_a_runtime_directory_that_a_service_can_change_is_refused(up: Start, ground: Ground) -> None:
    """The one that COHABIT_RUNTIME_DIR names: nothing of ours is made in it, and why is said."""
    probe = {"test": ["NOTIFY"]}
    run = ground.own / "run"
    ground.attack("mkdir run")
    services = {"web": nobodys(SLEEP, healthcheck=probe, essential=False), "beat": {"command": SLEEP}}
    life = up(services, environment={"COHABIT_RUNTIME_DIR": str(run)})
    life.until_printed("cannot open the control socket")
    life.until_printed("cannot start")
    assert f"{run} cannot be used: user {NOBODY} can change {ground.own}" in life.text
    assert list(run.iterdir()) == []
    assert life.stop() == 0


@pytest.mark.parametrize("shm", ["sticky", "not there"])
def test_a_tmp_without_the_sticky_bit_is_not_relied_on(start: Start, shm: str) -> None:
    """There everybody could move our directory away; /dev/shm is taken, or none, and why is said."""
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


def test_our_directory_is_not_another_that_took_its_place(up: Start, ground: Ground) -> None:
    """One that is ours in the sticky /tmp of a container cannot be moved; a squatted name is of no use either."""
    setup = "mount -t tmpfs -o mode=1777 none /run"
    squat = f"mkdir -p /run/cohabit; ln -sf {ground.secret} /run/cohabit/control; echo there; exec sleep 1000"
    notify = {"test": ["NOTIFY"], "interval": "1s"}
    services = {
        "squat": nobodys(shell(squat)),
        "late": nobodys(shell("echo $NOTIFY_SOCKET; exec sleep 1000"), healthcheck=notify, depends_on=["squat"]),
    }
    life = up(services, setup=setup)
    life.until(lambda: life.lines("late"), "its path")
    assert life.lines("late")[0].startswith("/run/cohabit/")
    ground.untouched()
    assert life.stop() == 0


# --- files that services are given the text of -----------------------------------------------------------


PRINT = shell('echo "[$A] [$X]"; cat /run/secrets/x /run/configs/x 2>/dev/null; echo done; exec sleep 1000')


@pytest.mark.parametrize("kind", ["link", "directory", "hard link", "moved"])
def test_the_text_of_a_variable_is_not_a_file_of_roots(house: Callable[..., Run], ground: Ground, kind: str) -> None:
    """FILE__X in a directory of the service's: it is read as the service's user, and the start fails with a reason."""
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
    life = house({"web": nobodys(PRINT, environment={"FILE__X": str(path)}, essential=False), "b": {"command": SLEEP}})
    life.until_printed("cannot read its secret")
    assert f"{path}: user {NOBODY} may not read it, and users other than root can change its path" in life.text
    assert life.stop() == 0
    assert TEXT not in life.text


def test_secrets_of_root_in_places_of_root_are_still_read(house: Callable[..., Run], ground: Ground) -> None:
    """As Docker mounts them; and a file of the service's own where it likes."""
    own = ground.file("token", "own-text", 0o400)
    services = {
        "web": nobodys(PRINT, environment={"FILE__X": str(ground.secret)}),
        "api": nobodys(PRINT, environment={"FILE__X": str(own)}),
    }
    life = house(services)
    life.until_printed("| done", 2)
    assert life.lines("web")[0] == f"[] [A={TEXT}]"
    assert life.lines("api")[0] == "[] [own-text]"
    assert life.stop() == 0


@pytest.mark.parametrize("kind", ["secrets", "configs", "env_file", "a directory"])
@pytest.mark.parametrize("what", ["link", "fifo"])
def test_what_is_handed_over_is_not_a_file_of_roots(
    house: Callable[..., Run], ground: Ground, tmp_path: Path, kind: str, what: str
) -> None:
    """A source that the service replaced by a link, or by a FIFO on which the loader would wait for ever."""
    source = ground.file("source", "B=own\n")
    if kind == "a directory":
        ground.attack("mkdir sub; mv source sub")
        source = ground.own / "sub" / "source"
    service = nobodys(PRINT)
    top: dict[str, Any] = {}
    if kind == "env_file":
        service["env_file"] = [str(source)]
    else:
        key = "configs" if kind == "configs" else "secrets"
        service[key] = [{"source": "x", "target": f"/run/{key}/x"}]  # a config's own place is the real /
        top = {key: {"x": {"file": str(source)}}}
    life = house({"web": service}, top=top, setup="mount -t tmpfs none /run")
    life.until_printed("| done")
    target = ground.secret if kind != "a directory" else ground.roots
    place = {"a directory": "sub"}.get(kind, "source")
    made = f"ln -s {target} {place}" if what == "link" else f"mkdir -p sub; mkfifo {'sub/' * (place == 'sub')}source"
    ground.attack(f"rm -r {place}; {made}")
    if kind == "a directory" and what == "link":
        ground.secret.rename(ground.roots / "source")
    service["environment"] = {"C": "changed"}
    if what == "fifo" and kind != "env_file":  # what was handed over before stays
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


def test_a_secret_is_not_written_through_a_link(house: Callable[..., Run], ground: Ground, tmp_path: Path) -> None:
    """A target in a directory of the service's that has become a link to one of root's."""
    ground.attack("mkdir sub")
    service = nobodys(PRINT, configs=[{"source": "x", "target": str(ground.own / "sub" / "secret")}])
    top = {"configs": {"x": {"content": "first"}}}
    life = house({"web": service}, top=top, setup="mount -t tmpfs none /run")
    life.until_printed("| done")
    assert (ground.own / "sub" / "secret").read_text() == "first"
    ground.attack(f"mv sub moved; ln -s {ground.roots} sub")
    top = {"configs": {"x": {"content": "second"}}}
    said = reload(life, tmp_path, {"web": service}, code=78, **top)
    assert "is a link" in said or "another file" in said
    ground.untouched()
    assert life.stop() == 0


def test_secrets_are_not_put_where_a_service_could_forge_them(up: Start) -> None:
    """A service made /run/secrets before us, in a /run that everybody may write to, as docker run --tmpfs makes it."""
    setup = f"mount -t tmpfs -o mode=1777 none /run; mkdir /run/secrets; chown {NOBODY} /run/secrets"
    services = {"web": {"command": SLEEP, "secrets": ["x"], "user": f"{NOBODY - 1}"}}
    life = up(services, top={"secrets": {"x": {"environment": "X"}}}, environment={"X": TEXT}, setup=setup)
    assert life.wait() == 78
    assert f"cannot provide the secret x: /run/secrets/x: user {NOBODY} can change /run/secrets" in life.text


def test_the_record_of_what_was_handed_over_is_ours(house: Callable[..., Run], ground: Ground) -> None:
    """Somebody was in /run/cohabit first, with a link under the name of our record."""
    setup = "mount -t tmpfs -o mode=1777 none /run; mkdir /run/cohabit; "
    setup += f"ln -s {ground.secret} /run/cohabit/handed-over; chown -hR {NOBODY} /run/cohabit"
    service = nobodys(PRINT, configs=[{"source": "x", "target": str(ground.roots / "made")}])
    life = house({"web": service}, top={"configs": {"x": {"content": "first"}}}, setup=setup)
    life.until_printed("| done")
    assert (ground.roots / "made").read_text() == "first"
    (ground.roots / "made").unlink()
    ground.untouched()
    assert life.stop() == 0


def test_what_is_hidden_does_not_tell_what_is_in_a_file_of_roots(house: Callable[..., Run], ground: Ground) -> None:
    """With mask, a service that guesses a line of a file would see it hidden."""
    ground.link("token", ground.secret)
    guess = nobodys(shell(f"echo guess A={TEXT}; exec sleep 1000"), environment={"FILE__X": str(ground.own / "token")})
    beat = {"command": shell(f"echo guess A={TEXT}; exec sleep 1000")}
    life = house({"guess": {**guess, "essential": False}, "beat": beat}, top={"x-cohabit": {"mask": True}})
    life.until(lambda: life.lines("beat"), "the guess")
    assert life.lines("beat") == [f"guess A={TEXT}"]
    assert life.stop() == 0


# --- connections, descriptors, directories ---------------------------------------------------------------


def test_a_probe_does_not_knock_at_another_daemons_door(house: Callable[..., Run], ground: Ground) -> None:
    """A probe UNIX connects as root: a link to a socket of root's is not followed."""
    server = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen()\n"
    server += "print('listening', flush=True)\nwhile True: print(s.accept()[0].recv(1), flush=True)"
    door = ground.roots / "door"
    ground.link("b.sock", door)
    probe = {"test": ["UNIX", str(ground.own / "b.sock")], "interval": "1s", "retries": 1}
    daemon = {"command": [PYTHON, "-uc", server, str(door)]}
    life = house({"daemon": daemon, "web": nobodys(SLEEP, healthcheck=probe, depends_on=["daemon"])})
    life.until_printed("unhealthy")
    assert "it is a link, and user" in life.text
    assert life.lines("daemon") in (["listening"], [])
    assert life.stop() == 0


def test_lines_do_not_go_to_another_daemons_socket(house: Callable[..., Run], ground: Ground) -> None:
    """The socket of a syslog server that has become a link."""
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
    web = nobodys(
        shell("echo attack; exec sleep 1000"),
        logging=logging,
        depends_on={"daemon": {"condition": "service_healthy"}},
    )
    life = house({"daemon": daemon, "web": web})
    life.until_printed("it is a link, and user")
    assert life.lines("daemon") == ["bound"]
    assert life.stop() == 0


def test_what_is_not_its_terminal_is_not_given_away(up: Start, ground: Ground) -> None:
    """A service with tty whose stdin is /dev/null and whose stdout is a file: both stay root's."""
    null, out = ground.roots / "null", ground.roots / "out"
    os.mknod(null, stat.S_IFCHR | 0o666, os.makedev(1, 3))
    out.touch(mode=0o600)
    with open(null, "r+b") as stdin, open(out, "wb") as stdout:
        life = up({"web": nobodys(shell("echo ran"), tty=True, stdin_open=True)}, stdin=stdin, stdout=stdout)
        assert life.wait() == 0
    assert "ran" in out.read_text()
    assert (null.stat().st_uid, out.stat().st_uid) == (0, 0)


def test_a_working_directory_is_entered_as_the_user(house: Callable[..., Run], ground: Ground) -> None:
    """A link to a directory of root's that others may not enter does not lead there, of a hook's neither."""
    ground.roots.chmod(0o700)
    ground.link("way", ground.roots)
    hook = [{"command": shell("pwd"), "working_dir": str(ground.own / "way")}]
    services = {
        "web": nobodys(shell("pwd; ls"), working_dir=str(ground.own / "way"), essential=False),
        "api": nobodys(shell("echo started"), pre_start=hook, essential=False),
    }
    life = house(services)
    life.wait()
    assert life.lines("web") == []
    assert "permission denied" in life.text
    assert "secret" not in life.text
    assert "| started" not in life.text


def test_a_pid_file_that_is_a_fifo_or_a_link_holds_nobody_up(house: Callable[..., Run], ground: Ground) -> None:
    """It is looked at and never waited for."""
    ground.attack("mkfifo fifo; ln -s /dev/zero zero")
    services = {
        name: nobodys(shell("setsid sleep 777 & exit 0"), pid_file=str(ground.own / name), essential=False)
        for name in ("fifo", "zero")
    }
    life = house({**services, "beat": {"command": SLEEP}})
    life.until_printed("pid_file", 2)
    life.one("sleep 1000")
    assert life.stop() in {0, 137}

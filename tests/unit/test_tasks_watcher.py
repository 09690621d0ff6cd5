"""tasks/watcher.py and watch_tree.py: what is reported, and when. The directories and inotify are real."""

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cohabit.tasks import inotify
from cohabit.tasks.inotify import Event, Inotify
from cohabit.tasks.watch_rules import Rule
from cohabit.tasks.watch_tree import Tree, printable, shown
from cohabit.tasks.watcher import Changes

NOTHING, EVERYTHING = float("inf"), float("-inf")


class World:
    """A Tree on a temporary directory. changed: the paths reported, relative to it; said: the warnings."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.inotify = Inotify()
        self.changed: list[str] = []
        self.said: list[str] = []
        self.trees: list[Tree] = []

    def watch(self, *rules: Rule, since: float = NOTHING, most: int = 1000) -> Tree:
        """Begin to watch."""
        tree = Tree(self.inotify, rules, self._note, self.said.append, most)
        tree.begin(since)
        self.trees.append(tree)
        return tree

    def rule(self, path: str = "src", ignore: tuple[str, ...] = (), include: tuple[str, ...] = ()) -> Rule:
        """A rule for a path in the directory."""
        return Rule(0, str(self.directory / path), ignore, include)

    def _note(self, _: Rule, path: str) -> None:
        self.changed.append(path.removeprefix(f"{self.directory}/"))

    def take(self) -> set[str]:
        """What has changed since the last call. An event is there when the call that causes it returns."""
        while events := [*self.inotify.read()]:
            for event in events:
                self.trees[-1].handle(event)
        found, self.changed = set(self.changed), []
        return found


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Give a World with a directory src."""
    (tmp_path / "src" / "sub").mkdir(parents=True)
    made = World(tmp_path)
    yield made
    made.inotify.close()


def test_files_below_the_path(world: World) -> None:
    """Each kind of change, at any depth; reading and modes are none."""
    src = world.directory / "src"
    (src / "old").write_text("x")
    world.watch(world.rule())
    (src / "new").write_text("x")
    (src / "sub" / "deep").write_text("x")
    assert world.take() == {"src/new", "src/sub/deep"}
    (src / "old").read_text()
    (src / "old").chmod(0o600)
    (world.directory / "beside").write_text("x")
    assert world.take() == set()
    (src / "old").rename(src / "moved")
    (src / "new").unlink()
    assert world.take() == {"src/old", "src/moved", "src/new"}
    with (src / "moved").open("a"):  # as touch(1) does
        pass
    assert world.take() == {"src/moved"}


def _write_and_rename(path: Path) -> None:
    temporary = path.with_name("temporary~")
    temporary.write_text("new")
    temporary.rename(path)


def _vim(path: Path) -> None:
    path.with_name("4913").write_text("")
    path.with_name("4913").unlink()
    path.rename(path.with_name("a.conf~"))
    path.write_text("new")
    path.with_name("a.conf~").unlink()


def _in_place(path: Path) -> None:
    path.write_text("new")


@pytest.mark.parametrize("save", [_write_and_rename, _vim, _in_place])
@pytest.mark.parametrize("path", ["src", "src/a.conf"])
def test_ways_to_save(world: World, save: Callable[[Path], None], path: str) -> None:
    """Only the file counts, and it can be saved again. The path of the rule may be the file itself."""
    file = world.directory / "src" / "a.conf"
    file.write_text("x")
    world.watch(world.rule(path))
    for _ in range(3):
        save(file)
        assert world.take() == {"src/a.conf"}
    assert world.said == []


def test_new_directories(world: World) -> None:
    """What is in them by the time they are seen has changed, and what comes later is seen."""
    world.watch(world.rule())
    (world.directory / "src" / "a" / "b").mkdir(parents=True)
    (world.directory / "src" / "a" / "b" / "early").write_text("x")
    assert world.take() == {"src/a", "src/a/b", "src/a/b/early"}
    (world.directory / "src" / "a" / "b" / "late").write_text("x")
    assert world.take() == {"src/a/b/late"}


def test_a_moved_directory(world: World) -> None:
    """Under its new name it is watched; outside it is not."""
    src = world.directory / "src"
    world.watch(world.rule())
    (src / "sub").rename(src / "other")
    world.take()
    (src / "other" / "x").write_text("x")
    assert world.take() == {"src/other/x"}
    (src / "other").rename(world.directory / "outside")
    assert world.take() == {"src/other"}
    (world.directory / "outside" / "y").write_text("x")
    assert world.take() == set()
    (world.directory / "outside").rename(src / "back")
    world.take()
    (src / "back" / "z").write_text("x")
    assert world.take() == {"src/back/z"}


def test_ignored_directories_have_no_watch(world: World) -> None:
    src = world.directory / "src"
    before = len(world.watch(world.rule()))
    for name in ("node_modules/a/b", ".git/objects"):
        (src / name).mkdir(parents=True)
    tree = world.watch(world.rule(ignore=("node_modules/",)))
    assert len(tree) == before
    (src / "node_modules" / "c").mkdir()
    (src / ".git" / "index").write_text("x")
    assert world.take() == set()
    assert len(tree) == before


def test_links_are_not_followed(world: World) -> None:
    """Neither those that are there nor new ones. The link itself is a file."""
    outside = world.directory / "outside"
    outside.mkdir()
    (world.directory / "src" / "old").symlink_to(outside)
    world.watch(world.rule())
    (world.directory / "src" / "new").symlink_to(outside)
    assert world.take() == {"src/new"}
    (outside / "x").write_text("x")
    assert world.take() == set()


def test_the_path_may_be_a_link(world: World) -> None:
    (world.directory / "link").symlink_to("src")
    world.watch(world.rule("link"))
    (world.directory / "src" / "x").write_text("x")
    assert world.take() == {"link/x"}


@pytest.mark.skipif(os.geteuid() != 0, reason="other users own directories")
def test_a_link_of_another_user_above_the_path_is_not_followed(world: World) -> None:
    """It could lead to files that this user cannot read. Directories of that user are watched as any others."""
    theirs = world.directory / "theirs"
    (theirs / "own").mkdir(parents=True)
    (theirs / "own").chmod(0o700)
    os.chown(theirs / "own", 1000, 1000)
    (theirs / "src").symlink_to(world.directory / "src")
    os.chown(theirs, 1000, 1000)
    world.watch(world.rule("theirs/src/sub"), world.rule("theirs/own"))
    assert "no link is followed there" in world.said[0]
    (world.directory / "src" / "sub" / "x").write_text("x")
    assert world.take() == set()
    (theirs / "own" / "x").write_text("x")
    assert world.take() == {"theirs/own/x"}


def test_a_path_that_appears_and_disappears(world: World) -> None:
    """A warning says that it does not exist. Everything in it has changed when it appears."""
    world.watch(world.rule("a/b/c"))
    assert world.said == [f"{world.directory}/a/b/c does not exist (it is watched as soon as it does)"]
    for _ in range(2):
        (world.directory / "a" / "b").mkdir(parents=True)
        assert world.take() == set()
        (world.directory / "a" / "b" / "c").mkdir()
        (world.directory / "a" / "b" / "c" / "x").write_text("x")
        assert world.take() == {"a/b/c/x"}
        (world.directory / "a").rename(world.directory / "gone")
        world.take()
        (world.directory / "gone" / "b" / "c" / "y").write_text("x")
        assert world.take() == set()
        (world.directory / "gone" / "b" / "c" / "x").unlink()
        (world.directory / "gone").rename(world.directory / "a")
        assert world.take() == {"a/b/c/y"}
        (world.directory / "a" / "b" / "c" / "y").unlink()
        for name in ("a/b/c", "a/b", "a"):
            (world.directory / name).rmdir()
        world.take()
    assert len(world.said) == 1


def test_what_was_modified_before_it_began(world: World) -> None:
    """After the death of a watcher, the next one finds what has changed since the last report."""
    src = world.directory / "src"
    for name, modified in (("old", 1000), ("new", 2000), ("sub/new", 2000), (".git", 2000)):
        (src / name).write_text("x")
        os.utime(src / name, (modified, modified))
    os.utime(src / "sub", (1000, 1000))
    world.watch(world.rule(), since=1500.0)
    assert world.take() == {"src/new", "src/sub/new"}
    world.watch(world.rule("src/new"), since=1500.0)
    assert world.take() == {"src/new"}
    world.watch(world.rule("src/old"), since=1500.0)
    assert world.take() == set()


def test_lost_events(world: World) -> None:
    """If the kernel's queue was full, everything may have changed, and new directories are found."""
    tree = world.watch(world.rule(), world.rule("other"))
    (world.directory / "src" / "a").mkdir()
    for _ in world.inotify.read():
        pass  # lost
    tree.handle(Event(-1, inotify.OVERFLOW, 0, b""))
    assert world.take() == {"src", "other"}
    (world.directory / "src" / "a" / "x").write_text("x")
    assert world.take() == {"src/a/x"}


def test_too_many_directories(world: World) -> None:
    """One warning; those that have a watch are seen."""
    for number in range(20):
        (world.directory / "src" / f"d{number}").mkdir()
    above = len(world.directory.parts)
    assert len(world.watch(world.rule(), most=above + 5)) == above + 5
    assert world.said == [f"more than {above + 5} directories: the others are not watched (name some in `ignore`)"]
    (world.directory / "src" / "x").write_text("x")
    assert world.take() == {"src/x"}


def test_no_more_watches(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The warning names the sysctl and what else helps."""
    add, count = world.inotify.add, [len(world.directory.parts) + 1]

    def limited(path: str | bytes, mask: int) -> int:
        if not count[0]:
            raise OSError(errno.ENOSPC, "too many watches (raise the sysctl fs.inotify.max_user_watches)")
        count[0] -= 1
        return add(path, mask)

    monkeypatch.setattr(world.inotify, "add", limited)
    tree = world.watch(world.rule())
    (said,) = world.said
    assert said.startswith(f"cannot watch more than {len(tree)} directories: too many watches (raise the sysctl fs.")
    assert said.endswith(", or name some in `ignore`")


@pytest.mark.parametrize(
    ("number", "why", "expected"),
    [
        (errno.ENOENT, "No such file or directory", "cannot watch files: there is no /proc (mount it)"),
        (errno.EACCES, "Permission denied", "cannot watch /: Permission denied"),
    ],
)
def test_what_cannot_be_watched(
    world: World, monkeypatch: pytest.MonkeyPatch, number: int, why: str, expected: str
) -> None:
    """A missing /proc is one warning."""

    def refused(_path: str | bytes, _mask: int) -> int:
        raise OSError(number, why)

    monkeypatch.setattr(world.inotify, "add", refused)
    world.watch(world.rule())
    assert world.said[0] == expected
    assert len(world.said) == (1 if number == errno.ENOENT else len({*world.said}))


def test_a_deep_tree_ends(world: World) -> None:
    """A user can make a tree of any depth."""
    path = world.directory / "src"
    for _ in range(110):
        path /= "d"
    path.mkdir(parents=True)
    world.watch(world.rule())
    assert "more than 100 directories deep" in world.said[0]


def test_warnings_are_limited(world: World) -> None:
    """Each has the path in it, which a user can choose."""
    path = world.directory / "src"
    for _ in range(100):
        path /= "d"
    for number in range(50):
        (path / f"{number}").mkdir(parents=True)
    world.watch(world.rule())
    assert len(world.said) == 21
    assert world.said[-1] == "further warnings are left out"
    assert max(map(len, world.said)) < 300


def test_no_descriptor_stays_open(world: World) -> None:
    before = len(os.listdir("/proc/self/fd"))
    world.watch(world.rule(), world.rule("nowhere"), world.rule("src/sub/file"))
    (world.directory / "src" / "a").mkdir()
    world.take()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_burst_is_one_report() -> None:
    """It is due half a second after the last change, or ten seconds after the first one. Groups are apart."""
    changes = Changes()
    assert changes.due is None
    changes.add(0, "/a", 1.0)
    changes.add(1, "/c", 1.1)
    changes.add(0, "/b", 1.2)
    changes.add(0, "/a", 1.3)
    assert changes.due == 1.6
    assert [*changes.take(1.6)] == [(1, ["/c"])]
    assert [*changes.take(1.7)] == []
    assert [*changes.take(1.8)] == [(0, ["/a", "/b"])]
    assert changes.due is None
    for tenths in range(200):
        changes.add(0, "/a", tenths / 10)
        if changes.due is not None and changes.due <= tenths / 10:
            break
    assert tenths == 100


def test_the_paths_of_a_report_are_limited() -> None:
    changes = Changes()
    for number in range(5000):
        changes.add(0, f"/{number}", 1.0)
    ((_, paths),) = changes.take(2.0)
    assert len(paths) == 1000


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/a b/é", "/a b/é"),
        ("/a\nb\x1b", "/a\\nb\\x1b"),
        ("/a\udcff", "/a\\udcff"),
        ("/" + "x" * 300, "…" + "x" * 199),
    ],
)
def test_a_path_is_shown_in_one_line(path: str, expected: str) -> None:
    """Without control characters: users name files as they like."""
    assert shown(path) == expected
    assert "\n" not in printable(path)

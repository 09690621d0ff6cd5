"""tasks/watch_rules.py: which files a rule is about. The patterns are those of moby's patternmatcher."""

import pytest

from cohabit.tasks.watch_rules import Patterns, Rule

# Patterns, and paths that they match and do not match.
MATCHES = [
    (["*"], ["a", "a/b", ".x"], []),
    (["*.log"], ["a.log", ".log", "a.log/x"], ["x/a.log", "alog", "a.log2"]),
    (["**/*.log"], ["a.log", "x/a.log", "x/y/a.log/z"], ["a.logs"]),
    (["node_modules/"], ["node_modules", "node_modules/a/b"], ["x/node_modules", "node_modules2"]),
    (["**/node_modules"], ["node_modules", "x/node_modules/a"], ["xnode_modules"]),
    (["a/**"], ["a/b", "a/b/c"], ["a", "b/a"]),
    (["a/**/z"], ["a/z", "a/b/z", "a/b/c/z/y"], ["z", "a/bz"]),
    (["**"], ["a", "a/b"], []),
    (["?.py"], ["a.py"], ["ab.py", "/.py", ".py"]),
    (["[a-c].py", "[^x]1"], ["a.py", "c.py", "y1"], ["d.py", "x1", "/1"]),
    (["*/*/t"], ["a/b/t", "a/b/t/u"], ["a/t", "a/b/c/t"]),
    (["./a//b/../c"], ["a/c"], ["a/b"]),
    (["/a"], ["a"], ["b/a"]),
    (["/srv/a"], ["a"], ["srv/a"]),
    (["a+b(c)|d.$"], ["a+b(c)|d.$"], ["aab(c)", "d.$"]),
    ([r"\*"], ["*"], ["a"]),
    (["[x"], ["[x"], ["x"]),
    (["*.md", "!README.md"], ["a.md"], ["README.md"]),
    (["a", "!a/b"], ["a", "a/c"], ["a/b", "a/b/c"]),
    (["!a", "a"], ["a"], []),
    (["a", "!a/b", "a/b/c"], ["a/c", "a/b/c"], ["a/b/d"]),
    (["", "  ", ".", "!"], [], ["a"]),
    (["a\nb"], ["a\nb"], ["a"]),
]


@pytest.mark.parametrize(("patterns", "matched", "others"), MATCHES)
def test_patterns_match_as_in_dockerignore(patterns: list[str], matched: list[str], others: list[str]) -> None:
    """A pattern that matches a directory matches what is in it; the last one decides."""
    found = Patterns(patterns, "/srv")
    assert [path for path in matched + others if found.match(path)] == matched


def test_a_rule_is_about_its_path_only() -> None:
    rule = Rule(0, "/srv/a", ["tmp", "**/*.log"], [])
    concerned = ["/srv/a/x", "/srv/a/x/y", "/srv/a"]
    others = ["/srv", "/srv/ab", "/srv/b/a", "/", "/srv/a/tmp", "/srv/a/tmp/x", "/srv/a/x/y.log"]
    assert [path for path in concerned + others if rule.concerns(path, is_directory=False)] == concerned
    assert not rule.concerns("/srv/a", is_directory=True)
    assert [path for path in ("/", "/srv", "/srv/a", "/srv/b", "/sr", "/srv/a/x") if rule.leads(path)] == [
        "/", "/srv", "/srv/a",
    ]  # fmt: skip


def test_the_whole_file_system() -> None:
    rule = Rule(0, "/", ["proc"], [])
    assert rule.concerns("/a/b", is_directory=False)
    assert not rule.concerns("/proc/1", is_directory=False)


@pytest.mark.parametrize(
    "path",
    [".git/index", "x/.git/HEAD", ".idea/a", "a.py~", ".a.py.swp", "4913", ".#a", "#a#", "__pycache__/a", "x.pyc"],
)
def test_files_of_editors_are_ignored(path: str) -> None:
    """Also if the patterns of the file make exceptions."""
    assert not Rule(0, "/srv", ["!**"], []).concerns(f"/srv/{path}", is_directory=False)


def test_only_included_files_count() -> None:
    rule = Rule(0, "/srv", ["vendor"], ["**/*.go", "go.mod"])
    paths = ["main.go", "x/a.go", "go.mod", "a.py", "vendor/a.go", "x/go.mod"]
    assert [path for path in paths if rule.concerns(f"/srv/{path}", is_directory=False)] == paths[:3]


def test_an_ignored_directory_is_not_entered() -> None:
    """Unless a pattern makes exceptions, which may be anywhere in it."""
    rule = Rule(0, "/srv", ["vendor"], ["*.go"])
    entered = ["/srv", "/srv/x", "/srv/x/vendor"]
    others = ["/srv/vendor", "/srv/vendor/x", "/srv/.git", "/other", "/"]
    assert [path for path in entered + others if rule.enters(path)] == entered
    assert Rule(0, "/srv", ["vendor", "!vendor/own"], []).enters("/srv/vendor")
    assert not Rule(0, "/srv", ["!.git"], []).enters("/srv/.git")

"""How findings are printed, in which order, and the exit code; and that each rule has a name and a row in the page."""

import json
from pathlib import Path

import pytest

from cohabit.doctor import container_checks, image, process_checks, services
from cohabit.doctor.findings import Finding, exit_code, in_order
from cohabit.doctor.formats import printed, summary
from cohabit.doctor.rules import RULES
from cohabit.plan.draft import SourceLocation

ROOT = Path(__file__).parents[2]
ONE = Finding("keep-alive", "error", SourceLocation("Dockerfile", 12), "it is wrong", "it breaks", "write it right")
TWO = Finding(
    "service-daemonizes", "hint", SourceLocation("cohabit.yaml", 7), "it is odd", "it may break", "write it so", "web"
)
FILE = ONE.replace(rule="background-process", do="this file:\nservices:\n  a: {}")
HERE = Finding("process-1", "warning", SourceLocation("container"), "100% odd", "why", "do")


def test_text() -> None:
    """Three lines, with the rule; the lines of a proposed file stand below each other."""
    assert printed([TWO], ["x"], "text") == (
        "hint    cohabit.yaml:7: web: it is odd [service-daemonizes]\n        why: it may break\n"
        "        do:  write it so\nx: 1 hint\n"
    )
    assert "        do:  this file:\n             services:\n               a: {}\n" in printed([FILE], [], "text")


def test_json() -> None:
    """One object on each line, with the place as a text and in its parts."""
    assert json.loads(printed([TWO], [], "json")) == {
        "rule": "service-daemonizes", "level": "hint", "place": "cohabit.yaml:7", "file": "cohabit.yaml", "line": 7,
        "what": "it is odd", "why": "it may break", "do": "write it so", "service": "web",
    }  # fmt: skip
    assert printed([], ["Dockerfile"], "json") == ""


def test_sarif() -> None:
    """A log of version 2.1.0: rules, results that refer to them, and the place of each."""
    log = json.loads(printed([ONE, TWO, HERE], [], "sarif"))
    (run,) = log["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert log["version"] == "2.1.0"
    assert [one["id"] for one in rules] == ["keep-alive", "process-1", "service-daemonizes"]
    assert all(one["shortDescription"]["text"] for one in rules)
    first, second, third = run["results"]
    assert [one["level"] for one in (first, second, third)] == ["error", "note", "warning"]
    assert all(rules[one["ruleIndex"]]["id"] == one["ruleId"] for one in (first, second, third))
    assert first["locations"] == [
        {"physicalLocation": {"artifactLocation": {"uri": "Dockerfile"}, "region": {"startLine": 12}}}
    ]
    assert "web: it is odd" in second["message"]["text"]
    assert third["locations"] == [{"logicalLocations": [{"name": "container"}]}]


@pytest.mark.parametrize(
    ("path", "uri"), [("docker/my file.sh", "docker/my%20file.sh"), ("/src/a%b", "file:///src/a%25b"), ("ü", "%C3%BC")]
)
def test_sarif_has_uris(path: str, uri: str) -> None:
    """A relative path stays relative; letters that a URI cannot have are escaped."""
    log = json.loads(printed([ONE.replace(place=SourceLocation(path))], [], "sarif"))
    assert log["runs"][0]["results"][0]["locations"] == [{"physicalLocation": {"artifactLocation": {"uri": uri}}}]


def test_sarif_without_findings() -> None:
    """A log with an empty list: an upload of it closes earlier alerts."""
    assert json.loads(printed([], [], "sarif"))["runs"][0]["results"] == []


def test_github() -> None:
    """One workflow command for each finding; ends of lines and separators are escaped."""
    odd = ONE.replace(place=SourceLocation("a,b:c/Dockerfile", 3))
    notice = "::notice file=cohabit.yaml,line=7,title=service-daemonizes::"
    assert printed([odd, TWO, HERE], ["x"], "github").splitlines() == [
        "::error file=a%2Cb%3Ac/Dockerfile,line=3,title=keep-alive::it is wrong%0Awhy: it breaks%0Ado: write it right",
        f"{notice}web: it is odd%0Awhy: it may break%0Ado: write it so",
        "::warning title=process-1::100%25 odd%0Awhy: why%0Ado: do",
    ]
    assert printed([FILE], [], "github").count("\n") == 1


def test_order_and_sum() -> None:
    """Errors first, lines sorted as numbers, no duplicates, no ignored rules; the last line has the counts."""
    late, early = (
        ONE.replace(place=SourceLocation("Dockerfile", 100)),
        ONE.replace(place=SourceLocation("Dockerfile", 9)),
    )
    assert in_order([TWO, late, ONE, early, ONE]) == [early, ONE, late, TWO]
    assert in_order([TWO, ONE], ["keep-alive"]) == [TWO]
    assert summary(["Dockerfile"], []) == "Dockerfile: no problems\n"
    assert summary(["a", "b"], [ONE, early, TWO]) == "a, b: 2 errors, 1 hint\n"


@pytest.mark.parametrize(
    ("levels", "threshold", "code"),
    [
        ([], "hint", 0),
        (["hint"], "warning", 0),
        (["hint"], "hint", 1),
        (["warning"], "error", 0),
        (["warning"], "warning", 1),
        (["hint", "error"], "error", 1),
        (["error"], "none", 0),
    ],
)
def test_exit_codes(levels: list[str], threshold: str, code: int) -> None:
    """1 for a finding of the level of --failure-threshold, or of a more severe one."""
    assert exit_code([ONE.replace(level=level) for level in levels], threshold) == code


def test_each_check_has_a_known_rule() -> None:
    """The tables of checks use the names of RULES."""
    tables = (image.CHECKS, process_checks.CHECKS, container_checks.CHECKS, services.CHECKS)
    assert {rule for table in tables for rule, _ in table} <= set(RULES)


def test_the_page_has_each_rule() -> None:
    """docs/reference/doctor.md has a row for each rule."""
    page = (ROOT / "docs/reference/doctor.md").read_text()
    assert [rule for rule in RULES if f"`{rule}`" not in page] == []

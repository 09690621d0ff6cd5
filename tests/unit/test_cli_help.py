"""Help: one text for --help, `cohabit help VERB` and the page of commands, laid out for 80 columns."""

import importlib
import json

import pytest

from cohabit.cli import help as help_
from cohabit.cli.main import COMMANDS, GROUPS
from cohabit.cli.options import HELP, Command, Option
from unit.control_story import run_client


def _table(verb: str) -> Command:
    found: Command = importlib.import_module(f"cohabit.cli.{verb}").COMMAND
    return found


@pytest.mark.parametrize("verb", COMMANDS)
def test_a_page_fits_80_columns(verb: str) -> None:
    """Neither a long sentence nor a long option is wider than a terminal."""
    assert max(map(len, help_.page(_table(verb)).splitlines())) <= 80


@pytest.mark.parametrize("verb", COMMANDS)
def test_a_page_has_everything(verb: str) -> None:
    """Usage, summary, each option with its sentence, and for what talks exit codes."""
    table = _table(verb)
    page = help_.page(table)
    words = " ".join(page.split())
    assert page.startswith(f"usage: cohabit {verb}")
    assert " ".join(table.summary.split()) in words
    for option in (*table.options, HELP):
        assert ", ".join(option.names) in page
        assert " ".join(option.help.split()) in words
    for code, _ in table.exits:
        assert f"\n  {code} " in page
    for line, _ in table.examples:
        assert f"\n  {line}" in page
    assert table.name == verb


@pytest.mark.parametrize("group", [group for group in GROUPS if group in {"look", "act"}])
def test_what_talks_has_json_and_a_socket(group: str) -> None:
    """Every verb of these groups, and its exit codes."""
    for verb in GROUPS[group]:
        names = {name for option in _table(verb).options for name in option.names}
        assert {"--json", "--socket"} <= names, verb
        assert _table(verb).exits, verb


def test_the_overview_fits_80_columns_and_has_every_verb() -> None:
    """One line for each."""
    lines = help_.overview().splitlines()
    assert max(map(len, lines)) <= 80
    for verb, summary in COMMANDS.items():
        assert f"  {verb:12}{summary}" in lines


@pytest.mark.parametrize("words", [["help", "logs"], ["logs", "--help"], ["logs", "-f", "-h"]])
def test_the_same_page_however_it_is_asked_for(words: list[str]) -> None:
    """On stdout, with 0, though no cohabit is there."""
    done = run_client(*words)
    assert (done.returncode, done.stdout, done.stderr) == (0, help_.page(_table("logs")) + "\n", "")


@pytest.mark.parametrize("words", [["help"], ["--help"], ["-h"]])
def test_the_overview_is_asked_for(words: list[str]) -> None:
    """On stdout, with 0."""
    assert run_client(*words).stdout == help_.overview() + "\n"


def test_the_page_as_json() -> None:
    """The same table for programs: one verb, or all of them."""
    told = json.loads(run_client("help", "logs", "--json").stdout)
    assert (told["verb"], told["summary"]) == ("logs", _table("logs").summary)
    assert told["options"][0]["names"] == ["-f", "--follow"]
    assert {"code", "when"} == set(told["exits"][0])
    assert {"command", "for"} == set(told["examples"][0])
    assert [verb["verb"] for verb in json.loads(run_client("help", "--json").stdout)["verbs"]] == [*COMMANDS]


def test_every_event_stands_in_the_help() -> None:
    """Those of docs/reference/control.md."""
    words = " ".join(_table("events").details.split())
    for event in ("STARTING", "FATAL", "wanted", "ready", "healthy", "up", "reloaded", "reload failed", "stopping"):
        assert event in words


def test_layout() -> None:
    """Paragraphs are filled, indented lines stay, long left columns get lines of their own."""
    verb = Command(
        "odd",
        "[--long]",
        "What it does.",
        (Option(("--a-very-long-name-of-an-option",), "tells", "WITH-A-VALUE"), Option(("-s",), "short")),
        details="one two\n\n  as it is\n\nthree",
        exits=(("0", "fine"),),
        examples=(("cohabit odd", "short"), ("cohabit odd --with something that is long", "long")),
    )
    assert help_.page(verb).splitlines() == [
        "usage: cohabit odd [--long]",
        "",
        "What it does.",
        "",
        "one two",
        "",
        "  as it is",
        "",
        "three",
        "",
        "options:",
        "  --a-very-long-name-of-an-option WITH-A-VALUE",
        "                              tells",
        "  -s                          short",
        "  -h, --help                  show this help",
        "",
        "exit codes:",
        "  0  fine",
        "",
        "examples:",
        "  cohabit odd",
        "      short",
        "  cohabit odd --with something that is long",
        "      long",
    ]

"""Help: one text for --help, `cohabit help COMMAND` and docs/reference/cli.md, laid out for 80 columns."""

import importlib
import json

import pytest

from cohabit.cli import help as help_
from cohabit.cli.main import COMMANDS, GROUPS
from cohabit.cli.options import HELP, Command, Option
from unit.control_story import run_client


def _table(name: str) -> Command:
    found: Command = importlib.import_module(f"cohabit.cli.{name}").COMMAND
    return found


def _details(name: str) -> str:
    return " ".join(_table(name).details.split())


@pytest.mark.parametrize("name", COMMANDS)
def test_page_fits_80_columns(name: str) -> None:
    """Neither a long sentence nor a long option is wider than a terminal."""
    assert max(map(len, help_.page(_table(name)).splitlines())) <= 80


@pytest.mark.parametrize("name", COMMANDS)
def test_page_is_complete(name: str) -> None:
    """Usage, summary, each option with its help, exit codes, examples."""
    table = _table(name)
    page = help_.page(table)
    text = " ".join(page.split())
    assert page.startswith(f"usage: cohabit {name}")
    assert " ".join(table.summary.split()) in text
    for option in (*table.options, HELP):
        assert ", ".join(option.names) in page
        assert " ".join(option.help.split()) in text
    for code, _ in table.exit_codes:
        assert f"\n  {code} " in page
    for line, _ in table.examples:
        assert f"\n  {line}" in page
    assert table.name == name


@pytest.mark.parametrize("group", ["inspect", "control"])
def test_client_has_json_socket_and_exit_codes(group: str) -> None:
    """Every command that sends requests to a running cohabit."""
    for command in GROUPS[group]:
        names = {name for option in _table(command).options for name in option.names}
        assert {"--json", "--socket"} <= names, command
        assert _table(command).exit_codes, command


def test_overview_fits_80_columns_and_lists_every_command() -> None:
    """One line for each."""
    lines = help_.overview().splitlines()
    assert max(map(len, lines)) <= 80
    for name, summary in COMMANDS.items():
        assert f"  {name:12}{summary}" in lines


@pytest.mark.parametrize("arguments", [["help", "logs"], ["logs", "--help"], ["logs", "-f", "-h"]])
def test_every_form_of_help_prints_the_same_page(arguments: list[str]) -> None:
    """On stdout, with 0, without a running cohabit."""
    done = run_client(*arguments)
    assert (done.returncode, done.stdout, done.stderr) == (0, help_.page(_table("logs")) + "\n", "")


@pytest.mark.parametrize("arguments", [["help"], ["--help"], ["-h"]])
def test_help_without_a_command_prints_the_overview(arguments: list[str]) -> None:
    """On stdout, with 0."""
    assert run_client(*arguments).stdout == help_.overview() + "\n"


def test_page_as_json() -> None:
    """The same table for programs: one command, or all of them."""
    page = json.loads(run_client("help", "logs", "--json").stdout)
    assert (page["name"], page["summary"]) == ("logs", _table("logs").summary)
    assert page["options"][0]["names"] == ["-f", "--follow"]
    assert {"code", "meaning"} == set(page["exit_codes"][0])
    assert {"command", "purpose"} == set(page["examples"][0])
    assert [one["name"] for one in json.loads(run_client("help", "--json").stdout)["commands"]] == [*COMMANDS]


def test_help_of_down_has_the_exit_codes_of_the_container() -> None:
    """As a requested stop: 0, or 137 after SIGKILL (docs/reference/rules.md)."""
    assert "The exit code of the container is 0, or 137 if a process had to be killed." in _details("down")


def test_help_of_wait_says_whose_exit_code_it_is() -> None:
    """Of several services, that of the first one that failed (api/conditions.py)."""
    assert "that of the first one, in the order given, that failed; 0 if none failed" in _details("wait")


def test_help_of_exec_says_who_may_use_it() -> None:
    """The server refuses other users; the client refuses answers of a cohabit of another user, even for root."""
    assert "Only the user that cohabit runs as may use this command." in _details("exec")


def test_help_of_health_says_what_live_checks() -> None:
    """An unhealthy service fails --live, too (api/conditions.py)."""
    (live,) = [option.help for option in _table("health").options if "--live" in option.names]
    assert live == "check that none is unhealthy and no essential one has failed (FATAL)"


def test_help_of_init_says_when_the_grace_period_starts() -> None:
    """With a signal to stop, or at the end of the command; at least one second of it is left then."""
    assert "starts with the first signal to stop, or else when COMMAND ends" in _details("init")
    assert "at least one second" in _details("init")


@pytest.mark.parametrize(
    ("name", "codes"),
    [
        ("scale", {"0", "1", "64", "69", "71", "77", "78", "126", "127"}),
        ("reload", {"0", "1", "64", "69", "71", "77", "78", "126", "127"}),
        ("check", {"0", "64", "71", "78", "126", "127"}),
        ("config", {"0", "64", "71", "78"}),
        ("convert", {"0", "2", "64", "71"}),
        ("up", {"n", "0", "64", "71", "78", "126", "127", "137"}),
        ("doctor", {"0", "1", "64", "71"}),
    ],
)
def test_help_lists_all_exit_codes(name: str, codes: set[str]) -> None:
    """70 is not listed: it is an internal error in every command."""
    assert {code for code, _ in _table(name).exit_codes} == codes


def test_every_event_is_in_the_help() -> None:
    """Those of docs/reference/control.md."""
    details = _details("events")
    for event in ("STARTING", "FATAL", "wanted", "ready", "healthy", "up", "reloaded", "reload failed", "stopping"):
        assert event in details


def test_layout() -> None:
    """Paragraphs are filled, indented lines are kept, wide left columns get lines of their own."""
    command = Command(
        "odd",
        "[--long]",
        "What it does.",
        (Option(("--a-very-long-name-of-an-option",), "shows", "WITH-A-VALUE"), Option(("-s",), "short")),
        details="one two\n\n  as it is\n\nthree",
        exit_codes=(("0", "fine"),),
        examples=(("cohabit odd", "short"), ("cohabit odd --with something that is long", "long")),
    )
    assert help_.page(command).splitlines() == [
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
        "                              shows",
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

"""Command lines: the forms of options, and the messages for wrong ones."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cohabit.cli.options import Command, Option, WrapperCommand
from cohabit.errors import UsageError

OPTIONS = (
    Option(("-g", "--group"), "a flag"),
    Option(("-v", "--verbose"), "another flag"),
    Option(("--on",), "a flag that is set by default", on=True),
    Option(("-t", "--time"), "a value", "SECONDS"),
    Option(("-e", "--each"), "a value that may be repeated", "CODE", repeat=True),
)
MIXED = Command("mixed", "", "", OPTIONS)
STRICT = WrapperCommand("strict", "", "", OPTIONS)


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ([], {}),
        (["-g"], {"group": True}),
        (["--group", "-v"], {"group": True, "verbose": True}),
        (["-gv"], {"group": True, "verbose": True}),
        (["-t", "5"], {"time": "5"}),
        (["-t5"], {"time": "5"}),
        (["--time=5"], {"time": "5"}),
        (["--time", "5"], {"time": "5"}),
        (["--time="], {"time": ""}),
        (["-t=5"], {"time": "5"}),
        (["-gt=5"], {"group": True, "time": "5"}),
        (["-e=A=b", "-eC=d"], {"each": ["A=b", "C=d"]}),
        (["--group=true", "-v=true"], {"group": True, "verbose": True}),
        (["-g", "--group=false"], {"group": False}),
        (["--on=false"], {"on": False}),
        (["-gt", "5"], {"group": True, "time": "5"}),
        (["-gt5"], {"group": True, "time": "5"}),
        (["-t", "-g"], {"time": "-g"}),
        (["-e1", "-e", "2", "--each=3"], {"each": ["1", "2", "3"]}),
        (["-h"], {"help": True}),
    ],
)
def test_each_form_of_an_option(typed: list[str], expected: dict[str, object]) -> None:
    """Short, long, joined, with a value in the same argument or the next."""
    values, arguments = MIXED.parse(typed)
    default: dict[str, object] = {"group": False, "verbose": False, "on": True, "time": None, "each": [], "help": False}
    assert values == default | expected
    assert arguments == []


@pytest.mark.parametrize(
    ("command", "typed", "arguments", "group"),
    [
        (MIXED, ["a", "-g", "b"], ["a", "b"], True),
        (MIXED, ["a", "--", "-g"], ["a", "-g"], False),
        (MIXED, ["-", "-g"], ["-"], True),
        (STRICT, ["-g", "a", "-v"], ["a", "-v"], True),
        (STRICT, ["a", "-g"], ["a", "-g"], False),
        (STRICT, ["--", "-g"], ["-g"], False),
        (STRICT, ["a", "--", "b"], ["a", "--", "b"], False),
    ],
)
def test_where_options_end(command: Command, typed: list[str], arguments: list[str], group: bool) -> None:
    """A wrapped command line is not parsed: from its first argument on, or after --."""
    values, found = command.parse(typed)
    assert (found, values["group"]) == (arguments, group)


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (["--nonsense"], "unknown option --nonsense"),
        (["--grop"], "did you mean --group"),
        (["-x"], "unknown option -x"),
        (["-gx"], "unknown option -x"),
        (["--group=yes"], "--group is true or false, without a value true (not 'yes')"),
        (["--group="], "true or false"),
        (["-g=no"], "-g is true or false"),
        (["-t"], "needs a value (SECONDS)"),
        (["-t1", "-t2"], "given twice"),
    ],
)
def test_wrong_option_is_named_in_the_message(typed: list[str], message: str) -> None:
    """Together with the command."""
    with pytest.raises(UsageError) as error:
        MIXED.parse(typed)
    assert message in str(error.value)
    assert "mixed" in str(error.value)


@given(st.lists(st.text()))
def test_parse_raises_only_usage_errors(typed: list[str]) -> None:
    """Any command line is parsed, or is a usage error."""
    try:
        _, arguments = MIXED.parse(typed)
    except UsageError:
        return
    assert all(argument in typed for argument in arguments)


@given(st.lists(st.text()))
def test_wrapped_command_is_unchanged(command: list[str]) -> None:
    """After --, nothing is an option."""
    assert STRICT.parse(["-g", "--", *command])[1] == command


def test_value_must_be_one_of_the_choices() -> None:
    """A metavar with bars lists all allowed values."""
    command = Command("wait", "", "", (Option(("--for",), "what", "ready|exit"),))
    assert command.parse(["--for", "exit"])[0]["for"] == "exit"
    with pytest.raises(UsageError, match="cannot wait: --for must be ready or exit, not 'gone'"):
        command.parse(["--for=gone"])


def test_command_without_arguments_refuses_any() -> None:
    """An argument would be a misunderstanding; --help is still answered."""
    assert MIXED.parse_options(["-g"])["group"] is True
    assert MIXED.parse_options(["a", "--help"])["help"] is True
    with pytest.raises(UsageError, match=r"cannot mixed: it does not accept arguments \(what is 'a'\?\)"):
        MIXED.parse_options(["a"])
    with pytest.raises(UsageError, match="cannot mixed: not a!"):
        MIXED.parse_options(["-g", "--", "a"], "not {}!")

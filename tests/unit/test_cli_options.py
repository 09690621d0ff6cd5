"""Command lines: what each form of an option means, and what is wrong in words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cohabit.cli.options import Command, CommandVerb, Option
from cohabit.errors import UsageError

OPTIONS = (
    Option(("-g", "--group"), "a flag"),
    Option(("-v", "--verbose"), "another flag"),
    Option(("-t", "--time"), "a value", "SECONDS"),
    Option(("-e", "--each"), "a value that may come again", "CODE", repeat=True),
)
MIXED = Command("mixed", "", "", OPTIONS)
STRICT = CommandVerb("strict", "", "", OPTIONS)


@pytest.mark.parametrize(
    ("words", "expected"),
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
        (["-gt", "5"], {"group": True, "time": "5"}),
        (["-gt5"], {"group": True, "time": "5"}),
        (["-t", "-g"], {"time": "-g"}),
        (["-e1", "-e", "2", "--each=3"], {"each": ["1", "2", "3"]}),
        (["-h"], {"help": True}),
    ],
)
def test_each_form_of_an_option(words: list[str], expected: dict[str, object]) -> None:
    """Short, long, joined, with a value in the same word or the next."""
    values, arguments = MIXED.parse(words)
    assert values == {"group": False, "verbose": False, "time": None, "each": [], "help": False} | expected
    assert arguments == []


@pytest.mark.parametrize(
    ("verb", "words", "arguments", "group"),
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
def test_where_options_end(verb: Command, words: list[str], arguments: list[str], group: bool) -> None:
    """Somebody else's command line is left alone: from its first word on, and behind --."""
    values, found = verb.parse(words)
    assert (found, values["group"]) == (arguments, group)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--nonsense"], "unknown option --nonsense"),
        (["--grop"], "did you mean --group"),
        (["-x"], "unknown option -x"),
        (["-gx"], "unknown option -x"),
        (["--group=yes"], "takes no value"),
        (["-t"], "needs a value (SECONDS)"),
        (["-t1", "-t2"], "given twice"),
    ],
)
def test_what_is_wrong(words: list[str], says: str) -> None:
    """A wrong option is told by its name, with the verb."""
    with pytest.raises(UsageError) as error:
        MIXED.parse(words)
    assert says in str(error.value)
    assert "mixed" in str(error.value)


@given(st.lists(st.text()))
def test_nothing_else_is_raised(words: list[str]) -> None:
    """Whatever is typed, it is parsed or is a usage error."""
    try:
        _, arguments = MIXED.parse(words)
    except UsageError:
        return
    assert all(argument in words for argument in arguments)


@given(st.lists(st.text()))
def test_a_command_comes_through_untouched(command: list[str]) -> None:
    """Behind -- nothing is an option."""
    assert STRICT.parse(["-g", "--", *command])[1] == command


def test_a_value_is_one_of_its_choices() -> None:
    """Words between bars are all that the value can be."""
    verb = Command("wait", "", "", (Option(("--for",), "what", "ready|exit"),))
    assert verb.parse(["--for", "exit"])[0]["for"] == "exit"
    with pytest.raises(UsageError, match="cannot wait: --for is ready or exit, not 'gone'"):
        verb.parse(["--for=gone"])


def test_a_verb_without_arguments_refuses_any() -> None:
    """What is typed all the same would be meant for something else; --help is answered all the same."""
    assert MIXED.parse_options(["-g"])["group"] is True
    assert MIXED.parse_options(["a", "--help"])["help"] is True
    with pytest.raises(UsageError, match=r"cannot mixed: it takes no arguments \(what is 'a'\?\)"):
        MIXED.parse_options(["a"])
    with pytest.raises(UsageError, match="cannot mixed: not a!"):
        MIXED.parse_options(["-g", "--", "a"], "not {}!")

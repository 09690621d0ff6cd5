"""Parsing of Dockerfiles: lines, here-documents, forms, variables, stages."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cohabit.doctor import image, syntax
from cohabit.doctor.dockerfile import INSTRUCTIONS, Image, Instruction, image_of, parse
from cohabit.doctor.variables import expand


def made(text: str) -> Image:
    """Return the image of a Dockerfile with this text."""
    found = image_of(parse(text))
    assert found
    return found


def instructions(text: str) -> list[tuple[str, str, int]]:
    """Return name, text and line of the instructions after FROM."""
    (stage,) = parse(f"FROM x\n{text}").stages
    return [(one.name, one.text, one.line) for one in stage.instructions]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("CMD a", [("CMD", "a", 2)]),
        ("cmd  a  b ", [("CMD", "a  b", 2)]),
        ("  CMD a\r", [("CMD", "a", 2)]),
        ("CMD\ta", [("CMD", "a", 2)]),
        ("# CMD x\n\nCMD a", [("CMD", "a", 4)]),
        ("CMD a \\\n  b", [("CMD", "a   b", 2)]),
        ("CMD a \\\n# comment\n\n  b\nUSER c", [("CMD", "a   b", 2), ("USER", "c", 6)]),
        ("CMD a \\  \n b", [("CMD", "a  b", 2)]),
        ("CMD a \\\\\nUSER b", [("CMD", "a \\\\", 2), ("USER", "b", 3)]),
        ("CMD a \\", [("CMD", "a", 2)]),
        ("RUN <<EOF\nCMD no\nEOF\nCMD a", [("RUN", "<<EOF", 2), ("CMD", "a", 5)]),
        ("RUN cat <<-'A' <<B\n\tA\nx\nB\nCMD a", [("RUN", "cat <<-'A' <<B", 2), ("CMD", "a", 6)]),
        ("COPY <<x.sh /x.sh\nCMD no\nx.sh\nCMD a", [("COPY", "<<x.sh /x.sh", 2), ("CMD", "a", 5)]),
        ("RUN <<EOF\nCMD a", [("RUN", "<<EOF", 2), ("CMD", "a", 3)]),
        ("RUN echo $((1<<2))\nCMD a", [("RUN", "echo $((1<<2))", 2), ("CMD", "a", 3)]),
        ("CMD cat <<EOF\nUSER a", [("CMD", "cat <<EOF", 2), ("USER", "a", 3)]),
    ],
)
def test_lines(text: str, expected: list[tuple[str, str, int]]) -> None:
    """Each instruction has its whole text and the line in which it begins."""
    assert instructions(text) == expected


def test_the_escape_directive() -> None:
    """The first line may set the backtick; then a backslash has no special meaning."""
    found = parse("# escape=`\nFROM x\nCMD a `\n b\nUSER c\\\nUSER d").stages[0].instructions
    assert [(one.text, one.line) for one in found] == [("a  b", 3), ("c\\", 5), ("d", 6)]
    assert parse("# hello\n# escape=`\nFROM x").escape == "\\"


@pytest.mark.parametrize(
    ("text", "argv"),
    [
        ('CMD ["a", "b c"]', ("a", "b c")),
        ("CMD []", ()),
        ("CMD a b", None),
        ("CMD ['a']", None),
        ("CMD [1]", None),
        ('CMD ["a",]', None),
        ('HEALTHCHECK --interval=3s CMD ["a"]', ("a",)),
        ("HEALTHCHECK CMD a", None),
        ("HEALTHCHECK NONE", None),
        ("CMD " + "[" * 100_000, None),
    ],
)
def test_forms(text: str, argv: tuple[str, ...] | None) -> None:
    """A JSON list of strings is the exec form, everything else the shell form."""
    assert parse(f"FROM x\n{text}").stages[0].instructions[0].argv == argv


def test_flags_are_not_part_of_the_text() -> None:
    """--flags precede the arguments."""
    (one,) = parse("FROM x\nHEALTHCHECK --interval=3s --retries=2 CMD a").stages[0].instructions
    assert one == Instruction("HEALTHCHECK", "CMD a", 2, None, (("interval", "3s"), ("retries", "2")))
    assert parse("FROM --platform=$X debian AS b").stages[0].base == "debian"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$A", "1"),
        ("x${A}y", "x1y"),
        ("$Ab", "$Ab"),
        ("${B:-2}", "2"),
        ("${E:-2}", "2"),
        ("${E-2}", ""),
        ("${A:+2}", "2"),
        ("${B:+2}", ""),
        ("${B:-${A}}", "1"),
        ("${B:-${C:-3}}", "3"),
        ("${A:?no}", "1"),
        ("${B:?no}", "${B:?no}"),
        ("${A#x}", "${A#x}"),
        ("\\$A", "$A"),
        ("'$A'", "$A"),
        ('"$A b"', "1 b"),
        ("$", "$"),
        ("${A", "${A"),
    ],
)
def test_variables(text: str, expected: str) -> None:
    """They are expanded as by docker build; unset ones remain as written."""
    assert expand(text, {"A": "1", "E": ""}) == expected


@pytest.mark.parametrize(
    ("text", "base"),
    [
        ("FROM debian", "debian"),
        ("ARG B=debian\nFROM ${B}:12", "debian:12"),
        ("ARG V=1\nARG B=debian:$V\nFROM $B", "debian:1"),
        ("ARG B\nFROM $B", ""),
        ("ARG B\nFROM ${B:-debian}", "debian"),
        ("FROM debian AS a\nFROM nginx", "nginx"),
        ("FROM debian AS Base\nFROM alpine AS b\nFROM base", "debian"),
        ("FROM debian as a\nFROM a as b\nFROM b", "debian"),
        ("FROM nginx AS nginx", "nginx"),
    ],
)
def test_the_base_image(text: str, base: str) -> None:
    """Stages and arguments are resolved to the external image."""
    assert made(text).base == base


def test_only_the_stages_that_the_last_one_is_from() -> None:
    """A stage that is only used in COPY --from does not affect the start."""
    result = made(
        "FROM a AS one\nUSER u\nSTOPSIGNAL 3\nCMD x\n"
        "FROM b AS two\nUSER v\nENTRYPOINT y\n"
        "FROM one\nCOPY --from=two / /\n"
    )
    assert result.user
    assert result.user.value == "u"
    assert result.stop_signal
    assert result.stop_signal.line == 3
    assert result.cmd
    assert result.cmd.text == "x"
    assert result.entrypoint is None


def test_an_entrypoint_resets_the_cmd_of_the_base() -> None:
    """As in docker build: the CMD of the base belongs to the ENTRYPOINT of the base."""
    assert made("FROM a AS one\nCMD x\nFROM one\nENTRYPOINT y").cmd is None
    both = made("FROM a\nCMD x\nENTRYPOINT y").cmd
    assert both
    assert both.text == "x"


def test_env_and_arg_in_a_stage() -> None:
    """ENV overrides ARG, ARG without a value takes that before FROM, ENV has two forms."""
    result = made('ARG A=1\nFROM x\nARG A\nENV B="2 $A" C=3\nENV D four $A\nARG C=9\nUSER $C\nVOLUME ["/a/$B", "/b"]')
    assert result.environment == {"B": "2 1", "C": "3", "D": "four 1"}
    assert result.user
    assert result.user.value == "3"
    assert [one.value for one in result.volumes] == ["/a/2 1", "/b"]


_PIECES = st.sampled_from(
    [
        "FROM x", "FROM x AS y", "FROM y", "ARG A=1", "ENV A=$A$A", "CMD", "CMD [", 'CMD ["a"]',
        "ENTRYPOINT sh -c 'a & b'",
        'ENTRYPOINT ["cohabit", "up"]', "RUN <<EOF", "EOF", "# escape=`", "\\", "`", "HEALTHCHECK CMD curl x",
        "USER ${A:-",
        "STOPSIGNAL", "VOLUME /run", "SHELL []", "ONBUILD RUN <<X", '"', "'", "CMD cohabit up &&",
    ]
)  # fmt: skip


@given(st.lists(st.one_of(_PIECES, st.text(max_size=20)), max_size=20).map("\n".join))
def test_any_text_is_parsed(text: str) -> None:
    """Any text is parsed and checked, and each finding has a line of it."""
    found = image_of(parse(text))
    for finding in image.examine(found, "D") if found else []:
        assert 1 <= finding.place.line <= text.count("\n") + 1


@given(st.text(alphabet="${}:-+A'\"\\", max_size=60))
def test_any_variables_are_expanded(text: str) -> None:
    """Expansion ends and never raises."""
    expand(text, {"A": "$A"})


@pytest.mark.parametrize(
    ("text", "line", "what", "do"),
    [
        ("FROM x\nRUM true\nCMD a", 2, "RUM is not an instruction", "RUN true"),
        ("FROM x\nRUN a &&\n  nonsense-of-all-kinds b", 3, "NONSENSE-OF-ALL-KINDS is not an instruction", "remove it"),
        ("hello\nFROM x", 1, "HELLO is not an instruction", "remove it"),
        ("FROM\nCMD a", 1, "FROM names no image", "FROM debian:stable-slim"),
        ("FROM x AS y\nFROM --platform=linux/amd64\n", 2, "FROM names no image", "FROM debian:stable-slim"),
    ],
)
def test_what_docker_build_rejects(text: str, line: int, what: str, do: str) -> None:
    """Each is an error with its line."""
    (found,) = syntax.examine(parse(text), "D")
    assert (found.level, str(found.place), found.what) == ("error", f"D:{line}", what)
    assert found.do.startswith(do)


def test_every_instruction_is_accepted() -> None:
    """In upper or lower case."""
    text = "".join(f"{name.lower()} x\n" for name in INSTRUCTIONS)
    assert syntax.examine(parse(f"# escape=`\nARG A=1\nFROM x\n{text}"), "D") == []

"""Texts with variables, and files of variables: tables, and what hypothesis makes of the same parts.

Texts that cohabit accepts are one file for Compose, each in its own service. Texts that it refuses are a file each.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from typing import TYPE_CHECKING, Final

from hypothesis import given, settings
from hypothesis import strategies as st

from cohabit.config.values.command_text import split_command
from cohabit.config.values.dotenv import parse
from cohabit.config.values.interpolate import InterpolationError, expand
from cohabit.program import packed, program
from differential.oracle import Case
from differential.reading import active, ours, theirs

if TYPE_CHECKING:
    from differential.oracle import Compose

ENVIRON: Final = {"V": "value", "EMPTY": "", "W": "w", "DOLLAR": "$V", "CFG": "foo"}
TEMPLATES: Final = (
    *('${CFG:-{"a":1}}', '${NONE:-{"a":1}}', "${NONE:-a{b}", "${NONE:-a}b}", "${NONE:-{}}", "${NONE:-{a}}x"),
    *("$5", "end$", "$ {V}", "$(x)", "$$V", "$$$V", "$$$$", "${NONE:-$$x}", "${NONE:-$$${V}}", "${NONE:-$${V}}"),
    *("${NONE:-$${V}", "$V-x", "${V}-${W:-d}", "${V:+r}", "${EMPTY:+r}", "${EMPTY+r}", "${NONE+r}", "${EMPTY:-d}"),
    *('${V:+{"a":"$W"}}', "${NONE:-${V}}", "${NONE:-${NONE:-${W}x}y}", "${NONE:-a:-b}", "${NONE-a:-b}", "${EMPTY-d}"),
    *("${NONE:-a?b}", "${NONE:-a:?b}", "${NONE:-a+b}", "${V:?x}", "${EMPTY?x}", "${NONE:-http://x:80/-y}", "$DOLLAR"),
    *('${NONE:-"q"}', "${NONE:-'q'}", "$ÄB", "${V:-}", "${V}{x}", "${V}}", "{${V}}", "{{${V}}}", "${NONE:-{{.N}}}"),
    *("$_", "$_x", "${_}", "$V$W", "a${NONE}b", r"${NONE:-\}}", "$9V", "$-", "$@", "$*", "$#", "$!", "$.", "$/"),
    *("$'", '$"', "$`", "$[V]", "$|", "100$ $V", "p@ss$", "^a$|^b$", "{print $1}", "$?", "$V.$W/${V}_$V_", "${V}$"),
    *("$$(date)", "`date`", "${NONE:+${V}}", "${V:+${NONE:-z}}", "$$$$$V", "${W:+-D=${V}}", "${NONE-}", "${NONE:-$}"),
)
REFUSED: Final = (
    *("${V", "${}", "${1}", "${V/a/b}", "${ V}", "${V }", "${ÄB}", "${NONE:}", "${NONE:x}", "${NONE=x}", "${NONE:=x}"),
    *("${NONE:?need it}", "${EMPTY:?}", "${NONE?x}", "a ${", "${NONE:-${}}", "${-x}", "${V!}", "${#V}"),
)
DOTENV: Final = (
    *("COLOR=#ff0000", "A= #x", "A=x\t#y", "A=x #y", "A=x#y", "A=# c", "A=#", "A=x\t #y", "A=x  # c # d", "A=a ## b"),
    *(r'A="a\a\b\f\v\0123\n\t\r\\\"\$x"', r'A="\x41\e\q\u1234"', r'A="\0101\101"', r"A='a\nb\'c'", r'A="\0303\0251"'),
    *('A="x" # c', "A='x'#c", "B=1\nA=$B${B}", "A=$5", "A=a$", "A=$(x)", "A=$$x", "A='$V'", 'A="$V"', 'A="$$V"'),
    *(r'A="\$V"', r'A="\\$V"', "A: yaml", "A:yaml", "A = x", "export A=1", "exportA=1", "A.B=1", "A-B=1", "1A=1"),
    *("A=1 2", "A='multi\nline'\nB=2", 'A="multi\nline"', "A=x'y'", 'A=x"y"', r"A=\n", r"A=a\tb", "A=`x`", "A="),
    *("A=\nB=2", "A=x\r\nB=y\r\n", "# c\nA=1", "  A=1", "A=1;B=2", 'A=""', "A=''", 'A={"a":"b"}', "A=[1, 2]", "V\nB=1"),
    *("A=${NONE:-d}", "Ä=1", "A=ä", "A[0]=1", 'A="a#b"', 'A="a # b"', "A:=1", "A=:1", "A==1", r"A='a\\b'", 'A="a\'b"'),
    *("A='a\"b'", r"A=a\ b", "A=$'x'", r"A=\$V", "HOME=/o\nB=$HOME", "A=1\nA=2", "A=1\nA=${A}2", "\ufeffA=1", "A=x\vb"),
    *("A=x\v", "NONE\nB=1", "A=\u00a0x", "-=1", ".=1", "A =\tx", 'A= "x"', r"A='\n'", r"A='\t\a'", r'A="a\'b"'),
    *("export=1", "export\tA=1", "export  A = 1", "A\t:1", "EMPTY=x\nB=$EMPTY", "B=${V:+set}", 'A="\\\\\\"x"', "\n\n"),
)
DOTENV_REFUSED: Final = (
    *("A='it''s'", "A=${V", "A B=1", 'A="open', "A='open", "A=${NONE:?no}", "A #x", "A+B=1", "A/B=1", "A?=1"),
    *("B=1\nA=${}", '"A"=1', "A=1\n$V=2", "a{b}=1"),
)


def _batch(texts: list[str]) -> Case:
    """A file with one service for each text."""
    services = {f"s{number}": {"image": "x", "environment": {"X": text}} for number, text in enumerate(texts)}
    return Case(json.dumps({"services": services}, ensure_ascii=False), {}, ENVIRON)


def _env_files(texts: list[str]) -> Case:
    """A file with one service for each file of variables."""
    services = {f"s{number}": {"image": "x", "env_file": f"{number}.env"} for number in range(len(texts))}
    return Case(json.dumps({"services": services}), {f"{n}.env": text for n, text in enumerate(texts)}, ENVIRON)


def _same(compose: Compose, case: Case) -> None:
    """Both read a case, and find the same environments."""
    mine, other = ours(case), theirs(compose.ask([case])[0])
    assert mine is not None
    assert other is not None, "Compose refuses a text that cohabit accepts"
    found = [{name: one["environment"] for name, one in services.items()} for services in (mine, other)]
    assert found[0] == found[1]


def test_a_text_has_the_value_that_it_has_in_compose(compose: Compose) -> None:
    _same(compose, _batch(list(TEMPLATES)))


def test_a_file_of_variables_has_the_values_that_it_has_in_compose(compose: Compose) -> None:
    _same(compose, _env_files(list(DOTENV)))


def test_both_refuse_the_same_texts(compose: Compose) -> None:
    cases = [*(_batch([text]) for text in REFUSED), *(_env_files([text]) for text in DOTENV_REFUSED)]
    for case, answer in zip(cases, compose.ask(cases), strict=True):
        assert answer is None, case
        assert ours(case) is None, case


NAMED: Final = (
    *("$A", "${A}", "${A:-x}", "${A-x}", "${A:?}", "${A?no}", "${A:+x}", "${A+x}", "${A:-}", "$$A ${B}", "$A ${B:-y}"),
    *("${A:-${B:-b}}", "${A:-${B:?no}}", "${A:-$B}", "${A:-a:-b}", "$1 $? ${A}", "a$", "${A:-a b}"),
)


def test_the_variables_of_a_file_are_those_of_compose(compose: Compose) -> None:
    """`config --variables`: names, whether they are required, and both values. Compose prints them in any order."""
    cases = [Case(json.dumps({"services": {"a": {"image": "x", "command": text}}}), {}, {}) for text in NAMED]
    for case, answer in zip(cases, compose.printed(cases, "--variables"), strict=True):
        assert answer is not None, case
        asked = packed({"files": ["compose.yaml"], "show": "variables"})
        with tempfile.TemporaryDirectory() as directory:
            case.write(directory)
            done = subprocess.run(
                program("loader", "config", asked), cwd=directory, capture_output=True, text=True, check=True
            )
        rows = [sorted(" ".join(line.split()) for line in text.splitlines()) for text in (done.stdout, answer)]
        assert rows[0] == rows[1], case


# Letters without { and }, which Compose counts wrongly in a default (docs/reference/file.md).
PLAIN: Final = st.text(alphabet="ab_1 .,:-+?/#'\"\\`([|", max_size=5)
VARIABLES: Final = st.sampled_from(["V", "EMPTY", "W", "DOLLAR", "NONE", "_N1"])


def _defaults(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    operators = st.sampled_from([":-", "-", ":+", "+"])
    braced = st.builds(lambda name, operator, text: f"${{{name}{operator}{text}}}", VARIABLES, operators, inner)
    return st.lists(st.one_of(PLAIN, braced), max_size=3).map("".join)


WHOLE: Final = st.one_of(
    PLAIN,
    VARIABLES.map("${{{}}}".format),
    VARIABLES.map("${} ".format),
    st.sampled_from(["$$", "$.", "$ ", "$5", "$("]),
)
TEMPLATE: Final = st.recursive(WHOLE, _defaults, max_leaves=6)


@given(st.lists(st.lists(TEMPLATE, max_size=4).map("".join), min_size=1, max_size=60))
@settings(max_examples=12, deadline=None)
def test_a_made_text_has_the_value_that_it_has_in_compose(compose: Compose, texts: list[str]) -> None:
    valid = []
    for text in texts:
        try:
            expand(text, ENVIRON.get, [])
        except InterpolationError:
            continue
        valid.append(text)
    _same(compose, _batch(valid or [""]))


VALUE: Final = st.one_of(
    st.text(alphabet="ab #$\t=:\\'\"{}[]1", max_size=8),
    st.text(alphabet="ab #\\n123tvq", max_size=8).map('"{}"'.format),
    st.text(alphabet="ab #\\n$V", max_size=8).map("'{}'".format),
)
LINE: Final = st.builds("{}{}{}".format, st.sampled_from(["A", "B1", "export C"]), st.sampled_from("=:"), VALUE)


@given(st.lists(st.lists(LINE, max_size=3).map("\n".join), min_size=1, max_size=40))
@settings(max_examples=8, deadline=None)
def test_a_made_file_of_variables_has_the_values_that_it_has_in_compose(compose: Compose, texts: list[str]) -> None:
    valid = [text for text in texts if not parse(text, ENVIRON.get).diagnostics]
    _same(compose, _env_files(valid or [""]))


COMMAND: Final = st.text(alphabet="ab 2\\'\"`$()>;#\n\t", max_size=9)


@given(st.lists(COMMAND, min_size=1, max_size=60))
@settings(max_examples=8, deadline=None)
def test_a_made_command_is_split_as_compose_splits_it(compose: Compose, texts: list[str]) -> None:
    services = {
        f"s{number}": {"image": "x", "command": text.replace("$", "$$")}
        for number, text in enumerate(texts)
        if split_command(text, lambda *_, **__: None) is not None
    }
    case = Case(json.dumps({"services": {**services, "last": {"image": "x"}}}))
    assert ours(case) == theirs(compose.ask([case])[0])


PROFILES: Final[tuple[tuple[dict[str, str], str], ...]] = (
    ({}, ""),
    ({"COMPOSE_PROFILES": "p,q"}, ""),
    ({"COMPOSE_PROFILES": " p , q"}, ""),
    ({"COMPOSE_PROFILES": "*"}, ""),
    ({"COMPOSE_PROFILES": ""}, "COMPOSE_PROFILES=p\n"),
    ({}, "COMPOSE_PROFILES=p\n"),
    ({"COMPOSE_PROFILES": "q"}, "COMPOSE_PROFILES=p\n"),
    ({"COMPOSE_ENV_FILES": "x.env,y.env"}, "COMPOSE_PROFILES=p\n"),
)


def test_profiles_and_env_files_of_the_environment_are_those_of_compose(compose: Compose) -> None:
    profiles = {"empty": [""], "both": ["", "p"], "p": ["p"], "q": ["q"], "plain": []}
    services = {
        name: {"image": "x", "command": "x", "profiles": given, "environment": {"A": "$A", "B": "$B"}}
        for name, given in profiles.items()
    }
    text = json.dumps({"services": services})
    files = {"x.env": "A=2\n", "y.env": "B=$A\nCOMPOSE_PROFILES=q\n"}
    cases = [Case(text, {**files, ".env": f"A=1\n{beside}"}, environ, "") for environ, beside in PROFILES]
    for case, answer in zip(cases, compose.ask(cases), strict=True):
        mine, other = active(case), theirs(answer)
        assert mine == other, case


def test_the_file_of_the_environment_is_that_of_compose(compose: Compose) -> None:
    other = "services: {other: {image: x, command: y}}"
    files = {"other.yaml": other}
    cases = [
        Case("services: {a: {image: x}}", files, {"COMPOSE_FILE": "other.yaml"}, ""),
        Case("services: {a: {image: x}}", {**files, ".env": "COMPOSE_FILE=other.yaml"}, {}, ""),
    ]
    several = {"COMPOSE_FILE": "other.yaml;compose.yaml", "COMPOSE_PATH_SEPARATOR": ";"}
    cases += [
        Case("services: {other: {command: z}}", files, {"COMPOSE_FILE": "other.yaml:compose.yaml"}, ""),
        Case("services: {other: {command: z}}", files, several, ""),
        Case("services: {other: {command: z}}", {**files, ".env": "COMPOSE_FILE=other.yaml:compose.yaml"}, {}, ""),
    ]
    for case, answer in zip(cases, compose.ask(cases), strict=True):
        assert active(case, files=()) == theirs(answer)
        assert answer is not None
        assert list(answer["services"]) == ["other"]

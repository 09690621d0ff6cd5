"""Scripts of the build context, in the style of public images: what is found, and correct ones that have none."""

import functools
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cohabit.config.readers import registry
from cohabit.doctor.context import Context, File
from cohabit.doctor.dockerfile import image_of, parse
from cohabit.doctor.findings import Finding
from cohabit.doctor.image import examine
from cohabit.doctor.replacement import recommended
from cohabit.doctor.rules import RULES
from cohabit.plan.build import build

ENTRY = 'FROM debian\nCOPY start.sh /\nENTRYPOINT ["/start.sh"]\n'
BASH = "#!/bin/bash\n"


def found(directory: Path, dockerfile: str, **files: str) -> list[Finding]:
    """Return the findings on a Dockerfile with these files (start_sh: start.sh) in its context, without not-cohabit."""
    for name, text in files.items():
        path = directory / name.replace("_sh", ".sh")
        path.write_bytes(text.encode())
        path.chmod(0o755)
    parsed = parse(dockerfile)
    image = image_of(parsed)
    assert image
    context = Context(parsed, str(directory))
    findings = examine(image, "Dockerfile", functools.partial(context.find, image))
    return [one for one in findings if one.rule != "not-cohabit"]


class Case(NamedTuple):
    """A script after its #! line, the findings as "rule level line", and parts of a proposal."""

    name: str
    script: str
    expected: list[str]
    do: list[str]
    dockerfile: str


def cases() -> Iterator[Case]:
    """The cases of doctor_scripts.txt."""
    _, *blocks = re.split(r"^== ", (Path(__file__).parent / "doctor_scripts.txt").read_text(), flags=re.MULTILINE)
    for block in blocks:
        name, *lines = block.rstrip().split("\n")
        notes = [line.removeprefix("-- ") for line in lines if line.startswith("-- ")]
        docker = [line.removeprefix("docker ") for line in notes if line.startswith("docker ")]
        proposals = [line.removeprefix("do ") for line in notes if line.startswith("do ")]
        expected = [line for line in notes if not line.startswith(("docker ", "do "))]
        script = "\n".join([*lines[: lines.index(f"-- {notes[0]}") if notes else None], ""])
        yield Case(name, script, expected, proposals, "\n".join(["FROM debian", *docker]) if docker else ENTRY)


each_case = pytest.mark.parametrize("case", list(cases()), ids=lambda case: case.name)


@each_case
def test_scripts(tmp_path: Path, case: Case) -> None:
    """Each has these findings, with the line of the script or of the Dockerfile, and no other one."""
    findings = found(tmp_path, case.dockerfile, start_sh=BASH + case.script)
    shown = sorted(f"{one.rule} {one.level} {one.place.line}" for one in findings)
    assert shown == sorted(case.expected), findings
    assert all(any(part in one.do for one in findings) for part in case.do)
    assert all(one.place.file in (f"{tmp_path}/start.sh", "Dockerfile") for one in findings)


@each_case
def test_a_proposed_file_has_no_errors(tmp_path: Path, case: Case) -> None:
    """What is proposed as cohabit.yaml can be read, and has no error but programs that are not here."""
    for one in found(tmp_path, case.dockerfile, start_sh=BASH + case.script):
        if "\nservices:" not in one.do:
            continue
        file = tmp_path / "cohabit.yaml"
        file.write_text(one.do.partition(":\n")[2])
        draft = registry.read({"files": [str(file)]}, {})
        _, problems = build(draft, (), ["*"])
        assert [problem.text for problem in problems if "not found" not in problem.text] == []


def test_a_proposed_file_runs_the_commands(tmp_path: Path) -> None:
    """Commands with quotes, variables and redirections mean the same in the file; jobs end before what follows them."""
    script = "./migrate --all\n./a 'x y' \"$HOME\" > /tmp/log &\nnginx &\nexec ./b --port=80\n"
    (finding,) = found(tmp_path, ENTRY, start_sh=BASH + script)
    assert finding.do == (
        f"{recommended()}, with this cohabit.yaml:\n"
        "services:\n"
        "  migrate:\n"
        "    command: ./migrate --all\n"
        "  a:\n"
        '    command: ["sh", "-c", "exec ./a \'x y\' \\"$$HOME\\" > /tmp/log"]\n'
        "    depends_on:\n"
        "      migrate: {condition: service_completed_successfully}\n"
        "  nginx:\n"
        "    command: \"nginx -g 'daemon off;'\"\n"
        "    depends_on:\n"
        "      migrate: {condition: service_completed_successfully}\n"
        "  b:\n"
        "    command: ./b --port=80\n"
        "    depends_on:\n"
        "      migrate: {condition: service_completed_successfully}"
    )


def test_a_proposed_line_has_the_arguments(tmp_path: Path) -> None:
    """`$@` stands for CMD."""
    (finding,) = found(tmp_path, ENTRY + 'CMD ["app", "a b", "c"]\n', start_sh=BASH + 'cron\nexec "$@"\n')
    assert finding.do == """CMD ["cohabit", "run", "cron -f", "app 'a b' c"]"""


def test_scripts_that_start_scripts(tmp_path: Path) -> None:
    """Each is examined, as long as the one before it ends with exec; a circle ends."""
    one, two = BASH + 'exec /two.sh "$@"\n', BASH + "./a &\n./b\n"
    dockerfile = 'FROM debian\nCOPY *.sh /\nENTRYPOINT ["/one.sh"]\n'
    (finding,) = found(tmp_path, dockerfile, one_sh=one, two_sh=two)
    assert str(finding.place) == f"{tmp_path}/two.sh:2"
    assert found(tmp_path, dockerfile, one_sh=one, two_sh=BASH + "exec /one.sh\n") == []


@pytest.mark.parametrize(
    ("dockerfile", "line"),
    [
        ('COPY start.sh /usr/local/bin/\nENTRYPOINT ["start.sh"]', 2),
        ('COPY start.sh /usr/local/bin\nCMD ["start.sh"]', 2),
        ('WORKDIR /srv\nWORKDIR app\nCOPY . .\nCMD ["./start.sh"]', 2),
        ('WORKDIR /srv\nCOPY ["start.sh", "./run"]\nCMD ["/srv/run"]', 2),
        ('ARG D=/opt\nCOPY --chmod=755 start.sh $D/x.sh\nCMD ["/opt/x.sh"]', 2),
        ('ADD st*.sh /opt/\nCMD ["gosu", "app", "/opt/start.sh"]', 2),
        ('ENV PATH=/opt/bin:$PATH\nCOPY start.sh /opt/bin/go\nCMD ["go"]', 2),
        ('FROM debian AS files\nCOPY start.sh /a/\nFROM debian\nCOPY --from=files /a/start.sh /\nCMD ["/start.sh"]', 2),
        ('FROM debian AS files\nCOPY start.sh /a/\nFROM debian\nCOPY --from=1 /a/ /b/\nCMD ["/b/start.sh"]', 2),
        ('FROM debian AS base\nCOPY start.sh /\nENTRYPOINT ["/start.sh"]\nFROM base\nCMD ["x"]', 2),
        ('COPY start.sh /\nRUN chmod +x /start.sh && sed -i "s/\\r$//" /start.sh\nCMD ["/start.sh"]', 2),
        ('COPY other.sh /start.sh\nCOPY start.sh /start.sh\nCMD ["/start.sh"]', 2),
    ],
)
def test_where_a_script_is_in_the_context(tmp_path: Path, dockerfile: str, line: int) -> None:
    """The path in the image is followed back along COPY and ADD, with directories, patterns, stages and PATH."""
    findings = found(tmp_path, f"FROM debian\n{dockerfile}\n", start_sh=BASH + "./a &\n./b\n")
    assert [one.place.line for one in findings] == [line]
    assert findings[0].place.file == f"{tmp_path}/start.sh"


def test_arguments_that_a_script_changes(tmp_path: Path) -> None:
    """What the container runs is not known then, and no program is named."""
    (tmp_path / "start.sh").write_text(BASH + 'set -- ./other\nexec "$@"\n')
    (tmp_path / "start.sh").chmod(0o755)
    parsed = parse(ENTRY + 'CMD ["./app"]\n')
    image = image_of(parsed)
    assert image
    context = Context(parsed, str(tmp_path))
    (finding,) = examine(image, "Dockerfile", functools.partial(context.find, image))
    assert finding.what == "/start.sh is what the container runs, not cohabit"


def test_here_documents_of_a_dockerfile(tmp_path: Path) -> None:
    """A script in COPY or RUN is examined, with the lines of the Dockerfile."""
    copy = "FROM debian\nCOPY --chmod=755 <<'E' /go.sh\n#!/bin/sh\na &\nb\nE\nCMD [\"/go.sh\"]\n"
    run = "FROM debian\nRUN cat > /go.sh <<'E' && chmod +x /go.sh\n#!/bin/sh\na &\nb\nE\nCMD [\"/go.sh\"]\n"
    for text in (copy, run):
        (finding,) = found(tmp_path, text)
        assert (finding.rule, str(finding.place)) == ("background-process", "Dockerfile:4")
    (finding,) = found(tmp_path, run.replace("'E'", "E").replace("a &", "a $X &"))
    assert finding.rule == "script-not-examined"


@pytest.mark.parametrize(
    ("dockerfile", "why"),
    [
        ('COPY missing.sh /\nCMD ["/missing.sh"]', "there is no "),
        ('COPY binary.sh /\nCMD ["/binary.sh"]', "binary"),
        ('COPY pipe.sh /\nCMD ["/pipe.sh"]', "not a regular file"),
        ('COPY circle.sh /\nCMD ["/circle.sh"]', "circle.sh"),
        ('COPY outside.sh /\nCMD ["/outside.sh"]', "outside the build context"),
        ('COPY huge.sh /\nCMD ["/huge.sh"]', "larger than 1 MiB"),
        ('ADD https://example.com/x.sh /\nCMD ["/x.sh"]', "gets it from https://example.com/x.sh"),
        ('COPY start.sh /\nRUN sed -i "s/a/b/" /start.sh\nCMD ["/start.sh"]', "the RUN in line 3 may change it"),
        ('COPY start.sh /\nRUN echo "b &" >> /start.sh\nCMD ["/start.sh"]', "the RUN in line 3 may change it"),
        ('RUN curl -o /x.sh http://x && chmod +x /x.sh\nCMD ["/x.sh"]', "the RUN in line 2 may change it"),
        ('COPY --from=example/image /x.sh /\nCMD ["/x.sh"]', "copies it from example/image"),
    ],
)
def test_what_cannot_be_read(tmp_path: Path, dockerfile: str, why: str) -> None:
    """One hint with the reason; the doctor neither waits nor follows a link out of the context."""
    context = tmp_path / "context"
    context.mkdir()
    (tmp_path / "secret.sh").write_text("#!/bin/sh\na &\n")
    (context / "binary.sh").write_bytes(b"#!/bin/sh\n\0\n")
    (context / "huge.sh").write_text("#!/bin/sh\n" + "#\n" * 600_000)
    os.mkfifo(context / "pipe.sh")
    (context / "circle.sh").symlink_to("circle.sh")
    (context / "outside.sh").symlink_to("../secret.sh")
    (finding,) = found(context, f"FROM debian\n{dockerfile}\n", start_sh=BASH + "exec app\n")
    assert (finding.rule, finding.level) == ("script-not-examined", "hint")
    assert why in finding.why


def test_nothing_outside_the_context(tmp_path: Path) -> None:
    """`..` in COPY stays in the context, as for `docker build`."""
    (tmp_path / "context").mkdir()
    (tmp_path / "start.sh").write_text(BASH + "a &\n")
    (finding,) = found(tmp_path / "context", 'FROM debian\nCOPY ../start.sh /\nCMD ["/start.sh"]\n')
    assert finding.rule == "script-not-examined"


@pytest.mark.parametrize(
    ("text", "mode", "dockerfile", "rule"),
    [
        ("#!/bin/sh\r\nexec app\r\n", 0o755, ENTRY, "script-carriage-returns"),
        ("#!/bin/sh\r\nexec app\r\n", 0o755, ENTRY + "RUN dos2unix /start.sh\n", ""),
        ("exec app\n", 0o755, ENTRY, "script-without-interpreter"),
        ("exec app\n", 0o755, ENTRY.replace('["/start.sh"]', "/start.sh"), ""),
        ("exec app\n", 0o755, ENTRY.replace('["/', '["sh", "/'), ""),
        ("#!/bin/sh\nexec app\n", 0o644, ENTRY, "script-not-executable"),
        ("#!/bin/sh\nexec app\n", 0o644, ENTRY.replace('["/', '["sh", "/'), ""),
        ("#!/bin/sh\nexec app\n", 0o644, ENTRY + "RUN chmod +x /*.sh\n", ""),
        ("#!/bin/sh\nexec app\n", 0o644, ENTRY.replace("COPY", "COPY --chmod=0755"), ""),
        ("#!/usr/bin/env python3\nimport os\n", 0o755, ENTRY, ""),
        ("#!/usr/bin/env -S bash -e\na &\nb\n", 0o755, ENTRY, "background-process"),
        ("#!/usr/bin/dumb-init /bin/sh\na &\nb &\nwait -n\n", 0o755, ENTRY, "background-process"),
        ("#!/usr/bin/with-contenv bash\na &\nb\n", 0o755, ENTRY, "background-process"),
    ],
)  # fmt: skip
def test_whether_a_script_can_be_executed(tmp_path: Path, text: str, mode: int, dockerfile: str, rule: str) -> None:
    """Its interpreter, the ends of its lines, its mode."""
    path = tmp_path / "start.sh"
    path.write_bytes(text.encode())
    path.chmod(mode)
    assert [one.rule for one in found(tmp_path, dockerfile)] == ([rule] if rule else [])


def test_functions_that_call_each_other_many_times(tmp_path: Path) -> None:
    """What they would run is not followed without an end."""
    names = "abcdefghij"
    functions = [f"{one}() {{ {f'{two}; ' * 30}}}" for one, two in zip(names, f"{names[1:]}x", strict=True)]
    text = "\n".join([BASH, *functions, "a", "a &", "trap a TERM", "wait", ""])
    (finding,) = found(tmp_path, ENTRY, start_sh=text)
    assert (finding.rule, finding.why.partition(";")[0]) == (
        "script-not-examined",
        "its functions call each other too often",
    )


def test_without_a_context() -> None:
    """A Dockerfile on standard input: a script is not looked for on this machine."""
    parsed = parse(ENTRY)
    image = image_of(parsed)
    assert image
    findings = examine(image, "standard input", functools.partial(Context(parsed, "").find, image))
    assert [one.rule for one in findings] == ["script-not-examined", "not-cohabit"]
    assert "--context" in findings[0].why


_LINES = (
    "a &", "wait", "wait -n", "exec b", "trap 'kill $P' TERM", "trap", "trap -- x", "while true; do sleep 1; done",
    "if x; then c & fi", "f() { d & }", "f", "f &", "nginx", "service cron start", "tail -f /dev/null", 'exec "$@"',
    "P=$!", ". /x", "case $1 in a) b ;; esac", "( e & )", "a | b &", "[ x ] && y &", "exit", "set -- z", "f() { f; }",
    "exec $X", "exec", "trap - TERM",
)  # fmt: skip


@given(st.lists(st.sampled_from(_LINES), max_size=12))
def test_any_script_can_be_examined(lines: list[str]) -> None:
    """Each finding has a known rule, a line of the script or the Dockerfile, and a text; recursion ends."""
    text = "\n".join(["#!/bin/sh", *lines, ""])
    parsed = parse(ENTRY + 'CMD ["app"]\n')
    image = image_of(parsed)
    assert image
    findings = examine(image, "Dockerfile", lambda path: File(path, "start.sh", text))
    assert all(one.rule in RULES and one.what and one.why and one.do for one in findings)
    assert all(1 <= one.place.line <= len(lines) + 4 for one in findings)

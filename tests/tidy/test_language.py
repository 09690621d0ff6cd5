"""Every text and every name is in plain technical English: see tests/tidy/language.py."""

from __future__ import annotations

import pytest

from tidy.language import files, findings, findings_in


def test_no_file_has_an_unwanted_word() -> None:
    """Every file follows the rule."""
    found = [text for path in files() for text in findings(path)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "text",
    [
        "# Somebody asks.",
        "def ask_whoever_waits(): ...",
        "class RestartsNobody: ...",
        "EVERYBODYS = 1",
        '"""A pipe that is no\n# socket."""',
        "The last\nword.",
        "a pipe is no socket",
        "tell=print",
        "what the inner room of the reactor needs",
    ],
)
def test_an_unwanted_word_is_found(text: str) -> None:
    """In text, comments, strings and identifiers, and across the end of a line."""
    assert len(findings_in("src/example.py", text)) == 1


@pytest.mark.parametrize(
    "text",
    [
        "There is no cgroup, and it is no longer tried.",
        'user: "nobody"',
        "no room for another process",
        "its hissing shell",
    ],
)
def test_other_words_are_not_found(text: str) -> None:
    """Established phrases, the Unix user, and words that contain an unwanted one."""
    assert not findings_in("src/example.py", text)

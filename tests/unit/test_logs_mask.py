"""reactor/logs/mask.py: the texts of secrets do not come out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as some

from cohabit.reactor.logs.mask import MASKED, Mask

if TYPE_CHECKING:
    from pathlib import Path


def test_a_secret_is_hidden_wherever_it_stands(tmp_path: Path) -> None:
    """Without its newline at the end of the file; a key in several lines, line by line."""
    (tmp_path / "one").write_bytes(b"swordfish\n")
    (tmp_path / "key").write_bytes(b"-----BEGIN-----\nabcdefgh\nijklmnop\n-----END-----\n")
    mask = Mask()
    assert mask.learn([f"{tmp_path}/one", f"{tmp_path}/key"]) == []
    assert mask.hide(b"url=db://u:swordfish@db/ swordfish\nijklmnop\n") == (
        b"url=db://u:" + MASKED + b"@db/ " + MASKED + b"\n" + MASKED + b"\n"
    )
    assert mask.hide(b"swordfis\n") == b"swordfis\n"


def test_one_that_begins_with_another(tmp_path: Path) -> None:
    """The longer one goes first, so that nothing of it stays."""
    for name, text in (("a", "secret"), ("b", "secret-and-more")):
        (tmp_path / name).write_text(text)
    mask = Mask()
    mask.learn([f"{tmp_path}/a", f"{tmp_path}/b"])
    assert mask.hide(b"secret-and-more secret\n") == MASKED + b" " + MASKED + b"\n"


def test_what_cannot_be_hidden_is_told(tmp_path: Path) -> None:
    """A file that is not there, a text that is too short; one that is empty is no text."""
    (tmp_path / "short").write_text("top\n")
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "long").write_text("0123456789\n" * 10_000)
    mask = Mask()
    told = mask.learn([f"{tmp_path}/{name}" for name in ("short", "gone", "empty", "long")])
    assert [text.partition(": ")[2] for text in told] == [
        "it is shorter than 4 bytes",
        "No such file or directory",
        "it is longer than 65536 bytes",
    ]
    assert mask.hide(b"top\n") == b"top\n"


def test_what_was_known_stays_known(tmp_path: Path) -> None:
    """An old password may still be in somebody's output after it was changed."""
    secret = tmp_path / "secret"
    mask = Mask()
    for text in ("old-password", "new-password"):
        secret.write_text(text)
        mask.learn([str(secret)])
    assert mask.hide(b"old-password new-password\n") == MASKED + b" " + MASKED + b"\n"
    assert mask.longest == 12


@given(some.lists(some.binary(min_size=6, max_size=20), min_size=1, max_size=5), some.binary(max_size=200))
def test_no_text_comes_out(texts: list[bytes], data: bytes) -> None:
    """However they overlap; only asterisks of a secret that has some could make one again."""
    mask = Mask()
    mask.texts = sorted({text for text in texts if b"*" not in text and b"\n" not in text}, key=len, reverse=True)
    hidden = mask.hide(data + b"".join(texts))
    assert not any(text in hidden for text in mask.texts)


def test_what_nobody_has_any_more_is_forgotten(tmp_path: Path) -> None:
    """By file, with all that was ever in it; also by the program after a re-execution."""
    for name in ("a", "b"):
        (tmp_path / name).write_text(f"password-{name}")
    mask = Mask()
    mask.learn([f"{tmp_path}/a", f"{tmp_path}/b"])
    (tmp_path / "a").write_text("changed-a")
    mask.learn([f"{tmp_path}/a"])
    after = Mask()
    after.restore(mask.to_plain())
    assert after.texts == mask.texts
    after.keep([f"{tmp_path}/a"])
    assert after.texts == [b"password-a", b"changed-a"]
    after.forget()
    assert (after.texts, after.to_plain()) == ([], {})


def test_a_file_that_a_service_put_there_teaches_nothing(tmp_path: Path) -> None:
    """A link in a directory that others can change might lead to a file of root, whose text would show by its gaps."""
    (tmp_path / "secret").write_text("root-only")
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    (tmp_path / "open" / "token").symlink_to(tmp_path / "secret")
    mask = Mask()
    (problem,) = mask.learn([f"{tmp_path}/open/token"])
    assert "it is a link, and everybody can change" in problem
    assert mask.texts == []

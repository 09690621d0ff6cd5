"""reactor/logs/mask.py: texts of secrets are masked in output."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as some

from cohabit.reactor.logs.mask import MASKED, Mask

if TYPE_CHECKING:
    from pathlib import Path


def test_a_secret_is_masked_anywhere_in_a_line(tmp_path: Path) -> None:
    """Without the newline at the end of the file; a secret of several lines, line by line."""
    (tmp_path / "one").write_bytes(b"swordfish\n")
    (tmp_path / "key").write_bytes(b"-----BEGIN-----\nabcdefgh\nijklmnop\n-----END-----\n")
    mask = Mask()
    assert mask.learn([f"{tmp_path}/one", f"{tmp_path}/key"]) == []
    assert mask.hide(b"url=db://u:swordfish@db/ swordfish\nijklmnop\n") == (
        b"url=db://u:" + MASKED + b"@db/ " + MASKED + b"\n" + MASKED + b"\n"
    )
    assert mask.hide(b"swordfis\n") == b"swordfis\n"


def test_of_overlapping_secrets_the_longer_is_masked_first(tmp_path: Path) -> None:
    """So no part of it remains."""
    for name, text in (("a", "secret"), ("b", "secret-and-more")):
        (tmp_path / name).write_text(text)
    mask = Mask()
    mask.learn([f"{tmp_path}/a", f"{tmp_path}/b"])
    assert mask.hide(b"secret-and-more secret\n") == MASKED + b" " + MASKED + b"\n"


def test_what_cannot_be_masked_is_reported(tmp_path: Path) -> None:
    """A missing file, and a text that is too short. An empty file is not reported."""
    (tmp_path / "short").write_text("top\n")
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "long").write_text("0123456789\n" * 10_000)
    mask = Mask()
    warnings = mask.learn([f"{tmp_path}/{name}" for name in ("short", "gone", "empty", "long")])
    assert [text.partition(": ")[2] for text in warnings] == [
        "it is shorter than 4 bytes",
        "No such file or directory",
        "it is longer than 65536 bytes",
    ]
    assert mask.hide(b"top\n") == b"top\n"


def test_earlier_texts_of_a_secret_stay_masked(tmp_path: Path) -> None:
    """Services may still print an old password after it was changed."""
    secret = tmp_path / "secret"
    mask = Mask()
    for text in ("old-password", "new-password"):
        secret.write_text(text)
        mask.learn([str(secret)])
    assert mask.hide(b"old-password new-password\n") == MASKED + b" " + MASKED + b"\n"


@given(some.lists(some.binary(min_size=6, max_size=20), min_size=1, max_size=5), some.binary(max_size=200))
def test_no_secret_is_in_the_output(texts: list[bytes], data: bytes) -> None:
    """However they overlap. Secrets with asterisks are excluded: masking could produce one."""
    mask = Mask()
    mask.texts = sorted({text for text in texts if b"*" not in text and b"\n" not in text}, key=len, reverse=True)
    hidden = mask.hide(data + b"".join(texts))
    assert not any(text in hidden for text in mask.texts)


def test_texts_of_unused_files_are_forgotten(tmp_path: Path) -> None:
    """All texts that were ever in the file, also after a re-execution."""
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


def test_a_link_in_an_untrusted_directory_is_not_read(tmp_path: Path) -> None:
    """It could lead to a file of root, whose text would show by its gaps."""
    (tmp_path / "secret").write_text("root-only")
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    (tmp_path / "open" / "token").symlink_to(tmp_path / "secret")
    mask = Mask()
    (warning,) = mask.learn([f"{tmp_path}/open/token"])
    assert "it is a link, and any user can change" in warning
    assert mask.texts == []

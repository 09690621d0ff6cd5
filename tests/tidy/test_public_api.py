"""The public interfaces: the status with its schema and page, and the typed Python client."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from cohabit import client, control

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs" / "reference"
EXAMPLE = re.compile(r"```python\n(.*?)```", re.DOTALL)


def tool(name: str) -> ModuleType:
    """Load a module of tools/."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_status_page_and_its_schema_are_up_to_date() -> None:
    """`make docs` would change nothing."""
    generator = tool("status_page")
    assert generator.page() == (REFERENCE / "status.md").read_text(encoding="utf-8"), "type: make docs"
    assert generator.schema() == json.loads((REFERENCE / "status.schema.json").read_text(encoding="utf-8"))


def test_public_names_are_documented() -> None:
    """Each name in __all__ exists, and is on the page of the Python client."""
    page = (REFERENCE / "python.md").read_text(encoding="utf-8")
    for name in client.__all__:
        assert getattr(client, name)
        assert f"`{name}" in page, name


def test_error_codes_are_documented() -> None:
    """The page of the control socket lists them all."""
    page = (REFERENCE / "control.md").read_text(encoding="utf-8")
    codes = [value for name, value in vars(control).items() if name.isupper() and re.fullmatch("[a-z_]+", str(value))]
    assert len(codes) > 15
    for code in codes:
        assert f"`{code}`" in page or code == control.SOCKET_NAME, code


def test_a_program_that_uses_the_client_passes_the_strict_type_check(tmp_path: Path) -> None:
    """The examples of the page, with mypy --strict; a wrong type is reported, so py.typed holds."""
    examples = EXAMPLE.findall((REFERENCE / "python.md").read_text(encoding="utf-8"))
    assert examples
    for number, example in enumerate(examples):
        (tmp_path / f"example_{number}.py").write_text(example, encoding="utf-8")
    (tmp_path / "wrong.py").write_text(
        "from cohabit.client import Client\nx: int = Client().status().services[0].name\n"
        "Client().status().services[0].pid = 1\nClient().stop(1)\n",
        encoding="utf-8",
    )
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), "--config-file="]
    run = subprocess.run([*command, *map(str, tmp_path.glob("*.py"))], capture_output=True, text=True, check=False)
    errors = [line for line in run.stdout.splitlines() if ": error:" in line]
    assert len(errors) == 3, run.stdout
    assert all("wrong.py" in error for error in errors)

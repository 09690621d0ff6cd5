"""A configuration file that the test writes and the container under test finds in /etc/cohabit.

The directory is mounted, not the file, so that later changes are visible inside. The file is written as JSON, which is
YAML, and is readable for every user.
"""

import json
import os
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Mounted:
    """A directory of the test and its path inside the container."""

    directory: str

    @property
    def options(self) -> tuple[str, ...]:
        """Return the options of `docker run` that mount it."""
        return ("--volume", f"{self.directory}:/etc/cohabit")

    def write(self, services: dict[str, dict[str, Any]], **top: Any) -> None:
        """Write cohabit.yaml: the services and other top-level keys."""
        self.write_text(json.dumps({"services": services, **top}, indent=1))

    def write_text(self, text: str, name: str = "cohabit.yaml", *, mode: int = 0o644) -> None:
        """Write any file there."""
        path = os.path.join(self.directory, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(path, mode)

"""The public Python client of a running cohabit (docs/reference/python.md). Only the standard library is needed.

    from cohabit.client import Client

    with Client() as cohabit:
        for service in cohabit.status().services:
            print(service.name, service.state)

The names in __all__ are public: later releases keep them. Everything else in this package may change. They are loaded
when they are used, because `cohabit health` runs every few seconds and needs only connection.py.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cohabit.client.public import *  # noqa: F403
    from cohabit.client.public import __all__ as __all__
else:

    def __getattr__(name: str) -> Any:
        if not (name[:1].isupper() or name == "__all__"):  # a module, which the import system asks for first
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(__import__("cohabit.client.public", fromlist=("",)), name)

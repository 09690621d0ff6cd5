"""Entry point of the loader: `python -I -S PACKAGE/config/__main__.py plan REQUEST SCALE REQUESTED`, of process 1.

The last three are packed (program.py). The answer goes to standard output. The loader is started by
path in isolated Python, so it adds its own package to sys.path.
"""

from __future__ import annotations

import gc
import os
import sys

gc.disable()  # the loader is short-lived and its input is bounded: garbage collection would only cost time

_PACKAGE_PARENT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
if _PACKAGE_PARENT not in sys.path:
    sys.path.append(_PACKAGE_PARENT)

from cohabit.config import loader  # noqa: E402 - importable only after the change of sys.path
from cohabit.program import unpacked  # noqa: E402

if __name__ == "__main__":
    loader.run(sys.argv[1], *map(unpacked, sys.argv[2:]))

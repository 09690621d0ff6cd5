"""Start of the loader: `python -I PACKAGE/config/__main__.py VERB REQUEST`, a child of process 1.

VERB is plan, check or config; REQUEST is the repr of a dict of plain values (see load.py). What it answers
goes to standard output. Started by path in isolated Python, so it has to find the package that it is part of.
"""

from __future__ import annotations

import gc
import os
import sys

# Short-lived and bounded in what it reads: collecting garbage would only cost time. So would taking the
# interpreter down in order at the end.
gc.disable()

_PACKAGE_PARENT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
if _PACKAGE_PARENT not in sys.path:
    sys.path.append(_PACKAGE_PARENT)

from cohabit.config import load  # noqa: E402 - the package can be found only now
from cohabit.errors import EXIT_SYSTEM  # noqa: E402

if __name__ == "__main__":
    for hidden in [name for name in os.environ if name.startswith("COHABIT_HIDDEN_")]:  # reactor/linux.py
        os.environ[hidden.removeprefix("COHABIT_HIDDEN_")] = os.environ.pop(hidden)
    try:
        exit_code = load.main(sys.argv[1:])
        sys.stdout.flush()
        sys.stderr.flush()
    except BrokenPipeError:  # process 1 was re-executed meanwhile, and has its own loader now
        exit_code = EXIT_SYSTEM
    os._exit(exit_code)

"""Where every start begins: `cohabit …` (bin/cohabit), `python -m cohabit …`, and each re-execution.

Process 1 runs isolated: -I and -S keep out user paths, PYTHON… variables, site-packages and their .pth
hooks. Started without them, this file starts itself again with them, in place.
"""

import sys

# The folder that holds the package, without os.path, which process 1 does without (reactor/linux.py).
_PARTS = __file__.rsplit("/", 2)
sys.path.append((_PARTS[0] or "/", ".", "..")[3 - len(_PARTS)])

from cohabit.cli.main import main  # noqa: E402 - the path to it had to be made first

main()

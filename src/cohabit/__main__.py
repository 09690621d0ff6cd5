"""Where every start begins: `cohabit …` (bin/cohabit), `python -m cohabit …`, and each re-execution.

Process 1 runs isolated: -I and -S keep out user paths, PYTHON… variables, site-packages and their .pth
hooks. Started without them, this file starts itself again with them, in place.
"""

import os
import sys

_PACKAGE = os.path.dirname(os.path.abspath(__file__))

if not (sys.flags.isolated and sys.flags.no_site):
    _options = [f"-X{name}={value}" for name, value in sys._xoptions.items()]  # noqa: SLF001 - its documented name
    _main = os.path.join(_PACKAGE, "__main__.py")
    os.execv(sys.executable, [sys.executable, "-I", "-S", *_options, _main, *sys.argv[1:]])

sys.path.append(os.path.dirname(_PACKAGE))

from cohabit.cli.main import main  # noqa: E402 - the path to it had to be made first

main()

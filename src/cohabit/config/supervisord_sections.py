"""What the gateway must know of a supervisord.conf, as JSON: `python -I -S PACKAGE/config/supervisord_sections.py`.

Arguments: the file, and the options of supervisord's command line as JSON. An error goes to standard error, as
supervisord writes it. It is a program of its own, so that the parser is not in the memory of the gateway.
"""

from __future__ import annotations

import json
import os
import sys

_PACKAGE_PARENT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
if _PACKAGE_PARENT not in sys.path:
    sys.path.append(_PACKAGE_PARENT)

from cohabit.config.readers.find import NoInputError  # noqa: E402 - importable only after the change of sys.path
from cohabit.config.readers.supervisord import find_conf  # noqa: E402
from cohabit.config.supervisord.conf import read_conf  # noqa: E402
from cohabit.config.supervisord.gateway import described  # noqa: E402
from cohabit.config.supervisord.reading import Reading  # noqa: E402
from cohabit.errors import EXIT_SUPERVISORD  # noqa: E402


def main() -> int:
    """Return the exit code."""
    path, typed = sys.argv[1], json.loads(sys.argv[2])
    try:
        source = find_conf({**typed, "configuration": path})
    except NoInputError as error:
        print(error, file=sys.stderr)
        return EXIT_SUPERVISORD
    reading = Reading(path, os.environ)
    conf = read_conf(reading, source.text, typed)
    errors = [problem.text for problem in reading.problems if not problem.warning]
    if conf is None or errors:
        print(errors[0] if errors else "", file=sys.stderr)
        return EXIT_SUPERVISORD
    json.dump(described(conf), sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())

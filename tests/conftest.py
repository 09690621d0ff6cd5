"""What holds for all tests, however they were started.

Hypothesis has no deadlines, since no test asserts how long something takes. `make test-quick` has the profile `quick`:
a tenth of the usual examples. A signal that a shell's `&` or nohup ignores would be ignored by all that tests start.
"""

import os
import signal

from hypothesis import settings

settings.register_profile("cohabit", deadline=None)
settings.register_profile("quick", deadline=None, max_examples=10)
settings.register_profile("ci", deadline=None, derandomize=True)  # CI tries the same examples each time
settings.load_profile("ci" if os.environ.get("CI") == "true" else "cohabit")

for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)

"""oom_host.py SOURCE COMMAND...: a process 1 with one service; prints its memory limit and how it ended."""

import os
import sys

sys.path.append(sys.argv[1])

from cohabit.engine import events
from cohabit.plan.model import Service
from cohabit.reactor.poller import Poller
from cohabit.reactor.processes.child import SpawnSpec
from cohabit.reactor.processes.children import Children
from cohabit.reactor.processes.oom import memory_limit
from cohabit.reactor.signals import InheritedSignals

facts: list[object] = []
poller = Poller()
children = Children(poller, facts.append, lambda *_words: None, lambda *_: True)
print("limit", memory_limit(), flush=True)
for command in (sys.argv[2:], ["sh", "-c", "kill -9 $$"]):
    children.start_main(
        Service("web", tuple(command)), SpawnSpec(tuple(command), dict(os.environ), InheritedSignals((), ()))
    )
    while not facts or not isinstance(facts[-1], (events.Exited, events.SpawnFailed)):
        poller.wait(0.01)
        children.reap()
    print(facts[-1], flush=True)
    facts.clear()

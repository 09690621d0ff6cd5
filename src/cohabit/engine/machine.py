"""The life of one service as one literal table: state x fact -> state.

The states are supervisord's, known for twenty years:

    STOPPED   nothing runs; it was told to stop, or still waits for its dependencies
    STARTING  forked, its exec not yet confirmed
    RUNNING   its command runs
    BACKOFF   it ended and will be started again when its delay is over
    STOPPING  its processes are being ended: the stop signal is out, or it died and left others behind
    EXITED    it ended by itself, for good
    FATAL     it could not be started, or was given up

What is wanted (up or down) is no state but a second field: reconcile() compares the two. VERDICT stands for
the one place where a rule chooses: STOPPED if it is wanted down, else what the restart policy says
(engine/policy.py). STAY is an answer ("noted, nothing changes"), IMPOSSIBLE says that the fact cannot arise
there: seeing it is a bug of ours. Every cell is filled; a test walks them all.
"""

from __future__ import annotations

STOPPED = "STOPPED"
STARTING = "STARTING"
RUNNING = "RUNNING"
BACKOFF = "BACKOFF"
STOPPING = "STOPPING"
EXITED = "EXITED"
FATAL = "FATAL"
STATES = (STOPPED, STARTING, RUNNING, BACKOFF, STOPPING, EXITED, FATAL)

# States in which no process of the service exists.
AT_REST = frozenset({STOPPED, BACKOFF, EXITED, FATAL})
# States that the service leaves only when somebody asks.
ENDED = frozenset({STOPPED, EXITED, FATAL})

VERDICT = "verdict"
STAY = "stay"
IMPOSSIBLE = "impossible"

# Facts about one service, in the words of the table.
START = "start"  # wanted up, and its conditions hold
STOP = "stop"  # wanted down, and nobody who depends on it runs any more
REFUSED = "refused"  # a dependency failed for good: it can never start
SPAWNED = "spawned"
SPAWN_FAILED = "spawn_failed"
ENDED_ALONE = "ended_alone"  # its process ended and left nobody behind
LEFT_ORPHANS = "left_orphans"  # its process ended, others of its tree live
TREE_GONE = "tree_gone"
DUE = "due"  # the deadline of the state has come
REARM = "rearm"  # whatever it came to, it may start again
FAILED = "failed"  # it lives and is no good: unhealthy, or a hook of its start failed
FACTS = (START, STOP, REFUSED, SPAWNED, SPAWN_FAILED, ENDED_ALONE, LEFT_ORPHANS, TREE_GONE, DUE, REARM, FAILED)

_NEVER = dict.fromkeys((SPAWNED, SPAWN_FAILED, ENDED_ALONE, LEFT_ORPHANS, TREE_GONE), IMPOSSIBLE)

TABLE: dict[str, dict[str, str]] = {
    STOPPED: _NEVER | {START: STARTING, STOP: STAY, REFUSED: FATAL, DUE: IMPOSSIBLE, REARM: STAY, FAILED: STAY},
    STARTING: {
        START: STAY,
        STOP: STOPPING,
        REFUSED: STAY,
        SPAWNED: RUNNING,
        SPAWN_FAILED: VERDICT,
        ENDED_ALONE: IMPOSSIBLE,  # the reactor tells of the exec before it tells of the end
        LEFT_ORPHANS: STOPPING,  # a hook that failed left others behind
        TREE_GONE: IMPOSSIBLE,
        DUE: IMPOSSIBLE,
        REARM: STAY,
        FAILED: STAY,
    },
    RUNNING: {
        START: STAY,
        STOP: STOPPING,
        REFUSED: STAY,
        SPAWNED: IMPOSSIBLE,
        SPAWN_FAILED: IMPOSSIBLE,
        ENDED_ALONE: VERDICT,
        LEFT_ORPHANS: STOPPING,
        TREE_GONE: IMPOSSIBLE,
        DUE: IMPOSSIBLE,
        REARM: STAY,
        FAILED: STOPPING,
    },
    BACKOFF: _NEVER | {START: STARTING, STOP: STOPPED, REFUSED: STAY, DUE: STARTING, REARM: STOPPED, FAILED: STAY},
    STOPPING: {
        START: STAY,  # remembered in `want`: the verdict will start it again
        STOP: STAY,
        REFUSED: STAY,
        SPAWNED: STAY,  # told to stop between fork and exec: the signal waits for the exec
        SPAWN_FAILED: VERDICT,
        ENDED_ALONE: VERDICT,
        LEFT_ORPHANS: STOPPING,  # the same deadline goes on for those whom it left
        TREE_GONE: VERDICT,
        DUE: STAY,  # patience is over: SIGKILL to the tree, and its end will be told
        REARM: STAY,
        FAILED: STAY,
    },
    EXITED: _NEVER | {START: STARTING, STOP: STAY, REFUSED: STAY, DUE: IMPOSSIBLE, REARM: STOPPED, FAILED: STAY},
    FATAL: _NEVER | {START: STARTING, STOP: STAY, REFUSED: STAY, DUE: IMPOSSIBLE, REARM: STOPPED, FAILED: STAY},
}


class ImpossibleFactError(Exception):
    """A fact arrived where the table says it cannot: a bug of ours, not the user's."""


def next_state(state: str, fact: str) -> str:
    """The cell of the table: a state, VERDICT or STAY. Raises ImpossibleFactError."""
    cell = TABLE[state][fact]
    if cell is IMPOSSIBLE:
        raise ImpossibleFactError(f"{fact!r} in state {state}")
    return cell

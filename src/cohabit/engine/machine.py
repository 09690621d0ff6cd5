"""The state machine of one service as one literal table: state x event -> state.

The states are supervisord's:

    STOPPED   nothing runs: it was stopped, or waits for its dependencies
    STARTING  forked, its exec is not yet confirmed; with `startup`, its command has not run for that time yet
    RUNNING   its command runs
    BACKOFF   it ended, and starts again when its delay is over
    STOPPING  its processes are being terminated: the stop signal was sent, or the main process left others behind;
              or they have ended, and its post_stop hooks run
    EXITED    it ended by itself and will not be restarted
    FATAL     it could not be started, or its restart attempts are used up

The desired state (up or down) is a second field, Unit.desired; Services.reconcile() compares the two.

A cell is a state or one of these:

    VERDICT     its last process has ended. STOPPING for its post_stop hooks (engine/post_stop.py); after them STOPPED
                if the service is to be down, otherwise what the restart policy says (engine/policy.py)
    STAY        the event changes nothing
    IMPOSSIBLE  the event cannot occur in this state; if it does, that is a bug in cohabit

Every cell is filled, and a test walks all of them.
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

# States in which its command may run, and is not being stopped.
UNDER_WAY = frozenset({STARTING, RUNNING})
# States in which no process of the service exists.
AT_REST = frozenset({STOPPED, BACKOFF, EXITED, FATAL})
# States that a service leaves only on request.
ENDED = frozenset({STOPPED, EXITED, FATAL})

VERDICT = "verdict"
STAY = "stay"
IMPOSSIBLE = "impossible"

# Events of one service.
START = "start"  # it is to be up, and the conditions of its dependencies hold
STOP = "stop"  # it is to be down, and no dependent that goes down still runs
REFUSED = "refused"  # a dependency failed for good, so this service can never start
SPAWNED = "spawned"  # its command runs, and counts as started
SPAWN_FAILED = "spawn_failed"
ENDED_ALONE = "ended_alone"  # its main process ended, and no other process of its tree is left
LEFT_ORPHANS = "left_orphans"  # its main process ended, other processes of its tree are running
TREE_GONE = "tree_gone"
DUE = "due"  # the deadline of the state has expired
REARM = "rearm"  # a new start is allowed
FAILED = "failed"  # it runs, but is unhealthy or one of its post_start hooks failed
KILL = "kill"  # its processes are to be killed, without a grace period
EVENTS = (START, STOP, REFUSED, SPAWNED, SPAWN_FAILED, ENDED_ALONE, LEFT_ORPHANS, TREE_GONE, DUE, REARM, FAILED, KILL)

_NO_PROCESS = dict.fromkeys((SPAWNED, SPAWN_FAILED, ENDED_ALONE, LEFT_ORPHANS, TREE_GONE), IMPOSSIBLE) | {KILL: STAY}

TABLE: dict[str, dict[str, str]] = {
    STOPPED: _NO_PROCESS | {START: STARTING, STOP: STAY, REFUSED: FATAL, DUE: IMPOSSIBLE, REARM: STAY, FAILED: STAY},
    STARTING: {
        START: STAY,
        STOP: STOPPING,
        REFUSED: STAY,
        SPAWNED: RUNNING,
        SPAWN_FAILED: VERDICT,
        ENDED_ALONE: VERDICT,  # with `startup` only: the reactor reports the exec before the end
        LEFT_ORPHANS: STOPPING,  # as above, or a hook that failed left processes behind
        TREE_GONE: IMPOSSIBLE,
        DUE: RUNNING,
        REARM: STAY,
        FAILED: STOPPING,
        KILL: STOPPING,
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
        KILL: STOPPING,
    },
    BACKOFF: _NO_PROCESS | {START: STARTING, STOP: STOPPED, REFUSED: STAY, DUE: STARTING, REARM: STOPPED, FAILED: STAY},
    STOPPING: {
        START: STAY,  # kept in desired: it starts again after VERDICT
        STOP: STAY,
        REFUSED: STAY,
        SPAWNED: STAY,  # stopped between fork and exec: the signal is sent after the exec
        SPAWN_FAILED: VERDICT,
        ENDED_ALONE: VERDICT,
        LEFT_ORPHANS: STOPPING,  # the deadline also applies to the processes left behind
        TREE_GONE: VERDICT,
        DUE: STAY,  # SIGKILL is sent to the tree, and its end follows as an event
        REARM: STAY,
        FAILED: STAY,
        KILL: STOPPING,  # it was being stopped with a grace period
    },
    EXITED: _NO_PROCESS | {START: STARTING, STOP: STAY, REFUSED: STAY, DUE: IMPOSSIBLE, REARM: STOPPED, FAILED: STAY},
    FATAL: _NO_PROCESS | {START: STARTING, STOP: STAY, REFUSED: STAY, DUE: IMPOSSIBLE, REARM: STOPPED, FAILED: STAY},
}


class ImpossibleEventError(Exception):
    """An event occurred in a state in which it cannot: a bug in cohabit."""


def next_state(state: str, event: str) -> str:
    """The cell of the table: a state, VERDICT or STAY. Raises ImpossibleEventError."""
    cell = TABLE[state][event]
    if cell is IMPOSSIBLE:
        raise ImpossibleEventError(f"{event!r} in state {state}")
    return cell

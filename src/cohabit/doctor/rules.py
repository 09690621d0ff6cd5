"""The rules of the doctor: their names, which never change their meaning, and what each finds. Pure.

docs/reference/doctor.md has a row for each. Programs select findings by these names (`--ignore`, SARIF, JSON).
"""

from __future__ import annotations

RULES = {
    # Dockerfile
    "unknown-instruction": "A line of a Dockerfile is not an instruction",
    "from-without-image": "FROM names no image",
    "json-form": "ENTRYPOINT or CMD looks like a list but is not JSON",
    "quotes-in-exec-form": "An argument in exec form has quotes of its own",
    "single-string": "ENTRYPOINT or CMD is a command line in one string",
    "shell-syntax-in-exec-form": "Shell syntax stands in an exec form",
    "shell-form-cmd": "CMD is in shell form, with an ENTRYPOINT in exec form",
    "shell-form-entrypoint": "ENTRYPOINT is in shell form",
    "shell-before-cohabit": "A shell is process 1, and cohabit is its child",
    "python-not-isolated": "python -m cohabit without -I",
    "other-init": "Another init or a script is process 1 instead of cohabit",
    "other-supervisor": "Another supervisor runs the services",
    "not-cohabit": "The container runs something other than cohabit",
    "daemonizes": "The only program of the container puts itself in the background",
    "no-command": "cohabit is started without a command",
    "instruction-not-used": "A later instruction replaces this one",
    "no-entrypoint": "cohabit is in CMD, without ENTRYPOINT",
    "stop-signal": "STOPSIGNAL does not stop cohabit",
    "healthcheck-missing": "There is no HEALTHCHECK",
    "healthcheck-interval": "HEALTHCHECK has Docker's default times",
    "healthcheck-program": "HEALTHCHECK runs a program that the image does not contain",
    "volume-run": "A volume at /run",
    "runtime-directory": "The container runs as another user than root, without /run/cohabit",
    # a supervisord.conf
    "supervisord-daemonizes": "supervisord puts itself in the background",
    "supervisord-log": "A log of supervisord is a stream of the container, with a maximum size",
    "supervisord-server": "HEALTHCHECK runs supervisorctl, and supervisord has no server",
    "supervisord-listener": "An event listener is only there to end the container",
    "supervisord-stdout": "supervisor-stdout adds the prefixes of lines",
    # scripts
    "script-not-examined": "A script could not be judged",
    "script-carriage-returns": "The lines of a script end with CR LF",
    "script-without-interpreter": "A script that is executed has no #! line",
    "script-not-executable": "A script that is executed has no execute permission",
    "background-process": "A shell starts programs in the background",
    "keep-alive": "A command that only waits keeps the container alive",
    "polling-loop": "A script looks for its processes in a loop",
    "followed-log": "A script follows a log file with tail",
    "missing-exec": "A script runs its last program without exec",
    "trap-without-kill": "A trap on TERM does not signal the services",
    "trap-without-wait": "A trap on TERM does not wait for the services",
    "trap-too-late": "A trap on TERM never runs",
    # the cohabit file
    "file-errors": "The cohabit file has errors",
    "service-stop-signal": "A service is stopped with a signal that it does not treat as a graceful stop",
    "service-daemonizes": "A service puts itself in the background",
    "service-end-ignored": "The end of a service has no effect",
    "service-stale-file": "A service may refuse to start after `docker restart`",
    "service-needs-shell": "A command as one string needs a shell",
    "service-waits-too-early": "A service waits for the start of a server, not until it is ready",
    "stop-too-long": "Services that are stopped one after another exceed the total",
    # the container
    "not-a-container": "This is not a container",
    "process-1": "Process 1 is not cohabit",
    "orphans-not-reaped": "Orphans are not reaped",
    "proc-missing": "/proc is missing, or belongs to another pid namespace",
    "no-runtime-directory": "A socket cannot be created in any directory",
    "shared-memory": "/dev/shm is missing or small",  # noqa: S108 - a text
    "grace-period": "A stop may take longer than the platform gives",
    "memory-limit": "What happens at the memory limit of the container",
    "limit-too-low": "The limit of processes or open files is too low",
    "missing-capability": "A capability is missing",
}

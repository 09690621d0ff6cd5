"""Groups, limits, capabilities and sockets of a service."""

from __future__ import annotations

import os
import resource

import pytest

from cohabit.config.keys.sockets import check_sockets
from cohabit.config.values.kernel_names import CAPABILITIES, every_capability
from cohabit.plan.build import build
from cohabit.plan.model import Limits, Socket
from unit import file_story
from unit.file_story import draft, reported_once, service

pytestmark = pytest.mark.usefixtures("here")
EVERY = tuple(every_capability())


@pytest.mark.parametrize(
    ("keys", "limits"),
    [
        ("ulimits: {nofile: 1024}", Limits(ulimits=((resource.RLIMIT_NOFILE, 1024, 1024),))),
        ("ulimits: {core: {soft: 0, hard: -1}}", Limits(ulimits=((resource.RLIMIT_CORE, 0, -1),))),
        (
            "ulimits: {nproc: -1, rtprio: '0'}",
            Limits(ulimits=((resource.RLIMIT_NPROC, -1, -1), (resource.RLIMIT_RTPRIO, 0, 0))),
        ),
        ("oom_score_adj: -1000", Limits(oom_score_adj=-1000)),
        ("nice: 19", Limits(nice=19)),
        ("umask: 022", Limits(umask=0o022)),
        ("umask: '0o27'", Limits(umask=0o027)),
        ("umask: 77", Limits(umask=0o077)),
        ("cap_drop: [NET_RAW, cap_chown]", Limits(cap_drop=(0, 13))),
        ("cap_drop: [ALL]", Limits(cap_drop=EVERY)),
        ("cap_drop: [all], cap_add: [CHOWN, SYSLOG]", Limits(cap_drop=tuple(n for n in EVERY if n not in (0, 34)))),
        ("cap_drop: [NET_RAW, CHOWN], cap_add: [NET_RAW]", Limits(cap_drop=(0,))),
        ("cap_drop: [ALL, CHOWN], cap_add: [ALL]", Limits(cap_drop=(0,))),
        ("cap_add: [whatever]", Limits()),
        ("cap_add: [NET_RAW]", Limits()),
        ("ambient_capabilities: [net_raw, CAP_CHOWN, NET_RAW]", Limits(ambient=(("CHOWN", 0), ("NET_RAW", 13)))),
        (
            "ambient_capabilities: [CHOWN], cap_drop: [ALL], cap_add: [CHOWN]",
            Limits(cap_drop=tuple(n for n in EVERY if n), ambient=(("CHOWN", 0),)),
        ),
        ("security_opt: ['no-new-privileges:true']", Limits(no_new_privileges=True)),
        ("security_opt: [no-new-privileges]", Limits(no_new_privileges=True)),
        ("security_opt: [no-new-privileges=true, 'seccomp:unconfined']", Limits(no_new_privileges=True)),
        ("security_opt: ['no-new-privileges:false', 'label=disable']", Limits()),
    ],
)
def test_limits(keys: str, limits: Limits) -> None:
    """Names become the kernel's numbers; cap_add exempts from cap_drop, as in Docker."""
    assert service(keys).limits == limits


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ("ulimits: {nofiles: 1}", "ulimits: unknown limit 'nofiles' (did you mean 'nofile'?)"),
        ("ulimits: {nofile: many}", "ulimits: nofile: expected a whole number, -1 for unlimited, got 'many'"),
        ("ulimits: {nofile: -2}", "ulimits: nofile: expected a whole number, -1 for unlimited, got '-2'"),
        (
            "ulimits: {nofile: {soft: 1}}",
            "ulimits.nofile: hard is missing (write hard: a whole number, -1 for unlimited)",
        ),
        ("ulimits: {cpu: {soft: 2, hard: 1}}", "ulimits: cpu: the soft limit 2 is above the hard limit 1 (lower it)"),
        ("ulimits: {cpu: {soft: -1, hard: 1}}", "ulimits: cpu: the soft limit -1 is above the hard limit 1 (lower it)"),
        ("oom_score_adj: 1001", "oom_score_adj: expected a whole number from -1000 to 1000, got '1001'"),
        ("nice: 1.5", "nice: expected a whole number from -20 to 19, got '1.5'"),
        ("nice: ten", "nice: expected a whole number from -20 to 19, got 'ten'"),
        ("umask: 8", "umask: expected permissions in octal such as 022, got '8'"),
        ("umask: '01000'", "umask: expected permissions in octal such as 022, got '01000'"),
        ("ambient_capabilities: [ALL]", "ambient_capabilities: ALL is not possible (name each capability)"),
        ("ambient_capabilities: [X]", "ambient_capabilities: unknown capability 'X' (see capabilities(7))"),
        (
            "ambient_capabilities: [NET_RAW], cap_drop: [ALL]",
            "ambient_capabilities: NET_RAW is removed by cap_drop (name it in cap_add, too)",
        ),
        ("cap_drop: [NETRAW]", "cap_drop: unknown capability 'NETRAW' (did you mean 'NET_RAW'?)"),
        ("cap_drop: [ALL], cap_add: [X]", "cap_add: unknown capability 'X' (see capabilities(7))"),
        (
            "security_opt: ['no-new-privileges:maybe']",
            "security_opt: no-new-privileges must be true or false, got 'maybe'",
        ),
        (
            "security_opt: ['no-new-priviliges:true']",
            "security_opt: unknown option 'no-new-priviliges' (did you mean 'no-new-privileges'?)",
        ),
        (
            "group_add: [no-such-group]",
            "group_add: unknown group 'no-such-group': not in /etc/group",
        ),
    ],
)
def test_an_invalid_limit_is_reported(keys: str, expected: str) -> None:
    assert reported_once(keys).startswith(expected)


def test_every_ulimit_of_the_kernel_has_a_name() -> None:
    """Compose's names are those of the kernel in lowercase."""
    assert len(CAPABILITIES) == 41
    for name in ("as", "core", "data", "fsize", "memlock", "msgqueue", "nice", "rss", "rttime", "sigpending", "stack"):
        assert service(f"ulimits: {{{name}: -1}}").limits.ulimits[0][0] == getattr(resource, f"RLIMIT_{name.upper()}")
    assert service("ulimits: {locks: 1}").limits.ulimits == ((10, 1, 1),)


class TestGroups:
    """group_add: further groups, by name or number."""

    def test_further_groups_of_a_user(self) -> None:
        """After the user's own groups, without duplicates."""
        user = service("user: '4321:4322', group_add: [0, '4322', 7777]").user
        assert user is not None
        assert user.groups == (4322, 0, 7777)

    def test_group_add_without_a_user_keeps_the_own_ids(self) -> None:
        """Without name and home, so that the environment does not change."""
        user = service("group_add: [7777]").user
        assert user is not None
        assert (user.uid, user.gid, user.name, user.home) == (os.geteuid(), os.getegid(), "", "")
        assert user.groups[-1] == 7777

    def test_a_user_may_come_from_variables(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """PUID and PGID, as in linuxserver.io's images."""
        for expected, variables in (((1000, 1000), {}), ((4321, 99), {"PUID": "4321", "PGID": "99"})):
            for name, value in variables.items():
                monkeypatch.setitem(file_story.ENVIRON, name, value)
            user = service('user: "${PUID:-1000}:${PGID:-1000}"').user
            assert user is not None
            assert (user.uid, user.gid) == expected


class TestSockets:
    """Addresses in the syntax of systemd and Go."""

    @pytest.mark.parametrize(
        ("written", "family", "kind", "address", "port"),
        [
            ("127.0.0.1:8080", "inet", "stream", "127.0.0.1", 8080),
            ("localhost:80", "inet", "stream", "127.0.0.1", 80),
            ("'[::1]:8080'", "inet6", "stream", "::1", 8080),
            ("'tcp:127.0.0.1:8080'", "inet", "stream", "127.0.0.1", 8080),
            ("'udp:127.0.0.1:53'", "inet", "dgram", "127.0.0.1", 53),
            ("'udp:[::]:53'", "inet6", "dgram", "::", 53),
            ("/run/x.sock", "unix", "stream", "/run/x.sock", 0),
            ("'unix:/run/x.sock'", "unix", "stream", "/run/x.sock", 0),
            ("'unixgram:/run/x.sock'", "unix", "dgram", "/run/x.sock", 0),
            ("'@name'", "unix", "stream", "@name", 0),
        ],
    )
    def test_the_short_form(self, written: str, family: str, kind: str, address: str, port: int) -> None:
        """The default name is that of the service, as FileDescriptorName= of systemd."""
        assert service(f"sockets: [{written}]").sockets == (Socket("web", family, kind, address, port),)

    @pytest.mark.parametrize("written", ["8080", "'udp:8080'"])
    def test_a_port_alone_means_all_interfaces(self, written: str) -> None:
        """With IPv6, if available, whose socket also accepts IPv4."""
        (one,) = service(f"sockets: [{written}]").sockets
        assert (one.family, one.address) in (("inet6", "::"), ("inet", "0.0.0.0"))  # noqa: S104 - intended
        assert one.port == 8080

    def test_the_long_form(self) -> None:
        """All keys of an entry."""
        keys = "listen: /run/x.sock, name: http, backlog: 5, mode: 0660, user: '4321', group: '99'"
        assert service(f"sockets: [{{{keys}}}]").sockets == (
            Socket("http", "unix", "stream", "/run/x.sock", 0, backlog=5, mode=0o660, uid=4321, gid=99),
        )

    @pytest.mark.parametrize(
        ("entry", "expected"),
        [
            ("x.sock", "expected host:port, got 'x.sock' (write 8080, 127.0.0.1:8080, [::1]:8080, udp:53 or /run"),
            ("'0'", "port 0 is out of range"),
            ("'127.0.0.1:70000'", "port 70000 is out of range"),
            ("'db:5432'", "the host 'db' of 'db:5432' is neither an IP address nor localhost"),
            ("'udp:/run/x'", "'udp:/run/x' is a path, not a port (write unix:, or unixgram: for datagrams)"),
            ("'unix:x'", "expected an absolute path or @name, got 'unix:x'"),
            ("/" + "x" * 200, "'/xxx"),
            (
                "{listen: '8080', mode: 0660}",
                "mode is only valid for the file of a unix socket, not for '8080' (remove it)",
            ),
            (
                "{listen: '@x', user: root}",
                "user is only valid for the file of a unix socket, not for '@x' (remove it)",
            ),
            (
                "{listen: '8080', name: 'a:b'}",
                "'a:b' is not a valid socket name (at most 255 ASCII characters, no colon)",
            ),
            ("{listen: '8080', name: ''}", "'' is not a valid socket name"),
            ("{listen: /x, user: no-such-user}", "unknown user 'no-such-user': not in /etc/passwd"),
        ],
    )
    def test_an_invalid_address_is_reported(self, entry: str, expected: str) -> None:
        """The message says what to write."""
        assert reported_once(f"sockets: [{entry}]").startswith(f"sockets: {expected}")

    def test_two_services_cannot_have_the_same_address(self) -> None:
        """Replicas of one service can; a stream and a datagram socket can."""
        text = (
            "services:\n"
            "  a: {command: x, scale: 3, sockets: [/run/x, '127.0.0.1:1']}\n"
            "  b: {command: x, sockets: [\n"
            "    'unix:/run/x', 'udp:127.0.0.1:1']}\n"
        )
        made = draft(text)
        plan, _ = build(made)
        assert plan is not None
        assert [str(diagnostic) for diagnostic in check_sockets(plan, made)] == [
            "cohabit.yaml:3: services.b.sockets: a already listens on /run/x (choose another address)"
        ]

    def test_a_service_cannot_list_an_address_twice(self) -> None:
        """In every form, and with different names."""
        text = "services: {a: {command: x, scale: 2, sockets: [/run/x, {listen: 'unix:/run/x', name: y}, /run/z]}}"
        made = draft(text)
        plan, _ = build(made)
        assert plan is not None
        diagnostics = [diagnostic.text for diagnostic in check_sockets(plan, made)]
        assert diagnostics == ["services.a.sockets: /run/x is listed twice (remove one of them)"]

    def test_a_notification_descriptor_cannot_be_a_socket(self) -> None:
        """Sockets begin at descriptor 3, as in sd_listen_fds(3)."""
        for fd, wrong in ((3, True), (4, True), (5, False)):
            made = draft(f"services:\n a: {{command: x, sockets: [/a, /b], healthcheck: {{test: [FD, {fd}]}}}}")
            plan, _ = build(made)
            assert plan is not None
            diagnostics = [diagnostic.text for diagnostic in check_sockets(plan, made)]
            text = f"services.a.healthcheck.test: descriptor {fd} is used by its sockets, 3 to 4 (write [FD, 5])"
            assert diagnostics == [text] * wrong

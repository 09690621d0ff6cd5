"""What a service is held to and handed, as its file says it: groups, limits, capabilities, sockets."""

from __future__ import annotations

import os
import resource

import pytest

from cohabit.config.keys.sockets import check_sockets
from cohabit.config.values.kernel_names import CAPABILITIES, every_capability
from cohabit.plan.build import build
from cohabit.plan.model import Limits, Socket
from unit import file_story
from unit.file_story import complaint, draft, service

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
        ("security_opt: ['no-new-privileges:true']", Limits(no_new_privileges=True)),
        ("security_opt: [no-new-privileges]", Limits(no_new_privileges=True)),
        ("security_opt: [no-new-privileges=true, 'seccomp:unconfined']", Limits(no_new_privileges=True)),
        ("security_opt: ['no-new-privileges:false', 'label=disable']", Limits()),
    ],
)
def test_limits(keys: str, limits: Limits) -> None:
    """Names become the kernel's numbers; what cap_add names is spared from cap_drop, as in Docker."""
    assert service(keys).limits == limits


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ("ulimits: {nofiles: 1}", "ulimits: there is no limit 'nofiles' (did you mean 'nofile'?)"),
        ("ulimits: {nofile: many}", "ulimits: nofile: expected a whole number, -1 for unlimited, got 'many'"),
        ("ulimits: {nofile: -2}", "ulimits: nofile: expected a whole number, -1 for unlimited, got '-2'"),
        (
            "ulimits: {nofile: {soft: 1}}",
            "ulimits.nofile: hard is missing (write hard: a whole number, -1 for unlimited)",
        ),
        ("ulimits: {cpu: {soft: 2, hard: 1}}", "ulimits: cpu: the soft limit 2 is above the hard one 1 (lower it)"),
        ("ulimits: {cpu: {soft: -1, hard: 1}}", "ulimits: cpu: the soft limit -1 is above the hard one 1 (lower it)"),
        ("oom_score_adj: 1001", "oom_score_adj: expected a whole number from -1000 to 1000, got '1001'"),
        ("nice: 1.5", "nice: expected a whole number from -20 to 19, got '1.5'"),
        ("nice: ten", "nice: expected a whole number from -20 to 19, got 'ten'"),
        ("umask: 8", "umask: expected permissions in octal such as 022, got '8'"),
        ("umask: '01000'", "umask: expected permissions in octal such as 022, got '01000'"),
        ("cap_drop: [NETRAW]", "cap_drop: there is no capability 'NETRAW' (did you mean 'NET_RAW'?)"),
        ("cap_drop: [ALL], cap_add: [X]", "cap_add: there is no capability 'X' (see capabilities(7))"),
        ("security_opt: ['no-new-privileges:maybe']", "security_opt: no-new-privileges is true or false, not 'maybe'"),
        (
            "security_opt: ['no-new-priviliges:true']",
            "security_opt: there is no option 'no-new-priviliges' (did you mean 'no-new-privileges'?)",
        ),
        (
            "group_add: [no-such-group]",
            "group_add: cannot find the group 'no-such-group': no such group in /etc/group",
        ),
    ],
)
def test_limits_that_mean_nothing(keys: str, says: str) -> None:
    assert complaint(keys).startswith(says)


def test_every_ulimit_of_the_kernel_has_a_name() -> None:
    """Compose's names are the kernel's, in small letters."""
    assert len(CAPABILITIES) == 41
    for name in ("as", "core", "data", "fsize", "memlock", "msgqueue", "nice", "rss", "rttime", "sigpending", "stack"):
        assert service(f"ulimits: {{{name}: -1}}").limits.ulimits[0][0] == getattr(resource, f"RLIMIT_{name.upper()}")
    assert service("ulimits: {locks: 1}").limits.ulimits == ((10, 1, 1),)


class TestGroups:
    """group_add: further groups, by name or number."""

    def test_of_the_user(self) -> None:
        """Behind its own, each once."""
        user = service("user: '4321:4322', group_add: [0, '4322', 7777]").user
        assert user is not None
        assert user.groups == (4322, 0, 7777)

    def test_without_a_user_it_stays_who_we_are(self) -> None:
        """No name and no home: the environment shall not change."""
        user = service("group_add: [7777]").user
        assert user is not None
        assert (user.uid, user.gid, user.name, user.home) == (os.geteuid(), os.getegid(), "", "")
        assert user.groups[-1] == 7777

    def test_puid_and_pgid(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """As linuxserver.io's images are told who to be."""
        for expected, variables in (((1000, 1000), {}), ((4321, 99), {"PUID": "4321", "PGID": "99"})):
            for name, value in variables.items():
                monkeypatch.setitem(file_story.ENVIRON, name, value)
            user = service('user: "${PUID:-1000}:${PGID:-1000}"').user
            assert user is not None
            assert (user.uid, user.gid) == expected


class TestSockets:
    """Addresses as systemd and Go write them."""

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
    def test_short_forms(self, written: str, family: str, kind: str, address: str, port: int) -> None:
        """The name is the service's, as FileDescriptorName= is the unit's."""
        assert service(f"sockets: [{written}]").sockets == (Socket("web", family, kind, address, port),)

    @pytest.mark.parametrize("written", ["8080", "'udp:8080'"])
    def test_a_port_alone_is_a_port_of_every_interface(self, written: str) -> None:
        """IPv6's too, which takes IPv4's along, where there is one."""
        (one,) = service(f"sockets: [{written}]").sockets
        assert (one.family, one.address) in (("inet6", "::"), ("inet", "0.0.0.0"))  # noqa: S104 - meant
        assert one.port == 8080

    def test_long_form(self) -> None:
        """Everything that can be said of one."""
        keys = "listen: /run/x.sock, name: http, backlog: 5, mode: 0660, user: '4321', group: '99'"
        assert service(f"sockets: [{{{keys}}}]").sockets == (
            Socket("http", "unix", "stream", "/run/x.sock", 0, backlog=5, mode=0o660, uid=4321, gid=99),
        )

    @pytest.mark.parametrize(
        ("entry", "says"),
        [
            ("x.sock", "expected host:port, got 'x.sock' (write 8080, 127.0.0.1:8080, [::1]:8080, udp:53 or /run"),
            ("'0'", "there is no port 0"),
            ("'127.0.0.1:70000'", "there is no port 70000"),
            ("'db:5432'", "the host 'db' of 'db:5432' is neither an IP address nor localhost"),
            ("'udp:/run/x'", "'udp:/run/x' is a path, which has no port (write unix:, or unixgram: for datagrams)"),
            ("'unix:x'", "expected a whole path (or @name), got 'unix:x'"),
            ("/" + "x" * 200, "'/xxx"),
            ("{listen: '8080', mode: 0660}", "'8080' has no file, and so no mode (remove it)"),
            ("{listen: '@x', user: root}", "'@x' has no file, and so no user (remove it)"),
            ("{listen: '8080', name: 'a:b'}", "'a:b' can be no socket's name (no colon"),
            ("{listen: '8080', name: ''}", "'' can be no socket's name"),
            ("{listen: /x, user: no-such-user}", "cannot run as 'no-such-user': no such user"),
        ],
    )
    def test_what_is_no_address(self, entry: str, says: str) -> None:
        """Each says what would be one."""
        assert complaint(f"sockets: [{entry}]").startswith(f"sockets: {says}")

    def test_two_services_cannot_have_the_same(self) -> None:
        """But the replicas of one do, and a stream is not a datagram."""
        text = (
            "services:\n"
            "  a: {command: x, scale: 3, sockets: [/run/x, '127.0.0.1:1']}\n"
            "  b: {command: x, sockets: [\n"
            "    'unix:/run/x', 'udp:127.0.0.1:1']}\n"
        )
        made = draft(text)
        plan, _ = build(made)
        assert plan is not None
        assert [str(problem) for problem in check_sockets(plan, made)] == [
            "cohabit.yaml:3: services.b.sockets: a listens on /run/x already (choose another)"
        ]

    def test_one_service_cannot_have_one_twice(self) -> None:
        """However it is written, and under whatever name."""
        text = "services: {a: {command: x, scale: 2, sockets: [/run/x, {listen: 'unix:/run/x', name: y}, /run/z]}}"
        made = draft(text)
        plan, _ = build(made)
        assert plan is not None
        problems = [problem.text for problem in check_sockets(plan, made)]
        assert problems == ["services.a.sockets: /run/x is there twice (remove one of them)"]

    def test_a_notification_descriptor_is_none_of_them(self) -> None:
        """Sockets begin at 3, as sd_listen_fds(3) wants them."""
        for fd, wrong in ((3, True), (4, True), (5, False)):
            made = draft(f"services:\n a: {{command: x, sockets: [/a, /b], healthcheck: {{test: [FD, {fd}]}}}}")
            plan, _ = build(made)
            assert plan is not None
            problems = [problem.text for problem in check_sockets(plan, made)]
            text = f"services.a.healthcheck.test: descriptor {fd} is one of its sockets, 3 to 4 (write [FD, 5])"
            assert problems == [text] * wrong

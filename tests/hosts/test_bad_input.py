"""Names, URIs and cables of any kind are taken, or refused with a sentence."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kvmlab.errors import UsageError
from kvmlab.hosts import Cable, LocalRunner, SshTarget, parse_uri, run_script
from kvmlab.hosts.cable import check_interface_name
from kvmlab.hosts.uri import libvirt_ssh_uri

ODD_NAMES = (
    "a;reboot", "$(reboot)", "`reboot`", "a&b", "a|b", "a'b", 'a"b', "a\\b", "a*b", "-x", "--help",
    "#a", "a>b", "ä", "中中中中中", "%s", "{x}", "~", "a=b", "a,b",
)  # fmt: skip


@given(st.text(max_size=60))
@example("qemu+ssh://[::1/system")
@example("qemu+ssh://a:b@c/system")
@example("qemu+ssh://-oProxyCommand=reboot/system")
@example("qemu+ssh://root@-oProxyCommand=reboot/system")
@example("qemu+ssh://-x@host/system")
@example("qemu+ssh://host:99999/system")
@example("qemu+ssh://ho st/system")
@example("qemu+ssh://h\nost/system")
def test_any_text_as_a_host(text: str) -> None:
    try:
        uri = parse_uri(text)
    except UsageError:
        return
    if uri.ssh is not None:
        assert not uri.ssh.address.startswith("-")
        assert not (uri.ssh.user or "").startswith("-")
        libvirt_ssh_uri(uri.ssh, uri.path, "/x")


@given(st.text(max_size=80))
@example("eth1,192.0.2.10,192.0.2.1")
@example("eth1,192.0.2.10/24,192.0.3.1/24")
@example("eth1,192.0.2.10/24,192.0.2.10/24")
@example("eth1,192.0.2.10/33,192.0.2.1/33")
@example("eth1,::1/64,192.0.2.1/24")
@example("e/1,192.0.2.10/24,192.0.2.1/24")
@example("eth1,192.0.2.10/24,192.0.2.1/24,netns:/x")
@example("eth1,192.0.2.10/24,192.0.2.1/24,netns:../x/y")
@example("eth1,192.0.2.10/24,192.0.2.1/24,ssh://")
@example("eth1,192.0.2.10/24,192.0.2.1/24,ssh:x")
@example("eth1,192.0.2.10/24,192.0.2.1/24,ssh://me:secret@x")
@example("eth1,192.0.2.10/24,192.0.2.1/24,ssh://-oProxyCommand=x")
@example("eth1,192.0.2.10/24,192.0.2.1/24,ssh://x/eth2")
def test_any_text_as_a_cable(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        Cable.parse(text)
    assert caught.value.todo


def test_parse_cable() -> None:
    cable = Cable.parse("eth1, 2001:db8::10/64, 2001:db8::1/64, netns:far-end/eth2")
    assert cable == Cable("eth1", "2001:db8::10/64", "2001:db8::1/64", "far-end", "eth2")
    assert Cable.parse("eth1,192.0.2.10/24,192.0.2.1/24").peer_netns is None
    far = Cable.parse("eth1,192.0.2.10/24,192.0.2.1/24, ssh://me@far:2222")
    assert far.peer_ssh == SshTarget("far", port=2222, user="me")


@given(st.text(max_size=20))
@example("")
@example(".")
@example("..")
@example("a" * 16)
@example("a/b")
@example("a:b")
@example("a b")
@example("a\u00a0b")
@example("ä" * 8)
def test_accepted_names_are_those_of_the_kernel(name: str) -> None:
    fits = (
        0 < len(name.encode()) <= 15
        and name not in (".", "..")
        and name.isprintable()
        and not any(sign in "/:" or sign.isspace() for sign in name)
    )
    try:
        check_interface_name(name)
    except UsageError:
        assert not fits
    else:
        assert fits


@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_names_reach_the_host_unchanged(name: str) -> None:
    """The kernel accepts them all; no shell may change them."""
    check_interface_name(name)
    printed = LocalRunner().run(("printf", "[%s]", name), timeout_sec=10)
    assert printed.stdout == f"[{name}]"
    script = run_script(
        LocalRunner(),
        "kvmlab.changes",
        "read_settings.sh",
        f"/sys/class/net/{name}/address",
        timeout_sec=10,
    )
    assert script.stdout == "=== settings\n=== end\n"

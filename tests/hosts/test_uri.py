"""Names of hosts."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvmlab.errors import UsageError
from kvmlab.hosts import KINDS_SENTENCE, SshTarget, open_host, parse_uri
from kvmlab.hosts.uri import libvirt_ssh_uri


def test_this_machine() -> None:
    uri = parse_uri("qemu:///system")
    assert (uri.text, uri.path, uri.ssh) == ("qemu:///system", "/system", None)
    assert parse_uri("qemu:///session").path == "/session"


@pytest.mark.parametrize(
    ("spec", "target"),
    [
        ("qemu+ssh://kvm1/system", SshTarget("kvm1")),
        ("qemu+ssh://root@kvm1/system", SshTarget("kvm1", user="root")),
        ("qemu+ssh://root@kvm1:2222/session", SshTarget("kvm1", 2222, "root")),
        ("qemu+ssh://root@[2001:db8::1]:2222/system", SshTarget("2001:db8::1", 2222, "root")),
    ],
)
def test_another_machine(spec: str, target: SshTarget) -> None:
    assert parse_uri(spec).ssh == target


@pytest.mark.parametrize(
    "spec",
    [
        "",
        "kvm1",
        "embeded",
        "xen:///system",
        "qemu:///",
        "qemu:///sytem",
        "qemu://kvm1/system",
        "qemu+tcp://kvm1/system",
        "qemu+ssh:///system",
        "qemu+ssh://root@/system",
        "qemu+ssh://root:secret@kvm1/system",
        "qemu+ssh://kvm1:99999/system",
        "qemu+ssh://kvm1/system?command=/bin/sh",
        "qemu+ssh://-oProxyCommand=id/system",
        "qemu+ssh://-v/system",
        "qemu+ssh://-l@kvm1/system",
        "qemu+ssh://[::1/system",
        "qemu+ssh://a b/system",
    ],
)
def test_other_names_are_refused_with_the_kinds_of_host(spec: str) -> None:
    with pytest.raises(UsageError) as caught:
        open_host(spec)
    assert caught.value.todo == KINDS_SENTENCE
    assert f'"{spec}" cannot be used as a host' in str(caught.value)


@given(
    st.one_of(st.text(), st.text().map("qemu://{}".format), st.text().map("qemu+ssh://{}".format))
)
def test_any_text_is_parsed_or_refused(spec: str) -> None:
    with suppress(UsageError):
        parse_uri(spec)


def test_libvirt_uses_our_ssh() -> None:
    uri = libvirt_ssh_uri(SshTarget("2001:db8::1", 2222, "a b"), "/system", "/run/x y/ssh")
    assert uri == ("qemu+ssh://a%20b@[2001:db8::1]:2222/system?command=/run/x%20y/ssh&no_tty=1")


@pytest.mark.parametrize(
    ("target", "shown"),
    [
        (SshTarget("kvm1"), "kvm1"),
        (SshTarget("kvm1", 2222, "root"), "root@kvm1:2222"),
        (SshTarget("2001:db8::1"), "[2001:db8::1]"),
    ],
)
def test_target_in_messages(target: SshTarget, shown: str) -> None:
    assert target.shown == shown

"""Files for the next boot, against golden text."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from kvmlab.changes import ConfigFile
from kvmlab.errors import Unavailable
from kvmlab.facts import HostFacts, inspect
from kvmlab.schemes import VfOptions
from kvmlab.schemes.persistence import by_modprobe, by_modules_load, by_networkmanager, by_systemd
from tests.facts.recorded_host import load

OPTIONS = {
    0: VfOptions(mac="52:54:00:00:00:01", vlan=5, spoofchk=True, trust=False, link_state="auto"),
    3: VfOptions(spoofchk=False, trust=True, max_tx_rate=100, link_state="disable"),
}


@pytest.fixture(scope="module")
def facts(data: Path) -> HostFacts:
    """Return the facts of the embedded host at rest."""
    return inspect(load(data / "facts" / "embedded.json"), prove_kvm=False)


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("modprobe.conf", lambda facts: by_modprobe(facts, "p2p1", vfs=7)),
        ("systemd.link", lambda facts: by_systemd(facts, "p2p1", vfs=7, vf=OPTIONS)),
        ("networkmanager", lambda facts: by_networkmanager(facts, "p2p1", vfs=7, vf=OPTIONS)),
        ("modules-load.conf", lambda facts: by_modules_load("vhost_net", "vfio-pci")),
    ],
)
def test_golden(
    name: str,
    make: Callable[[HostFacts], ConfigFile],
    facts: HostFacts,
    data: Path,
    golden: Callable[[Path, str], None],
) -> None:
    golden(data / "schemes" / "persistence" / name, f"{make(facts)}")


def test_a_port_without_vfs(facts: HostFacts) -> None:
    for make in (by_modprobe, by_systemd, by_networkmanager):
        with pytest.raises(Unavailable) as caught:
            make(facts, "p1p1", vfs=7)
        assert caught.value.rule == "sriov-missing"

"""The machine as arguments: the article's inventory, and what a saved state depends on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kvmlab.clock import Clock
from kvmlab.embedded.topology import Hardware, machine_argv, machine_identity

HARDWARE = Hardware(
    image=Path("/images/abc"),
    accel="tcg",
    clock=Clock.WALL,
    memory_mib=3072,
    cpus=2,
    ram_path=Path("/proc/self/fd/7"),
    ram_shared=True,
    incoming=False,
    authorized_keys=Path("/run/k/id_ed25519.pub"),
    host_key=Path("/run/k/ssh_host_ed25519_key"),
    console=Path("/run/k/console.log"),
    qmp_fd=9,
    ssh_port=40022,
)


def values(argv: tuple[str, ...], option: str) -> list[str]:
    return [argv[index + 1] for index, word in enumerate(argv) if word == option]


def test_iommu_is_the_first_device() -> None:
    assert values(machine_argv(HARDWARE), "-device")[0].startswith("intel-iommu,intremap=on")


def test_the_articles_cards_sit_on_buses_4_5_and_11() -> None:
    devices = values(machine_argv(HARDWARE), "-device")
    cards = [word for word in devices if word.startswith(("igb", "e1000e"))]
    seats = [dict(part.split("=") for part in card.split(",")[1:]) for card in cards]
    assert [(seat["bus"], seat["addr"]) for seat in seats] == [
        ("rp4", "0.0"),
        ("rp4", "0.1"),
        ("rp5", "0.0"),
        ("rp11", "0.0"),
        ("rp11", "0.1"),
    ]
    assert len({seat["mac"] for seat in seats}) == 5
    assert all(seat["romfile"] == "" for seat in seats)
    # Without it the second port of the 82576 is never found.
    assert seats[3]["x-pcie-ari-nextfn-1"] == "on"


def test_root_ports_give_bus_numbers_in_order() -> None:
    ports = [w for w in values(machine_argv(HARDWARE), "-device") if w.startswith("pcie-root-port")]
    assert len(ports) == 11
    assert ports[0].endswith("chassis=1,slot=1,bus=pcie.0,addr=0x10.0x0,multifunction=on")
    assert ports[8].endswith("chassis=9,slot=9,bus=pcie.0,addr=0x11.0x0,multifunction=on")
    assert ports[10].endswith("addr=0x11.0x2")


def test_the_root_disk_is_never_written() -> None:
    (drive,) = values(machine_argv(HARDWARE), "-drive")
    assert drive == "file=/images/abc/rootfs.sqfs,format=raw,if=none,id=root,readonly=on"


def test_only_the_loopback_leads_in_and_nothing_leads_out() -> None:
    (user,) = (w for w in values(machine_argv(HARDWARE), "-netdev") if w.startswith("user"))
    assert user == "user,id=mgmt,restrict=on,hostfwd=tcp:127.0.0.1:40022-:22"


def test_a_saved_memory_is_mapped_privately_and_opened_for_reading() -> None:
    restored = replace(HARDWARE, ram_shared=False, incoming=True, ram_path=Path("/states/x/ram"))
    (memory,) = (o for o in values(machine_argv(restored), "-object") if "memory" in o)
    assert memory.endswith("mem-path=/states/x/ram,share=off,readonly=on,rom=off")
    assert values(machine_argv(restored), "-incoming") == ["defer"]
    assert values(machine_argv(HARDWARE), "-incoming") == []


def test_a_comma_in_a_path_is_doubled_for_qemu() -> None:
    odd = replace(HARDWARE, image=Path("/a,b"))
    assert "file=/a,,b/rootfs.sqfs" in values(machine_argv(odd), "-drive")[0]
    # -kernel takes a plain path, no options.
    assert values(machine_argv(odd), "-kernel") == ["/a,b/vmlinuz"]


def test_virtual_clock_counts_instructions_on_one_thread() -> None:
    argv = machine_argv(replace(HARDWARE, clock=Clock.VIRTUAL, cpus=1))
    assert values(argv, "-icount") == ["shift=1,sleep=on"]
    assert values(argv, "-accel") == ["tcg,thread=single,tb-size=1024"]
    assert values(argv, "-append")[0].endswith("kvmlab.clock=virtual kvm.halt_poll_ns=0")
    assert values(machine_argv(HARDWARE), "-icount") == []


def test_kvm_keeps_interrupt_remapping_possible() -> None:
    argv = machine_argv(replace(HARDWARE, accel="kvm"))
    assert values(argv, "-machine") == ["q35,kernel-irqchip=split,memory-backend=ram0"]
    assert values(argv, "-cpu") == ["host"]


@pytest.mark.parametrize(
    "change",
    [
        {"image": Path("/elsewhere")},
        {"ram_path": Path("/states/x/ram"), "ram_shared": False, "incoming": True},
        {"ssh_port": 1},
        {"qmp_fd": 3},
        {"console": Path("/c")},
        {"authorized_keys": Path("/k"), "host_key": Path("/h")},
    ],
)
def test_places_and_doors_are_no_part_of_a_states_identity(change: dict[str, object]) -> None:
    assert machine_identity(replace(HARDWARE, **change)) == machine_identity(HARDWARE)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change", [{"memory_mib": 2048}, {"cpus": 1}, {"accel": "kvm"}, {"clock": Clock.VIRTUAL}]
)
def test_what_the_host_sees_is_part_of_it(change: dict[str, object]) -> None:
    assert machine_identity(replace(HARDWARE, **change)) != machine_identity(HARDWARE)  # type: ignore[arg-type]

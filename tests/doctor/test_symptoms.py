"""Symptoms: the script on this machine, the lines that count, and how long."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from kvmlab.deadline import until
from kvmlab.doctor import Verdict, judge
from kvmlab.doctor.guest import parse_guest
from kvmlab.doctor.symptoms import (
    Daemon,
    Symptoms,
    TuningSymptoms,
    parse_clock,
    parse_fixed_entries,
    parse_mounts,
    parse_netfilter,
    parse_symptoms,
    parse_tuning,
)
from kvmlab.facts import Rule
from kvmlab.hosts import parse_output, script_text
from tests.facts.host_builder import Layout


def daemon() -> Daemon | None:
    script = script_text("kvmlab.doctor", "read_symptoms.sh")
    answer = subprocess.run(
        ("sh", "-s"), input=script, capture_output=True, text=True, check=True, timeout=60
    )
    return parse_symptoms(parse_output(answer.stdout)).daemon


@contextmanager
def asleep(program: Path) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(("sleep", "60"), executable=program) as started:
        try:
            yield started
        finally:
            started.kill()


def is_dead(pid: int) -> bool:
    return "State:\tZ" in Path(f"/proc/{pid}/status").read_text("utf-8")


def test_a_daemon_that_has_ended_is_none(tmp_path: Path) -> None:
    """It keeps its name and its limits until its parent asks for it."""
    program = tmp_path / "virtqemud"
    sleep = shutil.which("sleep")
    assert sleep is not None
    shutil.copy(sleep, program)
    before = daemon()
    with asleep(program) as living:
        process = daemon()
        assert process is not None
        if before is None:
            assert process.name == "virtqemud"
        living.kill()
        until(lambda: is_dead(living.pid), timeout_sec=30, what="The end of the process")
        # The time of its start is reckoned from a rounded uptime.
        assert getattr(daemon(), "name", None) == getattr(before, "name", None)


NOW = 1_764_355_000.0
BOOTED = NOW - 3600
MEMLOCK = "qemu-system-x86_64: VFIO_MAP_DMA failed: Cannot allocate memory"
HOST: dict[str, Any] = {
    "functions": {
        "01:00.0": {"names": ["eno1"], "driver": "igb", "group": 1},
        "02:00.0": {
            "names": ["ens1f0"], "driver": "i40e", "group": 20, "vfs": ["02:02.0"], "totalvfs": 8,
        },
        "02:02.0": {"names": ["ens1f0v0"], "driver": "iavf", "group": 21, "vf_of": "02:00.0"},
        "65:00.0": {"driver": "nvidia", "pci_class": "0x030000", "group": 30},
    },
    "links": {"eno1": {"management": True}, "ens1f0": {"vfs": 1}, "ens1f0v0": {}},
}  # fmt: skip


def verdict(rule: Rule, symptoms: Symptoms, host: dict[str, Any] = HOST) -> Verdict:
    return Layout(host).diagnosis(symptoms=symptoms).finding(rule).verdict


def log(*lines: str, **values: Any) -> Symptoms:
    return Symptoms(kernel_log=lines, now=NOW, booted_at=BOOTED, bridge_netfilter=False, **values)


def test_a_line_of_last_year_is_no_problem_of_today() -> None:
    old = log(qemu_log=(f"2021-03-01T10:00:00.000000Z {MEMLOCK}",))
    assert verdict(Rule.LOCKED_MEMORY, old) is Verdict.UNKNOWN
    today = datetime.fromtimestamp(NOW - 60, UTC).isoformat(timespec="milliseconds")
    assert verdict(Rule.LOCKED_MEMORY, log(qemu_log=(f"{today} {MEMLOCK}",))) is Verdict.PROBLEM


def test_a_daemon_that_was_started_since_has_another_limit() -> None:
    timestamp = datetime.fromtimestamp(NOW - 60, UTC).isoformat()
    for started_at, expected in ((NOW - 90, Verdict.WARNING), (NOW - 30, Verdict.OK)):
        own = Daemon("libvirtd", None, may_raise=True, started_at=started_at)
        seen = log(qemu_log=(f"{timestamp} {MEMLOCK}",), daemon=own)
        assert verdict(Rule.LOCKED_MEMORY, seen) is expected


@pytest.mark.parametrize(
    ("rule", "line", "counts"),
    [
        (Rule.NUMVFS_REFUSED, "pci 0000:65:00.0: BAR 7: no space for [mem size 0x1000]", False),
        (Rule.NUMVFS_REFUSED, "pci 0000:05:00.0: BAR 7: no space for [mem size 0x1000]", True),
        (Rule.BUS_RESET, "vfio-pci 0000:65:00.0: not doing bus reset", False),
        (Rule.NO_RESET, "nvidia 0000:66:00.0: no available reset mechanism", False),
        (Rule.NUMVFS_REFUSED, "i40e 0000:02:00.0: not enough MMIO resources for SR-IOV", False),
        (Rule.VF_REGISTERS_DEAD, "iavf 0000:02:02.0: PF is not responding", False),
        (Rule.VF_TRUST, "ixgbe 0000:09:00.0 ens9: 4 Spoofed packets detected", True),
        (Rule.VF_MAC_UNSET, "iavf 0000:02:02.0: Invalid MAC address, using random", True),
    ],
)
def test_lines_count_by_device_and_by_what_became_of_it(
    rule: Rule, line: str, counts: bool
) -> None:
    calm = verdict(rule, log())
    assert (verdict(rule, log(f"[   12.5] {line}")) is not calm) == counts


def test_the_fix_for_trust_clears_the_verdict() -> None:
    line = log("[ 9.5] i40e 0000:02:00.0: VF 0 is not trusted, switch it to trusted mode")
    assert "not trusted" in Layout(HOST).diagnosis(symptoms=line).finding(Rule.VF_TRUST).observed
    facts = Layout(HOST).facts
    trusted = tuple(
        replace(port, vf_settings=tuple(replace(vf, trusted=True) for vf in port.vf_settings))
        for port in facts.ports
    )
    readings = replace(Layout(HOST).readings(symptoms=line), facts=replace(facts, ports=trusted))
    assert "not trusted" not in judge(readings).finding(Rule.VF_TRUST).observed


@pytest.mark.parametrize(
    ("rules", "policy"),
    [
        ("-P FORWARD DROP", "DROP"),
        ("-P FORWARD DROP\n-A FORWARD -m physdev --physdev-is-bridged -j ACCEPT", "ACCEPT"),
        ("-P FORWARD DROP\n-A FORWARD -i br0 -j ACCEPT", "DROP"),
        ("-P FORWARD ACCEPT\n-A FORWARD -j REJECT --reject-with icmp-host", "REJECT"),
        ("-P FORWARD DROP\n-A FORWARD -j ACCEPT", "ACCEPT"),
    ],
)
def test_a_rule_for_bridged_packets_goes_before_the_policy(rules: str, policy: str) -> None:
    text = f"/proc/sys/net/bridge/bridge-nf-call-iptables:1\n{rules}\n"
    assert parse_netfilter(text) == (True, policy)


def test_the_script_hands_over_the_whole_chain(tmp_path: Path) -> None:
    chain = "-P FORWARD DROP\n-A FORWARD -m physdev --physdev-is-bridged -j ACCEPT\n"
    program = tmp_path / "iptables"
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{chain}END\n")
    program.chmod(0o755)
    answer = subprocess.run(
        ("sh", "-s"),
        input=script_text("kvmlab.doctor", "read_symptoms.sh"),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
    )
    output = parse_output(answer.stdout)
    assert chain in output.text("bridge_netfilter") + "\n"
    now, booted_at = parse_clock(output.text("clock"))
    assert now is not None
    assert booted_at is not None
    assert booted_at < now


def test_tuning_is_parsed() -> None:
    tuning = parse_tuning(
        "/sys/class/net/vnet0/statistics/tx_dropped 17\n"
        "/sys/class/net/p2p1/statistics/rx_dropped 2\n"
        "/sys/class/net/p2p1/statistics/rx_missed_errors 3\n",
        "ring p2p1 256 4096\nirqbalance running\nbanned 4-7\n",
    )
    assert tuning == TuningSymptoms({"vnet0": 17, "p2p1": 5}, {"p2p1": (256, 4096)}, True, "4-7")


@pytest.mark.parametrize(
    ("text", "zerocopy"),
    [("zerocopy vhost_net 1\n", True), ("zerocopy vhost_net 0\n", False), ("", None)],
)
def test_whether_vhost_copies_is_parsed(text: str, zerocopy: bool | None) -> None:
    assert parse_tuning("", text).zerocopy is zerocopy


def test_this_machines_kernel_says_what_its_cpu_has() -> None:
    folder = Path("/sys/devices/system/cpu/vulnerabilities")
    script = script_text("kvmlab.doctor", "read_symptoms.sh")
    output = subprocess.run(
        ("sh", "-s"), input=script, capture_output=True, text=True, check=True, timeout=60
    ).stdout
    read = parse_symptoms(parse_output(output)).vulnerabilities
    assert read == {path.name: path.read_text("utf-8").strip() for path in folder.glob("*")}


def test_a_guests_kernel_and_cpu_are_read(tmp_path: Path) -> None:
    script = script_text("kvmlab.doctor", "read_guest.sh")
    for flags, expected in (("fpu svm x2apic", True), ("fpu x2apic_not", False), ("", None)):
        line = f"flags\t\t: {flags}\n" if flags else "Features\t: fp asimd\n"
        cpuinfo = tmp_path / "cpuinfo"
        cpuinfo.write_text(f"processor\t: 0\n{line}\nprocessor\t: 1\n{line}\n")
        output = subprocess.run(
            ("sh", "-s"),
            input=script.replace("/proc/cpuinfo", str(cpuinfo)),
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout
        guest = parse_guest("vm1", output)
        assert guest.x2apic is expected
        assert guest.command_line == Path("/proc/cmdline").read_text("utf-8").strip()


def test_file_systems_are_parsed() -> None:
    assert parse_mounts(
        "ext4 /\nnfs4 /srv/images\nxfs /srv/two\\040words\ntmpfs /srv/images\n"
    ) == {
        "/": "ext4",
        "/srv/images": "tmpfs",
        "/srv/two words": "xfs",
    }


def test_entries_that_somebody_made_are_parsed() -> None:
    # As iproute2 6.15 prints them.
    text = (
        "52:54:00:AA:00:01 dev vnet0 vlan 1 master br0 static\n"
        "52:54:00:aa:00:02 dev eno1 vlan 1 sticky master br0 static\n"
        "52:54:00:aa:00:02 dev eno1 sticky master br0 static\n"
        "33:33:00:00:00:01 dev eno1 self static\n"
    )
    assert parse_fixed_entries(text) == (
        ("52:54:00:aa:00:01", "vnet0"),
        ("52:54:00:aa:00:02", "eno1"),
    )

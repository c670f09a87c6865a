"""Every rule that can be provoked on the embedded host is, and is put back."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from kvmlab.changes import check
from kvmlab.deadline import until
from kvmlab.doctor import Diagnosis, Verdict, examine
from kvmlab.domain import Domain, HostDevice, Interface, LabVm, PciAddress, TestVM
from kvmlab.errors import Refused, Unavailable
from kvmlab.facts import Rule, inspect
from kvmlab.facts.sriov import error_name, explain_numvfs
from kvmlab.hosts import libvirt_client
from kvmlab.lab import open_lab
from kvmlab.schemes import Macvtap, Virtio
from kvmlab.tunings import tuned

if TYPE_CHECKING:
    from kvmlab.hosts import Host

pytestmark = [pytest.mark.host, pytest.mark.minutes(4)]

PCI = "/sys/bus/pci/devices"
PF = "0000:0b:00.0"
CARD = "0000:04:00.1"
LAB_BRIDGE = ("ip link add kvmlab0 address 02:6b:76:6d:6c:00 type bridge",)


@contextlib.contextmanager
def provoked(host: Host, do: str, undo: str) -> Iterator[None]:
    """Yield the host after ``do``; put back by ``undo`` in any case."""
    try:
        host.run(("sh", "-ec", do), timeout_sec=60)
        yield
    finally:
        host.run(("sh", "-c", undo), timeout_sec=60)


def look(host: Host, vm: TestVM | None = None) -> Diagnosis:
    return examine(host, facts=inspect(host, prove_kvm=False), vm=vm)


def verdict(diagnosis: Diagnosis, rule: Rule) -> Verdict:
    return diagnosis.finding(rule).verdict


def test_at_rest_there_is_no_problem(host: Host, vm: TestVM) -> None:
    finding = examine(host, vm=vm)
    assert finding.problems == (), str(finding)
    assert finding.exit_code == 0
    assert [item.rule for item in finding.warnings] == [Rule.GROUP_NOT_VIABLE]
    assert {"0000:04:00.0", CARD} == set(finding.finding(Rule.GROUP_NOT_VIABLE).subjects)
    assert "alive under KVM" in finding.finding(Rule.KVM_NOT_USABLE).observed
    for rule in (Rule.LOCKED_MEMORY, Rule.GUEST_DRIVER_MISSING, Rule.IOMMU_OFF):
        assert verdict(finding, rule) is Verdict.OK, finding.finding(rule)
    assert all(scheme.possible for scheme in finding.schemes if scheme.scheme != "passthrough")


def test_vhost_net_is_not_loaded(host: Host, vm: TestVM) -> None:
    # modprobe takes tun away with it, which nothing else used.
    with provoked(host, "modprobe -r vhost_net", "modprobe vhost_net"):
        finding = look(host)
        assert verdict(finding, Rule.MODULE_MISSING) is Verdict.PROBLEM
        assert "/dev/net/tun" in finding.finding(Rule.MODULE_MISSING).observed
        assert verdict(finding, Rule.VHOST_NET_MISSING) is Verdict.PROBLEM
        assert "modprobe vhost_net" in finding.finding(Rule.VHOST_NET_MISSING).fix
        assert finding.exit_code == 3
    assert verdict(look(host), Rule.VHOST_NET_MISSING) is Verdict.OK


def test_libvirt_falls_back_from_vhost_in_silence(host: Host, vm: TestVM) -> None:
    card = Interface.on_bridge("kvmlab0", mac="52:54:00:0d:0c:01", model="virtio")
    with provoked(
        host,
        "; ".join((*LAB_BRIDGE, "rmmod vhost_net")),
        "modprobe vhost_net; ip link delete kvmlab0",
    ):
        vm.attach(card.xml())
        try:
            finding = look(host, vm).finding(Rule.VHOST_NOT_USED)
        finally:
            vm.detach("52:54:00:0d:0c:01")
    assert finding.verdict is Verdict.PROBLEM, finding
    assert "QEMU serves them" in finding.observed


def test_vfs_and_a_bridge_on_one_port(host: Host) -> None:
    # Tests before this one made VFs that the kernel had something to say about.
    host.run(("dmesg", "--clear"), timeout_sec=60, root=True)
    with provoked(
        host,
        "; ".join(
            (
                *LAB_BRIDGE,
                "ip link set p2p1 master kvmlab0",
                f"echo 2 > {PCI}/{PF}/sriov_numvfs",
            )
        ),
        f"echo 0 > {PCI}/{PF}/sriov_numvfs; ip link delete kvmlab0; ip link set p2p1 up;"
        " ethtool -K p2p1 rx on tx on gso on",
    ):
        finding = look(host)
        rule = finding.finding(Rule.BRIDGE_ON_PORT_WITH_VFS)
        assert rule.verdict is Verdict.PROBLEM
        assert "p2p1 has 2 VFs and is in kvmlab0" in rule.observed
        # The bridge has the lab's MAC and no journal: somebody was killed.
        assert verdict(finding, Rule.LEFTOVERS) is Verdict.PROBLEM
        # A scheme says the same with the same id.
        with pytest.raises(Unavailable) as refused:
            Virtio().plan(inspect(host, prove_kvm=False))
        assert refused.value.rule == Rule.BRIDGE_ON_PORT_WITH_VFS
        (same,) = [item for item in finding.schemes if item.scheme == "virtio-qemu"]
        assert (same.rule, same.observed) == (refused.value.rule, refused.value.message)

        assert verdict(finding, Rule.VF_MAC_UNSET) is Verdict.WARNING
        assert verdict(finding, Rule.IGB_CHECKSUMS) is Verdict.WARNING
        assert verdict(finding, Rule.VF_TRUST) is Verdict.OK
        host.run(("sh", "-ec", finding.finding(Rule.IGB_CHECKSUMS).fix.strip("`.")), timeout_sec=60)
        host.run(
            ("sh", "-ec", "for n in 0 1; do ip link set p2p1 vf $n mac 02:00:00:00:00:0$n; done; "
             "ip link set p2p1 vf 1 spoofchk off trust on"),
            timeout_sec=60,
        )  # fmt: skip
        again = look(host)
        assert verdict(again, Rule.IGB_CHECKSUMS) is Verdict.OK
        assert verdict(again, Rule.VF_MAC_UNSET) is Verdict.OK
        assert again.finding(Rule.VF_TRUST).subjects == ("p2p1 vf 1",)


def test_numbers_of_vfs_that_the_kernel_refuses(host: Host) -> None:
    with provoked(
        host,
        f"echo 2 > {PCI}/{PF}/sriov_numvfs",
        f"echo 0 > {PCI}/{PF}/sriov_numvfs",
    ):
        port = inspect(host, prove_kvm=False).port("p2p1")
        outputs = {}
        for count in (3, 8):
            completed = host.run(
                ("tee", f"{PCI}/{PF}/sriov_numvfs"),
                timeout_sec=60,
                input_text=f"{count}\n",
                check=False,
            )
            assert completed.returncode != 0
            outputs[count] = completed.stderr
        assert error_name(outputs[3]) == "EBUSY"
        assert "write 0 into" in explain_numvfs(outputs[3], count=3, port=port)
        assert error_name(outputs[8]) == "ERANGE"
        assert "sriov_totalvfs is 7" in explain_numvfs(outputs[8], count=8, port=port)
        assert "EBUSY" in look(host).finding(Rule.NUMVFS_REFUSED).observed


def test_a_pf_that_is_down_and_a_vf_that_answers(host: Host) -> None:
    vf_name = f"$(ls {PCI}/0000:0b:10.0/net)"
    with provoked(
        host,
        f"modprobe igbvf; ip link set p2p1 down; dmesg -C; echo 1 > {PCI}/{PF}/sriov_numvfs",
        f"echo 0 > {PCI}/{PF}/sriov_numvfs; ip link set p2p1 up",
    ):
        down = look(host).finding(Rule.PF_DOWN)
        assert down.verdict is Verdict.PROBLEM
        assert "ip link set p2p1 up" in down.fix
        # The VF's driver gave up on its PF; without being bound anew it never gets a link.
        host.run(
            ("sh", "-ec", f"ip link set {vf_name} up; ip link set p2p1 up; n=0; "
             "until grep -q 1 /sys/class/net/p2p1/carrier || [ $n -gt 100 ]; do "
             "n=$((n+1)); sleep 0.1; done"),
            timeout_sec=60,
        )  # fmt: skip
        dead = look(host).finding(Rule.VF_REGISTERS_DEAD)
        assert (dead.verdict, dead.subjects) == (Verdict.PROBLEM, ("0000:0b:10.0",))
        host.run(
            ("sh", "-ec", f"echo 0000:0b:10.0 > {PCI}/0000:0b:10.0/driver/unbind; "
             "echo 0000:0b:10.0 > /sys/bus/pci/drivers_probe; "
             f"ip link set {vf_name} up; n=0; "
             f"until grep -q 1 {PCI}/0000:0b:10.0/net/*/carrier || [ $n -gt 100 ]; do "
             "n=$((n+1)); sleep 0.1; done"),
            timeout_sec=60,
        )  # fmt: skip
        again = look(host)
        assert verdict(again, Rule.PF_DOWN) in (Verdict.OK, Verdict.WARNING)
        alive = again.finding(Rule.VF_REGISTERS_DEAD)
        assert alive.verdict is Verdict.OK, alive
        assert alive.subjects == ("0000:0b:10.0",)


def test_a_device_that_was_not_given_back(host: Host) -> None:
    with provoked(
        host,
        f"modprobe vfio-pci; echo vfio-pci > {PCI}/{CARD}/driver_override; "
        f"echo {CARD} > {PCI}/{CARD}/driver/unbind; echo {CARD} > /sys/bus/pci/drivers_probe",
        f"echo > {PCI}/{CARD}/driver_override; echo {CARD} > {PCI}/{CARD}/driver/unbind; "
        f"echo {CARD} > /sys/bus/pci/drivers_probe; "
        f"n=0; until [ -d {PCI}/{CARD}/net ] || [ $n -gt 50 ]; do n=$((n+1)); sleep 0.1; done; "
        f"ip link set $(ls {PCI}/{CARD}/net) down; ip link set $(ls {PCI}/{CARD}/net) name p1p2; "
        "ip link set p1p2 up",
    ):
        finding = look(host).finding(Rule.NOT_GIVEN_BACK)
        assert finding.verdict is Verdict.PROBLEM
        assert finding.subjects == (CARD,)
        # Now its neighbour can go: vfio has the rest of the group.
        assert inspect(host, prove_kvm=False).port("p1p1").handover.possible
    assert verdict(look(host), Rule.NOT_GIVEN_BACK) is Verdict.OK
    assert inspect(host, prove_kvm=False).port("p1p2").driver == "e1000e"


def test_ways_to_reset(host: Host) -> None:
    methods = f"{PCI}/{CARD}/reset_method"
    with provoked(host, f"printf '\\n' > {methods}", f"echo default > {methods}"):
        finding = look(host).finding(Rule.NO_RESET)
        assert (finding.verdict, finding.subjects) == (Verdict.WARNING, (CARD,))
    # The only function of its bus; for 04:00.0 the kernel refuses, since 04:00.1 shares the bus.
    first = f"{PCI}/0000:05:00.0/reset_method"
    with provoked(host, f"echo bus > {first}", f"echo default > {first}"):
        finding = look(host).finding(Rule.BUS_RESET)
        assert (finding.verdict, finding.subjects) == (Verdict.WARNING, ("0000:05:00.0",))


def test_macvtaps(host: Host) -> None:
    with provoked(
        host,
        "ip address add 192.0.2.77/32 dev p2p1; "
        "ip link add link p2p1 name doc-mvt type macvtap mode vepa",
        "ip link delete doc-mvt; ip address delete 192.0.2.77/32 dev p2p1",
    ):
        finding = look(host)
        assert verdict(finding, Rule.MACVTAP_ISOLATION) is Verdict.WARNING
        assert finding.finding(Rule.MACVTAP_VEPA).subjects == ("doc-mvt",)


def test_names_and_ports_that_are_taken(host: Host) -> None:
    with provoked(
        host,
        "ip link add kvmlab0 type bridge; ip link set p2p1 master kvmlab0; "
        "ip link add doc-br type bridge; ip link set p2p1 master doc-br",
        "ip link delete doc-br; ip link delete kvmlab0",
    ):
        finding = look(host)
        assert verdict(finding, Rule.BRIDGE_NAME_TAKEN) is Verdict.PROBLEM
        assert verdict(finding, Rule.PORT_IN_USE) is Verdict.PROBLEM
        assert {
            item.rule for item in finding.schemes if item.scheme.startswith(("e1000", "virtio"))
        } == {Rule.PORT_IN_USE}
    with provoked(
        host,
        "ip link set p2p1 down; ip link set p2p1 name elsewhere",
        "ip link set elsewhere name p2p1; ip link set p2p1 up",
    ):
        assert verdict(look(host), Rule.PORT_MISSING) is Verdict.PROBLEM


def test_a_port_that_is_not_for_the_lab(host: Host) -> None:
    facts = inspect(host, prove_kvm=False)
    assert facts.cable is not None
    managed = replace(facts, cable=replace(facts.cable, port=str(facts.management)))
    finding = examine(host, facts=managed)
    assert verdict(finding, Rule.MANAGEMENT) is Verdict.PROBLEM
    by_bridge = [
        item.rule for item in finding.schemes if item.scheme.startswith(("e1000", "virtio"))
    ]
    assert set(by_bridge) == {Rule.MANAGEMENT}
    plain = examine(host, facts=replace(facts, cable=replace(facts.cable, port="p1p1")))
    assert verdict(plain, Rule.SRIOV_MISSING) is Verdict.WARNING
    assert plain.schemes[-1].rule == Rule.SRIOV_MISSING
    # Somebody's connection ends at the port.
    peer = facts.cable.peer_address.partition("/")[0]
    with provoked(
        host,
        f"ip address add {facts.cable.vm_address} dev p2p1; "
        "ip netns exec peer iperf3 -s -D -1 -p 5999 -I /run/doctor-iperf3; sleep 0.3; "
        f"(iperf3 -c {peer} -p 5999 -t 60 -b 100K >/dev/null 2>&1 & echo $! >/run/doctor-client); "
        "sleep 0.5",
        "kill $(cat /run/doctor-client) $(tr -d '\\0' </run/doctor-iperf3); "
        f"ip address delete {facts.cable.vm_address} dev p2p1",
    ):
        refused = Virtio().plan(inspect(host, prove_kvm=False)).refusals
    assert {item.rule for item in refused} == {Rule.CONNECTIONS}


def test_what_a_host_lacks(host: Host) -> None:
    with provoked(host, "mv /dev/kvm /dev/kvm-away", "mv /dev/kvm-away /dev/kvm"):
        assert verdict(examine(host), Rule.KVM_NOT_USABLE) is Verdict.PROBLEM
    ip = "$(readlink -f $(command -v ip))"
    with (
        provoked(host, f"echo {ip} >/run/ip-was; mv {ip} /run/ip-away",
                 "mv /run/ip-away $(cat /run/ip-was)"),
        pytest.raises(Unavailable) as unread,
    ):  # fmt: skip
        inspect(host, prove_kvm=False)
    assert unread.value.rule == Rule.IPROUTE_MISSING
    away = ("/sys/kernel/iommu_groups", "/sys/class/iommu")
    with provoked(
        host,
        "; ".join(f"mount -t tmpfs none {path}" for path in away),
        "; ".join(f"umount {path}" for path in away),
    ):
        finding = look(host)
        assert verdict(finding, Rule.IOMMU_OFF) is Verdict.PROBLEM
        assert [item.rule for item in finding.schemes if not item.possible] == [Rule.IOMMU_OFF] * 2
    switch = "sysctl -w net.bridge.bridge-nf-call-iptables"
    with provoked(
        host,
        f"modprobe br_netfilter; {switch}=1; iptables -P FORWARD DROP",
        "iptables -P FORWARD ACCEPT; modprobe -r br_netfilter",
    ):
        assert verdict(look(host), Rule.BRIDGE_NETFILTER) is Verdict.PROBLEM
    after = look(host)
    assert after.problems == (), str(after)


STRANGE = """<domain type='kvm'><name>doctor-strange</name><memory unit='MiB'>64</memory>
<os><type arch='x86_64' machine='q35'>hvm</type></os></domain>"""


def test_vms_that_are_not_the_labs(host: Host, vm: TestVM) -> None:
    with pytest.raises(Unavailable) as none:
        TestVM._define(host, LabVm(name="doctor-none", kernel="/nowhere"))
    assert none.value.rule == Rule.LAB_VM_IMAGE
    plan = Virtio().plan(inspect(host, prove_kvm=False), vm=vm)
    domain = host.libvirt.defineXML(STRANGE)
    try:
        with pytest.raises(Refused) as not_ours:
            TestVM.ensure(host, "doctor-strange")
        assert not_ours.value.rule == Rule.NOT_THE_LABS_DOMAIN
        refused = check(
            plan.steps, inspect(host, prove_kvm=False), TestVM.find(host, "doctor-strange")
        )
        assert [item.rule for item in refused] == [Rule.NOT_THE_NAMED_DOMAIN]
    finally:
        domain.undefine()


SERIAL_VM = """
<domain type='kvm'>
  <name>doctor-serial</name><memory unit='MiB'>64</memory><vcpu>1</vcpu>
  <os><type arch='x86_64' machine='q35'>hvm</type></os>
  <devices>
    <controller type='usb' model='none'/><memballoon model='none'/>
    <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
    <interface type='ethernet'><mac address='52:54:00:00:5e:71'/><model type='e1000'/></interface>
  </devices>
</domain>"""


def test_ports_of_virtio_serial_that_the_main_loop_polls(host: Host, vm: TestVM) -> None:
    facts = inspect(host, prove_kvm=False)
    with Virtio(backend="qemu").plan(facts, vm=vm).applied(vm):
        assert verdict(look(host, vm), Rule.MAIN_LOOP_DESCRIPTORS) is Verdict.OK
    paused = libvirt_client.library().VIR_DOMAIN_START_PAUSED
    domain = host.libvirt.createXML(SERIAL_VM, paused)
    try:
        finding = look(host, vm).finding(Rule.MAIN_LOOP_DESCRIPTORS)
        assert finding.verdict is Verdict.WARNING
        assert "doctor-serial polls 64 queues" in finding.observed
        assert "31 ports, 2 needed" in finding.observed
    finally:
        domain.destroy()


MOORED_VM = """
<domain type='kvm'>
  <name>doctor-moored</name><memory unit='MiB'>64</memory><vcpu>1</vcpu>
  <os><type arch='x86_64' machine='q35'>hvm</type></os><cpu mode='host-passthrough'/>
  <devices>
    <controller type='usb' model='none'/><memballoon model='none'/>
    <disk type='file'><driver name='qemu' type='raw'/><source file='/tmp/doctor.img'/>
      <target dev='vda' bus='virtio'/></disk>
  </devices>
</domain>"""


def test_a_vm_that_only_this_host_can_run(host: Host) -> None:
    paused = libvirt_client.library().VIR_DOMAIN_START_PAUSED
    with provoked(host, "truncate -s 1M /tmp/doctor.img", "rm /tmp/doctor.img"):
        domain = host.libvirt.createXML(MOORED_VM, paused)
        try:
            diagnosis = look(host)
        finally:
            domain.destroy()
    disks, cpu = (diagnosis.finding(r) for r in (Rule.LOCAL_DISKS, Rule.CPU_OF_THIS_HOST))
    assert disks.subjects == ("doctor-moored (/tmp/doctor.img)",)
    assert cpu.subjects == ("doctor-moored (host-passthrough)",)
    for finding in (disks, cpu):
        assert finding.verdict is Verdict.WARNING, finding


def test_a_vm_with_all_features_of_this_hosts_cpu(host: Host) -> None:
    paused = libvirt_client.library().VIR_DOMAIN_START_PAUSED
    xml = SERIAL_VM.replace("</os>", "</os><cpu mode='host-model'/>")
    domain = host.libvirt.createXML(xml, paused)
    try:
        # The running VM is described by a named model.
        assert "host-model" not in domain.XMLDesc()
        finding = look(host).finding(Rule.CPU_OF_THIS_HOST)
    finally:
        domain.destroy()
    assert finding.verdict is Verdict.WARNING
    assert finding.subjects == ("doctor-serial",)
    assert "(host-model)" in finding.observed


def test_a_bridge_that_does_not_learn_where_a_vm_is(host: Host, vm: TestVM) -> None:
    with Virtio(backend="vhost").plan(inspect(host, prove_kvm=False), vm=vm).applied(vm) as nic:
        assert verdict(look(host), Rule.BRIDGE_DOES_NOT_LEARN) is Verdict.OK
        entry = f"{nic.mac} dev p2p1 master"
        fixed = f"bridge fdb replace {entry} static sticky"
        with provoked(host, fixed, f"bridge fdb del {entry}"):
            finding = look(host).finding(Rule.BRIDGE_DOES_NOT_LEARN)
            assert finding.verdict is Verdict.WARNING
            assert f"{vm.name} (bridge " in finding.observed
            assert f"{nic.mac} is entered at p2p1" in finding.observed
        lock = "bridge link set dev p2p1 locked"
        with provoked(host, f"{lock} on", f"{lock} off"):
            finding = look(host).finding(Rule.BRIDGE_DOES_NOT_LEARN)
            assert "p2p1 is locked" in finding.observed
        assert verdict(look(host), Rule.BRIDGE_DOES_NOT_LEARN) is Verdict.OK


def test_queues_that_nobody_uses(host: Host, vm: TestVM) -> None:
    facts = inspect(host, prove_kvm=False)
    vcpus = Domain.parse(vm.xml()).vcpus or 0
    with Virtio(backend="vhost", queues=4).plan(facts, vm=vm).applied(vm):
        finding = look(host, vm)
        assert f"4 queues and only {vcpus} vCPUs" in finding.finding(Rule.QUEUES_MISMATCH).observed
        assert verdict(finding, Rule.VHOST_NOT_USED) is Verdict.OK
    if vcpus < 2:
        return  # under the virtual clock the VM has one vCPU, and no channels to spare
    with Virtio(backend="vhost", queues=2).plan(facts, vm=vm).applied(vm) as nic:
        vm.agent.run(("ethtool", "-L", nic.guest_interface, "combined", "1"), timeout_sec=60)
        finding = look(host, vm)
        assert verdict(finding, Rule.QUEUES_MISMATCH) is Verdict.WARNING
        fix = f"ethtool -L {nic.guest_interface} combined 2"
        assert fix in finding.finding(Rule.QUEUES_MISMATCH).observed
        vm.agent.run(tuple(fix.split()), timeout_sec=60)
        assert verdict(look(host, vm), Rule.QUEUES_MISMATCH) is Verdict.OK


def test_a_ring_that_holds_no_merged_packet(host: Host, vm: TestVM) -> None:
    with Virtio(backend="vhost").plan(inspect(host, prove_kvm=False), vm=vm).applied(vm) as nic:
        assert verdict(look(host, vm), Rule.SHORT_RING) is Verdict.OK
        vm.agent.run(("ethtool", "-G", nic.guest_interface, "rx", "16"), timeout_sec=60)
        finding = look(host, vm).finding(Rule.SHORT_RING)
        assert finding.verdict is Verdict.WARNING
        assert finding.subjects == (nic.guest_interface,)
        assert f"{nic.guest_interface} 16" in finding.observed
        command = finding.fix.split("`")[1].replace("ethN", nic.guest_interface)
        vm.agent.run(tuple(command.split()), timeout_sec=60)
        assert verdict(look(host, vm), Rule.SHORT_RING) is Verdict.OK


def test_a_vhost_worker_behind_other_programs(host: Host, vm: TestVM) -> None:
    assert verdict(look(host), Rule.VHOST_PRIORITY) is Verdict.NOT_APPLICABLE
    with Virtio(backend="vhost").plan(inspect(host, prove_kvm=False), vm=vm).applied(vm):
        assert verdict(look(host), Rule.VHOST_PRIORITY) is Verdict.OK
        (worker, *_) = vm.threads().vhost
        host.run(("renice", "-n", "19", "-p", str(worker)), timeout_sec=60, root=True)
        finding = look(host).finding(Rule.VHOST_PRIORITY)
        assert finding.verdict is Verdict.WARNING
        assert f"{worker} (19)" in finding.observed
        command = finding.fix.split("`")[1].replace("THREAD", str(worker))
        host.run(tuple(command.split()), timeout_sec=60, root=True)
        assert verdict(look(host), Rule.VHOST_PRIORITY) is Verdict.OK


def test_kvm_spins_for_long(host: Host) -> None:
    path = "/sys/module/kvm/parameters/halt_poll_ns"
    assert verdict(look(host), Rule.HALT_POLLING) is Verdict.OK
    before = host.run(("cat", path), timeout_sec=60).stdout.strip()
    with provoked(host, f"echo 10000000 > {path}", f"echo {before} > {path}"):
        finding = look(host).finding(Rule.HALT_POLLING)
        assert finding.verdict is Verdict.WARNING
        assert "10000 µs" in finding.observed
        host.run(("sh", "-c", finding.fix.split("`")[1]), timeout_sec=60, root=True)
        assert verdict(look(host), Rule.HALT_POLLING) is Verdict.OK


def test_a_program_of_xdp_that_the_driver_could_run(host: Host, vm: TestVM) -> None:
    facts = inspect(host, prove_kvm=False)
    vhost = Virtio(backend="vhost")
    with tuned(vhost, "port-xdp=native").plan(facts, vm=vm).applied(vm):
        assert verdict(look(host), Rule.GENERIC_XDP) is Verdict.OK
    with tuned(vhost, "port-xdp=generic").plan(facts, vm=vm).applied(vm):
        finding = look(host).finding(Rule.GENERIC_XDP)
        assert finding.verdict is Verdict.WARNING
        assert finding.subjects == ("p2p1",)
        assert "p2p1 (igb)" in finding.observed
        host.run(tuple(finding.fix.split("`")[1].split()), timeout_sec=60, root=True)
        assert verdict(look(host), Rule.GENERIC_XDP) is Verdict.OK


def test_a_vhost_that_sends_the_guests_own_buffers(host: Host) -> None:
    reload = "modprobe -r vhost_net && modprobe vhost_net"
    with provoked(host, f"{reload} experimental_zcopytx=1", reload):
        finding = look(host).finding(Rule.VHOST_ZEROCOPY)
        assert finding.verdict is Verdict.WARNING
        unload, load = finding.fix.split("`")[1::2][-2:]
        host.run(("sh", "-c", f"{unload} && {load}"), timeout_sec=60, root=True)
        assert verdict(look(host), Rule.VHOST_ZEROCOPY) is Verdict.OK


def test_a_macvtap_that_is_deaf_to_filters_below_a_windows(host: Host, vm: TestVM) -> None:
    facts = inspect(host, prove_kvm=False)
    metadata = f"virsh metadata {vm.name} http://libosinfo.org/xmlns/libvirt/domain/1.0 --live"
    windows = "<libosinfo><os id='http://microsoft.com/win/11'/></libosinfo>"
    with (
        Macvtap().plan(facts, vm=vm).applied(vm),
        provoked(host, f'{metadata} --key libosinfo --set "{windows}"', f"{metadata} --remove"),
    ):
        finding = look(host, vm)
        assert verdict(finding, Rule.MACVTAP_RX_FILTERS) is Verdict.WARNING
        assert verdict(finding, Rule.WINDOWS_NETKVM) is Verdict.WARNING
    with Macvtap(trust_guest_rx_filters=True).plan(facts, vm=vm).applied(vm):
        assert verdict(look(host, vm), Rule.MACVTAP_RX_FILTERS) is Verdict.OK


def test_a_vf_that_ties_its_vm_to_the_host(host: Host, vm: TestVM) -> None:
    alias = "ua-kvmlab-doctor"
    device = HostDevice.of(PciAddress.parse("0000:0b:10.0"), alias=alias)
    with provoked(host, f"echo 1 > {PCI}/{PF}/sriov_numvfs", f"echo 0 > {PCI}/{PF}/sriov_numvfs"):
        vm.attach(device.xml())
        try:
            finding = look(host, vm)
        finally:
            vm.detach(alias)
        holder = finding.finding(Rule.VF_BLOCKS_MIGRATION)
        assert holder.verdict is Verdict.WARNING
        assert holder.subjects == (f"{vm.name} (0000:0b:10.0)",)
        assert "teaming" in holder.fix
        assert verdict(finding, Rule.NOT_GIVEN_BACK) is Verdict.OK


def test_a_guest_without_a_driver(vm: TestVM, host: Host) -> None:
    def inside(script: str) -> None:
        vm.agent.run(("sh", "-c", script), timeout_sec=60)

    inside(
        "cd /lib/modules/$(uname -r) && f=$(find . -name 'igbvf.ko*') && rmmod igbvf && "
        "mkdir -p /tmp/away && cp $f /tmp/away/ && echo $f > /tmp/away/path && rm $f"
    )
    try:
        finding = look(host, vm).finding(Rule.GUEST_DRIVER_MISSING)
    finally:
        inside(
            "cd /lib/modules/$(uname -r) && f=$(cat /tmp/away/path) && "
            "cp /tmp/away/${f##*/} $f && insmod $f"
        )
    assert finding.verdict is Verdict.PROBLEM
    assert finding.subjects == ("igbvf",)
    assert verdict(look(host, vm), Rule.GUEST_DRIVER_MISSING) is Verdict.OK


KEPT = "/usr/lib/kvmlab-kept"
POOR = f"""#!/bin/sh
exec prlimit --memlock=65536:65536 setpriv --bounding-set -sys_resource {KEPT}/libvirtd "$@"
"""
# Its socket is closed before it has ended.
END_LIBVIRTD = (
    "pid=$(cat /run/libvirtd.pid) && kill -9 $pid && "
    "timeout 30 sh -c 'while [ -e /proc/$0 ]; do sleep 0.1; done' $pid"
)


@pytest.mark.timeout(300)
def test_libvirt_is_gone_and_comes_back_poor() -> None:
    """On a host of its own: libvirt's other connections end with it."""
    with open_lab(progress=lambda text: None) as lab:
        host = lab.host

        def answers() -> bool:
            queries = ("timeout", "5", "virsh", "-c", "qemu:///system", "list")
            return host.run(queries, timeout_sec=60, check=False).returncode == 0

        away = f"mkdir {KEPT} && mv /usr/sbin/libvirtd {KEPT}/ && {END_LIBVIRTD}"
        host.run(("sh", "-ec", away), timeout_sec=60)
        until(lambda: not answers(), timeout_sec=60, what="The end of libvirtd")
        finding = look(host)
        missing = finding.finding(Rule.LIBVIRT_MISSING)
        assert missing.verdict is Verdict.PROBLEM
        assert verdict(finding, Rule.LOCKED_MEMORY) is Verdict.UNKNOWN
        report = {(item.rule, item.observed, item.fix) for item in finding.schemes}
        assert report == {(Rule.LIBVIRT_MISSING, missing.observed, missing.fix)}

        host.run(("tee", "/usr/sbin/libvirtd"), timeout_sec=60, input_text=POOR)
        host.run(("chmod", "+x", "/usr/sbin/libvirtd"), timeout_sec=60)
        until(answers, timeout_sec=60, every_sec=0.5, what="libvirtd's coming back")
        finding = look(host)
        assert verdict(finding, Rule.LIBVIRT_MISSING) is Verdict.OK
        assert verdict(finding, Rule.LOCKED_MEMORY) is Verdict.PROBLEM

"""Attach, configure and detach through kvmlab, against the same by bare virsh on the same host.

Both give the test VM one virtio interface on an existing bridge, set its address, wait until the
peer answers a ping, and remove it. kvmlab uses its own libvirt connection and waits for events; a
person types `virsh` on the host and polls until it is done.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import kvmlab
from bench._harness import Bench, alternate, repeats
from kvmlab.changes import Plan
from kvmlab.changes.shared_steps import prepared
from kvmlab.deadline import until
from kvmlab.domain import TestVM
from kvmlab.hosts import Host

DEVICE_FILE = "/tmp/bench-interface.xml"  # on the embedded host
STEP_SEC = 60.0


@dataclass(frozen=True)
class VirshByHand:
    """Hotplug by virsh commands on the host."""

    bench: Bench
    host: Host
    vm: str
    plan: Plan

    def once(self, block: int) -> None:
        """Attach, configure and detach, timing the parts and the whole."""
        with self.bench.timed("virsh: all"):
            with self.bench.timed("virsh: attach"):
                self._virsh("attach-device", self.vm, DEVICE_FILE, "--live")
            with self.bench.timed("virsh: configure"):
                self._configure()
            with self.bench.timed("virsh: detach"):
                self._virsh("detach-device", self.vm, DEVICE_FILE, "--live")
                self._until(self._is_gone, "the interface's end")

    def _configure(self) -> None:
        self._until(lambda: bool(self._guest_name()), "the interface's name inside the VM")
        name, peer = self._guest_name(), self.plan.peer_address.partition("/")[0]
        self._guest("ip", "address", "add", self.plan.vm_address, "dev", name)
        self._guest("ip", "link", "set", name, "up")
        self._until(
            lambda: self._guest("ping", "-c", "1", "-W", "1", peer) == 0, "the peer's answer"
        )

    def _guest_name(self) -> str:
        for interface in self._agent("guest-network-get-interfaces"):
            if interface.get("hardware-address", "").lower() == self.plan.mac.lower():
                return str(interface["name"])
        return ""

    def _guest(self, *argv: str) -> int:
        arguments = {"path": argv[0], "arg": argv[1:], "capture-output": False}
        pid = self._agent("guest-exec", arguments)["pid"]
        status = until(
            lambda: self._exited(pid), timeout_sec=STEP_SEC, what=f"The end of {argv[0]}"
        )
        return int(status["exitcode"])

    def _exited(self, pid: int) -> dict[str, Any] | None:
        status: dict[str, Any] = self._agent("guest-exec-status", {"pid": pid})
        return status if status["exited"] else None

    def _agent(self, command: str, arguments: object = None) -> Any:
        request = {"execute": command} | ({"arguments": arguments} if arguments else {})
        answer = self._virsh("qemu-agent-command", self.vm, json.dumps(request))
        return json.loads(answer)["return"]

    def _is_gone(self) -> bool:
        return self.plan.mac.lower() not in self._virsh("domiflist", self.vm).lower()

    def _virsh(self, *words: str) -> str:
        return self.host.run(("virsh", "--quiet", *words), timeout_sec=STEP_SEC).stdout

    def _until(self, condition: Callable[[], bool], what: str) -> None:
        until(condition, timeout_sec=STEP_SEC, what=f"With bare virsh, {what}")


@dataclass(frozen=True)
class KvmlabHotplug:
    """Hotplug as a notebook does it."""

    bench: Bench
    vm: TestVM
    plan: Plan

    def once(self, block: int) -> None:
        """Apply and revert, timing the parts and the whole."""
        with self.bench.timed("kvmlab: all"):
            change = self.plan.apply(self.vm)
            try:
                self.bench.add("kvmlab: attach", change.nic.attach_sec)
                self.bench.add("kvmlab: configure", change.nic.configure_sec)
            finally:
                with self.bench.timed("kvmlab: detach and put back"):
                    change.revert()


def main(argv: Sequence[str] | None = None) -> None:
    """Run both in turn, ``--count`` times, on one embedded host."""
    count = repeats(5, argv)
    bench = Bench("hotplug_vs_virsh", "attach + configure + detach of one virtio interface")
    with kvmlab.open_lab("embedded") as lab:
        plan = lab.plan(kvmlab.Virtio(backend="qemu"))
        bench.notes["host"] = lab.host.emulated or lab.host.label
        with prepared(plan, vm=lab.vm):
            hand = VirshByHand(bench, lab.host, lab.vm.name, plan)
            lab.host.run(("tee", DEVICE_FILE), timeout_sec=30, input_text=plan.interface_xml)
            alternate(count, KvmlabHotplug(bench, lab.vm, plan).once, hand.once)
    bench.ratio("virsh over kvmlab", "virsh: all", "kvmlab: all")
    bench.finish()


if __name__ == "__main__":
    main()

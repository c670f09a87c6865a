"""States of a host that faults alter: a queueing discipline, a ring, a rule of a firewall, a limit.

A *state* is named by kind, target and name, and has a value that reads as one word. Whether it has
one certain value is a setting: the path ``state,KIND,TARGET,NAME=VALUE`` reads as "present" or is
missing. So a state whose target is gone, such as a tap that was unplugged, reads as never altered.

======================  ==============  ==================  ===============================
kind                    target          name                values
======================  ==============  ==================  ===============================
``file``                interface       file in its folder  a number
``up``                  interface       flags               up, down
``master``              interface       master              a bridge, none
``qdisc``               interface       root                none, netem_delay_40ms, ...
``police``              interface       ingress             none, a rate such as 20mbit
``feature``             interface       of ``ethtool -k``   on, off
``ring``                port            rx, tx              descriptors
``coalesce``            port            rx-usecs            microseconds
``fdb``                 bridge port     MAC                 on (a static entry), off
``pvid``                bridge port     vid                 a VLAN
``vf``                  PF              number of the VF    its VLAN, 0 for none
``module``              module          -                   on, off
``rule``                forward         of change_state.sh  on, off
``mac-filter``          FORWARD         MAC                 on, off
``quota``               VM              name of the cgroup  none, microseconds in 100 ms
``limit``               VM              its interface       0, KiB a second
``plug``                VM              its interface       up, down
``stp``                 bridge port     state               forwarding, disabled
``spanning-tree``       bridge          forward-delay       none (off), seconds
``macvtap``             macvtap         mode                bridge, vepa, private
``near``                port            its namespace       none, the address of a peer on the port
``nice``                VM              vhost               of its vhost workers
======================  ==============  ==================  ===============================
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from kvmlab.changes.operations import register
from kvmlab.changes.steps import Command, HostStep, Setting
from kvmlab.hosts import script_text

#: Each kind of state, and its command as a person would type it.
_TYPED: Final = {
    "file": "echo {value} > /sys/class/net/{target}/{name}",
    "up": "ip link set dev {target} {value}",
    "master": "ip link set dev {target} master {value}",
    "qdisc": "tc qdisc replace dev {target} root {words}",
    "police": "tc filter add dev {target} ingress matchall action police rate {value} drop",
    "feature": "ethtool -K {target} {name} {value}",
    "ring": "ethtool -G {target} {name} {value}",
    "coalesce": "ethtool -C {target} {name} {value}",
    "fdb": "bridge fdb replace {name} dev {target} master static sticky",
    "pvid": "bridge vlan add dev {target} vid {value} pvid untagged",
    "vf": "ip link set dev {target} vf {name} vlan {value}",
    "module": "modprobe {target}",
    "rule": "iptables -I FORWARD … -j DROP",
    "mac-filter": "ebtables -I {target} -s {name} -j DROP",
    "quota": "echo {value} 100000 > /sys/fs/cgroup/{name}/cpu.max",
    "limit": "virsh domiftune {target} {name} --inbound {value} --outbound {value}",
    "plug": "virsh domif-setlink {target} {name} {value}",
    "stp": "bridge link set dev {target} state {value}",
    "spanning-tree": "ip link set dev {target} type bridge stp_state 1 forward_delay {value}00",
    "macvtap": "ip link set dev {target} type macvtap mode {value}",
    "near": "ip link add link {target} netns {name} name near0 type macvlan mode bridge",
    "nice": "renice -n {value} -p $(ps -eT -o tid=,comm= | awk '/vhost-/ {{print $1}}')",
}
#: The same for the values that take something away.
_TYPED_AWAY: Final = {
    ("master", "none"): "ip link set dev {target} nomaster",
    ("qdisc", "none"): "tc qdisc delete dev {target} root",
    ("police", "none"): "tc qdisc delete dev {target} clsact",
    ("fdb", "off"): "bridge fdb delete {name} dev {target} master",
    ("module", "off"): "rmmod {target}",
    ("rule", "off"): "iptables -D FORWARD … -j DROP",
    ("mac-filter", "off"): "ebtables -D {target} -s {name} -j DROP",
    ("spanning-tree", "none"): "ip link set dev {target} type bridge stp_state 0 forward_delay 0",
    ("near", "none"): "ip netns delete {name}",
    ("quota", "none"): "cat /sys/fs/cgroup/{name}/cgroup.procs > /sys/fs/cgroup/cgroup.procs",
}
_WORD: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/%-]{0,63}")


def _is_kind(text: str) -> bool:
    return text in _TYPED


def _is_word(text: str) -> bool:
    return text == "-" or (
        _WORD.fullmatch(text) is not None and not {".", "..", ""} & set(text.split("/"))
    )


@register("set-state", _is_kind, _is_word, _is_word, _is_word)
def set_state(kind: str, target: str, name: str, value: str) -> Command:
    """Bring a state of the host to a value."""
    form = _TYPED_AWAY.get((kind, value), _TYPED[kind])
    return Command(
        ("sh", "-s", "--", kind, target, name, value),
        script_text("kvmlab.changes", "change_state.sh"),
        shown_as=form.format(target=target, name=name, value=value, words=value.replace("_", " ")),
    )


@dataclass(frozen=True)
class HostState:
    """A state of the host, and the value that it is to be given."""

    kind: str
    target: str
    name: str
    value: str

    @property
    def path(self) -> str:
        """The setting that reads as the value that the state has now."""
        return f"state,{self.kind},{self.target},{self.name}"

    def step(self, what: str, before: str, *, touches: tuple[str, ...] = ()) -> HostStep:
        """Return the step that gives the state its value; its undo leads back to ``before``."""
        return HostStep(
            what=what,
            setting=Setting(f"{self.path}={self.value}", None, "present"),
            do=(set_state(self.kind, self.target, self.name, self.value),),
            undo=(set_state(self.kind, self.target, self.name, before),),
            touches=touches,
            settles=True,
        )

"""States inside the VM that faults alter: a sysctl, an offload, a route, a neighbour.

They are read and written through the guest agent. A state of an interface goes with it.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

from kvmlab.changes.steps import Step
from kvmlab.errors import StepFailed
from kvmlab.hosts import script_text

if TYPE_CHECKING:
    from kvmlab.domain import TestVM

_SEC: Final = 60.0
#: Each kind of state, and its command as a person would type it inside the VM.
_TYPED: Final = {
    "sysctl": "sysctl -w {dotted}='{words}'",
    "mtu": "ip link set ethN mtu {value}",
    "feature": "ethtool -K ethN {name} {value}",
    "neighbour": "arp -s {name} 02:00:00:00:00:01",
    "route": "ip route add blackhole {name}/32",
    "prefix": "ip address replace {name}/{value} dev ethN",
    "qdisc": "tc qdisc replace dev ethN root pfifo limit 1",
    "arp": "ip link set ethN arp {value}",
    "ring": "ethtool -G ethN {name} {value}",
    "coalesce": "ethtool -C ethN {name} {value}",
}
_TYPED_AWAY: Final = {
    ("neighbour", "off"): "arp -d {name}",
    ("route", "off"): "ip route del blackhole {name}/32",
    ("qdisc", "none"): "tc qdisc del dev ethN root",
}
_MAC: Final = re.compile(r"-|(?:[0-9a-f]{2}:){5}[0-9a-f]{2}")
_WORD: Final = re.compile(r"-|[A-Za-z0-9](?:[A-Za-z0-9_.,-]|/(?![./])){0,63}")


@dataclass(frozen=True)
class SetGuestState(Step):
    """Gives a state inside the running VM another value; its undo gives it the value before.

    ``mac`` names the interface, "-" for a state of the whole VM. Values read as one word: commas
    stand for blanks.
    """

    kind: ClassVar[str] = "guest"
    domain: str
    state: str
    mac: str
    name: str
    value: str
    value_before: str

    def __post_init__(self) -> None:
        words = (self.name, self.value, self.value_before)
        if self.state not in _TYPED or not _MAC.fullmatch(self.mac):
            raise ValueError(f"no state {self.state!r} of {self.mac!r}")
        for word in words:
            if not _WORD.fullmatch(word):
                raise ValueError(f"{word[:80]!r} is no value of a guest's state")

    @property
    def before(self) -> str:
        """The value before."""
        return self.value_before

    @property
    def after(self) -> str:
        """The value after."""
        return self.value

    @property
    def do_text(self) -> tuple[str, ...]:
        """The command in the guest."""
        return (self._typed(self.value),)

    @property
    def undo_text(self) -> tuple[str, ...]:
        """The command in the guest."""
        return (self._typed(self.value_before),)

    def _typed(self, value: str) -> str:
        form = _TYPED_AWAY.get((self.state, value), _TYPED[self.state])
        text = form.format(
            name=self.name,
            dotted=self.name.replace("/", "."),
            value=value,
            words=value.replace(",", " "),
        )
        return f"in the VM: {text}"


def read_guest_state(vm: TestVM, state: str, mac: str, name: str) -> str:
    """Return the value of a state inside the VM, "" where its interface is gone.

    Raises:
        GuestCommandFailed: it cannot be read.
        AgentTimeout: the guest agent does not answer.
    """
    return _run(vm, "read", state, mac, name)


def apply_guest_state(step: SetGuestState, vm: TestVM) -> None:
    """Give the state its value, and read it again.

    Raises:
        StepFailed: it did not take the value.
    """
    _write(step, vm, step.value)


def undo_guest_state(step: SetGuestState, vm: TestVM) -> bool:
    """Give the state its value of before; return False where it had it, or its interface is gone.

    Raises:
        StepFailed: it did not take the value.
    """
    now = read_guest_state(vm, step.state, step.mac, step.name)
    if now in ("", step.value_before):
        return False
    _write(step, vm, step.value_before)
    return True


def _write(step: SetGuestState, vm: TestVM, value: str) -> None:
    _run(vm, "write", step.state, step.mac, step.name, value)
    now = read_guest_state(vm, step.state, step.mac, step.name)
    if now != value:
        raise StepFailed(
            f"{step.what} The command succeeded, but {step.state} {step.name} inside {vm.name} "
            f"reads {now or 'nothing'} where {value} was expected.",
            todo=f"Look at it there: {shlex.quote(step.undo_text[0])}.",
        )


def _run(vm: TestVM, *words: str) -> str:
    done = vm.agent.run(
        ("sh", "-s", "--", *words),
        timeout_sec=_SEC,
        input_text=script_text("kvmlab.changes", "guest_state.sh"),
    )
    return done.stdout.strip()

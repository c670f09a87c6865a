"""One card, and the VM told to use one, two, four … of its queue pairs in turns."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from kvmlab.changes import set_channels
from kvmlab.errors import UsageError
from kvmlab.schemes.queues import name_of_queues, words_on_queues

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvmlab.changes import Nic
    from kvmlab.domain import TestVM
    from kvmlab.measure.session import Apply


def doubling(queues: int) -> tuple[int, ...]:
    """From one queue pair to all of them.

    >>> doubling(4), doubling(6)
    ((1, 2, 4), (1, 2, 4, 6))
    """
    powers = [2**exponent for exponent in range(queues.bit_length()) if 2**exponent < queues]
    return (*powers, queues)


def stepped(vm: TestVM, nic: Nic, used: Sequence[int]) -> dict[str, Apply]:
    """For each number in ``used`` what makes the VM use so many queue pairs of ``nic``.

    Raises:
        UsageError: the card has only one.
    """
    if nic.queues < 2:
        raise UsageError(
            f"{nic.label} has one queue pair: there is nothing to step through.",
            todo='Attach one with more: Virtio(backend="vhost", queues=4).',
        )
    ways = [_named(nic, number) for number in dict.fromkeys(used)]
    return {
        way.label: partial(_using, vm, way, number)
        for way, number in zip(ways, dict.fromkeys(used), strict=True)
    }


def _named(nic: Nic, used: int) -> Nic:
    """The same card under the name that the scheme has which asks for so many channels."""
    plain, words = name_of_queues(nic.queues, 0), words_on_queues(nic.queues, 0)
    return replace(
        nic,
        scheme=nic.scheme.replace(plain, name_of_queues(nic.queues, used)),
        label=nic.label.replace(words, words_on_queues(nic.queues, used)),
    )


@contextmanager
def _using(vm: TestVM, nic: Nic, used: int) -> Iterator[Nic]:
    # Nothing is put back: the number goes with the interface.
    set_channels(vm, nic, used)
    yield nic

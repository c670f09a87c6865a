"""One NIC with one, two, four … of its queue pairs in use, each under a label of its own."""

from __future__ import annotations

from typing import cast

import pytest

from kvmlab.changes import Nic
from kvmlab.domain import TestVM
from kvmlab.errors import UsageError
from kvmlab.lab.lab import channel_variants, doubling
from kvmlab.schemes import Virtio

UNUSED = cast(TestVM, None)


def nic(queues: int) -> Nic:
    scheme = Virtio(backend="vhost", queues=queues)
    return Nic(
        scheme=scheme.id,
        label=scheme.label,
        backend="vhost",
        mac="52:54:00:00:00:01",
        guest_interface="eth0",
        guest_driver="virtio_net",
        host_device="vnet0",
        vm_address="192.0.2.10/24",
        peer_address="192.0.2.1/24",
        queues=queues,
    )


@pytest.mark.parametrize(
    ("queues", "steps"), [(2, (1, 2)), (3, (1, 2, 3)), (4, (1, 2, 4)), (8, (1, 2, 4, 8))]
)
def test_steps_double_from_one_to_all(queues: int, steps: tuple[int, ...]) -> None:
    assert doubling(queues) == steps


def test_each_step_has_the_name_of_the_scheme_that_asks_for_it() -> None:
    scheme = Virtio(backend="vhost", queues=4, channels=2)
    assert list(channel_variants(UNUSED, nic(4), (2, 4, 2))) == [
        scheme.label,
        "virtio, vhost, 4 of 4 queues",
    ]


def test_a_card_with_one_queue_pair_has_no_steps() -> None:
    with pytest.raises(UsageError, match="one queue pair"):
        channel_variants(UNUSED, nic(1), (1,))

"""The registry: an id for each scheme, and schemes from an id and options as text."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvmlab.errors import UsageError
from kvmlab.schemes import FullEmulation, Macvtap, PciPassthrough, Scheme, SriovVf, Virtio
from kvmlab.schemes.registry import ALIASES, CATALOGUE, REGISTRY, scheme_from_text


@pytest.mark.parametrize(
    ("scheme_id", "options", "scheme"),
    [
        ("e1000e", {}, FullEmulation("e1000e")),
        ("virtio-qemu", {}, Virtio()),
        ("virtio-vhost", {"queues": "4"}, Virtio(backend="vhost", queues=4)),
        ("macvtap", {"mode": "vepa"}, Macvtap(mode="vepa")),
        ("passthrough", {"port": "p1p1", "group": "take"}, PciPassthrough("p1p1", group="take")),
        ("sriov-vf", {"vfs": "2", "trust": "yes"}, SriovVf(vfs=2, trust=True)),
    ],
)
def test_a_scheme_is_made_from_its_id_and_options(
    scheme_id: str, options: dict[str, str], scheme: Scheme
) -> None:
    assert scheme_from_text(scheme_id, options) == scheme


def test_every_scheme_has_the_id_under_which_its_results_are_stored() -> None:
    assert list(REGISTRY) == [
        "e1000",
        "e1000e",
        "virtio-qemu",
        "virtio-vhost",
        "virtio-vhost-q4",
        "macvtap",
        "macvtap-e1000",
        "macvtap-qemu",
        "passthrough",
        "sriov-vf",
    ]
    for scheme_id, entry in REGISTRY.items():
        assert entry.scheme.id == scheme_from_text(scheme_id).id == scheme_id
    assert {scheme.id for scheme in CATALOGUE} < set(REGISTRY)
    assert set(ALIASES.values()) < set(REGISTRY)


def test_an_iommu_group_is_taken_only_where_the_text_says_so() -> None:
    assert scheme_from_text("passthrough") == PciPassthrough(group="refuse")
    assert REGISTRY["passthrough"].scheme == PciPassthrough(group="take")


@pytest.mark.parametrize(
    ("scheme_id", "options", "words"),
    [
        ("virtio", {}, "Did you mean virtio-"),
        ("virtio-vhost-q4", {"queues": "2"}, "no option 'queues'"),
        ("", {}, "There is no scheme ''"),
        ("macvtap", {"mod": "vepa"}, "Did you mean mode?"),
        ("macvtap", {"mode": "veppa"}, "'veppa' is no value"),
        ("sriov-vf", {"vfs": "many"}, "'many' is no value"),
        ("sriov-vf", {"vfs": "-1"}, "'-1' is no value"),
        ("sriov-vf", {"vfs": "0"}, "first is VF 0"),
        ("sriov-vf", {"vfs": "9999999999999"}, "is no value"),
        ("sriov-vf", {"trust": "perhaps"}, "'perhaps' is no value"),
        ("e1000", {"model": "ne2k"}, "no option 'model'"),
    ],
)
def test_another_one_is_refused(scheme_id: str, options: dict[str, str], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        scheme_from_text(scheme_id, options)
    assert words in caught.value.message
    assert caught.value.todo


WORDS = st.text(max_size=8)


@given(st.sampled_from(list(REGISTRY)), st.dictionaries(WORDS, WORDS, max_size=2))
def test_any_options(scheme_id: str, options: dict[str, str]) -> None:
    with suppress(UsageError):
        assert isinstance(scheme_from_text(scheme_id, options), Scheme)

"""Schemes by name, with their knobs as text."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvmlab.errors import UsageError
from kvmlab.schemes import FullEmulation, Macvtap, PciPassthrough, Scheme, SriovVf, Virtio
from kvmlab.schemes.catalogue import CATALOGUE
from kvmlab.schemes.naming import NAMES, scheme_named


@pytest.mark.parametrize(
    ("name", "knobs", "made"),
    [
        ("e1000e", {}, FullEmulation("e1000e")),
        ("virtio-qemu", {}, Virtio()),
        ("virtio-vhost", {"queues": "4"}, Virtio(backend="vhost", queues=4)),
        ("macvtap", {"mode": "vepa"}, Macvtap(mode="vepa")),
        ("passthrough", {"port": "p1p1", "group": "take"}, PciPassthrough("p1p1", group="take")),
        ("sriov-vf", {"vfs": "2", "trust": "yes"}, SriovVf(vfs=2, trust=True)),
    ],
)
def test_a_scheme_has_a_name(name: str, knobs: dict[str, str], made: Scheme) -> None:
    assert scheme_named(name, knobs) == made


def test_all_of_the_catalogue_have_one() -> None:
    assert [scheme.id for scheme in CATALOGUE] == list(NAMES)


@pytest.mark.parametrize(
    ("name", "knobs", "said"),
    [
        ("virtio", {}, "Did you mean virtio-"),
        ("", {}, "There is no scheme ''"),
        ("macvtap", {"mod": "vepa"}, "Did you mean mode?"),
        ("macvtap", {"mode": "veppa"}, "'veppa' is no value"),
        ("sriov-vf", {"vfs": "many"}, "'many' is no value"),
        ("sriov-vf", {"vfs": "-1"}, "'-1' is no value"),
        ("sriov-vf", {"vfs": "0"}, "first is VF 0"),
        ("sriov-vf", {"vfs": "9999999999999"}, "is no value"),
        ("sriov-vf", {"trust": "perhaps"}, "'perhaps' is no value"),
        ("e1000", {"model": "ne2k"}, "no knob 'model'"),
    ],
)
def test_another_one_is_refused(name: str, knobs: dict[str, str], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        scheme_named(name, knobs)
    assert said in caught.value.message
    assert caught.value.todo


WORDS = st.text(max_size=8)


@given(st.sampled_from(NAMES), st.dictionaries(WORDS, WORDS, max_size=2))
def test_any_knobs(name: str, knobs: dict[str, str]) -> None:
    with suppress(UsageError):
        assert isinstance(scheme_named(name, knobs), Scheme)

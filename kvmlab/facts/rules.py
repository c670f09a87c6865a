"""Stable names of the reasons why a host cannot do something.

They go into ``Unavailable.rule`` and ``Refused.rule``, into reports and into JSON, so they are
never renamed.
"""

from __future__ import annotations

from enum import StrEnum


class Rule(StrEnum):
    """The reasons known so far."""

    LIBVIRT_PYTHON_MISSING = "libvirt-python-missing"
    LIBVIRT_MISSING = "libvirt-missing"
    KVM_NOT_USABLE = "kvm-not-usable"
    VHOST_NET_MISSING = "vhost-net-missing"
    MODULE_MISSING = "module-missing"
    IOMMU_OFF = "iommu-off"
    GROUP_NOT_VIABLE = "group-not-viable"
    NO_RESET = "no-reset"
    SRIOV_MISSING = "sriov-missing"
    MANAGEMENT = "management-interface"
    IPROUTE_MISSING = "iproute2-missing"
    PORT_MISSING = "port-missing"

"""Stable names of the reasons why a host cannot do something, or does it badly.

They go into ``Unavailable.rule`` and ``Refused.rule``, into the doctor's report and into JSON, so
they are never renamed. What each of them means stands in :mod:`kvmlab.facts.rule_book`.
"""

from __future__ import annotations

from enum import StrEnum


class Rule(StrEnum):
    """The reasons known so far, in the order in which the doctor looks at them."""

    # The machine, its kernel and libvirt.
    LIBVIRT_PYTHON_MISSING = "libvirt-python-missing"
    LIBVIRT_MISSING = "libvirt-missing"
    IPROUTE_MISSING = "iproute2-missing"
    KVM_NOT_USABLE = "kvm-not-usable"
    EMBEDDED_KVM = "embedded-kvm"
    MODULE_MISSING = "module-missing"
    VHOST_NET_MISSING = "vhost-net-missing"
    VHOST_NET_DENIED = "vhost-net-denied"
    IOMMU_OFF = "iommu-off"
    LOCKED_MEMORY = "locked-memory"
    BRIDGE_NETFILTER = "bridge-netfilter"
    LEFTOVERS = "leftovers"
    NO_CONSENT = "no-consent"
    # Ports and functions.
    MANAGEMENT = "management-interface"
    CONNECTIONS = "port-carries-connections"
    PORT_MISSING = "port-missing"
    PORT_IN_USE = "port-in-use"
    BRIDGE_NAME_TAKEN = "bridge-name-taken"
    GROUP_NOT_VIABLE = "group-not-viable"
    NO_RESET = "no-reset"
    BUS_RESET = "bus-reset"
    NOT_GIVEN_BACK = "not-given-back"
    # SR-IOV.
    SRIOV_MISSING = "sriov-missing"
    NUMVFS_REFUSED = "numvfs-refused"
    BRIDGE_ON_PORT_WITH_VFS = "bridge-on-port-with-vfs"
    PF_DOWN = "pf-down"
    VF_MAC_UNSET = "vf-mac-unset"
    VF_TRUST = "vf-trust"
    VF_REGISTERS_DEAD = "vf-registers-dead"
    IGB_CHECKSUMS = "igb-checksums"
    # VMs.
    LAB_VM_IMAGE = "lab-vm-image"
    NOT_THE_LABS_DOMAIN = "not-the-labs-domain"
    NOT_THE_NAMED_DOMAIN = "not-the-named-domain"
    VHOST_NOT_USED = "vhost-not-used"
    MACVTAP_ISOLATION = "macvtap-isolation"
    MACVTAP_VEPA = "macvtap-vepa"
    MACVTAP_RX_FILTERS = "macvtap-rx-filters"
    QUEUES_MISMATCH = "queues-mismatch"
    VF_BLOCKS_MIGRATION = "vf-blocks-migration"
    WINDOWS_NETKVM = "windows-netkvm"
    GUEST_DRIVER_MISSING = "guest-driver-missing"
    # The machine at which kvmlab runs.
    KERNELSPEC_MISSING = "kernelspec-missing"
    PLOTLY_NOT_OFFLINE = "plotly-not-offline"
    WIDGETS_MISSING = "widgets-missing"

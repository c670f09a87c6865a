"""1 INSPECT: what a host is and has. Reads a host, never writes it."""

from kvmlab.facts.fact_differences import Difference, Differences, differences
from kvmlab.facts.host_facts import HostFacts
from kvmlab.facts.inspection import inspect
from kvmlab.facts.rules import Rule
from kvmlab.facts.types import (
    CpuFacts,
    DomainCapabilities,
    Handover,
    HugePages,
    IommuFacts,
    IommuGroup,
    KernelFacts,
    KvmFacts,
    KvmProof,
    LibvirtFacts,
    Link,
    LinkState,
    ModuleState,
    NetFunction,
    VfSettings,
)

__all__ = [
    "CpuFacts",
    "Difference",
    "Differences",
    "DomainCapabilities",
    "Handover",
    "HostFacts",
    "HugePages",
    "IommuFacts",
    "IommuGroup",
    "KernelFacts",
    "KvmFacts",
    "KvmProof",
    "LibvirtFacts",
    "Link",
    "LinkState",
    "ModuleState",
    "NetFunction",
    "Rule",
    "VfSettings",
    "differences",
    "inspect",
]

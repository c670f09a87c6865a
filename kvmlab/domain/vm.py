"""The test VM: lifecycle, XML, interfaces, agent."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from lxml import etree

from kvmlab.domain import hotplug, threads
from kvmlab.domain.agent import GuestAgent
from kvmlab.domain.description import LAB_VM_NAME, Domain, LabVm
from kvmlab.domain.interface import Interface, alias_for
from kvmlab.domain.threads import VmThreads
from kvmlab.errors import DomainError, DomainNotFound, HostError, Refused, Unavailable
from kvmlab.hosts import libvirt_client

if TYPE_CHECKING:
    import libvirt

    from kvmlab.hosts import Host

#: libvirt's virDomainState, in the words of `virsh list`.
_STATES: Final = (
    "no state", "running", "idle", "paused", "in shutdown", "shut off", "crashed", "suspended",
)  # fmt: skip
_CONSOLE_TAIL_BYTES: Final = 2000


class TestVM:
    """One domain of a host, the lab's own or one that the user named."""

    __test__ = False  # pytest: not a test class

    def __init__(self, host: Host, handle: libvirt.virDomain, name: str) -> None:
        self.host = host
        self.handle = handle
        self.name = name
        #: How commands get into it: by the guest agent, or by ssh (`SshGuest`).
        self.agent: GuestAgent = GuestAgent(self)

    @classmethod
    def find(cls, host: Host, name: str = LAB_VM_NAME) -> TestVM:
        """Find the domain of that name.

        Raises:
            DomainNotFound: there is none; the message lists those there are.
        """
        connection = host.libvirt
        try:
            handle = libvirt_client.call(
                connection.lookupByName, name, what=f"find {name}", host=host.label
            )
        except DomainNotFound as error:
            domains = libvirt_client.call(connection.listAllDomains, 0, host=host.label)
            names = ", ".join(sorted(domain.name() for domain in domains)) or "none"
            raise DomainNotFound(
                f"There is no domain {name} on {host.label}; there are: {names}.",
                todo="Give the name of one of them, or let the lab make its own VM.",
            ) from error
        return cls(host, handle, name)

    @classmethod
    def ensure(
        cls,
        host: Host,
        name: str = LAB_VM_NAME,
        *,
        vcpus: int | None = None,
        memory_mib: int | None = None,
        timeout_sec: float = 180,
    ) -> TestVM:
        """Return the lab's own VM, running and its agent answering; define it where it is missing.

        One with another number of vCPUs or another size is defined anew. Left out, both stay as
        they are (2 vCPUs and 512 MiB in a new VM).

        Raises:
            Refused: a domain of that name exists and is not the lab's.
            Unavailable: the host has no image for the VM.
            AgentTimeout: the VM's agent did not answer in time.
        """
        try:
            vm = cls.find(host, name)
        except DomainNotFound:
            host.must_allow_changes(f"the definition of {name}")
            vm = cls._define(host, _lab_vm(LabVm(name=name), vcpus, memory_mib))
        else:
            vm = vm._resized(vcpus, memory_mib)
        if vm.state not in ("running", "idle"):
            host.must_allow_changes(f"starting {name}")
            vm.start()
        vm.agent.ping(timeout_sec=timeout_sec)
        return vm

    @classmethod
    def _define(cls, host: Host, config: LabVm) -> TestVM:
        library = libvirt_client.library()
        for image in (config.kernel, config.initrd):
            if host.run(("test", "-e", image), timeout_sec=20, check=False).returncode != 0:
                raise Unavailable(
                    f"{host.label} has no image for the lab's own VM: {image} is missing.",
                    rule="lab-vm-image",
                    todo="Give the name of a VM of your own on that host.",
                )
        accelerator = "kvm" if _has_kvm(host) else "qemu"
        handle = libvirt_client.call(
            host.libvirt.defineXMLFlags,
            replace(config, accelerator=accelerator).domain().xml(),
            library.VIR_DOMAIN_DEFINE_VALIDATE,
            what=f"define {config.name}",
            host=host.label,
        )
        return cls(host, handle, config.name)

    def _resized(self, vcpus: int | None, memory_mib: int | None) -> TestVM:
        domain = Domain.parse(self.xml())
        if not domain.is_lab:
            raise Refused(
                f"The domain {self.name} on {self.host.label} was not made by kvmlab.",
                rule="not-the-labs-domain",
                todo="Rename it, or name it as the VM to use, which leaves its definition alone.",
            )
        has_memory_mib = (domain.memory or 0) // 1024  # libvirt itself answers in KiB
        if vcpus in (None, domain.vcpus) and memory_mib in (None, has_memory_mib):
            return self
        self.host.must_allow_changes(f"another size of {self.name}")
        self.stop()
        libvirt_client.call(self.handle.undefine, what=f"undefine {self.name}")
        return self._define(self.host, _lab_vm(LabVm(name=self.name), vcpus, memory_mib))

    @property
    def is_lab(self) -> bool:
        """True if the domain carries the lab's mark in its metadata."""
        return Domain.parse(self.xml()).is_lab

    @property
    def state(self) -> str:
        """The domain's state in libvirt's words: "running", "paused", "shut off" and so on."""
        number = int(self._call(self.handle.state, what="say its state")[0])
        return _STATES[number] if number < len(_STATES) else "no state"

    @property
    def is_persistent(self) -> bool:
        """True if it has a definition that outlives its run."""
        return bool(self._call(self.handle.isPersistent, what="say whether it is persistent"))

    def redefine(self, xml: str) -> None:
        """Write its persistent definition; what runs goes on as it is.

        Raises:
            LibvirtFailed: libvirt does not take it; the definition is then as it was.
        """
        flags = libvirt_client.library().VIR_DOMAIN_DEFINE_VALIDATE
        connection = self.host.libvirt
        self._call(connection.defineXMLFlags, xml, flags, what="be defined anew")

    def xml(self, *, inactive: bool = False, secrets: bool = False) -> str:
        """Return the domain's XML: the running one, or with ``inactive`` the persistent one.

        With ``secrets`` passwords are in it: for writing it back, never for showing or keeping.
        """
        library = libvirt_client.library()
        flags = library.VIR_DOMAIN_XML_INACTIVE if inactive else 0
        flags |= library.VIR_DOMAIN_XML_SECURE if secrets else 0
        return str(self._call(self.handle.XMLDesc, flags, what="describe itself"))

    def start(self) -> None:
        """Start the domain where it is shut off, resume it where it is paused."""
        state = self.state
        if state == "paused":
            self.resume()
        elif state not in ("running", "idle"):
            self._call(self.handle.create, what="start")

    def suspend(self) -> None:
        """Stop its vCPUs, as is needed before the state of the whole host is saved."""
        if self.state != "paused":
            self._call(self.handle.suspend, what="be suspended")

    def resume(self) -> None:
        """Resume its vCPUs, if they are stopped."""
        if self.state == "paused":
            self._call(self.handle.resume, what="be resumed")

    def stop(self) -> None:
        """Switch it off at once (it has no disk), if it is on."""
        if self.state != "shut off":
            self._call(self.handle.destroy, what="be switched off")

    def attach(self, device_xml: str, *, timeout_sec: float = 60) -> str:
        """Hot-plug a device; returns its alias once libvirt's event says it is in.

        A device without an alias of its own gets one from its MAC.

        Raises:
            HotplugFailed: libvirt refused, or no event came in time.
            DomainError: neither alias nor MAC, so that the device could not be found again.
        """
        node = etree.fromstring(device_xml)
        alias = node.find("alias")
        if alias is None:
            mac = node.find("mac")
            if mac is None:
                raise DomainError(
                    "A device to be attached needs an <alias> or a <mac>, and has neither.",
                    evidence=device_xml,
                )
            alias = etree.SubElement(node, "alias", name=alias_for(str(mac.get("address"))))
        name = str(alias.get("name"))
        text = etree.tostring(node, encoding="unicode")
        hotplug.attach(self, text, name, timeout_sec=timeout_sec)
        return name

    def detach(self, mac_or_alias: str, *, timeout_sec: float = 60, settle: bool = False) -> bool:
        """Unplug a device and wait until it is gone; False where it was gone already.

        Raises:
            HotplugFailed: the guest refused, or no event came in time.
        """
        if self.state in ("shut off", "crashed"):
            return False
        alias: str | None = mac_or_alias
        if ":" in mac_or_alias:
            interface = self.interface(mac_or_alias)
            alias = interface.alias if interface is not None else None
        elif not self.has_device(mac_or_alias) and not (
            settle and hotplug.settle(self, mac_or_alias)
        ):
            return False
        if alias is None:
            return False
        hotplug.detach(self, alias, timeout_sec=timeout_sec)
        return True

    def interface(self, mac: str) -> Interface | None:
        """Return the interface with this MAC in the running domain."""
        return Domain.parse(self.xml()).interface(mac)

    def has_device(self, alias: str) -> bool:
        """Return True if a device with this alias is in the running domain."""
        names = Domain.parse(self.xml()).node.iterfind("devices/*/alias")
        return any(name.get("name") == alias for name in names)

    def host_device(self, mac: str) -> str | None:
        """Return the tap or macvtap of the interface with this MAC, from the live XML."""
        interface = self.interface(mac)
        return interface.target_dev if interface is not None else None

    def pid(self) -> int:
        """Return the QEMU process on the host."""
        return self.threads().pid

    def threads(self) -> VmThreads:
        """Return the threads of the QEMU process, in one round trip to the host.

        Raises:
            DomainError: the domain does not run.
        """
        return threads.read_threads(self.host.runner, self.name)

    def console_tail(self) -> str:
        """Return the end of the VM's serial console, where that is a file; for messages."""
        try:
            domain = Domain.parse(self.xml())
            serial = domain.node.find("devices/serial[@type='file']/source")
            if serial is None:
                return ""
            return self.host.run(
                ("tail", "-c", str(_CONSOLE_TAIL_BYTES), str(serial.get("path"))),
                timeout_sec=20,
                check=False,
                root=True,
            ).stdout
        except (HostError, DomainError):
            return ""  # evidence for another error must not hide that error

    def _call(self, function, *args, what: str):  # type: ignore[no-untyped-def]
        return libvirt_client.call(
            function, *args, what=f"let {self.name} {what}", host=self.host.label
        )

    def __repr__(self) -> str:
        return f"<TestVM {self.name} on {self.host.label}>"


def _lab_vm(base: LabVm, vcpus: int | None, memory_mib: int | None) -> LabVm:
    return replace(base, vcpus=vcpus or base.vcpus, memory_mib=memory_mib or base.memory_mib)


def _has_kvm(host: Host) -> bool:
    """Return True if libvirt offers KVM domains on this host."""
    text = libvirt_client.call(host.libvirt.getCapabilities, host=host.label)
    return etree.fromstring(text.encode()).find("guest/arch/domain[@type='kvm']") is not None

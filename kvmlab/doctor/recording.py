"""Recordings of hosts: all that inspection and doctor read, in one file for a bug report or a test.

A recording is replayed without the host: ``HostRecording.load(path).readings()`` is what the rules
judge by, and ``.readings().facts`` what the schemes plan with.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from lxml import etree

from kvmlab.directories import write_named
from kvmlab.doctor.findings_input import FindingsInput
from kvmlab.doctor.running_vms import parse_vm, read_domains
from kvmlab.doctor.symptoms import read_symptoms
from kvmlab.errors import UsageError, reason_of
from kvmlab.facts import HostFacts, LibvirtFacts, inspect
from kvmlab.facts.libvirt import parse_domain_use
from kvmlab.hosts import Host, HostKind, RecordedRunner, Recorder, Reply
from kvmlab.hosts.anonymizer import Anonymizer
from kvmlab.serialization import from_json, to_json

_FORMAT: Final = 1
#: Parts of a domain that rules and users of interfaces are read from; the rest is left out.
_KEPT: Final = (
    "name", "memory", "vcpu", "cputune", "numatune", "features", "cpu", "clock", "metadata",
    "devices",
)  # fmt: skip
_KEPT_DEVICES: Final = ("interface", "hostdev", "iommu")


@dataclass(frozen=True)
class HostRecording:
    """One host as it answered: replies to commands, what libvirt said, and running domains."""

    host: str
    replies: tuple[Reply, ...]
    libvirt: LibvirtFacts
    domains: tuple[str, ...] = ()
    format: int = _FORMAT

    @classmethod
    def load(cls, path: Path) -> HostRecording:
        """Read a recording.

        Raises:
            UsageError: the file is no recording, or of a newer version of kvmlab.
        """
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            recording = from_json(document, cls)
        except (OSError, ValueError, TypeError) as error:
            raise UsageError(
                f"{path} is no recording of a host: {reason_of(error)}.",
                todo="`kvmlab inspect --record FILE` writes one.",
            ) from error
        if recording.format != _FORMAT:
            raise UsageError(
                f"{path} has the format {recording.format}, and this kvmlab reads {_FORMAT}.",
                todo="Use the kvmlab that wrote it, or a newer one.",
            )
        return recording

    def save(self, path: Path) -> None:
        """Write the recording to ``path``.

        Raises:
            UsageError: it cannot be written.
        """
        text = json.dumps(to_json(self), indent=1, ensure_ascii=False)
        write_named(path, text + "\n")

    def anonymized(self) -> HostRecording:
        """Return the same with other MACs, IP addresses, UUIDs and names of host and VMs."""
        names = {self.host: "recorded"} if self.host else {}
        names |= {_node_name(reply): "host1" for reply in self.replies if _node_name(reply)}
        names |= {
            parse_domain_use(text).name: f"vm{number}"
            for number, text in enumerate(self.domains, 1)
        }
        other = Anonymizer({name: new for name, new in names.items() if name})
        domains = tuple(other.text(text) for text in self.domains)
        return replace(
            self,
            host=other.text(self.host),
            replies=tuple(_anonymized(reply, other) for reply in self.replies),
            libvirt=replace(
                self.libvirt,
                uri=other.text(self.libvirt.uri),
                problem=other.text(self.libvirt.problem),
                kvm_guests=tuple(other.text(name) for name in self.libvirt.kvm_guests),
                domains=tuple(parse_domain_use(text) for text in domains),
            ),
            domains=domains,
        )

    def facts(self) -> HostFacts:
        """Return the inspection of the recorded host."""
        with self._host() as host:
            return replace(inspect(host), libvirt=self.libvirt)

    def readings(self) -> FindingsInput:
        """Return all that the doctor judges by, apart from the machine at which kvmlab ran."""
        facts = self.facts()
        with self._host() as host:
            symptoms = read_symptoms(host, facts)
        return FindingsInput(facts, symptoms, vms=tuple(parse_vm(text) for text in self.domains))

    def _host(self) -> Host:
        return Host(
            spec="recorded",
            kind=HostKind.RECORDED,
            label=self.host,
            runner=RecordedRunner(self.replies, name=self.host),
            # Its facts are replaced by those recorded; libvirt's test driver answers meanwhile.
            libvirt_uri="test:///default",
        )


def record(host: Host) -> HostRecording:
    """Inspect ``host`` and read its symptoms, and return every answer.

    Raises:
        HostUnreachable, CommandTimeout: the host cannot be read.
        Unavailable: it lacks iproute2.
    """
    runner = host.runner
    recorder = Recorder(runner)
    host.runner = recorder
    try:
        facts = inspect(host)
        read_symptoms(host, facts)
    finally:
        host.runner = runner
    domains, _ = read_domains(host)
    return HostRecording(
        host=host.label,
        replies=_for_replay(recorder.replies),
        libvirt=facts.libvirt,
        domains=tuple(_reduced(text) for text in domains),
    )


def _for_replay(replies: tuple[Reply, ...]) -> tuple[Reply, ...]:
    """Return ``replies`` and, of the boot of a guest, one for every emulator that may be asked for.

    libvirt's test driver, which answers when a recording is replayed, names another emulator.
    """
    return tuple(
        dict.fromkeys(twin for reply in replies for twin in (reply, *_with_other_emulators(reply)))
    )


def _with_other_emulators(reply: Reply) -> tuple[Reply, ...]:
    if not (reply.input_line or "").startswith("# Boot a real guest"):
        return ()
    head, seconds = reply.argv[:3], reply.argv[4:]
    return tuple(
        replace(reply, argv=(*head, emulator, *other), root=root)
        for emulator in ("/usr/bin/test-hv", "")
        for other in {seconds, ("15",)}
        for root in (False, True)
    )


def _reduced(text: str) -> str:
    """Return a domain's XML without what no rule reads: disks, titles, passwords, labels."""
    root = etree.fromstring(text.encode())
    for child in list(root):
        if child.tag not in _KEPT:
            root.remove(child)
    for device in list(root.iterfind("devices/*")):
        if device.tag not in _KEPT_DEVICES:
            device.getparent().remove(device)  # type: ignore[union-attr]
    for metadata in root.iterfind("metadata"):
        for child in list(metadata):
            if "libosinfo" not in str(child.tag) and "urn:kvmlab" not in str(child.tag):
                metadata.remove(child)
    return etree.tostring(root, encoding="unicode")


def _node_name(reply: Reply) -> str:
    """Return the name that the host has for itself, from the reading script's first section."""
    head, _, rest = reply.stdout.partition("=== identity\n")
    return rest.split(" ", 1)[0] if not head.strip() and rest else ""


def _anonymized(reply: Reply, other: Anonymizer) -> Reply:
    mark = "=== connections\n"
    head, separator, rest = reply.stdout.partition(mark)
    connections, _, tail = rest.partition("=== exit")
    stdout = other.text(head)
    if separator:
        stdout += mark + other.connections(connections) + "=== exit" + other.text(tail)
    return replace(reply, stdout=stdout, stderr=other.text(reply.stderr))

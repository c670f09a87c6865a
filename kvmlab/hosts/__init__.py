"""The one door to machines: commands and libvirt, here, over ssh, or from a recording."""

from kvmlab.hosts import libvirt_door
from kvmlab.hosts.host import Host, open_host
from kvmlab.hosts.local import LocalRunner
from kvmlab.hosts.reading import links, read_text, read_tree, run_script
from kvmlab.hosts.recorded import RecordedRunner, Recorder, Reply
from kvmlab.hosts.runner import Runner
from kvmlab.hosts.ssh import SshRunner
from kvmlab.hosts.target import SshTarget
from kvmlab.hosts.uri import KINDS_SENTENCE, HostKind, parse_login, parse_uri
from kvmlab.hosts.wire import Wire

__all__ = [
    "KINDS_SENTENCE",
    "Host",
    "HostKind",
    "LocalRunner",
    "RecordedRunner",
    "Recorder",
    "Reply",
    "Runner",
    "SshRunner",
    "SshTarget",
    "Wire",
    "libvirt_door",
    "links",
    "open_host",
    "parse_login",
    "parse_uri",
    "read_text",
    "read_tree",
    "run_script",
]

"""Hosts: commands and libvirt on this machine, over ssh, or from a recording."""

from kvmlab.hosts import libvirt_client
from kvmlab.hosts.cable import Cable
from kvmlab.hosts.file_reader import links, read_text, read_tree
from kvmlab.hosts.host import Host, open_host
from kvmlab.hosts.local import LocalRunner
from kvmlab.hosts.namespaces import NamespaceRunner, open_second_host
from kvmlab.hosts.recorded import RecordedRunner, Recorder, Reply, Talk
from kvmlab.hosts.remote_process import RemoteProcess
from kvmlab.hosts.runner import Runner
from kvmlab.hosts.script_output import ScriptOutput, ScriptSection, parse_files, parse_output
from kvmlab.hosts.shipped_script import run_script, script_text, spawn_script
from kvmlab.hosts.ssh import SshRunner
from kvmlab.hosts.ssh_target import SshTarget
from kvmlab.hosts.uri import KINDS_SENTENCE, HostKind, parse_login, parse_uri

__all__ = [
    "KINDS_SENTENCE",
    "Cable",
    "Host",
    "HostKind",
    "LocalRunner",
    "NamespaceRunner",
    "RecordedRunner",
    "Recorder",
    "RemoteProcess",
    "Reply",
    "Runner",
    "ScriptOutput",
    "ScriptSection",
    "SshRunner",
    "SshTarget",
    "Talk",
    "libvirt_client",
    "links",
    "open_host",
    "open_second_host",
    "parse_files",
    "parse_login",
    "parse_output",
    "parse_uri",
    "read_text",
    "read_tree",
    "run_script",
    "script_text",
    "spawn_script",
]

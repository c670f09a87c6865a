"""The hosts of a fleet, read from kvmlab's own YAML or from an Ansible inventory.

kvmlab's own form::

    defaults:
      vm: web-test
      parameters: {TRIALS: 3}
    hosts:
      kvm1:
        uri: qemu+ssh://root@kvm1/system
        cable: eth3,192.0.2.10/24,192.0.2.1/24,netns:peer/eth4
        groups: [rack-a]

Ansible's INI and YAML inventories are read as far as they name hosts, groups and variables. The
variables ``kvmlab_uri``, ``kvmlab_vm``, ``kvmlab_cable`` and ``kvmlab_parameters`` say the same as
above; without ``kvmlab_uri`` the address is made of ``ansible_host``, ``ansible_user`` and
``ansible_port``. What only Ansible can resolve (templates, plugins, vaults) is refused with a hint
to ``ansible-inventory --list``, whose JSON is read as well.
"""

from __future__ import annotations

import itertools
import json
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from kvmlab.errors import UsageError, reason_of
from kvmlab.hosts import Cable, parse_uri

_KEYS: Final = ("uri", "vm", "cable", "parameters", "groups")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_RANGE: Final = re.compile(r"\[(\w+):(\w+)(?::(\d+))?\]")
_LARGEST_BYTES: Final = 4_000_000
_MOST_HOSTS: Final = 10_000
_RESOLVE: Final = "Resolve it with `ansible-inventory --list > hosts.json` and give that file."


@dataclass(frozen=True)
class FleetHost:
    """One host of a fleet: its libvirt URI, its VM and cable, and parameters of its own."""

    name: str
    uri: str
    vm: str = ""
    cable: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)
    groups: tuple[str, ...] = ()


def read_inventory(path: Path) -> tuple[FleetHost, ...]:
    """Return the hosts of an inventory file, in its order.

    Raises:
        UsageError: the file cannot be read, is in none of the forms, names no host or one host
            twice, or holds a URI, name or cable that cannot be used.
    """
    try:
        if path.stat().st_size > _LARGEST_BYTES:
            raise _unusable(path, f"it has more than {_LARGEST_BYTES} bytes")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"The inventory {path} cannot be read: {reason_of(error)}.",
            todo="Give a YAML, INI or JSON file with --inventory.",
        ) from error
    document = _load(path, text)
    if isinstance(document, _Groups):
        hosts = list(document.hosts(path))
    else:
        hosts = list(_own_hosts(path, document))
    if not hosts:
        raise _unusable(path, "it names no host")
    if len(hosts) > _MOST_HOSTS:
        raise _unusable(path, f"it names {len(hosts)} hosts, more than {_MOST_HOSTS}")
    # An embedded host is made anew for each job; any other URI is one host, to be used once.
    real = [host.uri for host in hosts if host.uri != "embedded"]
    twice = sorted({uri for uri in real if real.count(uri) > 1}) if len(real) < 2_000 else []
    if len(real) != len(set(real)):
        raise _unusable(path, f"two names lead to one host: {', '.join(twice) or 'see its URIs'}")
    return tuple(hosts)


def select(hosts: Sequence[FleetHost], limit: Sequence[str]) -> tuple[FleetHost, ...]:
    """Return the hosts whose name or group is in ``limit``; all of them where it is empty.

    Raises:
        UsageError: a name in ``limit`` is neither a host nor a group.
    """
    known = {host.name for host in hosts} | {group for host in hosts for group in host.groups}
    unknown = [name for name in limit if name not in known]
    if unknown:
        raise UsageError(
            f"The inventory has no host or group {', '.join(unknown)}.",
            todo="Give names or groups that the inventory has to --limit.",
        )
    chosen = set(limit)
    return tuple(
        host for host in hosts if not chosen or host.name in chosen or chosen & set(host.groups)
    )


def cuts_by_host(texts: Iterable[str], hosts: Sequence[FleetHost]) -> dict[str, tuple[str, ...]]:
    """Return by host what may be cut there, from texts such as ``kvm1:web1``.

    A name counts for its host only: what stands under it on another one is not agreed to.

    Raises:
        UsageError: a text has another form, or names none of the ``hosts``.
    """
    cuts: dict[str, tuple[str, ...]] = {host.name: () for host in hosts}
    for text in texts:
        host, _, name = text.partition(":")
        if not name or host not in cuts:
            raise UsageError(
                f"{text!r} does not name a host of this rollout and what may be cut there.",
                todo="Write it as HOST:NAME, as the refusal names it: --cut kvm1:web1.",
            )
        cuts[host] += (name,)
    return cuts


class _Groups:
    """An Ansible inventory: hosts with their variables, and groups with theirs."""

    def __init__(self) -> None:
        self.variables: dict[str, dict[str, Any]] = {}
        self.members: dict[str, list[str]] = {}
        self.children: dict[str, list[str]] = {}
        self.group_variables: dict[str, dict[str, Any]] = {}

    def add(self, group: str, host: str, variables: Mapping[str, Any]) -> None:
        """Add a host to a group; variables of several entries add up, as in Ansible."""
        self.variables.setdefault(host, {}).update(variables)
        members = self.members.setdefault(group, [])
        if host not in members:
            members.append(host)

    def groups_of(self, host: str) -> tuple[str, ...]:
        """Return the groups of a host, the most general first."""
        direct = [group for group, members in self.members.items() if host in members]
        levels = [direct]
        while levels[-1]:
            above = [
                group
                for group, children in self.children.items()
                if any(child in children for child in levels[-1])
            ]
            if len(levels) > len(self.children) + 1:
                break
            levels.append(above)
        ordered = [group for level in reversed(levels) for group in level]
        return tuple(dict.fromkeys(["all", *ordered]))

    def hosts(self, path: Path) -> Iterator[FleetHost]:
        """Yield each host with the variables of its groups, a host's own last."""
        for name, own in self.variables.items():
            groups = self.groups_of(name)
            merged: dict[str, Any] = {}
            for group in groups:
                merged.update(self.group_variables.get(group, {}))
            merged.update(own)
            wanted = {key: merged[key] for key in merged if key.startswith(("kvmlab_", "ansible_"))}
            for key, value in wanted.items():
                if isinstance(value, str) and ("{{" in value or "!vault" in value):
                    raise UsageError(
                        f"{path}: {key} of {name} is a template or vault: only Ansible reads it.",
                        todo=_RESOLVE,
                    )
            yield _host(
                path,
                name,
                {
                    "uri": merged.get("kvmlab_uri") or _uri_of(path, name, merged),
                    "vm": merged.get("kvmlab_vm", ""),
                    "cable": merged.get("kvmlab_cable", ""),
                    "parameters": merged.get("kvmlab_parameters") or {},
                    "groups": [group for group in groups if group not in ("all", "ungrouped")],
                },
            )


def _load(path: Path, text: str) -> Mapping[str, Any] | _Groups:
    if path.suffix in (".yaml", ".yml", ".json"):
        document = _structured(path, text)
        if "_meta" in document:
            return _from_list(path, document)
        if set(document) <= {"defaults", "hosts"} and not _is_group(document.get("hosts")):
            return document
        return _from_yaml(path, document)
    return _from_ini(path, text)


def _structured(path: Path, text: str) -> Mapping[str, Any]:
    import yaml

    try:
        document = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        line = " ".join(str(error).split())[:200]
        raise _unusable(path, f"it is not {path.suffix[1:].upper()}: {line}") from error
    if not isinstance(document, dict) or not all(isinstance(key, str) for key in document):
        raise _unusable(path, "it is not a mapping of names")
    return document


def _own_hosts(path: Path, document: Mapping[str, Any]) -> Iterator[FleetHost]:
    unknown = sorted(set(document) - {"defaults", "hosts"})
    if unknown:
        raise _unusable(path, f"it has the unknown key {', '.join(unknown)}")
    defaults = _mapping(path, "defaults", document.get("defaults"))
    for name, entry in _mapping(path, "hosts", document["hosts"]).items():
        own = _mapping(path, name, entry)
        merged = {**defaults, **own}
        merged["parameters"] = {
            **_mapping(path, "parameters", defaults.get("parameters")),
            **_mapping(path, "parameters", own.get("parameters")),
        }
        yield _host(path, name, merged)


def _host(path: Path, name: str, entry: Mapping[str, Any]) -> FleetHost:
    """Return the host of one entry, every value checked."""
    if not _NAME.fullmatch(name):
        raise _unusable(
            path, f"{name!r} cannot be the name of a host: use letters, digits, dots and dashes"
        )
    unknown = sorted(set(entry) - set(_KEYS))
    if unknown:
        raise _unusable(
            path, f"{name} has the unknown key {', '.join(unknown)}; there are {', '.join(_KEYS)}"
        )
    uri = str(entry.get("uri") or "")
    if not uri:
        raise _unusable(path, f"{name} has no uri")
    if uri != "embedded":
        parse_uri(uri)
    cable = str(entry.get("cable") or "")
    if cable:
        Cable.parse(cable)
    parameters = _mapping(path, f"parameters of {name}", entry.get("parameters"))
    groups = entry.get("groups") or ()
    if not isinstance(groups, list | tuple) or not all(isinstance(g, str) for g in groups):
        raise _unusable(path, f"the groups of {name} are not a list of names")
    return FleetHost(
        name=name,
        uri=uri,
        vm=str(entry.get("vm") or ""),
        cable=cable,
        parameters={key: _as_text(value) for key, value in parameters.items()},
        groups=tuple(groups),
    )


def _as_text(value: object) -> str:
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)


def _mapping(path: Path, name: str, value: object) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise _unusable(path, f"{name} is not a mapping")
    return value


def _uri_of(path: Path, name: str, variables: Mapping[str, Any]) -> str:
    """Return the libvirt URI of an Ansible host.

    >>> _uri_of(Path("hosts"), "kvm1", {"ansible_user": "root", "ansible_port": 2222})
    'qemu+ssh://root@kvm1:2222/system'
    """
    if str(variables.get("ansible_connection", "")) == "local":
        return "qemu:///system"
    user = variables.get("ansible_user") or variables.get("ansible_ssh_user") or ""
    port = variables.get("ansible_port") or variables.get("ansible_ssh_port") or ""
    address = str(variables.get("ansible_host") or variables.get("ansible_ssh_host") or name)
    if ":" in address and not address.startswith("["):
        address = f"[{address}]"
    login = f"{user}@" if user else ""
    return f"qemu+ssh://{login}{address}{f':{port}' if port else ''}/system"


def _is_group(value: object) -> bool:
    """Tell whether an entry is a group of Ansible's, which may itself be called "hosts"."""
    return isinstance(value, dict) and bool({"hosts", "children", "vars"} & set(value))


def _from_list(path: Path, document: Mapping[str, Any]) -> _Groups:
    """Read what ``ansible-inventory --list`` prints."""
    groups = _Groups()
    meta = _mapping(path, "_meta", document["_meta"])
    for name, variables in _mapping(path, "hostvars", meta.get("hostvars")).items():
        groups.variables[name] = _mapping(path, name, variables)
    for group, entry in document.items():
        if group == "_meta":
            continue
        entry = _mapping(path, group, entry)
        for host in entry.get("hosts") or ():
            groups.add(group, str(host), {})
        groups.children[group] = [str(child) for child in entry.get("children") or ()]
        groups.group_variables[group] = _mapping(path, f"vars of {group}", entry.get("vars"))
    return groups


def _from_yaml(path: Path, document: Mapping[str, Any]) -> _Groups:
    groups = _Groups()

    def walk(group: str, entry: object, depth: int) -> None:
        if depth > 20:
            raise _unusable(path, "its groups are nested more than 20 deep")
        content = _mapping(path, group, entry)
        unknown = sorted(set(content) - {"hosts", "children", "vars"})
        if unknown:
            raise _unusable(path, f"the group {group} has the unknown key {', '.join(unknown)}")
        for pattern, variables in _mapping(path, f"hosts of {group}", content.get("hosts")).items():
            for host in _expanded(path, pattern):
                groups.add(group, host, _mapping(path, host, variables))
        groups.group_variables.setdefault(group, {}).update(
            _mapping(path, f"vars of {group}", content.get("vars"))
        )
        for child, inner in _mapping(path, f"children of {group}", content.get("children")).items():
            groups.children.setdefault(group, []).append(child)
            walk(child, inner, depth + 1)

    for group, entry in document.items():
        walk(group, entry, 0)
    return groups


def _from_ini(path: Path, text: str) -> _Groups:
    groups = _Groups()
    section, kind = "ungrouped", "hosts"
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.strip()
        if not line or line.startswith(("#", ";")):
            continue
        if line.startswith("[") and line.endswith("]") and " " not in line:
            section, _, kind = line[1:-1].partition(":")
            kind = kind or "hosts"
            if kind not in ("hosts", "vars", "children"):
                raise _unusable(path, f"line {number}: [{section}:{kind}] is no section")
            continue
        try:
            words = shlex.split(line, comments=True)
        except ValueError as error:
            raise _unusable(path, f"line {number}: {error}") from error
        if kind == "children":
            groups.children.setdefault(section, []).append(words[0])
        elif kind == "vars":
            key, equals, value = line.partition("=")
            if not equals:
                raise _unusable(path, f"line {number}: write it as NAME=VALUE")
            groups.group_variables.setdefault(section, {})[key.strip()] = _literal(value.strip())
        else:
            pairs = [word.partition("=") for word in words[1:]]
            if not all(equals for _, equals, _ in pairs):
                raise _unusable(path, f"line {number}: after the host's name write NAME=VALUE")
            variables = {key: _literal(value) for key, _, value in pairs}
            for host in _expanded(path, words[0]):
                groups.add(section, host, variables)
    return groups


def _literal(text: str) -> Any:
    """Return a value of an INI inventory: a mapping where it is JSON, else the text."""
    if text.startswith("{"):
        try:
            return json.loads(text)
        except ValueError:
            return text
    return text.strip("\"'")


def _expanded(path: Path, pattern: str) -> Iterable[str]:
    """Return the names of a pattern such as ``kvm[01:10]`` or ``kvm-[a:c]``.

    >>> list(_expanded(Path("hosts"), "kvm[08:10]"))
    ['kvm08', 'kvm09', 'kvm10']
    """
    match = _RANGE.search(pattern)
    if match is None:
        return (pattern,)
    first, last, step = match[1], match[2], int(match[3] or 1)
    if first.isdecimal() and last.isdecimal():
        width = len(first) if first.startswith("0") else 0
        numbers = range(int(first), int(last) + 1, max(step, 1))
        if len(numbers) > _MOST_HOSTS:
            raise _unusable(path, f"{pattern} stands for {len(numbers)} hosts")
        parts = [f"{number:0{width}d}" for number in numbers]
    elif len(first) == len(last) == 1:
        parts = [chr(code) for code in range(ord(first), ord(last) + 1, max(step, 1))]
    else:
        raise _unusable(path, f"{pattern} is no range of numbers or letters")
    if not parts:
        raise _unusable(path, f"the range {pattern} is empty")
    rests = _expanded(path, pattern[match.end() :])
    return [
        f"{pattern[: match.start()]}{part}{rest}" for part, rest in itertools.product(parts, rests)
    ]


def _unusable(path: Path, reason: str) -> UsageError:
    return UsageError(
        f"The inventory {path} cannot be used: {reason}.",
        todo="docs/fleet.md shows the forms that are read. " + _RESOLVE,
    )

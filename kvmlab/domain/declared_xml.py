"""Declared XML: one property, one path a line; what is not declared is kept as it was.

A class names its properties::

    class Interface(Element):
        tag = "interface"
        mac = Text("mac/@address")
        queues = Number("driver/@queues")

Reading a property that is not in the XML gives None; setting it makes the elements on the way;
setting None removes it, and the elements on the way that hold nothing any more. A path is made of
child names, each with at most one condition (``timer[@name='hpet']``), and may end in
``@attribute``.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar, overload

from lxml import etree

from kvmlab.errors import OutputError

T = TypeVar("T")
E = TypeVar("E", bound="Element")

_STEP = re.compile(r"(?P<name>[\w{}:/.#-]+?)(?:\[@(?P<key>\w+)='(?P<value>[^']*)'\])?$")


@dataclass(frozen=True)
class _Path:
    steps: tuple[str, ...]
    attribute: str | None

    @classmethod
    def parse(cls, text: str) -> _Path:
        steps = tuple(part for part in text.split("/") if not part.startswith("@"))
        last = text.rsplit("/", 1)[-1]
        return cls(steps, last[1:] if last.startswith("@") else None)

    def find(self, root: etree._Element) -> etree._Element | None:
        return root.find("/".join(self.steps)) if self.steps else root

    def make(self, root: etree._Element) -> etree._Element:
        node = root
        for step in self.steps:
            child = node.find(step)
            node = child if child is not None else _append(node, step)
        return node

    def prune(self, root: etree._Element) -> None:
        """Remove empty elements along the path, from its end upwards, but never the root."""
        node = self.find(root)
        while node is not None and node is not root:
            parent = node.getparent()
            if len(node) or node.attrib or (node.text or "").strip() or parent is None:
                return
            _remove(node)
            node = parent


def _append(parent: etree._Element, step: str) -> etree._Element:
    match = _STEP.match(step)
    if match is None:
        raise ValueError(f"not a path of declared XML: {step!r}")
    node = etree.SubElement(parent, match["name"])
    if match["key"]:
        node.set(match["key"], match["value"])
    return node


def _remove(node: etree._Element) -> None:
    """Remove a node and the whitespace behind it, but no text of others."""
    parent = node.getparent()
    if parent is None:
        return
    tail = (node.tail or "").strip()
    if tail:
        before = node.getprevious()
        if before is not None:
            before.tail = (before.tail or "") + tail
        else:
            parent.text = (parent.text or "") + tail
    parent.remove(node)


class _Property(ABC, Generic[T]):
    def __init__(self, path: str) -> None:
        self._path = _Path.parse(path)

    @abstractmethod
    def decode(self, text: str) -> T:
        """Return the value for the text in the XML."""

    def encode(self, value: T) -> str:
        return str(value)

    @overload
    def __get__(self, owner: None, kind: type[Element]) -> _Property[T]: ...
    @overload
    def __get__(self, owner: Element, kind: type[Element]) -> T | None: ...
    def __get__(self, owner: Element | None, kind: type[Element]) -> _Property[T] | T | None:
        if owner is None:
            return self
        node = self._path.find(owner.node)
        if node is None:
            return None
        attribute = self._path.attribute
        text = node.get(attribute) if attribute else (node.text or "").strip()
        return None if text is None else self.decode(str(text))

    def __set__(self, owner: Element, value: T | None) -> None:
        attribute = self._path.attribute
        if value is None:
            node = self._path.find(owner.node)
            if node is None:
                return
            if attribute:
                node.attrib.pop(attribute, "")
            else:
                node.text = None
            self._path.prune(owner.node)
            return
        node = self._path.make(owner.node)
        if attribute:
            node.set(attribute, self.encode(value))
        else:
            node.text = self.encode(value)


class Text(_Property[str]):
    """A text or an attribute, as it stands."""

    def decode(self, text: str) -> str:
        """Return the text itself."""
        return text


class Number(_Property[int]):
    """A whole number, decimal or 0x…, as libvirt writes both."""

    def decode(self, text: str) -> int:
        """Read decimal and hexadecimal.

        Raises:
            OutputError: not a number.
        """
        try:
            return int(text, 0)
        except ValueError as error:
            raise OutputError(f"{text!r} stands in XML where a number is needed.") from error


class Hex(Number):
    """A number that libvirt writes as 0x… with so many digits, as in PCI addresses."""

    def __init__(self, path: str, digits: int) -> None:
        super().__init__(path)
        self._digits = digits

    def encode(self, value: int) -> str:
        """Return the number as libvirt writes it."""
        return f"0x{value:0{self._digits}x}"


class YesNo(_Property[bool]):
    """``yes`` and ``no``."""

    def decode(self, text: str) -> bool:
        """Return True for "yes" only."""
        return text == "yes"

    def encode(self, value: bool) -> str:
        """Return "yes" or "no"."""
        return "yes" if value else "no"


class OnOff(_Property[bool]):
    """``on`` and ``off``."""

    def decode(self, text: str) -> bool:
        """Return True for "on" only."""
        return text == "on"

    def encode(self, value: bool) -> str:
        """Return "on" or "off"."""
        return "on" if value else "off"


class Present:
    """An element whose presence is its value, such as ``<acpi/>``."""

    def __init__(self, path: str) -> None:
        self._path = _Path.parse(path)

    @overload
    def __get__(self, owner: None, kind: type[Element]) -> Present: ...
    @overload
    def __get__(self, owner: Element, kind: type[Element]) -> bool: ...
    def __get__(self, owner: Element | None, kind: type[Element]) -> Present | bool:
        return self if owner is None else self._path.find(owner.node) is not None

    def __set__(self, owner: Element, value: bool) -> None:
        node = self._path.find(owner.node)
        if value:
            self._path.make(owner.node)
        elif node is not None:
            _remove(node)


class Element:
    """One XML element with declared properties; wraps the tree, so nothing else is lost."""

    tag: ClassVar[str] = ""

    def __init__(self, node: etree._Element | None = None) -> None:
        self.node: etree._Element = node if node is not None else etree.Element(self.tag)
        if self.node.tag != self.tag:
            raise OutputError(f"Found XML of <{self.node.tag}> where <{self.tag}> was needed.")

    @classmethod
    def parse(cls: type[E], text: str) -> E:
        """Parse XML text. Entities are not resolved and nothing is fetched.

        Raises:
            OutputError: not XML, or another element; or with entities of its own, which libvirt
                never writes.
        """
        parser = etree.XMLParser(resolve_entities=False, no_network=True)
        try:
            node = etree.fromstring(text.encode(), parser)
            if next(node.iter(etree.Entity), None) is not None:
                raise OutputError(
                    f"The XML of <{cls.tag}> brings entities of its own, which are not resolved.",
                    evidence=text[:2000],
                )
            return cls(node)
        except etree.XMLSyntaxError as error:
            raise OutputError(
                f"What should be XML of <{cls.tag}> cannot be read: {error}.", evidence=text[:2000]
            ) from error

    def xml(self) -> str:
        """Return the element as text, indented, without a declaration; the tree stays as it is."""
        return pretty(self.node)

    def children(self, path: str, kind: type[E]) -> Iterator[E]:
        """Return the elements at ``path``, each as ``kind``, in the XML's order."""
        return (kind(node) for node in self.node.iterfind(path))

    def add(self, path: str, child: Element) -> None:
        """Append ``child`` below the element at ``path``, which is made where it is missing."""
        _Path.parse(path).make(self.node).append(child.node)


def pretty(node: etree._Element) -> str:
    """Return XML text, indented by two spaces a level."""
    raw = etree.tostring(node, encoding="unicode", with_tail=False)
    parser = etree.XMLParser(remove_blank_text=True, resolve_entities=False, no_network=True)
    tree = etree.fromstring(raw, parser)
    etree.indent(tree, space="  ")
    return etree.tostring(tree, encoding="unicode") + "\n"

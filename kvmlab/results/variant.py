"""Variant of a workload: a message size and a number of flows, as one name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

_NAME = re.compile(r"(?P<base>[a-z_]+)(?:@(?P<bytes>[1-9]\d*)?(?:x(?P<flows>[1-9]\d*))?)?")


@dataclass(frozen=True)
class Variant:
    """Workload ``base`` with a message size and a number of flows; None is the trials' setting.

    >>> str(Variant("tcp_up", message_bytes=1024, flows=4))
    'tcp_up@1024x4'
    """

    base: str
    message_bytes: int | None = None
    flows: int | None = None

    @classmethod
    def parse(cls, name: str) -> Self:
        """Return the variant of that name; any other name is a workload of its own.

        >>> Variant.parse("pps@64"), Variant.parse("latency").flows
        (Variant(base='pps', message_bytes=64, flows=None), None)
        """
        match = _NAME.fullmatch(name)
        if match is None or name.endswith("@"):
            return cls(name)
        size, flows = match["bytes"], match["flows"]
        return cls(match["base"], int(size) if size else None, int(flows) if flows else None)

    def __str__(self) -> str:
        if self.message_bytes is None and self.flows is None:
            return self.base
        return f"{self.base}@{self.message_bytes or ''}{f'x{self.flows}' if self.flows else ''}"

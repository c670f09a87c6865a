"""kvmlab: a guided lab about the network of KVM virtual machines.

Importing this package does nothing but name things: a name's module is loaded when the name is
first used, so a program that only reads facts never loads plotly, and nothing is probed.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kvmlab import errors as errors
    from kvmlab.clock import Clock as Clock
    from kvmlab.errors import KvmlabError as KvmlabError

__version__ = "0.1.0"

# Public name -> the module that it lives in. `tests/house/test_exports.py` keeps this table, the
# imports above and __all__ in agreement.
_HOMES = {
    "Clock": "kvmlab.clock",
    "KvmlabError": "kvmlab.errors",
}

# Public modules, used as `kvmlab.figures.compare(…)`: the name -> where the module lives.
_MODULES: dict[str, str] = {
    "errors": "kvmlab.errors",
}

__all__ = [
    "Clock",
    "KvmlabError",
    "__version__",
    "errors",
]


if not TYPE_CHECKING:  # a type checker knows the names above and no others

    def __getattr__(name: str) -> object:
        if name in _MODULES:
            value: object = import_module(_MODULES[name])
        elif name in _HOMES:
            value = getattr(import_module(_HOMES[name]), name)
        else:
            raise AttributeError(f"module 'kvmlab' has no attribute {name!r}")
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

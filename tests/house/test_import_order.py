"""Data flows downwards: a room imports only from rooms that stand before its own."""

from __future__ import annotations

import ast

from tests.house.tree import modules

BOTTOM = (
    "language",
    "errors",
    "bundle_archive",
    "capacity",
    "clock",
    "deadline",
    "process",
    "file_locks",
    "directories",
    "rendering",
    "scheduler",
    "serialization",
    "terminal",
    "stored_files",
)
ORDER = (
    *BOTTOM,
    "hosts",
    "embedded",
    "facts",
    "domain",
    "changes",
    "schemes",
    "doctor",
    "results",
    "measure",
    "tunings",
    "migration",
    "report",
    "advice",
    "widgets",
    "course",
    "incidents",
    "classroom",
    "lab",
    "runbook",
    "book",
    "fleet",
    "cli",
)
# Narrower than the order alone.
ONLY = {
    "embedded": {*BOTTOM},
    "results": {*BOTTOM},
    "report": {*BOTTOM, "results"},
}
NEVER = {"measure": {"schemes"}, "schemes": {"measure"}}
# The front doors stand above all rooms.
FRONT = {"__init__", "__main__"}


def allowed(room: str) -> set[str]:
    if room in ONLY:
        return ONLY[room]
    lower = set(BOTTOM) if room in BOTTOM else set(ORDER[: ORDER.index(room)])
    return lower - NEVER.get(room, set())


def test_every_room_has_a_place() -> None:
    unknown = {module.room for module in modules()} - FRONT - set(ORDER)
    assert not unknown, f"These rooms are not in the order: {sorted(unknown)}."


def test_rooms_import_downwards_only() -> None:
    wrong = []
    for module in modules():
        if module.room in FRONT:
            continue
        for node, name in module.imported():
            parts = name.split(".")
            if name.startswith("."):
                wrong.append(f"{module.where(node)}: relative import; write the full name")
            elif parts[0] == "kvmlab" and name != "kvmlab.__version__":
                target = parts[1] if len(parts) > 1 else "__init__"
                if target not in {module.room} | allowed(module.room):
                    wrong.append(f"{module.where(node)}: {module.room} imports {target}")
    assert not wrong, "\n".join(wrong)


def test_libvirt_has_one_door() -> None:
    wrong = [
        f"{module.where(node)}: libvirt's errors are mapped in kvmlab/hosts only"
        for module in modules()
        if module.room != "hosts"
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Attribute | ast.Name)
        and (node.attr if isinstance(node, ast.Attribute) else node.id) == "libvirtError"
    ]
    assert not wrong, "\n".join(wrong)

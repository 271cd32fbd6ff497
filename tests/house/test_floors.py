"""Imports go down. The table below is the whole design; a new edge is made by editing it, on purpose."""

import ast
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "isoscale"

ROOMS = {
    "_rules": set(),
    "_records": set(),
    "_plan": {"_rules"},
    "_train": {"_plan", "_records"},
    "_sweep": {"_records"},
    "_transfer": {"_records"},
    "_report": {"_transfer", "_records"},
    "_export": {"_records"},
    "_check": {"_rules", "_plan", "_train", "_transfer", "_records"},
    "_tune": {"_plan", "_train", "_sweep", "_transfer", "_check", "_records"},
    "executors": {"_sweep", "_records"},
    "theory": {"_rules", "_records"},
    "cli": {
        "_check",
        "_rules",
        "_records",
        "_plan",
        "_train",
        "_sweep",
        "_transfer",
        "_report",
        "_export",
        "theory",
        "_tune",
    },
}
DOORS = {("_check", "_plan")}
"""(room, other): imports of the other room's names go through its `__init__`, never to the modules inside."""
TORCH = {"_plan", "_train", "_check", "_tune", "theory"}


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(source: str):
    """(module, line) of every import in the source, deferred ones too; a relative one starts with a dot."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            if base == "isoscale":
                yield from ((f"isoscale.{alias.name}", node.lineno) for alias in node.names)
            else:
                yield base, node.lineno


def violations(source: str, home: str, name: str) -> list[str]:
    found = []
    for module, line in imports(source):
        parts = module.split(".")
        if module.startswith("."):
            found.append(f"{name}:{line}: relative import {module!r}: write it absolute")
        elif parts[0] == "papers":
            if home != "cli":
                found.append(f"{name}:{line}: papers is imported by {home}: only the roof may")
        elif parts[0] in ("torch", "safetensors"):
            if home not in TORCH:
                found.append(f"{name}:{line}: {home} imports {parts[0]}: it is a torch-free room")
        elif parts[0] == "isoscale" and len(parts) > 1 and parts[1] != "__version__":
            other = parts[1]
            if other not in ROOMS:
                found.append(f"{name}:{line}: isoscale.{other} is not a room")
            elif other != home and other not in ROOMS[home]:
                found.append(f"{name}:{line}: edge {home} -> {other} is not in the table")
            elif (home, other) in DOORS and len(parts) > 2:
                found.append(f"{name}:{line}: {module} is inside of {other}: import from isoscale.{other}")
    return found


def test_imports_follow_the_table() -> None:
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        if path == PACKAGE / "__init__.py" or path == PACKAGE / "__main__.py":
            continue
        found += violations(path.read_text(), room(path), str(path.relative_to(PACKAGE.parent)))
    assert not found, "\n".join(found)


def test_every_file_is_in_a_room() -> None:
    rooms = {room(path) for path in PACKAGE.rglob("*.py")} - {"__init__", "__main__"}
    assert rooms <= set(ROOMS), f"new room: {rooms - set(ROOMS)}: add it to the table with its edges"


def test_the_check_sees_a_forbidden_edge_a_deferred_import_and_torch() -> None:
    source = "def f():\n    from isoscale._train import loop\n    import torch\n    from . import x\n"
    assert [v.split(": ", 1)[0] for v in violations(source, "_sweep", "a.py")] == ["a.py:2", "a.py:3", "a.py:4"]


def test_the_check_sees_an_import_past_the_door() -> None:
    source = "from isoscale._plan import Plan\nfrom isoscale._plan.trace import call\nimport isoscale._plan.sizes\n"
    assert [v.split(": ", 1)[0] for v in violations(source, "_check", "a.py")] == ["a.py:2", "a.py:3"]
    assert not violations(source, "_train", "a.py"), "only rooms that are named keep to the door"


def test_the_rooms_have_no_cycle() -> None:
    seen: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, f"cycle: {' -> '.join((*path, name))}"
        seen.add(name)
        for other in ROOMS[name]:
            visit(other, (*path, name))

    visit("cli", ())
    visit("executors", ())  # a door for those who write one
    assert seen == set(ROOMS)

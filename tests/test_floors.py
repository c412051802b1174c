"""Imports go down the floors of docs/design.md only, never in a circle, and wire/ does no I/O."""

import ast
import graphlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = "uwsgi_async"
# They show what the floors have; they are not part of the floors.
DOORS = {"", "__main__", "lowlevel", "testing"}
IO_MODULES = {"socket", "select", "selectors", "asyncio", "trio", "anyio", "sniffio", "uvloop"}


@dataclass(frozen=True)
class Import:
    """One import statement's target: ``module`` is imported by ``importer``, at ``line``."""

    importer: str
    module: str
    line: int
    typing_only: bool

    def __str__(self) -> str:
        return f"{self.importer}:{self.line} imports {self.module}"


def floors() -> dict[str, int]:
    """Return the height of each part, the lowest 0, as docs/design.md has it."""
    section = (ROOT / "docs/design.md").read_text().split("\n## Floors\n")[1].split("\n## ")[0]
    line = next(line for line in section.splitlines() if line.startswith("    ") and ">" in line)
    ordered = [re.split(r",\s*", floor.strip()) for floor in line.split(">")]
    return {part: height for height, parts in enumerate(reversed(ordered)) for part in parts}


@cache
def modules() -> dict[str, Path]:
    """Return the package's modules: dotted name to file."""
    found = {}
    for path in sorted((ROOT / PACKAGE).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def part_of(module: str) -> str:
    """Return the part of the package that a module belongs to; "" for the package itself."""
    return f"{module}..".split(".")[1]


def is_type_checking(test: ast.expr) -> bool:
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (
        isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING"
    )


def targets(importer: str, node: ast.AST) -> Iterator[str]:
    """Yield the names of the modules that an import statement imports."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            is_package = modules()[importer].name == "__init__.py"
            anchor = importer.split(".")
            anchor = anchor[: len(anchor) - node.level + is_package]
            base = ".".join([*anchor, base] if base else anchor)
        for alias in node.names:
            submodule = f"{base}.{alias.name}"
            yield submodule if submodule in modules() else base


def walk(importer: str, node: ast.AST, typing_only: bool = False) -> Iterator[Import]:
    for module in targets(importer, node):
        yield Import(importer, module, node.lineno, typing_only)  # type: ignore[attr-defined]
    if isinstance(node, ast.If) and is_type_checking(node.test):
        for child in node.body:
            yield from walk(importer, child, True)
        for child in node.orelse:
            yield from walk(importer, child, typing_only)
    else:
        for child in ast.iter_child_nodes(node):
            yield from walk(importer, child, typing_only)


@cache
def imports() -> list[Import]:
    """Return every import of the package, those inside functions and for type checkers too."""
    return [found for name, path in modules().items() for found in walk(name, ast.parse(path.read_text()))]


def is_ours(module: str) -> bool:
    return module.split(".")[0] == PACKAGE


def test_every_part_has_a_floor():
    parts = {part_of(module) for module in modules()} - DOORS
    assert parts <= floors().keys(), "a new part of the package needs a place in docs/design.md, Floors"


def test_imports_go_down():
    height = floors()
    wrong = [
        str(found)
        for found in imports()
        if is_ours(found.module)
        and (importer := part_of(found.importer)) not in DOORS
        and ((target := part_of(found.module)) in DOORS or height[target] > height[importer])
    ]
    assert not wrong, "\n".join(wrong)


def test_no_import_cycle():
    graph: dict[str, set[str]] = {}
    for found in imports():
        if is_ours(found.module) and not found.typing_only:
            graph.setdefault(found.importer, set()).add(found.module)
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


def test_wire_does_no_io():
    wrong = [
        str(found)
        for found in imports()
        if part_of(found.importer) == "wire" and found.module.split(".")[0] in IO_MODULES
    ]
    assert not wrong, "\n".join(wrong)

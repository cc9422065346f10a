"""The house: what may import what, how long a file and a function may be, what a start costs."""

import ast
import graphlib
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "fmnist_mlp"
# From the ground up; each may import from its own floor and from those below.
FLOORS = (
    {"errors", "words", "files"},
    {"sweepfile", "data", "engines"},
    {"results"},
    {"logs", "report"},
    {"training"},
    {"runner", "inference"},
    {"cli"},
)
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE or path.stem in FLOORS[0])


def _name(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)


def _imports(path: Path) -> set[str]:
    """Modules of the package that a module imports, at its top or later."""
    names = {_name(module) for module in MODULES}
    imported = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            imported |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
    return imported & names


def _floor(module: str) -> int:
    part = module.split(".")[1]
    return next(number for number, floor in enumerate(FLOORS) if part in floor)


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_no_module_imports_from_a_floor_above(path):
    assert [name for name in _imports(path) if _floor(name) > _floor(_name(path))] == []


def test_engines_know_nothing_of_the_package_but_its_errors():
    known = {name for path in MODULES if path.parent.name == "engines" for name in _imports(path)}
    assert {name for name in known if not name.startswith("fmnist_mlp.engines")} == {"fmnist_mlp.errors"}


def test_no_imports_run_in_a_circle():
    graphlib.TopologicalSorter({_name(path): _imports(path) for path in MODULES}).prepare()


def test_no_folders_import_each_other():
    folders = {}
    for path in MODULES:
        part = _name(path).split(".")[1]
        folders.setdefault(part, set()).update(name.split(".")[1] for name in _imports(path))
    graphlib.TopologicalSorter({part: imported - {part} for part, imported in folders.items()}).prepare()

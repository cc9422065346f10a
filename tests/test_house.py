"""The house: what may import what, how long a file and a function may be, what a start costs."""

import ast
import functools
import graphlib
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "fmnist_mlp"
# From the ground up; each may import from its own floor and from those below.
FLOORS = (
    {"errors", "words", "files"},
    {"data", "engines"},
    {"sweepfile"},
    {"results"},
    {"report"},
    {"logs"},
    {"training"},
    {"runner", "inference"},
    {"cli"},
)
MOST_LINES_OF_A_FILE = 600
MOST_LINES_OF_A_FUNCTION = 80
# What tests still know of the inside of a module.
TOUCHED = {
    "app": "_BUSY _listener",
    "cluster": "_load_from",
    "tracing": "_concrete_function _control_flow _gen_xla_ops _random_ops_util",
    "decoder": "_INHERITED",
    "export": "_silence",
    "fit": "_STEPS_PER_EXECUTION _learning_rate",
    "loop": "_SECONDS_BETWEEN_TABLES _SHARE_OF_TABLES",
    "preprocess": "_CHUNK",
    "ray": "_cannot_connect _check_answers",
    "source": "_synthetic_identity",
    "statistics": "_critical_range _noncentrality_needed",
    "synthetic": "_DRAWINGS _Random _placed_grid",
    "table": "_key",
    "views": "_MOST_BYTES _kept",
    "worker": "_own_gpu",
}
TESTS = sorted(Path(__file__).parent.glob("*.py"))
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE or path.stem in FLOORS[0])


def _name(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)


@functools.cache
def _nodes(path: Path) -> list[ast.AST]:
    return [*ast.walk(ast.parse(path.read_text(encoding="utf-8")))]


def _imports(path: Path) -> set[str]:
    """Modules of the package that a module imports, at its top or later."""
    names = {_name(module) for module in MODULES}
    imported = set()
    for node in _nodes(path):
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


# ---- length


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def test_no_file_is_too_long():
    long = {path.name for path in (*PACKAGE.rglob("*.py"), *TESTS) if len(_lines(path)) > MOST_LINES_OF_A_FILE}
    assert long == set()


def test_no_function_is_too_long():
    long = set()
    for path in PACKAGE.rglob("*.py"):
        for node in _nodes(path):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = node.end_lineno - node.lineno + 1
                long |= {f"{_name(path)}.{node.name}"} if lines > MOST_LINES_OF_A_FUNCTION else set()
    assert long == set()


# ---- tests know public names


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def _touched(path: Path) -> set[str]:
    """Private names of the package's modules in a test file, as `module.name`: read, imported or replaced."""
    nodes = _nodes(path)
    imports = [node for node in nodes if isinstance(node, ast.ImportFrom) and node.module.startswith("fmnist_mlp")]
    modules = {alias.asname or alias.name: alias.name for node in imports for alias in node.names}
    names = [f"{node.module}.{alias.name}" for node in imports for alias in node.names]
    for node in nodes:
        match node:
            case ast.Attribute(value=ast.Name(id=of), attr=name) if of in modules:
                names.append(f"{modules[of]}.{name}")
            case ast.Call(func=ast.Attribute(attr="setattr"), args=[ast.Name(id=of), ast.Constant(value=name), *_]):
                names += [f"{modules[of]}.{name}"] if of in modules else []
            case ast.Constant(value=str(name)) if name.startswith("fmnist_mlp.") and " " not in name:
                names.append(name)
    return {".".join(name.split(".")[-2:]) for name in names if _is_private(name.split(".")[-1])}


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_tests_use_public_names(path):
    assert _touched(path) - {f"{module}.{name}" for module, names in TOUCHED.items() for name in names.split()} == set()


# ---- what a start costs

HEAVY = "tensorflow keras sklearn scipy pandas matplotlib PIL tensorboard"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("program", "without"),
    [
        ("import fmnist_mlp.engines.pool", f"numpy rich pydantic {HEAVY}"),
        ("import fmnist_mlp.data.source", f"urllib.request {HEAVY}"),
        ("from fmnist_mlp.sweepfile.read import load_sweep; load_sweep('classifiers.yaml')", HEAVY),
        ("from fmnist_mlp.sweepfile.steps import Pca, count; count((Pca(0.9),), (), (28, 28), 10)", HEAVY),
        ("from fmnist_mlp.results.verdicts import behind_best; behind_best({'a': {0: 0.9}, 'b': {1: 0.8}})", HEAVY),
        ("from fmnist_mlp.results.variance import spread; spread([(5, 0.004, 0.002)])", HEAVY),
        ("import fmnist_mlp.runner.loop, fmnist_mlp.report.report, fmnist_mlp.report.explore", HEAVY),
        ("from fmnist_mlp.logs.live import LiveLog; LiveLog(Path('live')).add(0, {'loss': 1.0})", "tensorflow keras"),
        pytest.param(
            "from fmnist_mlp.training import trial, worker; worker.start_worker('cpu', 1, None, True)",
            "sklearn pandas matplotlib IPython jax",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_what_comes_first_loads_nothing_that_takes_long(program, without, tmp_path):
    """Workers, reruns, reports and checks of a file start in a blink, and the parent claims no GPU."""
    text = "baselines: [LogisticRegression: {C: 2}]\narchitectures: [[8]]\n"
    (tmp_path / "classifiers.yaml").write_text(text, encoding="utf-8")
    start = f"import sys; from pathlib import Path; sys.path.insert(0, {str(PACKAGE.parent)!r})"
    program = f"{start}; {program}; print(*sys.modules)"
    command = [sys.executable, "-c", program]
    loaded = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout.split()
    assert set(without.split()) & {*loaded} == set()


def test_what_lies_beside_modules_is_installed_with_them():
    settings = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8"))
    listed = settings["tool"]["setuptools"]["package-data"]
    others = {path for path in PACKAGE.rglob("*.*") if path.suffix not in (".py", ".pyc")}
    assert others == {PACKAGE.parent.joinpath(*part.split("."), name) for part in listed for name in listed[part]}

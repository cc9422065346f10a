"""What the shell, notebook or batch system that starts us sets, or leaves closed: it changes no file of ours."""

import os
import pty
import re
import subprocess
import sys
import warnings

import pytest
from commands import project, run, trained
from engine_runs import call, local
from engine_runs import run as run_engine
from rich.console import Console
from sweeping import ROOT, Project, different

from fmnist_mlp.cli.console import Screen
from fmnist_mlp.cli.display import Display
from fmnist_mlp.data.source import find_data
from fmnist_mlp.runner.plan import Options, make_plan
from fmnist_mlp.sweepfile.read import load_sweep
from fmnist_mlp.training import worker

__all__ = ["project", "run", "trained"]  # fixtures, used by name

# What ipykernel 7 (zmqshell.py, kernelapp.py) sets for whatever is started in a cell; the module is not among ours.
NOTEBOOK = {
    "JPY_PARENT_PID": "1",
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    "TERM": "xterm-color",
    "CLICOLOR": "1",
    "CLICOLOR_FORCE": "1",
    "FORCE_COLOR": "1",
    "PAGER": "cat",
    "GIT_PAGER": "cat",
    "PYDEVD_USE_FRAME_EVAL": "NO",
}
HOSTILE = NOTEBOOK | {
    "PYTHONWARNINGS": "error",
    "PYTHONOPTIMIZE": "2",
    "PYTHONHASHSEED": "7",
    "PYTHONUTF8": "0",
    "PYTHONCOERCECLOCALE": "0",
    "PYTHONIOENCODING": "ascii",
    "LC_ALL": "C",
    "COLUMNS": "1",
    "LINES": "abc",
    "TERM": "dumb",
    "TZ": "Nowhere/Land",
    "KERAS_BACKEND": "torch",
    "KERAS_MAX_EPOCHS": "x",
    "TF_USE_LEGACY_KERAS": "1",
    "TF_XLA_FLAGS": "--garbage",
    "XLA_FLAGS": "--garbage",
    "OMP_NUM_THREADS": "0",
    "OPENBLAS_NUM_THREADS": "x",
    "MPLCONFIGDIR": "/proc/nowhere",
    "TMPDIR": "/nowhere",
    "GIT_DIR": "/nowhere",
    "OPENSSL_CONF": "/nowhere",
}
TEXT = """
dataset: synthetic
limit: 300
seeds: 2
training: {epochs: 2}
architectures: [[8]]
baselines: [{ExtraTreesClassifier: {n_estimators: 3}}]
"""
MODULE = ("-m", "fmnist_mlp")
EVERY_VERB = [
    ("sweep.py", "tiny.yaml", "--dry-run"),
    ("sweep.py", "tiny.yaml", "--jobs", "1"),
    (*MODULE, "report", "tiny.yaml"),
    (*MODULE, "predict", "picture.png", "--sweep", "tiny"),
    (*MODULE, "export", "8", "--sweep", "tiny", "--to", "out"),
    (*MODULE, "explore", "--synthetic", "--sample", "100", "--limit", "300"),
    (*MODULE, "clean"),
]


def do_all(project, environment):
    """Every verb after the other, to its end; what was printed."""
    variables = project.environment() | {"KERAS_HOME": str(project.folder / "keras")} | environment
    variables.pop("PYTHONDONTWRITEBYTECODE", None)
    said = []
    for arguments in EVERY_VERB:
        command = [sys.executable, *(ROOT / part if part == "sweep.py" else part for part in arguments)]
        done = subprocess.run(command, cwd=project.folder, env=variables, capture_output=True, timeout=240)
        said.append((done.stdout + done.stderr).decode("utf-8", "replace"))
        assert done.returncode == 0, said[-1]
        assert "Traceback" not in said[-1], said[-1]
    return said


def files(project):
    """What lies there, by path, but for the names that carry a moment."""
    found = {path.relative_to(project.folder).as_posix() for path in project.folder.rglob("*") if path.is_file()}
    return {re.sub(r"tfevents.*", "tfevents", name) for name in found if not name.startswith(("home", "keras", "tmp"))}


@pytest.mark.slow
def test_every_verb_leaves_the_same_files_whatever_surrounds_it(tmp_path):
    from PIL import Image

    projects = [Project(tmp_path / name, TEXT) for name in ("kind", "hostile")]
    for each in projects:
        Image.new("L", (28, 28), 255).save(each.folder / "picture.png")
        (each.folder / "matplotlibrc").write_text("")
        (each.folder / "keras").mkdir()
        (each.folder / "tmp").mkdir()
    kind, hostile = projects
    (hostile.folder / "matplotlibrc").write_text("backend: module://nowhere\ntext.usetex: True\nfigure.dpi: banana\n")
    keras_settings = '{"floatx": "float12", "backend": "jax", "epsilon": 1, "image_data_format": "channels_first"}'
    (hostile.folder / "keras" / "keras.json").write_text(keras_settings)
    do_all(kind, {"TMPDIR": str(kind.folder / "tmp")})
    # PYTHONOPTIMIZE=2 has every library compiled anew: once, and not beside its source.
    said = do_all(hostile, HOSTILE | {"PYTHONPYCACHEPREFIX": str(tmp_path / "compiled")})
    assert files(hostile) == files(kind)
    assert different(hostile.numbers(), kind.numbers()) == []
    assert (hostile.folder / "keras" / "keras.json").read_text() == keras_settings  # the user's own file
    assert list((kind.folder / "tmp").iterdir()) == []  # nothing is left in the temporary folder
    assert "\x1b[1A" not in said[1]  # nothing moves in a pipe


@pytest.mark.slow
@pytest.mark.parametrize("command", [[ROOT / "sweep.py"], ["-m", "fmnist_mlp", "clean"]])
def test_ctrl_c_while_modules_are_imported_leaves_no_traceback(tmp_path, command):
    (tmp_path / "pydantic.py").write_text("raise KeyboardInterrupt", encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    ran = subprocess.run([sys.executable, *command], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (ran.returncode, ran.stdout, ran.stderr) == (130, "", "interrupted\n")


def test_a_current_folder_that_was_deleted_is_said(tmp_path, run, monkeypatch):
    sweep_file, gone = tmp_path / "a.yaml", tmp_path / "gone"
    sweep_file.write_text(TEXT, encoding="utf-8")
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    ran = run(sweep_file, "--results-dir", tmp_path / "results", "--logs-dir", tmp_path / "logs")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == "the current folder is no longer there (No such file or directory): cd to one that is\n"


@pytest.mark.slow
@pytest.mark.parametrize("surroundings", ["all closed", "nobody reads", "a full disk", "a cell of a notebook"])
def test_a_sweep_ends_whatever_its_streams_are(tmp_path, surroundings):
    project = Project(tmp_path, TEXT)
    options = project._options(["--jobs", "1"], NOTEBOOK if surroundings == "a cell of a notebook" else None)
    closed = {"preexec_fn": lambda: [os.close(number) for number in (0, 1, 2)]}  # as `<&- >&- 2>&-`
    full = {"stdout": open("/dev/full", "w"), "stderr": subprocess.STDOUT}  # noqa: PTH123, SIM115
    if surroundings == "a cell of a notebook":
        ours, theirs = pty.openpty()  # IPython's `!` gives its command a terminal
        with subprocess.Popen(**options, stdout=theirs, stderr=theirs) as process:
            os.close(theirs)
            said = b""
            while chunk := read_terminal(ours):
                said += chunk
        os.close(ours)
        assert b"[2/4]" in said  # a line a trial
        assert b"\x1b[1A" not in said  # and no display that moves up
    elif surroundings == "nobody reads":
        with subprocess.Popen(**options, stdout=subprocess.PIPE) as process:
            assert process.stdout.readline()
            process.stdout.close()
    else:
        process = subprocess.Popen(**options, **(closed if surroundings == "all closed" else full))
    assert process.wait(timeout=240) == 0
    full["stdout"].close()
    assert [row["trials"] for row in project.rows().values()] == ["2", "2"]
    assert (project.results / "tiny" / "report.html").exists()


def read_terminal(descriptor):
    try:
        return os.read(descriptor, 65536)
    except OSError:  # EIO: the other end is closed
        return b""


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PYTHONWARNINGS", "error"),
        ("PYTHONOPTIMIZE", "2"),
        ("MPLBACKEND", "module://nowhere"),
        ("MALLOC_PERTURB_", "1"),
        ("GIT_DIR", "/nowhere"),
    ],
)
def test_a_worker_starts_from_a_list_of_what_it_may_have(name, value, monkeypatch):
    monkeypatch.setenv(name, value)
    assert worker.worker_environment("cpu", 1)[name] is None
    assert name not in worker.own_environment("cpu", 1)  # a process that runs already is not only ours


@pytest.mark.parametrize("surroundings", [worker.worker_environment, worker.own_environment])
def test_what_would_change_numbers_is_ours_or_gone(surroundings, monkeypatch):
    names = ["KERAS_BACKEND", "XLA_FLAGS", "TF_XLA_FLAGS", "OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"]
    names += ["TF_NUM_INTEROP_THREADS", "TF_ENABLE_ONEDNN_OPTS", "TF_DETERMINISTIC_OPS", "TF_USE_LEGACY_KERAS"]
    for name in names:
        monkeypatch.setenv(name, "of the shell")
    assert "of the shell" not in {surroundings("cpu", 1)[name] for name in names}


@pytest.mark.parametrize(
    "name", ["PATH", "HOME", "TMPDIR", "LC_ALL", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "PYTHONPATH", "SystemRoot"]
)
def test_what_a_worker_cannot_do_without_is_passed_on(name, monkeypatch):
    monkeypatch.setenv(name, "x")
    assert name not in worker.worker_environment("auto", 1)


def warn(context):
    warnings.warn("deprecated", DeprecationWarning, stacklevel=1)
    return "went on"


@pytest.mark.slow
def test_warnings_that_are_errors_for_us_are_none_in_a_worker(monkeypatch):
    monkeypatch.setattr(sys, "warnoptions", ["error"])  # as PYTHONWARNINGS=error does; a child is told by -W
    (outcome,) = run_engine(local(), call(warn)).values()
    assert outcome.value == "went on"


@pytest.mark.slow
def test_matplotlib_is_imported_whatever_backend_the_shell_names():
    script = "from fmnist_mlp.report import plots; plots.own_style().__enter__(); import matplotlib as m; "
    for backend in ("module://matplotlib_inline.backend_inline", "nonsense", "svg", ""):
        environment = os.environ | {"MPLBACKEND": backend, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", script + "print(m.__name__, m.rcParams._get('backend') == 'svg')"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        assert done.stdout.split() == ["matplotlib", str(backend == "svg")]  # a sound choice is the process's own


def test_the_display_is_drawn_while_trials_begin(tmp_path, monkeypatch):
    """The thread that draws goes through what the main thread changes."""
    project = Project(tmp_path, TEXT)
    sweep = load_sweep(project.folder / "tiny.yaml")
    plan = make_plan(sweep, Options(results_dir=project.results))
    console = Console(file=open(os.devnull, "w"))  # noqa: PTH123, SIM115
    display = Display(plan, Screen(console, console))
    first, second, *_ = plan.to_train
    display.trial_progress(first, {"epoch": 0, "epochs": 2})

    def text(line, **options):
        display.trial_progress(second, {"epoch": 0, "epochs": 2})
        return line

    monkeypatch.setattr("fmnist_mlp.cli.display.Text", text)
    display._render()
    console.file.close()


def test_a_shell_in_which_warnings_are_errors_stops_no_verb(run, trained, monkeypatch):
    monkeypatch.setattr(sys, "warnoptions", ["error"])

    def warning(*arguments, find=find_data, **options):
        warnings.warn("a library deprecates something", DeprecationWarning, stacklevel=1)
        return find(*arguments, **options)

    monkeypatch.setattr("fmnist_mlp.runner.plan.find_data", warning)
    assert run("tiny.yaml", "--dry-run").code == 0

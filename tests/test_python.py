"""`fmnist_mlp.run(...)`: a sweep from Python. Trials are invented but for those of the slow tests."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas
import pytest
from commands import TINY, project, trained  # noqa: F401 - fixtures
from sweeping import Project, different

import fmnist_mlp
from fmnist_mlp import SweepError

ROOT = Path(__file__).parent.parent
TINY_DICT = {
    "dataset": "synthetic",
    "seeds": 2,
    "training": {"epochs": 3},
    "architectures": [[8], {"name": "wide", "layers": (16,)}],
}


def run(*arguments, **options):
    return fmnist_mlp.run(*arguments, **{"jobs": 0, "progress": False, **options})


def test_frames_are_what_pandas_reads_from_the_tables(project, trained):  # noqa: F811
    sweep = run("tiny.yaml")
    text = {"architecture": str, "layers": str}
    for frame, name in [(sweep.table, "results"), (sweep.trials, "trials"), (sweep.history, "history")]:
        expected = pandas.read_csv(project.results / "tiny" / f"{name}.csv", dtype=text)
        pandas.testing.assert_frame_equal(frame, expected)
    assert [*sweep.table.architecture] == ["8", "wide"]
    assert len(sweep.trials) == 4
    assert sweep.folder == Path("results/tiny")
    best = sweep.table.sort_values("val_accuracy").architecture.iloc[-1]
    assert sweep.best == best
    assert best in repr(sweep)


def test_a_dict_is_the_sweep_file_that_says_the_same(project, trained):  # noqa: F811
    run("tiny.yaml")
    del trained[:]
    run(TINY_DICT | {"seeds": np.int64(2)})
    assert trained == [], "the trials are the same"
    assert "name: wide" in (project.results / "_python" / "sweep.yaml").read_text()
    assert run(TINY_DICT | {"name": "mine"}).folder == Path("results/mine")


def test_paths_of_a_dict_are_from_here(project, trained, monkeypatch):  # noqa: F811
    with pytest.raises(SweepError) as raised:
        run(TINY_DICT | {"dataset": {"idx": Path("my-images")}})
    assert str(project.folder / "my-images") in str(raised.value)


def test_arrays_are_the_images_and_train_the_same_trials_again(project, trained, tiny_images):  # noqa: F811
    (x, y), sweep = tiny_images, {key: value for key, value in TINY_DICT.items() if key != "dataset"}
    ran = run(sweep, data=((x[:150], y[:150]), (x[150:], y[150:])))
    assert set(ran.table.dataset.str.startswith("npz:")) == {True}
    del trained[:]
    run(sweep, data=((x[:150].copy(), [*map(int, y[:150])]), (x[150:], y[150:])))
    assert trained == []
    run(sweep, data=((255 - x[:150], y[:150]), (x[150:], y[150:])))
    assert len(trained) == 4


@pytest.mark.parametrize(
    ("sweep", "data", "words"),
    [
        ("tiny.yaml", ((0, 0), (0, 0)), "data goes with a dict"),
        (TINY_DICT, ((0, 0), (0, 0)), "twice"),
        ({"architectures": [[8]]}, (1, 2, 3), "expected"),
        ({"architectures": [[8]]}, ((np.zeros((3, 8, 8)), [0, 1, 2]), (np.zeros((3, 8, 8)), [0, 1])), "astype"),
    ],
)
def test_arrays_that_are_no_data_set(sweep, data, words, project):  # noqa: F811
    with pytest.raises(SweepError, match=words):
        run(sweep, data=data)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"architectures": [[8], [-4]]}, "sweep.yaml:"),
        ({"architectures": [[8], object()]}, "not of object"),
        ({"architectures": []}, "architectures"),
        ("nowhere.yaml", "nowhere.yaml"),
        ([[8]], "got list"),
    ],
)
def test_mistakes_are_sweep_errors_of_one_message(wrong, words, project):  # noqa: F811
    with pytest.raises(SweepError, match=words):
        run(wrong)


@pytest.mark.parametrize("option", [{"jobs": -1}, {"jobs": "2"}, {"device": "tpu"}, {"seeds": 0}, {"only": "x"}])
def test_mistaken_options_are_sweep_errors_too(option, project):  # noqa: F811
    with pytest.raises(SweepError, match=next(iter(option))):
        run(TINY_DICT, **option)


def test_options_are_those_of_the_command(project, trained):  # noqa: F811
    assert run("tiny.yaml", only="w*").best == "wide"
    assert sorted(trained) == [("wide", 0), ("wide", 1)]
    assert run("tiny.yaml", seeds=1, epochs=1).folder == Path("results/tiny+epochs-1+seeds-1")
    del trained[:]
    run("tiny.yaml", only=["wide"], fresh=True, results_dir="others", logs_dir="others/logs")
    assert sorted(trained) == [("wide", 0), ("wide", 1)]
    assert (project.folder / "others" / "tiny" / "results.csv").exists()


def test_what_is_printed_is_the_plan_and_the_progress_and_nothing_without(project, trained, capsys):  # noqa: F811
    run("tiny.yaml", only="8")
    assert capsys.readouterr() == ("", "")
    run("tiny.yaml", progress=True)
    assert "2 done, 2 to train" in capsys.readouterr().out


def test_ctrl_c_is_a_keyboard_interrupt_once_all_is_in_order(project, trained, capsys):  # noqa: F811
    project.write(TINY + "  - {name: interrupted, layers: [4]}\n")
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run("tiny.yaml", progress=True)
    assert "stopped: " in capsys.readouterr().err
    assert signal.getsignal(signal.SIGINT) is before
    assert (project.results / "tiny" / "results.csv").exists()


def test_workers_that_were_kept_are_there_after_ctrl_c(project, trained):  # noqa: F811
    project.write(TINY + "  - {name: interrupted, layers: [4]}\n")
    with pytest.raises(KeyboardInterrupt):
        run("tiny.yaml", keep_workers=True)
    project.write(TINY)
    assert len(run("tiny.yaml", keep_workers=True).trials) == 4
    run("tiny.yaml")  # ends them


def test_a_notebook_sees_one_output_that_is_drawn_anew(project, trained, monkeypatch, capsys):  # noqa: F811
    drawn = []

    class Handle:
        def update(self, data, raw):
            drawn.append(data["text/plain"])

    monkeypatch.setenv("JPY_PARENT_PID", "1")
    monkeypatch.setitem(sys.modules, "ipykernel", object())
    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(display=lambda *data, **options: Handle()))
    run("tiny.yaml", progress=True)
    assert "4 to train" in capsys.readouterr().out
    assert any("wide seed 1: epoch 1/3, loss 0.5000" in text for text in drawn)
    assert any("3/4 trials" in text for text in drawn)
    assert drawn[-1] == ""


def test_to_import_the_package_loads_nothing():
    code = (
        "import sys, fmnist_mlp; print(*sorted(m for m in sys.modules if m in ('numpy', 'pandas', 'rich', 'pydantic')))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "\n"


def test_there_is_nothing_else_to_ask_the_package_for():
    assert {"run", "SweepError"} <= {*fmnist_mlp.__all__}
    with pytest.raises(AttributeError, match="has no attribute 'rnu'"):
        fmnist_mlp.rnu  # noqa: B018


@pytest.mark.slow
def test_a_script_without_a_guard_gives_the_bits_of_the_command(tmp_path):
    """And workers that were kept serve the next run; a model predicts what its record says."""
    text = "dataset: synthetic\nlimit: 600\nseeds: 2\ntraining: {epochs: 2}\narchitectures:\n  - [8]\n  - [16]\n"
    here, command = Project(tmp_path / "here", text), Project(tmp_path / "command", text)
    (here.folder / "script.py").write_text(
        "import multiprocessing\n"
        "import fmnist_mlp\n"
        "fmnist_mlp.run('tiny.yaml', seeds=1, jobs=1, keep_workers=True)\n"
        "first = [child.pid for child in multiprocessing.active_children()]\n"
        "sweep = fmnist_mlp.run('tiny.yaml', jobs=1, keep_workers=True)\n"
        "assert [child.pid for child in multiprocessing.active_children()] == first != []\n"
        "print(sweep.model('16').count_params())\n"
    )
    options = {"cwd": here.folder, "env": here.environment(), "capture_output": True, "text": True, "timeout": 300}
    done = subprocess.run([sys.executable, "script.py"], **options, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == str(784 * 16 + 16 + 16 * 10 + 10)
    command.sweep("--jobs", "1")
    assert different(here.numbers(), command.numbers()) == []


EXECUTE = """
import sys, nbclient, nbformat
notebook = nbformat.read(sys.argv[1], as_version=4)
for cell in notebook.cells:  # no network
    cell.source = cell.source.replace('"name": "depth",', '"name": "depth", "dataset": "synthetic",')
nbclient.NotebookClient(notebook, timeout=600, kernel_name="python3").execute()
nbformat.write(notebook, "executed.ipynb")
"""


@pytest.mark.slow
def test_the_notebook_of_the_docs_runs_in_a_real_kernel(tmp_path):
    pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    project = Project(tmp_path)  # noqa: F811
    text = (ROOT / "architectures.yaml").read_text(encoding="utf-8")
    project.write(text.replace("dataset: auto", "dataset: synthetic"), "architectures.yaml")
    (tmp_path / "home").mkdir()
    command = [sys.executable, "-W", "ignore", "-c", EXECUTE, ROOT / "docs" / "notebook.ipynb"]
    done = subprocess.run(
        command, cwd=tmp_path, env=project.environment(), capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr
    notebook = json.loads((tmp_path / "executed.ipynb").read_text(encoding="utf-8"))
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", ())]
    shown = [output["data"] for output in outputs if "data" in output]
    assert any("<table" in "".join(data.get("text/html", "")) for data in shown), "the table"
    assert any("<iframe" in "".join(data.get("text/html", "")) for data in shown), "the report"
    assert any("image/png" in data for data in shown), "curves"
    assert "to train" in "".join(text for output in outputs for text in output.get("text", ()))
    assert not [output for output in outputs if output["output_type"] == "error" or output.get("name") == "stderr"]

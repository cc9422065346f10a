"""Of the mistakes of published systems: a page that unpickles its model (E); no module runs what a file says."""

import ast
import pickle
from pathlib import Path

import numpy as np
import pytest
from sweeping import ROOT

from fmnist_mlp.errors import SweepError
from fmnist_mlp.files import seal
from fmnist_mlp.inference.predictor import Predictor
from fmnist_mlp.results.record import DamagedRecord


class Trap:
    """Leaves a file where somebody unpickles it."""

    def __init__(self, mark):
        self.mark = str(mark)

    def __reduce__(self):
        return Path.touch, (Path(self.mark),)


def test_e_no_model_is_unpickled(tmp_path):
    """E's page unpickles its model: whoever gives it one has the machine."""
    mark, model = tmp_path / "mark", tmp_path / "model.keras"
    model.write_bytes(pickle.dumps(Trap(mark)))
    with pytest.raises(SweepError, match="is no model that Keras can load"):
        Predictor(model)
    assert not mark.exists()
    pickle.loads(model.read_bytes())
    assert mark.exists(), "the trap works"


def test_e_no_predictions_are_unpickled(made):
    mark = made.root / "mark"
    record = made.record(made.plan[0])
    folder = made.put(record)
    with (folder / "predictions.npz").open("wb") as file:
        np.savez(file, label=np.zeros(4, np.uint8), predicted=np.array([Trap(mark)] * 4, object))
    seal(folder)
    with pytest.raises(DamagedRecord):
        made.results.load_correct(record.fingerprint)
    assert not mark.exists()


# Between a sweep and the workers that it started, pickles are the messages: they come from nowhere else.
MESSENGERS = {"calls.py", "inline.py", "pool.py", "process.py", "ray.py"}
PICKLES = {"pickle", "cPickle", "_pickle", "joblib", "dill", "cloudpickle", "shelve", "marshal", "skops"}


def unsafe_loading(text):
    """What of a module's text may run what a file says: `pickle` for an import, other things by what they are."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names} & PICKLES
        elif isinstance(node, ast.ImportFrom):
            found |= {f"from {name}" for name in {(node.module or "").partition(".")[0]} & PICKLES}
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in PICKLES:
            found |= {f"{node.value.id}.{node.attr}"} - {"pickle.loads", "pickle.dumps"}
        elif isinstance(node, ast.Name | ast.Attribute):
            name = node.id if isinstance(node, ast.Name) else node.attr
            found |= {name} & {"enable_unsafe_deserialization", "eval", "exec", "read_pickle"}
        elif isinstance(node, ast.keyword) and node.arg in ("allow_pickle", "safe_mode"):
            safe = node.arg == "safe_mode"
            if not (isinstance(node.value, ast.Constant) and node.value.value is safe):
                found.add(node.arg)
    return found


@pytest.mark.parametrize("module", sorted((ROOT / "fmnist_mlp").rglob("*.py")), ids=lambda path: path.name)
def test_e_no_module_runs_what_a_file_says(module):
    found = unsafe_loading(module.read_text(encoding="utf-8"))
    assert found == ({"pickle"} if module.name in MESSENGERS else set())


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("import pickle", "pickle"),
        ("import joblib.memory", "joblib"),
        ("from pickle import load", "from pickle"),
        ("pickle.load(file)", "pickle.load"),
        ("pickle.Unpickler(file)", "pickle.Unpickler"),
        ("np.load(path, allow_pickle=True)", "allow_pickle"),
        ("np.load(path, allow_pickle=maybe)", "allow_pickle"),
        ("keras.models.load_model(path, safe_mode=False)", "safe_mode"),
        ("keras.config.enable_unsafe_deserialization()", "enable_unsafe_deserialization"),
        ("eval(text)", "eval"),
    ],
)
def test_what_a_file_could_run_would_be_seen(text, found):
    assert unsafe_loading(text) == {found}


def test_loading_that_runs_nothing_is_let_be():
    safe = "np.load(path, allow_pickle=False); load_model(path, safe_mode=True); json.loads(text); pickle.dumps(value)"
    assert unsafe_loading(safe) == set()

"""Sweep files of which anything may be wrong, drawn by hypothesis."""

import copy
import json

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from fmnist_mlp.sweepfile.layers import LAYERS
from fmnist_mlp.sweepfile.settings import Grid, SweepSettings, Training

VALID = {
    "dataset": "auto",
    "seeds": [0, 1],
    "training": {"epochs": 3, "optimizer": "sgd", "momentum": 0.5, "early_stopping": {"patience": 2}},
    "architectures": [
        [64, "BatchNormalization", {"Dropout": 0.3}],
        {"name": "b", "layers": [{"Conv2D": {"filters": 2, "kernel_size": [3, 3]}}, "Flatten"], "epochs": 4},
        {"layers": [3], "preprocess": ["standardize", {"pca": 2}], "augment": {"shift": 2, "mixup": 0.5}},
    ],
    "folds": 3,
    "max_params": 1000,
    "grid": [
        {"depth": [1, 2], "units": [8, 3], "shape": ["funnel", "all"], "learning_rate": [0.1, 0.2]},
        {
            "depth": 1,
            "units": 8,
            "after_each": ["Flatten", {"Dropout": 0.5}],
            "early_stopping": [None, {"patience": 1}],
        },
    ],
}
junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    | st.sampled_from(["Dense", "Dropout", "layers", "adam", "relu", "idx", -1, 0, 1, 2**31, 10**400]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip

values = st.lists(st.integers(1, 20), min_size=1, max_size=3)


def places(value, path=()):
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*path, key))


@st.composite
def mutated(draw):
    """A valid file with one to three values replaced, removed or added to."""
    tree = [copy.deepcopy(VALID)]
    for _ in range(draw(st.integers(1, 3))):
        *path, last = draw(st.sampled_from([(0, *place) for place in places(tree[0])]))
        parent = tree
        for key in path:
            parent = parent[key]
        action = draw(st.sampled_from(["replace", "remove", "add"]))
        target = parent[last]
        if action == "add" and isinstance(target, dict):
            keys = [*Training.model_fields, *SweepSettings.model_fields, *Grid.model_fields, "after_each", "x"]
            target[draw(st.sampled_from(keys))] = draw(junk)
        elif action == "add" and isinstance(target, list):
            target.append(draw(junk | st.sampled_from(list(LAYERS)).map(lambda name: {name: 2})))
        elif action == "remove" and path:
            del parent[last]
        else:
            parent[last] = draw(junk)
    return json.dumps(tree[0], indent=draw(st.sampled_from([None, 1])))  # JSON is YAML


anything = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

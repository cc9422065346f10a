# ruff: noqa: E501 (messages stand in the table as a person reads them, in one line)
"""`baselines:` in a sweep file: what it means, what changes a fingerprint, and what wrong keys and values are told."""

import numpy as np
import pytest
from classifying import THEIRS

from fmnist_mlp.errors import SweepError
from fmnist_mlp.sweepfile import classifiers
from fmnist_mlp.sweepfile.checks import check_shapes
from fmnist_mlp.sweepfile.classifiers import CLASSIFIERS
from fmnist_mlp.sweepfile.read import load_sweep
from fmnist_mlp.sweepfile.schema import json_schema
from fmnist_mlp.sweepfile.sweep import Baseline, Overrides, over_budget
from fmnist_mlp.sweepfile.trials import list_trials
from fmnist_mlp.training import baseline as baseline_module


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Loads text as `b.yaml` of an empty folder."""
    monkeypatch.chdir(tmp_path)

    def load(text, **overrides):
        (tmp_path / "b.yaml").write_text(text)
        return load_sweep("b.yaml", Overrides(**overrides))

    return load


def fingerprints(sweep):
    return [one.fingerprint for one in list_trials(sweep, data_identity="images")]


def fingerprints_of(load, item, before="", **overrides):
    """Of a sweep of one baseline, as flow YAML."""
    return fingerprints(load(f"{before}\nseeds: 2\nbaselines:\n  - {item}\n", **overrides))


EXAMPLE = """
baselines:
  - LogisticRegression
  - ExtraTreesClassifier: {n_estimators: 200}
  - SVC:
  - name: logistic-pca
    LogisticRegression: {C: 0.1, max_iter: 200}
    preprocess: [standardize, {pca: 0.9}]
"""


def test_the_example_of_the_documentation_means_what_it_says(load):
    sweep = load(EXAMPLE)
    assert all(isinstance(baseline, Baseline) for baseline in sweep.architectures)
    assert [baseline.name for baseline in sweep.architectures] == [
        "LogisticRegression",
        "ExtraTreesClassifier-n_estimators200",
        "SVC",
        "logistic-pca",
    ]
    assert [baseline.classifier for baseline in sweep.architectures] == [
        classifiers.LogisticRegression(),
        classifiers.ExtraTreesClassifier(n_estimators=200),
        classifiers.SVC(),
        classifiers.LogisticRegression(C=0.1, max_iter=200),
    ]
    assert [baseline.line for baseline in sweep.architectures] == [3, 4, 5, 6]
    assert [len(baseline.training.preprocess) for baseline in sweep.architectures] == [0, 0, 0, 2]
    assert len(fingerprints(sweep)) == len(set(fingerprints(sweep))) == 4 * 5


def test_baselines_stand_behind_architectures_and_grids(load):
    sweep = load("grid: {depth: 1, units: 4}\nbaselines: [SVC]\narchitectures: [[8]]\n")
    assert [item.name for item in sweep.architectures] == ["8", "4", "SVC"]


def test_a_stack_of_a_grid_leaves_a_baseline_its_name(load):
    sweep = load("grid: {depth: 1, units: [4, 5]}\nbaselines: [{name: '4', SVC: {}}]\n")
    names = [item.name for item in sweep.architectures]
    assert names[1:] == ["5", "4"]
    assert names[0].startswith("4-")


def test_preprocessing_makes_an_automatic_name_of_its_own(load):
    sweep = load("baselines: [SVC, {SVC: {}, preprocess: {pca: 20}}, {SVC: , preprocess: [standardize, {pca: 0.9}]}]")
    assert [item.name for item in sweep.architectures] == ["SVC", "SVC-pca20", "SVC-standardize-pca0.9"]


def test_the_preprocessing_of_the_whole_file_is_a_baselines_too(load):
    sweep = load("training: {preprocess: standardize}\nbaselines: [SVC, {SVC: {}, name: raw, preprocess: []}]")
    assert [len(item.training.preprocess) for item in sweep.architectures] == [1, 0]
    assert sweep.architectures[0].name == "SVC"


def test_what_decides_no_number_changes_no_fingerprint(load):
    plain = fingerprints_of(load, "LogisticRegression")
    assert fingerprints_of(load, "{name: renamed, LogisticRegression: {}}  # explained") == plain
    assert fingerprints_of(load, "{LogisticRegression: {max_iter: 100, C: 1}}") == plain
    training = "training: {epochs: 7, optimizer: sgd, learning_rate: 0.5, threads: 2, activation: tanh}"
    assert fingerprints_of(load, "LogisticRegression", training) == plain
    assert fingerprints_of(load, "LogisticRegression", epochs=3) == plain
    assert len(set(plain)) == 2, "one a seed"


@pytest.mark.parametrize(
    ("item", "before"),
    [
        ("{LogisticRegression: {C: 2}}", ""),
        ("LinearSVC", ""),
        ("{LogisticRegression: {}, preprocess: standardize}", ""),
        ("LogisticRegression", "training: {validation_split: 0.3}"),
        ("LogisticRegression", "limit: 100"),
        ("LogisticRegression", "folds: 3"),
    ],
)
def test_what_decides_numbers_changes_the_fingerprint(load, item, before):
    assert not set(fingerprints_of(load, item, before)) & set(fingerprints_of(load, "LogisticRegression"))


def test_one_core_is_a_baselines_whatever_architectures_get(load):
    sweep = load("training: {threads: 4}\narchitectures: [[8]]\nbaselines: [SVC]")
    assert [item.training.threads for item in sweep.architectures] == [4, 1]


MISTAKES = [
    ("baselines:", 1, "baselines must be a list of scikit-learn's classifiers, such as '- LogisticRegression' in its own line, got nothing"),
    ("baselines: SVC", 1, "baselines must be a list of scikit-learn's classifiers, such as '- LogisticRegression' in its own line, got 'SVC'"),
    ("baselines: []", 1, "baselines must be a list of scikit-learn's classifiers, such as '- LogisticRegression' in its own line, got []"),
    ("baselines: [7]", 1, "a baseline is the name of a classifier, such as LogisticRegression, or one name with its arguments such as {LogisticRegression: {C: 0.1}}, got 7 (baseline number 1)"),
    ("baselines: [SVC, {}]", 1, "a baseline is the name of a classifier, such as LogisticRegression, or one name with its arguments such as {LogisticRegression: {C: 0.1}}, got {} (baseline number 2)"),
    ("baselines: [[SVC]]", 1, "a baseline is the name of a classifier, such as LogisticRegression, or one name with its arguments such as {LogisticRegression: {C: 0.1}}, got a list (baseline number 1)"),
    ("baselines: [LogisticRegresion]", 1, "unknown classifier 'LogisticRegresion'; did you mean 'LogisticRegression'? (baseline number 1)"),
    ("baselines: [svc]", 1, "unknown classifier 'svc'; did you mean 'SVC'? (baseline number 1)"),
    ("baselines: [KNN]", 1, "unknown classifier 'KNN'; did you mean 'KNeighborsClassifier'? (baseline number 1)"),
    ("baselines: [{name: rf, RandomForest: {}}]", 1, "unknown classifier 'RandomForest'; did you mean 'RandomForestClassifier'? (baseline 'rf')"),
    ("baselines: [GaussianNB]", 1, f"unknown classifier 'GaussianNB'; known: {', '.join(THEIRS)} (baseline number 1)"),
    ("baselines: [{name: empty}]", 1, "a baseline is one classifier, such as {LogisticRegression: {C: 0.1}}, got none (baseline 'empty')"),
    ("baselines: [{SVC: {}, LinearSVC: {}}]", 1, "a baseline is one classifier, such as {LogisticRegression: {C: 0.1}}, got 2: SVC and LinearSVC (baseline number 1)"),
    ("baselines: [{KNeighborsClassifier: 3}]", 1, "KNeighborsClassifier takes its arguments by name (n_neighbors, weights, metric, p), as {KNeighborsClassifier: {n_neighbors: 3}}, got 3 (baseline number 1)"),
    ("baselines: [{KNeighborsClassifier: [3]}]", 1, "KNeighborsClassifier takes its arguments by name (n_neighbors, weights, metric, p), as {KNeighborsClassifier: {n_neighbors: 3}}, got a list (baseline number 1)"),
    ("baselines:\n  - SVC:\n      c: 3", 3, "SVC has no argument 'c'; did you mean 'C'? (baseline number 1)"),
    ("baselines:\n  - SVC:\n    C: 3", 3, "C is an argument of SVC: write {SVC: {C: ...}} (baseline number 1)"),
    ("baselines:\n  - SVC:\n    epochs: 3", 3, "epochs is for architectures, a baseline does not take it (baseline number 1)"),
    ("baselines:\n  - SVC:\n    max_params: 3", 3, "max_params is for architectures, a baseline does not take it (baseline number 1)"),
    ("baselines:\n  - SVC:\n    nmae: mine", 3, "unknown key 'nmae'; did you mean 'name'? (baseline number 1)"),
    ("baselines: [{SVC: {random_state: 1}}]", 1, "random_state is not for a sweep file to set: it is the seed of the trial (baseline number 1)"),
    ("baselines: [{ExtraTreesClassifier: {n_jobs: -1}}]", 1, "n_jobs is not for a sweep file to set: each trial has one core, and other trials run beside it (baseline number 1)"),
    ("baselines:\n  - SVC\n  - SVC: {random_state: 3}", 3, "random_state is not for a sweep file to set: it is the seed of the trial (baseline number 2)"),
    ("baselines: [{SVC: {C: 0}}]", 1, "SVC C must be above 0, got 0 (baseline number 1)"),
    ("baselines: [{SVC: {C: .inf}}]", 1, "SVC C must be a number above 0, got .inf (baseline number 1)"),
    ("baselines: [{SVC: {C: .nan}}]", 1, "SVC C must be a number above 0, got .nan (baseline number 1)"),
    ("baselines: [{SVC: {C: '1'}}]", 1, "SVC C must be a number above 0, got '1'; write it without quotes: C: 1 (baseline number 1)"),
    ("baselines: [{SVC: {kernel: precomputed}}]", 1, "SVC kernel must be rbf, linear, poly or sigmoid, got 'precomputed' (baseline number 1)"),
    ("baselines: [{SVC: {gamma: scal}}]", 1, "SVC gamma must be scale, auto or a number at least 0, got 'scal'; did you mean 'scale'? (baseline number 1)"),
    ("baselines: [{SVC: {probability: true}}]", 1, None),
    ("baselines: [{LogisticRegression: {solver: liblinear}}]", 1, "LogisticRegression solver must be lbfgs, newton-cg, newton-cholesky, sag or saga, got 'liblinear' (baseline number 1)"),
    ("baselines: [{LogisticRegression: {max_iter: 1e3}}]", 1, "LogisticRegression max_iter must be a whole number from 1 to 1,000,000, got 1e3 (baseline number 1)"),
    ("baselines: [{LogisticRegression: {max_iter: 0}}]", 1, "LogisticRegression max_iter must be from 1 to 1,000,000, got 0 (baseline number 1)"),
    ("baselines: [{ExtraTreesClassifier: {max_features: 1.5}}]", 1, "ExtraTreesClassifier max_features must be sqrt, log2, a whole number from 1, a share above 0 and at most 1.0, or null for all, got 1.5 (baseline number 1)"),
    ("baselines: [{ExtraTreesClassifier: {class_weight: {0: 5}}}]", 1, "ExtraTreesClassifier class_weight must be balanced, got a mapping (key: value) (baseline number 1)"),
    ("baselines: [{MLPClassifier: {hidden_layer_sizes: [64, 0]}}]", 1, "MLPClassifier hidden_layer_sizes must be a whole number from 1 to 1,000,000, or a list of 1 to 200 of them, got a list (baseline number 1)"),
    ("baselines: [{MLPClassifier: {learning_rate: 0.1}}]", 1, "MLPClassifier learning_rate must be constant, invscaling or adaptive, got 0.1 (baseline number 1)"),
    ("baselines: [{HistGradientBoostingClassifier: {early_stopping: never}}]", 1, "HistGradientBoostingClassifier early_stopping must be auto (above 10,000 images), true or false, got 'never' (baseline number 1)"),
    ("baselines: [{SVC: {}, name: 3}]", 1, "name must be text, got 3; write it in quotes: '3'"),
    ("baselines: [{SVC: {}, name: ../x}]", 1, "name must be letters, digits, '.', '-' and '_', beginning with a letter or digit and not ending in '.', got '../x'"),
    ("baselines:\n  - SVC\n  - SVC: {C: 1.0}", 3, "baseline 'SVC' would be the same trials as 'SVC' in line 2; remove line 2 or line 3, or change one"),
    ("architectures:\n  - name: svc\n    layers: [8]\nbaselines:\n  - SVC", 5, "two architectures are named 'SVC', in line 2 (as 'svc': upper and lower case do not count) and in line 5; give one of them another name:"),
    ("baselnes: [SVC]", 1, "unknown key 'baselnes'; did you mean 'baselines'?"),
    ("seeds: 3", None, "'architectures:' is missing, the list of layer stacks to train (or 'grid:', which makes one)"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "line", "message"), MISTAKES, ids=[text for text, *_ in MISTAKES])
def test_each_mistake_gets_one_message_at_its_line(load, text, line, message):
    with pytest.raises(SweepError) as caught:
        load(text + "\n")
    first, *rest = str(caught.value).split("\n")
    where = "b.yaml:" if line is None else f"b.yaml:{line}:"
    if message is None:
        assert first.startswith(f"{where} SVC has no argument 'probability'; known: C, kernel, ")
    else:
        assert first == f"{where} {message}"
    assert not any(more.startswith("b.yaml") for more in rest), rest


def test_all_mistakes_are_told_at_once(load):
    text = "baselines:\n  - KNN\n  - SVC: {C: -1, gamma: -1, n_jobs: 2}\n  - {SVC: {}, preprocess: [whitening]}\n"
    with pytest.raises(SweepError) as caught:
        load(text)
    told = [line for line in str(caught.value).split("\n") if line.startswith("b.yaml")]
    assert [line.partition(" ")[0] for line in told] == [
        "b.yaml:2:",
        "b.yaml:3:",
        "b.yaml:3:",
        "b.yaml:3:",
        "b.yaml:4:",
    ]


def test_more_components_than_pixels_are_refused_at_their_line(load):
    sweep = load("baselines:\n  - SVC\n  - SVC:\n    preprocess: {pca: 65}\n")
    with pytest.raises(SweepError, match=r"b\.yaml:4: preprocess pca can have at most 64 components"):
        check_shapes(sweep, (8, 8), 4)


@pytest.mark.parametrize("name", ["MLPClassifier", "HistGradientBoostingClassifier"])
@pytest.mark.parametrize(
    ("counts", "fraction"),
    [([9, 1], 0.5), ([2, 2], 0.5), ([2, 2], 0.25), ([2, 2], 0.75), ([9, 9], 0.05), ([9, 9], 0.1)],
)
def test_early_stopping_on_too_few_images_is_known_beforehand(name, counts, fraction):
    classifier = CLASSIFIERS[name](early_stopping=True, validation_fraction=fraction, max_iter=2)
    y = np.repeat(np.arange(len(counts)), counts)
    x = np.random.default_rng(0).normal(size=(len(y), 3)).astype(np.float32)
    try:
        baseline_module.fit(classifier, x, y, len(counts), seed=0)
    except ValueError:
        assert "early_stopping sets" in classifier.misfit(counts)
    else:
        assert classifier.misfit(counts) == ""


def test_a_budget_of_parameters_stops_no_baseline(load):
    sweep = load("max_params: 10\narchitectures: [[8]]\nbaselines: [LogisticRegression]\n")
    assert over_budget(sweep, check_shapes(sweep, (8, 8), 4)) == {"8"}


def test_the_schema_knows_every_classifier_and_argument():
    schema = json_schema()
    baseline = schema["$defs"]["BaselineEntry"]
    assert set(baseline["properties"]) == {"name", "preprocess", *CLASSIFIERS}
    assert baseline["oneOf"] == [{"required": [name]} for name in CLASSIFIERS]
    for name, classifier in CLASSIFIERS.items():
        assert baseline["properties"][name]["anyOf"] == [{"$ref": f"#/$defs/{name}"}, {"type": "null"}]
        arguments = schema["$defs"][name]["properties"]
        assert set(arguments) == set(classifier.model_fields)
        assert all(part["description"] for part in arguments.values())
    assert {"required": ["baselines"]} in schema["anyOf"]

"""The closed list of scikit-learn's classifiers that may stand beside the architectures of a sweep: baselines.

Each classifier is a small frozen model with the name, the arguments and the defaults of scikit-learn's own (1.9), so
that a wrong name or value is found without importing it (0.6 s). Every argument is handed over, defaults too: a later
scikit-learn with other defaults changes no trial. Arguments that carry code, print, or change nothing but the time are
left out. `random_state` and `n_jobs` are ours: the seed of the trial, and one core, as for an architecture.
"""

import math
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import BeforeValidator, Field, WithJsonSchema

from fmnist_mlp.sweepfile.names import number_in_name
from fmnist_mlp.sweepfile.wants import Checked, Wants
from fmnist_mlp.words import counted

MOST_ROUNDS = 1_000_000  # of trees or iterations; beyond this a number is a slip


class Classifier(Checked):
    """What every classifier has; the classes below are the closed list.

    Class attributes:
        shorthand: none; every argument goes by its name.
        module: where scikit-learn has it.
        example: how it is written in a sweep file.
        gives_probabilities: False for those that only decide, and so have neither a loss nor a calibration error.
        rough_seconds: of one core (Zen 5) to fit 48,000 raw images of Fashion-MNIST with the defaults and score 22,000;
            for the order of trials and the time left, nothing else rests on it.
    """

    shorthand: ClassVar[str | None] = None
    module: ClassVar[str]
    example: ClassVar[str]
    gives_probabilities: ClassVar[bool] = True
    rough_seconds: ClassVar[float]

    def short_name(self) -> str:
        """For an automatic name, with what differs from the defaults: `ExtraTreesClassifier-n_estimators200`."""
        return "-".join([type(self).__name__, *(key + _in_name(value) for key, value in self._set().items())])

    def in_short(self) -> str:
        """As Python would write it: `LogisticRegression(C=0.1, max_iter=200)`."""
        return f"{type(self).__name__}({', '.join(f'{key}={_in_python(value)}' for key, value in self._set().items())})"

    def canonical(self) -> dict[str, Any]:
        """As part of what a trial is, in plain JSON, with the arguments that differ from their defaults."""
        return {"baseline": type(self).__name__, "arguments": self.model_dump(mode="json", exclude_defaults=True)}

    @staticmethod
    def from_canonical(written: Mapping[str, Any]) -> "Classifier":
        """The classifier of such a form; raises ValueError, TypeError or LookupError where it is none."""
        return CLASSIFIERS[written["baseline"]].model_validate(written["arguments"])

    def rough_cost(self, images: int) -> float:
        """Seconds of one core, by a rule of thumb: so many trees or rounds of so many images as against the default."""
        rounds = "n_estimators" if "n_estimators" in type(self).model_fields else "max_iter"
        effort = 1.0
        if rounds in type(self).model_fields:
            effort = getattr(self, rounds) / type(self).model_fields[rounds].default
        return self.rough_seconds * max(0.01, effort) * images / 48_000

    def misfit(self, class_counts: list[int]) -> str:
        """Why so many images of each class that occurs are too few for it; empty where they are not."""
        fields = type(self).model_fields
        if "early_stopping" not in fields or self.early_stopping is not True:
            return ""
        # As sklearn.model_selection.StratifiedShuffleSplit demands; "auto" is False up to 10,000 images.
        images, classes = sum(class_counts), len(class_counts)
        aside = math.ceil(images * self.validation_fraction)
        if min(class_counts) >= 2 and min(aside, images - aside) >= classes:
            return ""
        return (
            f"early_stopping sets {aside:,} of {images:,} training images aside, which must hold every class, as must "
            f"the others, and the rarest of the {classes} classes has {min(class_counts):,}; use more images, or leave "
            "early_stopping out"
        )

    def count_params(self, fitted: Any) -> int | None:
        """Numbers that training chose, for a scikit-learn estimator of this class; None for trees and neighbours."""
        return None

    def describe_size(self, fitted: Any) -> str:
        """Where parameters do not say it, how large it became: `200 trees, 1,234,567 nodes`; empty elsewhere."""
        return ""

    def _set(self) -> dict[str, Any]:
        """The arguments that differ from their defaults, in the order of the fields."""
        fields = type(self).model_fields
        return {key: value for key in fields if (value := getattr(self, key)) != fields[key].default}


def _in_name(value: Any) -> str:
    """A value behind its argument's name, in the letters that a name may have: `0.1`, `64x32`, `_linear`, `_none`."""
    if isinstance(value, tuple):
        return "x".join(map(str, value))
    if isinstance(value, str | bool) or value is None:
        return f"_{value}".lower()
    return number_in_name(value) if isinstance(value, float) else str(value)


def _in_python(value: Any) -> str:
    return number_in_name(value) if isinstance(value, float) else repr(value)


# ---- types of arguments ----


def _as_sizes(value: Any) -> Any:
    """scikit-learn takes one number or several; we keep several, so that 64 and [64] are the same network."""
    if isinstance(value, int) and not isinstance(value, bool):
        return (value,)
    return tuple(value) if isinstance(value, list) else value


def _as_max_features(value: Any) -> Any:
    """A share of 1.0 is all, like null; and unlike 1, which is one pixel."""
    return None if isinstance(value, float) and value == 1 else value


_Rounds = Annotated[int, Field(ge=1, le=MOST_ROUNDS)]

_Whole = Annotated[int, Field(ge=1, le=1_000_000_000)]

_Leaves = Annotated[int, Field(ge=2, le=1_000_000_000)]

_AboveZero = Annotated[float, Field(gt=0)]

_FromZero = Annotated[float, Field(ge=0)]

_Share = Annotated[float, Field(gt=0, lt=1)]

_Decay = Annotated[float, Field(ge=0, lt=1)]

_MaxFeatures = Annotated[
    _Whole | _Share | Literal["sqrt", "log2"] | None,
    BeforeValidator(_as_max_features),
    Wants(
        "sqrt, log2, a whole number from 1, a share above 0 and at most 1.0, or null for all", choices=("sqrt", "log2")
    ),
]

_Gamma = Annotated[
    Literal["scale", "auto"] | _FromZero,
    Wants("scale, auto or a number at least 0", choices=("scale", "auto")),
]

_EarlyStopping = Annotated[
    Literal["auto"] | bool, Wants("auto (above 10,000 images), true or false", choices=("auto",))
]

_BatchSize = Annotated[
    Literal["auto"] | _Whole, Wants("auto (200 images at most) or a whole number from 1", choices=("auto",))
]

_UNITS = {"type": "integer", "minimum": 1, "maximum": 1_000_000}

_HiddenLayerSizes = Annotated[
    tuple[Annotated[int, Field(ge=1, le=1_000_000)], ...],
    Field(min_length=1, max_length=200),
    BeforeValidator(_as_sizes),
    Wants("a whole number from 1 to 1,000,000, or a list of 1 to 200 of them"),
    WithJsonSchema({"anyOf": [_UNITS, {"type": "array", "items": _UNITS, "minItems": 1, "maxItems": 200}]}),
]


def _class_weight_field() -> Any:
    return Field(None, description="balanced: each class weighs as much as any other, however many images it has.")


def _tol_field(default: float) -> Any:
    return Field(default, description="How little has to change for training to stop.")


# ---- classifiers ----


class _Linear(Classifier):
    """What the two linear models share: a coefficient a pixel and an intercept, for each class."""

    C: _AboveZero = Field(1.0, description="Inverse of the strength of regularisation.")
    fit_intercept: bool = Field(True, description="Whether an intercept is added.")
    class_weight: Literal["balanced"] | None = _class_weight_field()

    def count_params(self, fitted: Any) -> int:
        return fitted.coef_.size + (np.size(fitted.intercept_) if self.fit_intercept else 0)


class LogisticRegression(_Linear):
    """Multinomial logistic regression: a network without hidden layers."""

    module: ClassVar = "sklearn.linear_model"
    example: ClassVar = "{LogisticRegression: {C: 0.1}}"
    rough_seconds: ClassVar = 5.0

    # liblinear is for two classes only, and says so after minutes.
    solver: Literal["lbfgs", "newton-cg", "newton-cholesky", "sag", "saga"] = Field("lbfgs", description="Optimizer.")
    max_iter: _Rounds = Field(100, description="Most iterations of the solver.")
    tol: _FromZero = _tol_field(1e-4)


class LinearSVC(_Linear):
    """Linear support vector machine, one class against the rest; gives no probabilities."""

    module: ClassVar = "sklearn.svm"
    example: ClassVar = "{LinearSVC: {C: 0.1}}"
    gives_probabilities: ClassVar = False
    rough_seconds: ClassVar = 130.0

    loss: Literal["squared_hinge", "hinge"] = Field("squared_hinge", description="What is minimised.")
    max_iter: _Rounds = Field(1000, description="Most iterations.")
    tol: _AboveZero = _tol_field(1e-4)


class SVC(Classifier):
    """Support vector machine with a kernel; gives no probabilities. Takes time by the square of the images."""

    module: ClassVar = "sklearn.svm"
    example: ClassVar = "{SVC: {C: 10}}"
    gives_probabilities: ClassVar = False
    rough_seconds: ClassVar = 240.0

    C: _AboveZero = Field(1.0, description="Inverse of the strength of regularisation.")
    kernel: Literal["rbf", "linear", "poly", "sigmoid"] = Field("rbf", description="How alike two images are.")
    degree: Annotated[int, Field(ge=0, le=100)] = Field(3, description="Of the kernel poly.")
    gamma: _Gamma = Field("scale", description="Coefficient of the kernels but linear; scale: 1 / (pixels * variance).")
    coef0: float = Field(0.0, description="Constant term of the kernels poly and sigmoid.")
    shrinking: bool = Field(True, description="Whether settled images are set aside while it trains.")
    class_weight: Literal["balanced"] | None = _class_weight_field()
    max_iter: Annotated[int, Field(ge=-1, le=1_000_000_000)] = Field(-1, description="Most iterations; -1 is no limit.")
    tol: _AboveZero = _tol_field(1e-3)

    def canonical(self) -> dict[str, Any]:
        """As part of what a trial is, in plain JSON, with the arguments that differ from their defaults."""
        return {"baseline": type(self).__name__, "arguments": self.model_dump(mode="json", exclude_defaults=True)}

    @staticmethod
    def from_canonical(written: Mapping[str, Any]) -> "Classifier":
        """The classifier of such a form; raises ValueError, TypeError or LookupError where it is none."""
        return CLASSIFIERS[written["baseline"]].model_validate(written["arguments"])

    def rough_cost(self, images: int) -> float:
        return self.rough_seconds * (images / 48_000) ** 2

    def describe_size(self, fitted: Any) -> str:
        return counted(fitted.n_support_.sum(), "support vector")


class _Forest(Classifier):
    """What the two forests share."""

    n_estimators: _Rounds = Field(100, description="Trees.")
    criterion: Literal["gini", "entropy", "log_loss"] = Field("gini", description="What a split is judged by.")
    max_depth: _Whole | None = Field(None, description="Most splits from root to leaf; null is no limit.")
    min_samples_split: _Leaves = Field(2, description="Fewest images that are split.")
    min_samples_leaf: _Whole = Field(1, description="Fewest images in a leaf.")
    max_features: _MaxFeatures = Field("sqrt", description="Pixels that are tried for a split.")
    max_leaf_nodes: _Leaves | None = Field(None, description="Most leaves of a tree; null is no limit.")
    min_impurity_decrease: _FromZero = Field(0.0, description="How much a split has to gain.")
    ccp_alpha: _FromZero = Field(0.0, description="Strength of pruning; 0 is none.")
    class_weight: Literal["balanced"] | None = _class_weight_field()

    def describe_size(self, fitted: Any) -> str:
        return _trees([tree.tree_.node_count for tree in fitted.estimators_])


class ExtraTreesClassifier(_Forest):
    """Trees on all images, split at random thresholds."""

    module: ClassVar = "sklearn.ensemble"
    example: ClassVar = "{ExtraTreesClassifier: {n_estimators: 200}}"
    rough_seconds: ClassVar = 16.0

    bootstrap: bool = Field(False, description="Whether each tree has images of its own, drawn with replacement.")


class RandomForestClassifier(_Forest):
    """Trees on images drawn with replacement, split at the best thresholds."""

    module: ClassVar = "sklearn.ensemble"
    example: ClassVar = "{RandomForestClassifier: {n_estimators: 200}}"
    rough_seconds: ClassVar = 38.0

    bootstrap: bool = Field(True, description="Whether each tree has images of its own, drawn with replacement.")


class HistGradientBoostingClassifier(Classifier):
    """Boosted trees on binned pixels, a tree a class in each round."""

    module: ClassVar = "sklearn.ensemble"
    example: ClassVar = "{HistGradientBoostingClassifier: {max_iter: 200}}"
    rough_seconds: ClassVar = 200.0

    learning_rate: _AboveZero = Field(0.1, description="How much each tree counts.")
    max_iter: _Rounds = Field(100, description="Most rounds.")
    max_leaf_nodes: _Leaves | None = Field(31, description="Most leaves of a tree; null is no limit.")
    max_depth: _Whole | None = Field(None, description="Most splits from root to leaf; null is no limit.")
    min_samples_leaf: _Whole = Field(20, description="Fewest images in a leaf.")
    l2_regularization: _FromZero = Field(0.0, description="Regularisation of the leaves.")
    max_features: Annotated[float, Field(gt=0, le=1)] = Field(1.0, description="Share of pixels tried for a split.")
    max_bins: Annotated[int, Field(ge=2, le=255)] = Field(255, description="Bins of a pixel's values.")
    early_stopping: _EarlyStopping = Field(
        "auto", description="Whether to stop early, judged by a share of the training images that is set aside."
    )
    validation_fraction: _Share = Field(0.1, description="The share that early stopping sets aside.")
    n_iter_no_change: _Rounds = Field(10, description="Rounds without improvement before early stopping.")
    tol: _FromZero = _tol_field(1e-7)
    class_weight: Literal["balanced"] | None = _class_weight_field()

    def describe_size(self, fitted: Any) -> str:
        # scikit-learn 1.9 has no public way to the trees: where this name is gone, nothing is said of them.
        predictors = getattr(fitted, "_predictors", None)
        return "" if predictors is None else _trees([len(tree.nodes) for trees in predictors for tree in trees])


class KNeighborsClassifier(Classifier):
    """The classes of the nearest training images. Learns nothing: it takes its time when it scores."""

    module: ClassVar = "sklearn.neighbors"
    example: ClassVar = "{KNeighborsClassifier: {n_neighbors: 3}}"
    rough_seconds: ClassVar = 28.0

    n_neighbors: _Whole = Field(5, description="Neighbours that decide.")
    weights: Literal["uniform", "distance"] = Field("uniform", description="distance: nearer neighbours count more.")
    metric: Literal["minkowski", "euclidean", "manhattan", "chebyshev", "cosine"] = Field(
        "minkowski", description="What near means."
    )
    p: Annotated[float, Field(ge=1)] = Field(2.0, description="Power of minkowski: 1 is manhattan, 2 is euclidean.")

    def misfit(self, class_counts: list[int]) -> str:
        images = sum(class_counts)
        return "" if self.n_neighbors <= images else f"n_neighbors must be at most the {images:,} training images"

    def describe_size(self, fitted: Any) -> str:
        return counted(fitted.n_samples_fit_, "image")


class MLPClassifier(Classifier):
    """scikit-learn's own dense network."""

    module: ClassVar = "sklearn.neural_network"
    example: ClassVar = "{MLPClassifier: {hidden_layer_sizes: [64, 32]}}"
    rough_seconds: ClassVar = 120.0

    hidden_layer_sizes: _HiddenLayerSizes = Field((100,), description="Units of its hidden layers.")
    activation: Literal["relu", "tanh", "logistic", "identity"] = Field("relu", description="Of the hidden layers.")
    solver: Literal["adam", "sgd", "lbfgs"] = Field("adam", description="Optimizer.")
    alpha: _FromZero = Field(1e-4, description="Strength of L2 regularisation.")
    batch_size: _BatchSize = Field("auto", description="Images in one step.")
    learning_rate: Literal["constant", "invscaling", "adaptive"] = Field(
        "constant", description="How the rate moves, for sgd; the rate itself is learning_rate_init."
    )
    learning_rate_init: _AboveZero = Field(0.001, description="Learning rate, for adam and sgd.")
    power_t: _FromZero = Field(0.5, description="Exponent of invscaling.")
    max_iter: _Rounds = Field(200, description="Most epochs, or iterations of lbfgs.")
    shuffle: bool = Field(True, description="Whether each epoch has another order.")
    tol: _FromZero = _tol_field(1e-4)
    momentum: Annotated[float, Field(ge=0, le=1)] = Field(0.9, description="Momentum, for sgd.")
    nesterovs_momentum: bool = Field(True, description="Whether momentum looks ahead, for sgd.")
    early_stopping: bool = Field(
        False, description="Whether to stop early, judged by a share of the training images that is set aside."
    )
    validation_fraction: _Share = Field(0.1, description="The share that early stopping sets aside.")
    beta_1: _Decay = Field(0.9, description="Decay of adam's mean.")
    beta_2: _Decay = Field(0.999, description="Decay of adam's variance.")
    epsilon: _AboveZero = Field(1e-8, description="Added to adam's divisor.")
    n_iter_no_change: _Rounds = Field(10, description="Epochs without improvement before training stops.")
    max_fun: _Rounds = Field(15_000, description="Most evaluations of the loss, for lbfgs.")

    def count_params(self, fitted: Any) -> int:
        return sum(array.size for array in (*fitted.coefs_, *fitted.intercepts_))


def _trees(nodes: list[int]) -> str:
    return f"{counted(len(nodes), 'tree')}, {counted(sum(nodes), 'node')}"


_CLOSED_LIST = (
    LogisticRegression, ExtraTreesClassifier, RandomForestClassifier, HistGradientBoostingClassifier,
    KNeighborsClassifier, LinearSVC, SVC, MLPClassifier,
)  # fmt: skip

CLASSIFIERS: dict[str, type[Classifier]] = {classifier.__name__: classifier for classifier in _CLOSED_LIST}

"""The nearest of the known words to one that somebody wrote, by what others call it or by likeness.

Searching is bounded: a file of a megabyte in which every word is wrong is answered in a second.
"""

import difflib
import functools
import re
from collections.abc import Iterable, Sequence

_MAX_SEARCHED = 40  # characters of a name that are compared with the known ones

# Ours: what others call it, by letters and digits alone. Of two that share a word, the first that is known counts.
_SYNONYMS = {
    "learning_rate": "lr learningrateinit stepsize initiallr",
    "epochs": "epoch nepochs numepochs maxepochs nbepoch maxiter niter",
    "batch_size": "batch bs minibatch minibatchsize",
    "early_stopping": "patience earlystop earlystopper niternochange",
    "gradient_clip": "clipnorm clip gradclip clipgradnorm maxgradnorm globalclipnorm",
    "schedule": "scheduler lrschedule lrscheduler learningrateschedule annealing",
    "warmup_epochs": "warmup warmupsteps",
    "optimizer": "solver opt optim optimiser",
    "activation": "act activationfunction activationfn activations nonlinearity hiddenactivation",
    "validation_split": "valsplit valsize valfraction validationfraction validationsize",
    "augment": "augmentation augmentations transforms dataaugmentation",
    "preprocess": "preprocessing normalize normalization normalise scaler scaling standardize standardise pca",
    "layers": "hiddenlayers layer",
    "units": "units width widths hiddenunits neurons nodes size outputs outfeatures nunits numunits dim",
    "depth": "depths nlayers numlayers numberoflayers hiddenlayers numhiddenlayers",
    "Dense": "units linear fc fullyconnected innerproduct",
    "BatchNormalization": "bn batchnorm batchnorm1d batchnorm2d",
    "LayerNormalization": "ln layernorm",
    "MaxPooling2D": "maxpool maxpool2d pool pooling",
    "AveragePooling2D": "avgpool avgpool2d averagepool2d",
    "GlobalAveragePooling2D": "gap globalavgpool2d globalaveragepool2d globalpooling adaptiveavgpool2d",
    "Conv2D": "conv convolution convolution2d",
    "rate": "droprate dropoutrate p prob probability",
    "kernel_size": "kernel kernelsizes filtersize",
    "filters": "outchannels channels",
    "strides": "stride",
    "use_bias": "bias",
    "epsilon": "eps",
    "negative_slope": "alpha slope",
    "weight_decay": "wd decay l2 l2reg regularization alpha",
    "folds": "cv kfold kfolds nsplits nfolds",
    "seeds": "seed randomstate randomseed nseeds numseeds repeats runs trials",
    "architectures": "models networks nets mlps stacks experiments configs configurations archs",
    "baselines": "sklearn classifiers baseline",
    "training": "hyperparameters hyperparams hparams params train fit compile settings",
    "dataset": "data datasets",
    "limit": "samples numsamples nsamples trainsize maxsamples subset",
    "class_names": "labels classes labelnames targetnames categories",
    "max_params": "maxparameters parameterbudget budget",
    "select_by": "monitor metric objective",
    "name": "title id label",
    "KNeighborsClassifier": "knn",
    "LogisticRegression": "logreg",
    "MLPClassifier": "mlp",
    "n_neighbors": "k",
    "search": "tune tuner tuning optuna hpo hyperopt space searchspace",
    "trials": "ntrials numtrials maxtrials candidates ncandidates numsamples nsamples samples niter iterations budget",
    "sampler": "algorithm algo method strategy tuner searcher",
    "seed": "randomstate randomseed",
    "stop_early": "halving successivehalving hyperband asha pruner pruning",
    "finalists": "top topk nbest best",
    "dropout": "dropoutrate droprate",
    "free": "all any",
    "from": "min minimum low lower start",
    "to": "max maximum high upper stop end",
    "log": "logscale logarithmic",
}


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'epochs'?`, or the list of what there is where nothing is near."""
    known = tuple(known)
    near = nearest(name, known)
    if near:
        return f"; did you mean '{near}'?"
    return f"; known: {', '.join(known)}" if known else ""


def nearest(name: str, known: Sequence[str]) -> str | None:
    """The known name that somebody meant, by what others call it or by likeness; None where nothing is near."""
    return _nearest(name[:_MAX_SEARCHED], tuple(known))


@functools.lru_cache(maxsize=4096)
def _nearest(name: str, known: tuple[str, ...]) -> str | None:
    by_letters = named_by_letters(known)
    wanted = letters_of(name.rpartition(".")[2] or name)  # keras.layers.Dense, nn.Linear
    if wanted in by_letters:
        return by_letters[wanted]
    synonym = next((ours for ours, words in _SYNONYMS.items() if ours in known and wanted in words.split()), None)
    if synonym or not wanted:
        return synonym
    # difflib, which is slow, looks at the three alone that share the most letters and pairs of letters.
    pairs = _pairs(wanted)
    shared = {letters: len(pairs & theirs) for letters, theirs in _pairs_of(known).items()}
    close = difflib.get_close_matches(wanted, sorted(shared, key=shared.get, reverse=True)[:3], n=1)
    return by_letters[close[0]] if close else None


def _pairs(letters: str) -> set[str]:
    return {*letters, *(letters[i : i + 2] for i in range(len(letters) - 1))}


@functools.lru_cache(maxsize=256)
def _pairs_of(known: tuple[str, ...]) -> dict[str, set[str]]:
    return {letters: _pairs(letters) for letters in named_by_letters(known)}


@functools.lru_cache(maxsize=256)
def named_by_letters(known: tuple[str, ...]) -> dict[str, str]:
    return {letters_of(name): name for name in known}


def letters_of(name: str) -> str:
    """What a name is by ear: learningRate, learning-rate and LEARNING_RATE are one."""
    return re.sub(r"[^a-z0-9]", "", name.lower())

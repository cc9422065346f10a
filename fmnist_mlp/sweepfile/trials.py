"""The trials of a sweep, each with its fingerprint: the SHA-256 of everything that decides its numbers."""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fmnist_mlp.sweepfile.seeds import reserved, seed_in_words
from fmnist_mlp.sweepfile.stacks import is_convolutional
from fmnist_mlp.sweepfile.sweep import OF_A_BASELINE, Architecture, Baseline, Sweep

NUMERICS_VERSION = 1  # part of every fingerprint: raise it when the arithmetic of a trial changes


@dataclass(frozen=True)
class Trial:
    """One training: an architecture with a seed (and a fold), and the settings that its fingerprint was made from.

    A baseline may stand in the architecture's place. `fold` counts from 0, of `settings["folds"]`; None without
    cross-validation. `until` is of a candidate of a search: after how many epochs it stops; it is not scored on test
    images. None is a whole trial. It is no part of the fingerprint: so far, both are the same training.
    """

    architecture: Architecture | Baseline
    seed: int
    fold: int | None
    fingerprint: str
    settings: dict = field(repr=False)
    until: int | None = None

    @property
    def is_candidate(self) -> bool:
        """Whether a search decides how far it is trained."""
        return self.until is not None

    @property
    def epochs(self) -> int:
        """How many epochs it trains, where its own early stopping does not end it before."""
        epochs = self.architecture.training.epochs
        return epochs if self.until is None else min(epochs, self.until)

    @property
    def is_refit(self) -> bool:
        """Whether it trains on all training images, with none for validation."""
        return "refit" in self.settings

    @property
    def in_words(self) -> str:
        """`64-32 seed 0 fold 1`, `64-32 refit 0`."""
        fold = "" if self.fold is None else f" fold {self.fold}"
        return f"{self.architecture.name} {seed_in_words(self.seed)}{fold}"


def list_trials(
    sweep: Sweep,
    *,
    data_identity: str,
    plain_fit: bool = False,
    skip: Collection[str] = frozenset(),
    seeds: Mapping[str, Sequence[int]] | None = None,
) -> list[Trial]:
    """Every trial that chooses among a sweep's architectures: these in their order, seeds inside, folds inside those.

    What is trained again after the choice is listed by `list_refits`.

    Args:
        sweep: from `load_sweep`.
        data_identity: what `data` says the arrays are; part of each fingerprint.
        plain_fit: whether Keras's own loop is asked for (`--plain-fit`); convolutional stacks always take it.
        skip: names of architectures to leave out, those of `over_budget`.
        seeds: by architecture name, where not each has all of the sweep's.
    """
    trials = []
    folds = (None,) if sweep.folds is None else range(sweep.folds)
    for architecture in sweep.architectures:
        if architecture.name in skip:
            continue
        # A sweep may have tens of thousands of trials: what all those of an architecture share is made once.
        shared = canonical_settings(
            architecture,
            data_identity=data_identity,
            limit=sweep.limit,
            seed=sweep.seeds[0],
            fold=folds[0],
            folds=sweep.folds,
            plain_fit=plain_fit,
        )
        for seed in sweep.seeds if seeds is None else seeds[architecture.name]:
            for fold in folds:
                settings = {**shared, "seed": seed}
                if fold is not None:
                    settings["fold"] = fold
                trials.append(Trial(architecture, seed, fold, fingerprint(settings), settings))
    return trials


def list_refits(
    sweep: Sweep,
    architectures: Iterable[Architecture | Baseline],
    *,
    data_identity: str,
    plain_fit: bool = False,
) -> list[Trial]:
    """The trials that train these architectures on all training images, with seeds of their own (`seeds.reserved`).

    Arguments as in `list_trials`.
    """
    trials = []
    for architecture in architectures:
        for number in range(sweep.refits):
            seed = reserved("refit", number)
            settings = canonical_settings(
                architecture,
                data_identity=data_identity,
                limit=sweep.limit,
                seed=seed,
                plain_fit=plain_fit,
                refit=True,
            )
            trials.append(Trial(architecture, seed, None, fingerprint(settings), settings))
    return trials


def canonical_settings(
    architecture: Architecture | Baseline,
    *,
    data_identity: str,
    limit: int | None,
    seed: int,
    fold: int | None = None,
    folds: int | None = None,
    plain_fit: bool = False,
    refit: bool = False,
) -> dict[str, Any]:
    """Everything that decides a trial's numbers, as plain JSON values; nothing else (no names, paths, lines).

    Layers stand with all their arguments. Training settings stand only where they differ from their default, but for
    the four that everybody asks about, so that a key of a later version leaves the fingerprints of old trials alone.
    `fold` and `folds` stand only in a cross-validation, which has no `validation_split`: the folds say what validates.
    `refit` stands only where nothing validates.
    A baseline has its classifier in place of layers, with the arguments that differ from their defaults.
    """
    settings = {
        "training": architecture.training.canonical(),
        "data": data_identity,
        "limit": limit,
        "seed": seed,
        "numerics": NUMERICS_VERSION,
    }
    if isinstance(architecture, Baseline):
        settings |= architecture.classifier.canonical()
        settings["training"] = {key: v for key, v in settings["training"].items() if key in OF_A_BASELINE}
    else:
        plain = plain_fit or is_convolutional(architecture.layers)
        settings |= {
            "layers": [layer.canonical() for layer in architecture.layers],
            "backend": "tensorflow",
            "loop": "plain" if plain else "compiled",
        }
    if folds is not None:
        settings["training"].pop("validation_split", None)
        settings |= {"fold": fold, "folds": folds}
    if refit:
        settings["training"].pop("validation_split", None)
        settings["refit"] = True
    return settings


def program_of(trial: Trial) -> str:
    """A key that trials share where one compiled program trains them all.

    Seeds and folds are values of its variables, and so is a learning rate that stays the same; how many epochs there
    are is asked between them. A schedule counts their steps, and is compiled with its numbers.
    """
    training = dict(trial.settings["training"])
    values = {"early_stopping"}
    if "schedule" not in training and "warmup_epochs" not in training:
        values |= {"epochs", "learning_rate"}
    training = {name: value for name, value in training.items() if name not in values}
    settings = {name: value for name, value in trial.settings.items() if name not in ("seed", "fold")}
    return fingerprint(settings | {"training": training})


def identity_of(trial: Trial) -> str:
    """What trials of one architecture share, on the same images: all that is neither seed nor fold."""
    return fingerprint({name: value for name, value in trial.settings.items() if name not in ("seed", "fold")})


def fingerprint(settings: dict[str, Any]) -> str:
    """SHA-256 of the canonical JSON of `settings`, in hexadecimal."""
    text = json.dumps(settings, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()

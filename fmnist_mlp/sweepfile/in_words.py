"""Settings in words, from the canonical form in which records and plans hold them (`trials.canonical_settings`).

Every page, log and message that says with what something was trained asks here. Nobody else takes that form apart.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fmnist_mlp.sweepfile.classifiers import CLASSIFIERS, Classifier
from fmnist_mlp.sweepfile.layers import Layer
from fmnist_mlp.sweepfile.seeds import seed_in_words
from fmnist_mlp.sweepfile.settings import Training
from fmnist_mlp.sweepfile.stacks import stack_name
from fmnist_mlp.sweepfile.trials import Trial

# ---- a setting ----


def setting_in_words(name: str) -> str:
    """`learning rate`, `training images used`."""
    return {"limit": "training images used", "loop": "training loop"}.get(name, name.replace("_", " "))


def value_in_words(value: Any) -> str:
    """`0.001`, `none`, `3 x 3`, `patience 3, min delta 0.01`."""
    if value is None:
        return "none"
    if isinstance(value, dict):
        return ", ".join(f"{setting_in_words(str(name))} {value_in_words(v)}" for name, v in value.items()) or "default"
    if isinstance(value, list | tuple):
        are_sizes = all(isinstance(inner, int) for inner in value)
        return (" x " if are_sizes else ", ").join(map(value_in_words, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def arguments_in_words(arguments: Mapping[str, Any]) -> str:
    """`units 64, activation relu`; what is none, or on as by default, goes without saying."""
    kept = {name: value for name, value in arguments.items() if value is not None and value is not True}
    return ", ".join(f"{name} {value_in_words(value)}" for name, value in kept.items())


# ---- a trial ----


def trial_in_short(settings: Mapping[str, Any]) -> str:
    """`256-drop0.3, seed 2, 20 epochs`; `256-drop0.3, refit 2, 20 epochs`.

    Raises:
        ValueError, TypeError, LookupError: these are no settings of a trial, as a damaged file may hold.
    """
    if "baseline" in settings:
        parts = [Classifier.from_canonical(settings).in_short()]
    else:
        parts = [stack_name([Layer.from_canonical(layer) for layer in settings["layers"]])]
    seed = seed_in_words(settings["seed"])
    # Earlier versions refitted with the sweep's own seeds.
    parts.append(f"{seed} (refit)" if "refit" in settings and not seed.startswith("refit") else seed)
    parts += [f"fold {settings['fold']}"] if "fold" in settings else []
    parts += [] if "baseline" in settings else [f"{settings['training']['epochs']} epochs"]
    parts += [f"{settings['limit']:,} images"] if settings["limit"] else []
    return ", ".join(parts)


def steps_in_words(settings: Mapping[str, Any]) -> list[str]:
    """The steps in front of the stack of a trial, each as a sweep file has it: `standardize`, `{"pca": 187}`."""
    steps = settings["training"].get("preprocess", ())
    return [step if isinstance(step, str) else json.dumps(step) for step in steps]


def layers_in_words(settings: Mapping[str, Any]) -> list[str]:
    """The layers of a trial: `Dense units=64 activation=relu use_bias=True`."""
    layers = [next(iter(layer.items())) for layer in settings["layers"]]
    return [" ".join([kind, *(f"{key}={value}" for key, value in arguments.items())]) for kind, arguments in layers]


# ---- many ----

# What tells trials of one architecture apart, what has a column of its own, and what nobody chooses.
_NOT_SETTINGS = ("training", "layers", "baseline", "arguments", "data", "seed", "fold", "numerics", "backend")


def settings_of_architectures(trials: Iterable[Trial]) -> dict[str, dict[str, Any]]:
    """Settings by architecture name, flat: those that any names, with their defaults where an architecture does not."""
    settings, of_baselines = {}, set()
    for trial in trials:
        if (name := trial.architecture.name) not in settings:
            others = {key: value for key, value in trial.settings.items() if key not in _NOT_SETTINGS}
            settings[name] = trial.settings.get("training", {}) | others
            of_baselines |= {name} if "baseline" in trial.settings else set()
    named = dict.fromkeys(key for of_one in settings.values() for key in of_one)
    defaults = {key: Training.model_fields[key].default for key in named if key in Training.model_fields}
    return {name: of_one if name in of_baselines else defaults | of_one for name, of_one in settings.items()}


def changes(last_plan: Mapping[str, Any], to_train: Sequence[Trial]) -> list[str]:
    """What is different where a name's trials are trained again: `128-64: learning_rate 0.001 -> 0.0005`.

    Args:
        last_plan: the settings that each name had; they may be damaged.
    """
    lines = []
    for name, settings in {trial.architecture.name: trial.settings for trial in to_train}.items():
        if not isinstance(last_plan.get(name), dict):
            continue
        before, now = _flat(last_plan[name]), _flat(settings)
        different = [key for key in before | now if key != "seed" and before.get(key) != now.get(key)]
        words = [f"{key} {_in_short(key, before)} -> {_in_short(key, now)}" for key in different]
        lines += [f"{name}: {', '.join(words)}"] if words else []
    return lines


def _flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Training settings and a baseline's arguments beside the others, by the names that the sweep file gives them."""
    flat = {key: value for key, value in settings.items() if key not in ("training", "arguments")}
    for key in ("training", "arguments"):
        flat |= settings[key] if isinstance(settings.get(key), dict) else {}
    return flat


def _in_short(key: str, settings: Mapping[str, Any]) -> str:
    """A value as a person would write it; what stands nowhere is at its default."""
    classifier = CLASSIFIERS.get(str(settings.get("baseline")))
    fields = Training.model_fields if classifier is None else classifier.model_fields
    value = settings.get(key, fields[key].default if key in fields else None)
    if key == "layers" and isinstance(value, list) and all(map(_is_layer, value)):
        return "-".join(str(next(iter(layer.values())).get("units", next(iter(layer)))) for layer in value)
    text = "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 40 else f"{text[:12]}..."


def _is_layer(value: Any) -> bool:
    return isinstance(value, dict) and len(value) == 1 and isinstance(next(iter(value.values())), dict)

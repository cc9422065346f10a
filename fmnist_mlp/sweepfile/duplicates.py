"""No two architectures of a sweep are the same trials or have one name; of grids the second is left out."""

from dataclasses import replace

from fmnist_mlp.sweepfile.names import MAX_NAME_LENGTH
from fmnist_mlp.sweepfile.nodes import Problems
from fmnist_mlp.sweepfile.sweep import Architecture, Baseline
from fmnist_mlp.sweepfile.trials import canonical_settings, fingerprint


def check_differ(architectures: list[Architecture | Baseline], problems: Problems, overrides: dict[str, int]) -> None:
    """No two architectures may have one name, or be the same trials under two names."""
    with_epochs = " with --epochs" if "epochs" in overrides else ""
    by_name: dict[str, Architecture | Baseline] = {}
    by_trials: dict[str, Architecture | Baseline] = {}
    for architecture in architectures:
        kind = "baseline" if isinstance(architecture, Baseline) else "architecture"
        first = by_trials.setdefault(_trials_key(architecture), architecture)
        if first is not architecture:
            problems.add(
                architecture.line,
                f"{kind} '{architecture.name}' would be the same trials as '{first.name}' "
                f"in line {first.line}{with_epochs}; remove line {first.line} or line "
                f"{architecture.line}, or change one",
            )
            continue
        # macOS and Windows keep one folder for two names that differ in case only.
        first = by_name.setdefault(architecture.name.lower(), architecture)
        if first is not architecture:
            case = "" if first.name == architecture.name else f" (as '{first.name}': upper and lower case do not count)"
            problems.add(
                architecture.line,
                f"two architectures are named '{architecture.name}', in line {first.line}{case} and in line "
                f"{architecture.line}; give one of them another name:",
            )


def new_trials(expanded: list[Architecture], listed: list[Architecture | Baseline]) -> list[Architecture]:
    """The stacks of grids that are not the same trials as one listed or one before; no two have one name.

    Two stacks can come to one automatic name, such as `[64]` with `activation: tanh` and `[64, {Activation: tanh}]`.
    Nobody can name a stack of a grid by hand, so the later one has a hash of what it is at the end of its name.
    """
    known = {_trials_key(architecture) for architecture in listed}
    names = {architecture.name.lower() for architecture in listed}  # upper and lower case do not count
    added = []
    for architecture in expanded:
        key = _trials_key(architecture)
        if key in known:
            continue
        if architecture.name.lower() in names:
            beginnings = ((architecture.name[: MAX_NAME_LENGTH - 1 - n], n) for n in range(8, len(key)))
            candidates = (f"{beginning.rstrip('-._')}-{key[:n]}" for beginning, n in beginnings)
            architecture = replace(architecture, name=next(name for name in candidates if name.lower() not in names))
        known.add(key)
        names.add(architecture.name.lower())
        added.append(architecture)
    return added


def _trials_key(architecture: Architecture | Baseline) -> str:
    """Equal for two architectures exactly if all their trials are the same."""
    return fingerprint(canonical_settings(architecture, data_identity="", limit=None, seed=0))

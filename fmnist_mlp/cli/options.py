"""The options of `sweep.py`, and the kinds of argument that all commands share."""

import argparse
import contextlib
import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fmnist_mlp import __version__
from fmnist_mlp.errors import SweepError
from fmnist_mlp.results.columns import BY_NAME
from fmnist_mlp.runner.plan import Options
from fmnist_mlp.sweepfile.settings import OwnImages
from fmnist_mlp.sweepfile.sweep import Overrides, Sweep

# ---- kinds of argument


def folder_argument(text: str) -> Path:
    """A folder that need not be there; `~` is the home folder also where the shell leaves it: `--results-dir=~/r`."""
    if not text.strip():
        raise argparse.ArgumentTypeError(f"expected a folder, got {text!r}; the current one is .")
    try:
        return Path(text).expanduser()
    except RuntimeError as error:  # ~ of nobody, or of somebody without a home
        raise argparse.ArgumentTypeError(f"{text}: {error}") from error


def file_argument(text: str) -> Path:
    return Path(expanded_path(text))


def expanded_path(text: str) -> str:
    """As it is, but for `~` in front of a path; a file's own name may begin with one."""
    with contextlib.suppress(RuntimeError):
        return str(Path(text).expanduser()) if text.startswith("~") else text
    return text


def positive_int(text: str) -> int:
    return _at_least(1, text)


def from_zero(text: str) -> int:
    return _at_least(0, text)


def _at_least(least: int, text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = least - 1
    if number < least:
        raise argparse.ArgumentTypeError(f"expected a whole number from {least}, got {text!r}")
    return number


def port_number(text: str) -> int:
    port = positive_int(text)
    if port > 65535:
        raise argparse.ArgumentTypeError(f"expected a port from 1 to 65535, got {port}")
    return port


def seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number of seconds above 0, got {text!r}")
    return value


# ---- options


Option = tuple[tuple[str, ...], dict[str, Any]]  # what `add_argument` takes


def option(*names: str, **settings: Any) -> Option:
    return names, settings


def flag(name: str, help: str) -> Option:
    return option(name, action="store_true", help=help)


def number(name: str, help: str, type: Callable = positive_int, metavar: str = "N", **settings: Any) -> Option:
    return option(name, type=type, metavar=metavar, help=help, **settings)


def folder(name: str, default: Path | None, help: str = "default: %(default)s") -> Option:
    return option(name, type=folder_argument, default=default, metavar="DIR", help=help)


def sweep_file(help: str) -> Option:
    default = "architectures.yaml"
    return option("sweep", nargs="?", type=expanded_path, default=default, metavar="SWEEP.yaml", help=help)


LOGS_DIR = folder("--logs-dir", Path("logs"))
RESULTS_DIR = folder("--results-dir", Path("results"))
DATA_DIR = folder("--data-dir", None, "as in sweep.py")

_WHAT = (
    flag("--watch", "stay, and run again whenever the sweep file is saved: only what changed is trained"),
    flag("--dry-run", "check the file, print the plan with exact parameter counts, stop"),
    option(
        "--only",
        action="append",
        default=[],
        metavar="PATTERN",
        help="train only these architectures (* and ?; repeatable)",
    ),
    number("--epochs", "epochs of every architecture: a quick look"),
    number("--seeds", "seeds 0 to N-1; fewer than the file's: a quick look"),
    number("--limit", "use only N training images: a quick look"),
    flag("--fresh", "train again what is done already"),
    flag("--retry-failed", "train again what failed"),
    flag("--fail-fast", "stop at the first trial that fails"),
    flag("--plain-fit", "Keras's own loop over minibatches instead of the compiled epoch"),
)
_HOW = (
    number("--jobs", "workers; default one a core (or one a GPU); 0: in this process, for a debugger", from_zero),
    option(
        "--engine",
        choices=("local", "ray"),
        default="local",
        help="workers on this machine, or on a Ray cluster (docs/cluster.md); default: %(default)s",
    ),
    option(
        "--ray-address",
        metavar="HOST:PORT",
        help="the cluster's head; default RAY_ADDRESS, else Ray on this machine; implies --engine ray",
    ),
    option("--device", choices=("auto", "cpu", "gpu"), default="auto", help="default: %(default)s"),
    number("--trial-timeout", "give a trial up after so long", seconds, "SECONDS"),
    number(
        "--checkpoint-every",
        "how much of a trial an interruption may cost; default: %(default)g",
        seconds,
        "SECONDS",
        default=10.0,
    ),
)
_WHERE = (
    folder("--data-dir", None, "Fashion-MNIST's four files (default: FASHION_MNIST_DIR, Keras's cache, a download)"),
    LOGS_DIR,
    RESULTS_DIR,
)


def sweep_parser(program: str = "sweep.py") -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program,
        description="Train every stack of a sweep file on Fashion-MNIST and write a table of parameters against "
        "test loss and accuracy. Only what has changed since the last run is trained.",
        epilog="results: results/<sweep>/results.csv; curves: tensorboard --logdir logs",
    )
    quick_look = (
        "A quick look has a table, models and curves of its own, in results/<sweep>+epochs-2+limit-1000+seeds-1 and a "
        "folder of that name in logs; those of the full sweep stay as they are."
    )
    sort_help = "of results.csv, to sort the printed table by, best first; default: what the best is selected by"
    add_options(parser, sweep_file("default: %(default)s"))
    parser.add_argument("--version", action="version", version=f"fmnist_mlp {__version__}")
    add_options(parser.add_argument_group("what to train", quick_look), *_WHAT)
    add_options(parser.add_argument_group("how to train"), *_HOW)
    add_options(parser.add_argument_group("where things are"), *_WHERE)
    add_options(
        parser,
        option("--sort", choices=[*BY_NAME], metavar="COLUMN", help=sort_help),
        flag("--quiet", "print only what needs attention"),
    )
    return parser


def add_options(parser, *options: Option) -> None:
    for names, settings in options:
        parser.add_argument(*names, **settings)


def data_dir_argument(parsed: argparse.Namespace, dataset: str | OwnImages = "auto") -> Path | None:
    return data_dir(parsed.data_dir, dataset)


def data_dir(given: Path | None, dataset: str | OwnImages) -> Path | None:
    """What was given, else the variable: it says where Fashion-MNIST lies, in case it is wanted."""
    from_shell = os.environ.get("FASHION_MNIST_DIR") if dataset in ("auto", "fashion_mnist") else None
    return given or (Path(from_shell) if from_shell else None)


def overrides_from(parsed: argparse.Namespace) -> Overrides:
    return Overrides(epochs=parsed.epochs, seeds=parsed.seeds, limit=parsed.limit)


def options_from(parsed: argparse.Namespace, sweep: Sweep) -> Options:
    engine = "ray" if parsed.ray_address else parsed.engine
    if engine == "ray" and parsed.jobs == 0:
        raise SweepError("--jobs 0 trains in this process, --engine ray elsewhere: leave one of them out")
    same = {field.name for field in dataclasses.fields(Options)} & {*vars(parsed)}
    given = {name: getattr(parsed, name) for name in same} | {"only": tuple(parsed.only), "engine": engine}
    return Options(
        **given | {"data_dir": data_dir_argument(parsed, sweep.dataset)},
        checkpoint_seconds=parsed.checkpoint_every,
    )

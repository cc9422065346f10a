"""The options of `sweep.py`, and the kinds of argument that all commands share."""

import argparse
import contextlib
import os
from pathlib import Path

from fmnist_mlp import __version__
from fmnist_mlp.errors import SweepError
from fmnist_mlp.results import table
from fmnist_mlp.runner.plan import Options
from fmnist_mlp.sweepfile.sweep import Overrides, Sweep


def sweep_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sweep.py",
        description="Train every stack of a sweep file on Fashion-MNIST and write a table of parameters against "
        "test loss and accuracy. Only what has changed since the last run is trained.",
        epilog="results: results/<sweep>/results.csv; curves: tensorboard --logdir logs",
    )
    parser.add_argument(
        "sweep",
        nargs="?",
        type=expanded_path,
        default="architectures.yaml",
        metavar="SWEEP.yaml",
        help="default: %(default)s",
    )
    parser.add_argument("--version", action="version", version=f"fmnist_mlp {__version__}")
    what = parser.add_argument_group(
        "what to train",
        "A quick look has a table, models and curves of its own, in results/<sweep>+epochs-2+limit-1000+seeds-1 and a "
        "folder of that name in logs; those of the full sweep stay as they are.",
    )
    what.add_argument(
        "--dry-run", action="store_true", help="check the file, print the plan with exact parameter counts, stop"
    )
    what.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="PATTERN",
        help="train only these architectures (* and ?; repeatable)",
    )
    what.add_argument("--epochs", type=positive_int, metavar="N", help="epochs of every architecture: a quick look")
    what.add_argument(
        "--seeds", type=positive_int, metavar="N", help="seeds 0 to N-1; fewer than the file's: a quick look"
    )
    what.add_argument("--limit", type=positive_int, metavar="N", help="use only N training images: a quick look")
    what.add_argument("--fresh", action="store_true", help="train again what is done already")
    what.add_argument("--retry-failed", action="store_true", help="train again what failed")
    what.add_argument("--fail-fast", action="store_true", help="stop at the first trial that fails")
    what.add_argument(
        "--plain-fit", action="store_true", help="Keras's own loop over minibatches instead of the compiled epoch"
    )
    how = parser.add_argument_group("how to train")
    how.add_argument(
        "--jobs",
        type=from_zero,
        metavar="N",
        help="workers; default one a core (or one a GPU); 0: in this process, for a debugger",
    )
    how.add_argument(
        "--engine",
        choices=("local", "ray"),
        default="local",
        help="workers on this machine, or on a Ray cluster (docs/cluster.md); default: %(default)s",
    )
    how.add_argument(
        "--ray-address",
        metavar="HOST:PORT",
        help="the cluster's head; default RAY_ADDRESS, else Ray on this machine; implies --engine ray",
    )
    how.add_argument("--device", choices=("auto", "cpu", "gpu"), default="auto", help="default: %(default)s")
    how.add_argument("--trial-timeout", type=_seconds, metavar="SECONDS", help="give a trial up after so long")
    how.add_argument(
        "--checkpoint-every",
        type=_seconds,
        default=10.0,
        metavar="SECONDS",
        help="how much of a trial an interruption may cost; default: %(default)g",
    )
    where = parser.add_argument_group("where things are")
    where.add_argument(
        "--data-dir",
        type=folder_argument,
        metavar="DIR",
        help="Fashion-MNIST's four files (default: FASHION_MNIST_DIR, Keras's cache, a download)",
    )
    add_output_folders(where)
    parser.add_argument(
        "--sort",
        choices=[column.name for column in table.RESULTS_COLUMNS],
        metavar="COLUMN",
        help="of results.csv, to sort the printed table by, best first; default: what the best is selected by",
    )
    parser.add_argument("--quiet", action="store_true", help="print only what needs attention")
    return parser


def add_output_folders(parser) -> None:
    parser.add_argument(
        "--logs-dir", type=folder_argument, default=Path("logs"), metavar="DIR", help="default: %(default)s"
    )
    add_results_folder(parser)


def add_results_folder(parser) -> None:
    parser.add_argument(
        "--results-dir", type=folder_argument, default=Path("results"), metavar="DIR", help="default: %(default)s"
    )


def add_sweep_name(parser) -> None:
    parser.add_argument(
        "--sweep",
        default="architectures",
        metavar="NAME",
        help="a folder of the results, such as that of a quick look, architectures+epochs-2; default: %(default)s",
    )


def data_dir_argument(parsed: argparse.Namespace) -> Path | None:
    """The option, else the variable."""
    from_shell = os.environ.get("FASHION_MNIST_DIR")
    return parsed.data_dir or (Path(from_shell) if from_shell else None)


def overrides_from(parsed: argparse.Namespace) -> Overrides:
    return Overrides(epochs=parsed.epochs, seeds=parsed.seeds, limit=parsed.limit)


def options_from(parsed: argparse.Namespace, sweep: Sweep) -> Options:
    engine = "ray" if parsed.ray_address else parsed.engine
    if engine == "ray" and parsed.jobs == 0:
        raise SweepError("--jobs 0 trains in this process, --engine ray elsewhere: leave one of them out")
    # The variable says where Fashion-MNIST lies, in case it is wanted; only the option insists on it.
    is_wanted = parsed.data_dir is not None or sweep.dataset in ("auto", "fashion_mnist")
    return Options(
        results_dir=parsed.results_dir,
        logs_dir=parsed.logs_dir,
        data_dir=data_dir_argument(parsed) if is_wanted else None,
        only=tuple(parsed.only),
        jobs=parsed.jobs,
        device=parsed.device,
        plain_fit=parsed.plain_fit,
        fresh=parsed.fresh,
        retry_failed=parsed.retry_failed,
        fail_fast=parsed.fail_fast,
        trial_timeout=parsed.trial_timeout,
        engine=engine,
        ray_address=parsed.ray_address,
        checkpoint_seconds=parsed.checkpoint_every,
    )


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


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number of seconds above 0, got {text!r}")
    return seconds

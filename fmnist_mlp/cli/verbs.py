"""`python -m fmnist_mlp VERB`: what can be done with a finished sweep."""

import argparse
import dataclasses
import json
import shlex
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from fmnist_mlp.cli.console import DONE, USER_ERROR, standard_streams, with_errors_for_people
from fmnist_mlp.cli.display import new_table, plural, print_changed, shown_path
from fmnist_mlp.cli.options import (
    add_output_folders,
    add_results_folder,
    add_sweep_name,
    data_dir_argument,
    expanded_path,
    file_argument,
    folder_argument,
    from_zero,
    overrides_from,
    port_number,
    positive_int,
)
from fmnist_mlp.data.source import find_data
from fmnist_mlp.errors import SweepError
from fmnist_mlp.inference.predictor import Predictor, choose_model
from fmnist_mlp.results import table
from fmnist_mlp.results.store import Results
from fmnist_mlp.runner.plan import Options, make_plan
from fmnist_mlp.sweepfile.read import load_sweep
from fmnist_mlp.sweepfile.settings import IdxFolder
from fmnist_mlp.sweepfile.sweep import Sweep, read_folder_name


def verbs(arguments: list[str] | None = None) -> int:
    """Run `python -m fmnist_mlp VERB` with these arguments and return its exit code."""
    with standard_streams():
        parsed = _verbs_parser().parse_args(arguments)
        return with_errors_for_people(parsed.run, parsed)


def _report(parsed: argparse.Namespace, out: Console, err: Console) -> int:
    # Imported here: no other verb draws the results.
    from fmnist_mlp.report import report

    sweep = _sweep_to_report(parsed)
    is_wanted = parsed.data_dir is not None or sweep.dataset in ("auto", "fashion_mnist")
    options = Options(results_dir=parsed.results_dir, data_dir=data_dir_argument(parsed) if is_wanted else None)
    plan = make_plan(sweep, options, notify=lambda line: err.print(Text(line)))
    rows = table.make_table(plan.state, plan.results)
    page = report.report(plan.state, rows, plan.results, source=plan.source, again=True)
    print_changed(plan.results, err)
    out.print(f"open {shown_path(page)}", markup=False, soft_wrap=True)
    return DONE


def _sweep_to_report(parsed: argparse.Namespace) -> Sweep:
    """Of a sweep file, or of a sweep or quick look by the name of its folder under the results."""
    known = dict(Results(parsed.results_dir).sweeps())
    named = read_folder_name(parsed.sweep)
    if named is None or parsed.sweep not in known or Path(parsed.sweep).is_file():
        return load_sweep(parsed.sweep, overrides_from(parsed))
    return load_sweep(known[parsed.sweep], dataclasses.replace(named[1], **overrides_from(parsed).given))


def _clean(parsed: argparse.Namespace, out: Console, err: Console) -> int:
    # Imported here: no other verb cleans.
    from fmnist_mlp.runner import clean

    def say(line: str) -> None:
        out.print(shown_path(line), markup=False, soft_wrap=True)

    results_dir, logs_dir = parsed.results_dir, parsed.logs_dir
    if parsed.empty_trash:
        megabytes = clean.trash_bytes(results_dir) / 1e6
        clean.empty_trash(results_dir)
        say(f"deleted what clean had moved to {results_dir / '_trash'}, {megabytes:.1f} MB")
        return DONE
    leftovers = clean.find_leftovers(results_dir, logs_dir, data_dir_argument(parsed), gone=parsed.gone)
    for leftover in leftovers.found:
        say(f"{leftover.folder}: {leftover.reason}")
    size = f"{sum(leftover.size_bytes for leftover in leftovers.found) / 1e6:.1f} MB"
    if not leftovers.found:
        say("nothing to clean: every record that a sweep once asked for is asked for by a sweep file")
    elif parsed.yes:
        trash = clean.move_to_trash(leftovers, results_dir, logs_dir)
        back = f"cp -a {shlex.quote(f'{trash}/results/.')} {shlex.quote(str(results_dir))}"
        say(f"moved to {trash}: {size}; to bring it back: {back}; to delete it for good: clean --empty-trash")
    else:
        say(f"{plural(len(leftovers.found), 'place')}, {size}; move them to {results_dir / '_trash'} with --yes")
    if leftovers.unknown:
        say(f"{plural(leftovers.unknown, 'record')} stay: no sweep that is known here is known to have asked for them")
    if not parsed.yes and (megabytes := clean.trash_bytes(results_dir) / 1e6):
        say(f"{results_dir / '_trash'} holds {megabytes:.1f} MB; delete them for good with --empty-trash")
    return DONE


def _explore(parsed: argparse.Namespace, out: Console, err: Console) -> int:
    # Imported here: no other command looks at images.
    from fmnist_mlp.report import explore

    def notify(line: str) -> None:
        err.print(Text(line))

    if parsed.idx is not None and (parsed.synthetic or parsed.data_dir is not None):
        raise SweepError("--idx FOLDER goes with neither --synthetic nor --data-dir: each names the images")
    dataset = IdxFolder(parsed.idx) if parsed.idx is not None else "synthetic" if parsed.synthetic else "auto"
    source = find_data(dataset, data_dir_argument(parsed) if dataset == "auto" else parsed.data_dir, notify=notify)
    if source.fallback_reason:
        err.print(Text(f"STAND-IN DATA: {source.fallback_reason}", style="bold yellow"))
    limit = "" if parsed.limit is None else f"+limit-{parsed.limit}"  # a quick look, as a sweep's
    folder = parsed.results_dir / "_explore" / f"{source.dataset.replace(':', '-')}{limit}"
    page = explore.explore(source, folder, sample=parsed.sample, limit=parsed.limit, seed=parsed.seed, notify=notify)
    out.print(f"open {page}", markup=False, soft_wrap=True)
    return DONE


def _predict(parsed: argparse.Namespace, out: Console, err: Console) -> int:
    # Imported here: no other command reads pictures.
    from fmnist_mlp.inference import decoder, pictures

    chosen = choose_model(parsed.results_dir, parsed.sweep, parsed.model)
    _print_caveats(chosen.name, chosen.caveats, err)
    columns = new_table("image", "class", ("probability", "right"), "then", "how it was read", title=chosen.name)
    failed = 0
    with decoder.Decoder() as reader:  # starts while the model is loaded
        predictor = Predictor(chosen.path, chosen.class_names)
        for path in parsed.images:
            try:
                prepared = reader.load_image(path, predictor.shape, parsed.invert)
            except pictures.UnreadableImage as error:
                failed += 1
                err.print(Text(shown_path(error), style="red"))
                if parsed.json:
                    _print_json({"file": str(path), "error": str(error)}, out)
                continue
            top = predictor.predict(prepared.pixels)[: parsed.top]
            (name, probability), *others = top
            if parsed.json:
                said = {"file": str(path), "model": chosen.name, "class": name, "probability": probability}
                said["top"] = [{"class": name, "probability": probability} for name, probability in top]
                _print_json(said | {"inverted": prepared.inverted, "note": prepared.note}, out)
            else:
                then = ", ".join(f"{name} {probability:.4f}" for name, probability in others)
                cells = [shown_path(path), name, f"{probability:.4f}", then, prepared.note]
                columns.add_row(*map(Text, cells))
    if columns.row_count:
        out.print(columns)
    return USER_ERROR if failed else DONE


def _print_caveats(model: str, caveats: Sequence[str], err: Console) -> None:
    for line in caveats:
        err.print(Text(shown_path(f"{model}: {line}"), style="yellow"))


def _print_json(said: dict, out: Console) -> None:
    """One line; rich would wrap it and take `:boot:` in a file's name for a picture."""
    out.print(Text(json.dumps(said)), soft_wrap=True)


def _export(parsed: argparse.Namespace, out: Console, err: Console) -> int:
    # Imported here: no other command writes other formats of a model.
    from fmnist_mlp.inference import export

    formats = tuple(dict.fromkeys(parsed.format))
    exported = export.export_model(
        parsed.results_dir, parsed.sweep, parsed.name, parsed.to, formats, data_dir=data_dir_argument(parsed)
    )
    _print_caveats(parsed.name, exported.caveats, err)
    for check in exported.checks:
        out.print(Text(f"{exported.folder / check.file}: {check.in_words()}"), soft_wrap=True)
    out.print(Text(f"how to load it: {exported.folder / export.CARD_FILE}"), soft_wrap=True)
    return DONE


def _app(parsed: argparse.Namespace, out: Console, err: Console) -> int:
    # Imported here: the page needs the extra `app`.
    from fmnist_mlp.inference import app

    def notify(line: str) -> None:
        err.print(Text(line, style="yellow"))

    page = app.Page(parsed.results_dir, parsed.sweep, data_dir=data_dir_argument(parsed), notify=notify)
    app.serve(page, parsed.host, parsed.port, notify, ready=lambda address: out.print(f"open {address}", markup=False))
    return DONE


def _verbs_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m fmnist_mlp",
        description="What can be done beside training: with the images, with finished sweeps.",
    )
    verb = parser.add_subparsers(title="verbs", required=True, metavar="VERB")
    clean = verb.add_parser(
        "clean", help="list records and logs that no sweep file asks for any more, or move them away"
    )
    clean.add_argument("--yes", action="store_true", help="move them to results/_trash")
    clean.add_argument("--empty-trash", action="store_true", help="delete for good what --yes has moved there")
    clean.add_argument(
        "--gone",
        action="append",
        default=[],
        metavar="SWEEP",
        help="this sweep is gone for good, though its file or what is remembered of it cannot be reached (repeatable)",
    )
    clean.add_argument("--data-dir", type=folder_argument, metavar="DIR", help="as in sweep.py")
    add_output_folders(clean)
    clean.set_defaults(run=_clean)
    report = verb.add_parser("report", help="pictures and a page of a sweep's results, from what is trained already")
    report.add_argument(
        "sweep",
        nargs="?",
        type=expanded_path,
        default="architectures.yaml",
        metavar="SWEEP.yaml",
        help="or the name of a folder in results, also that of a quick look; default: %(default)s",
    )
    for name, what in (("epochs", "epochs"), ("seeds", "seeds"), ("limit", "training images")):
        report.add_argument(f"--{name}", type=positive_int, metavar="N", help=f"{what}, as the sweep was run with")
    report.add_argument("--data-dir", type=folder_argument, metavar="DIR", help="as in sweep.py")
    add_results_folder(report)
    report.set_defaults(run=_report)
    explore = verb.add_parser("explore", help="pictures of the images: classes, means, PCA, t-SNE, look-alikes")
    explore.add_argument(
        "--idx", type=folder_argument, metavar="FOLDER", help="a data set of your own, in four IDX files"
    )
    explore.add_argument("--synthetic", action="store_true", help="the generated stand-in")
    explore.add_argument("--data-dir", type=folder_argument, metavar="DIR", help="as in sweep.py")
    explore.add_argument(
        "--sample", type=positive_int, default=5000, metavar="N", help="images in maps and pairs; default: %(default)s"
    )
    explore.add_argument("--limit", type=positive_int, metavar="N", help="use only N training images")
    explore.add_argument(
        "--seed", type=from_zero, default=0, metavar="N", help="which examples and sample; default: %(default)s"
    )
    add_results_folder(explore)
    explore.set_defaults(run=_explore)
    predict = verb.add_parser("predict", help="classify images of any kind with an exported model")
    predict.add_argument(
        "images", nargs="+", type=file_argument, metavar="IMAGE", help="PNG, JPEG, GIF, WebP, TIFF, ..."
    )
    predict.add_argument(
        "--model",
        type=expanded_path,
        metavar="NAME|PATH",
        help="an architecture of the sweep, or a .keras file; default: the best",
    )
    add_sweep_name(predict)
    predict.add_argument(
        "--invert",
        choices=("auto", "yes", "no"),
        default="auto",
        help="exchange light and dark; the network wants light on black; default: by the background",
    )
    predict.add_argument(
        "--top", type=positive_int, default=3, metavar="N", help="so many classes of each image; default: %(default)s"
    )
    predict.add_argument("--json", action="store_true", help="one JSON object a line instead of the table")
    add_results_folder(predict)
    predict.set_defaults(run=_predict)
    export = verb.add_parser("export", help="an exported model in other formats, checked, with a card that explains it")
    export.add_argument("name", metavar="NAME", help="the architecture")
    export.add_argument("--to", type=folder_argument, required=True, metavar="DIR", help="a new or empty folder")
    export.add_argument(
        "--format",
        nargs="+",
        choices=("keras", "savedmodel", "onnx", "litert"),
        default=["keras"],
        help="one or several; default: keras",
    )
    add_sweep_name(export)
    export.add_argument("--data-dir", type=folder_argument, metavar="DIR", help="as in sweep.py")
    add_results_folder(export)
    export.set_defaults(run=_export)
    app = verb.add_parser("app", help="a page on this machine: upload or draw an image, see what the models say")
    app.add_argument("--port", type=port_number, metavar="N", help="default: the first free one from 7860")
    app.add_argument("--host", default="127.0.0.1", help="who can reach the page; default: %(default)s, this machine")
    add_sweep_name(app)
    app.add_argument("--data-dir", type=folder_argument, metavar="DIR", help="as in sweep.py")
    add_results_folder(app)
    app.set_defaults(run=_app)
    return parser

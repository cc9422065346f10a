"""Whether two checkouts give the same bits: the fingerprints of all sweep files, and the records of one sweep.

    FASHION_MNIST_DIR=... python benchmarks/same_bits.py ../another-checkout [--seeds 2] [--sweep architectures.yaml]

Each checkout is run as a user would run it, in processes of its own and into a temporary folder, by this Python. Of
the records, figures, histories and settings are compared as they stand in `record.json` (all but clocks, memory and
the surroundings), `predictions.npz` and the exported model byte by byte, and event files by their folders. The exit
code is 1 where anything differs. Other options, such as `--epochs 2`, go to `sweep.py`.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from measure import ROOT, clean_environment, describe_machine, markdown_table, real_images, write_report

# Run in a checkout: prints the fingerprints of the sweep files given, for images that need not be there.
_FINGERPRINTS = """
import json, sys
try:
    from fmnist_mlp.sweepfile.read import load_sweep
    from fmnist_mlp.sweepfile.trials import list_trials
except ImportError:  # before modules lay in folders
    from fmnist_mlp.config import list_trials, load_sweep
print(json.dumps({path: [trial.fingerprint for trial in list_trials(load_sweep(path), data_identity="0" * 64)]
                  for path in sys.argv[1:]}))
"""
_OF_A_RUN = ("measured", "environment")


def main() -> int:
    options = _options()
    checkouts = (options.other.resolve(), ROOT)
    sweeps = [
        str(path.relative_to(ROOT)) for path in (ROOT / "architectures.yaml", *sorted(ROOT.glob("sweeps/*.yaml")))
    ]
    before, after = (_fingerprints(checkout, sweeps) for checkout in checkouts)
    rows = [[sweep, f"{len(after[sweep]):,} fingerprints", _equal(before[sweep] == after[sweep])] for sweep in sweeps]
    with tempfile.TemporaryDirectory(prefix="same-bits-") as folder:
        old, new = (_train(checkout, Path(folder) / str(n), options) for n, checkout in enumerate(checkouts))
        for part in ("record.json", "predictions.npz", "model.keras", "folders of event files"):
            same = sum(old[trial].get(part) == new[trial].get(part) for trial in old.keys() & new.keys())
            total = len(old.keys() | new.keys())
            rows.append([options.sweep, f"{part}: {same} of {total} records", _equal(same == total > 0)])
    table = markdown_table(["sweep file", "compared", "equal"], rows, left=3)
    write_report("The same bits", describe_machine(), table, [f"{_commit(checkouts[0])} and this checkout."], None)
    return int(any(row[-1] == "no" for row in rows))


def _fingerprints(checkout: Path, sweeps: list[str]) -> dict[str, list[str]]:
    command = [sys.executable, "-c", _FINGERPRINTS, *sweeps]
    return json.loads(subprocess.run(command, cwd=checkout, capture_output=True, check=True).stdout)


def _train(checkout: Path, folder: Path, options: argparse.Namespace) -> dict[str, dict]:
    """What is compared of each record, by fingerprint."""
    command = [sys.executable, "sweep.py", options.sweep, "--seeds", str(options.seeds), "--quiet"]
    command += ["--results-dir", str(folder / "results"), "--logs-dir", str(folder / "logs"), *options.more]
    subprocess.run(
        command, cwd=checkout, env=clean_environment() | real_images(), check=True, stdout=subprocess.DEVNULL
    )
    records = {}
    for record in (folder / "results" / "_records").glob("[0-9a-f]*"):
        content = json.loads((record / "record.json").read_text(encoding="utf-8"))
        parts = {"record.json": {key: value for key, value in content.items() if key not in _OF_A_RUN}}
        for name in ("predictions.npz", "model.keras"):  # a baseline has no model
            parts[name] = (record / name).read_bytes() if (record / name).exists() else None
        # Without their names, of which a part is a clock, a machine and a process.
        events = (path.parent.relative_to(record) for path in record.glob("events/**/*") if path.is_file())
        parts["folders of event files"] = sorted(map(str, events))
        records[record.name] = parts
    return records


def _equal(same: bool) -> str:
    return "yes" if same else "no"


def _commit(checkout: Path) -> str:
    command = ["git", "-C", str(checkout), "rev-parse", "--short=12", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("other", type=Path, help="the checkout to compare this one with")
    parser.add_argument("--sweep", default="architectures.yaml", help="the sweep file to train in both")
    parser.add_argument("--seeds", type=int, default=2)
    options, options.more = parser.parse_known_args()  # the rest is for sweep.py: `--epochs 1 --limit 600`
    return options


if __name__ == "__main__":
    sys.exit(main())

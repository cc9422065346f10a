"""Every test file in a process of its own, as many at once as there are cores: `python tests/run_all.py -k words`.

Options are pytest's; the long tests run too. TensorFlow keeps each program that it compiles until its process ends:
all files in one process grow to 8 GiB.
"""

import os
import re
import resource
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
COMMAND = [sys.executable, "-m", "pytest", "-q", "-m", "slow or not slow", "-p", "no:cacheprovider"]
# So that no core waits for another at the end.
LONGEST_FIRST = (
    "end_to_end",
    "surroundings",
    "engine_ray",
    "published",
    "compiled_epoch",
    "trial",
    "kill",
    "sweeps",
    "training",
    "damage",
    "faults",
    "augment",
    "baselines",
    "export",
    "cli",
)
NOTHING_SELECTED = 5  # pytest's exit code


def run(path: Path, options: list[str]) -> tuple[int, str]:
    """One file to its end: exit code, and what pytest printed."""
    done = subprocess.run([*COMMAND, *options, path], cwd=FOLDER.parent, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def rank(path: Path) -> tuple[int, str]:
    name = path.stem.removeprefix("test_")
    return LONGEST_FIRST.index(name) if name in LONGEST_FIRST else len(LONGEST_FIRST), name


def main(options: list[str]) -> int:
    started, failed = time.monotonic(), []
    files = sorted(FOLDER.glob("test_*.py"), key=rank)
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        runs = {path: pool.submit(run, path, options) for path in files}
        for path, future in runs.items():
            code, output = future.result()
            if code == NOTHING_SELECTED:
                continue
            if code:
                failed.append(path.name)
                print(output)
            print(f"{path.name}: {re.sub('=+', '', output.strip().splitlines()[-1]).strip()}", flush=True)
    largest = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    print(f"{time.monotonic() - started:.0f} s; the largest process grew to {largest:.1f} GiB")
    print("failed: " + ", ".join(failed) if failed else "all passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

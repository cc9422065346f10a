"""Draw docs/results.png: test accuracy against parameters, a point a trial, beside what was published.

Run after `python sweep.py sweeps/decided.yaml`, from the project's folder: `python docs/make_results_picture.py`.
"""

import sys
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import pandas as pd

# github.com/AKGanesh/MNIST-DL-MLP-Sequential: one training each.
PUBLISHED = {"64-128-64-32": 0.8874, "64-128-32": 0.8854, "64-32": 0.8819, "128-64": 0.8861}
# Two of the Okabe-Ito colours: they differ for every kind of colour blindness.
OURS, THEIRS = "#0072B2", "#D55E00"


def main(results: Path = Path("results/decided"), picture: Path = Path("docs/results.png")) -> None:
    trials = pd.read_csv(results / "trials.csv")
    figure, axes = plt.subplots(figsize=(7, 3.6), layout="constrained")
    for i, (name, group) in enumerate(
        sorted(trials.groupby("architecture"), key=lambda item: item[1]["params"].iloc[0])
    ):
        params, accuracy = group["params"].iloc[0], 100 * group["test_accuracy"]
        axes.scatter([params] * len(group), accuracy, s=18, color=OURS, alpha=0.45, linewidths=0)
        axes.errorbar(params, accuracy.mean(), yerr=accuracy.std(), fmt="_", ms=14, color=OURS, capsize=3)
        # By turns above and below, since neighbours are close.
        end, offset = (accuracy.max(), 9) if i % 2 == 0 else (accuracy.min(), -15)
        axes.annotate(name, (params, end), xytext=(0, offset), textcoords="offset points", ha="center", size=8)
        if name in PUBLISHED:
            axes.plot(params, 100 * PUBLISHED[name], "D", ms=6, mfc="none", color=THEIRS)
    dataset, counts = trials["dataset"].iloc[0], sorted({*trials.groupby("architecture")["seed"].nunique()})
    seeds = " or ".join(map(str, counts))
    axes.plot([], [], "o", color=OURS, label=f"one trial ({seeds} seeds; bar: mean and standard deviation)")
    axes.plot([], [], "D", mfc="none", color=THEIRS, label="published, one training")
    axes.set(xlabel="parameters", ylabel="test accuracy, %", title=f"Dense stacks on {dataset}, 20 epochs")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.margins(x=0.12, y=0.3)
    axes.grid(alpha=0.25)
    axes.legend(loc="upper right", fontsize=8)
    figure.savefig(picture, dpi=110)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))

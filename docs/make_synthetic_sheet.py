"""Draws docs/synthetic.png, samples of the stand-in by class: `PYTHONPATH=. python docs/make_synthetic_sheet.py`."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from fmnist_mlp.data.source import CLASS_NAMES
from fmnist_mlp.data.synthetic import make_garments

COLUMNS = 16

(x_train, y_train), _ = make_garments()
rows = [np.concatenate(x_train[y_train == label][:COLUMNS], axis=1) for label in range(len(CLASS_NAMES))]
sheet = np.concatenate(rows)  # (10 * 28, COLUMNS * 28)

figure, axes = plt.subplots(figsize=(8.0, 4.4), layout="constrained")
axes.imshow(sheet, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
axes.set_yticks(np.arange(len(CLASS_NAMES)) * 28 + 14, CLASS_NAMES)
axes.set_xticks([])
axes.tick_params(length=0)
axes.set_title("The generated stand-in (dataset: synthetic): sixteen training images of each class", fontsize=10)
for side in axes.spines.values():
    side.set_visible(False)
figure.savefig(Path(__file__).with_name("synthetic.png"), dpi=110)

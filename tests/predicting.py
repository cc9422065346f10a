"""A finished sweep with two models that nobody trained, and pictures to predict: for predict, export and the page."""

import io
import struct
import zlib

import numpy as np
import sweeping
from PIL import Image, ImageDraw

from fmnist_mlp.data.source import CLASS_NAMES, DataSource, load_data
from fmnist_mlp.results import ranking, table
from fmnist_mlp.results.columns import RESULTS_COLUMNS, TRIALS_COLUMNS, csv_text
from fmnist_mlp.results.statistics import Difference
from fmnist_mlp.results.store import Results
from fmnist_mlp.sweepfile.checks import check_shapes
from fmnist_mlp.sweepfile.read import load_sweep
from fmnist_mlp.sweepfile.sweep import Overrides
from fmnist_mlp.sweepfile.trials import list_trials
from fmnist_mlp.training import models

SWEEP = """
dataset: synthetic
seeds: 2
training: {epochs: 1}
architectures:
  - name: small
    layers: [16]
  - name: large
    layers: [32]
"""


AS_WRITTEN = Overrides()

# What is said of every model of this sweep.
STAND_IN = "trained on the generated stand-in, not on Fashion-MNIST: it knows drawings made by a program only"


class FinishedProject(sweeping.Project):
    """The folder of the sweep, and where its models lie."""

    def model(self, name):
        return self.results / "architectures" / "models" / f"{name}.keras"


def finished_sweep(folder, test_images=None, overrides=AS_WRITTEN):
    """A sweep `architectures` whose models have their initial weights, with the tables and records of a real one.

    Of two seeds the second validates better; `large` is the best, `small` is worse by 0.03.
    """
    project = FinishedProject(folder)
    project.write(SWEEP, "architectures.yaml")
    sweep = load_sweep(folder / "architectures.yaml", overrides)
    results, images = Results(project.results), load_data(DataSource("synthetic"))
    sizes = check_shapes(sweep, (28, 28), 10)
    plan, records = list_trials(sweep, data_identity=images.identity), {}
    for trial in plan:
        size, name = sizes[trial.architecture.name], trial.architecture.name
        accuracy = {"small": 0.60, "large": 0.63}[name] + trial.seed / 100
        record = sweeping.done_record(trial, size, val_accuracy=accuracy, test_accuracy=accuracy)
        scores = {key: [0.5] * 10 for key in ("precision", "recall", "f1")}
        scores["confusion_matrix"] = np.diag([200] * 10).tolist()
        classes = {part: type(record.classes["test"])(**scores) for part in ("test", "val")}
        record = record.model_copy(update={"classes": classes, "class_names": CLASS_NAMES})
        put_trained(results, record, trial, images)
        records[trial.fingerprint] = record
    results.registry.claim_sweep(sweep, plan)
    state = table.SweepState(sweep, plan, records, sizes, "synthetic")
    final = table.final_table(state, results)
    worse = {"verdict": "worse", "behind_best": Difference(0.03, 0.01, 0.05)}
    rows = [row.model_copy(update=worse if row.architecture == "small" else {}) for row in final.rows]
    results.save_comparison(sweep, final.model_copy(update={"rows": rows}).model_dump())
    results.write_table(sweep, "results.csv", csv_text(RESULTS_COLUMNS, rows))
    results.write_table(sweep, "trials.csv", csv_text(TRIALS_COLUMNS, table.trial_rows(state)))
    results.show_models(sweep, ranking.rank(state).best_trials, CLASS_NAMES)
    return project


def put_trained(results, record, trial, images):
    """A record with a model of its seed's initial weights and what that model says of the test images."""
    model = models.exported_model(models.build_model(trial.architecture.layers, (28, 28), 10, trial.seed))
    probabilities = model(images.x_test, training=False).numpy()
    with results.draft(record.fingerprint) as draft:
        models.save(models.as_saved(model), draft / "model.keras")
        np.savez_compressed(
            draft / "predictions.npz",
            label=images.y_test,
            predicted=probabilities.argmax(axis=1).astype(np.uint8),
            probabilities=probabilities.astype(np.float16),
        )
        results.write_record(draft, record)


# ---- pictures ----


def draw_garment(size=(300, 400), garment=(40, 30, 90), background=(250, 250, 250), box=None):
    """A T-shirt, roughly: a body with two sleeves on a plain background."""
    picture = Image.new("RGB", size, background)
    left, top, right, bottom = box or (size[0] // 6, size[1] // 5, size[0] * 5 // 6, size[1] * 4 // 5)
    width, height = right - left, bottom - top
    pen = ImageDraw.Draw(picture)
    pen.rectangle([left + width // 4, top, right - width // 4, bottom - 1], fill=garment)
    pen.rectangle([left, top, right - 1, top + height // 3], fill=garment)
    return picture


def encode(picture, kind="PNG", **options):
    """The content of a file."""
    content = io.BytesIO()
    picture.save(content, kind, **options)
    return content.getvalue()


def png_header(width, height):
    """A PNG of this size with a few bytes of pixels: small as a file, large as a picture."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    )


def truncated(kind, share=0.5):
    """A file whose end is missing."""
    content = encode(draw_garment((600, 600)), kind)
    return content[: int(len(content) * share)]


def scan_bomb(edge=9400, scans=5000):
    """A progressive JPEG of a megabyte whose last scan comes thousands of times: minutes for whoever unpacks it."""
    content = encode(Image.new("L", (edge, edge), 128), "JPEG", progressive=True)
    last = content.rindex(b"\xff\xda")
    return content[:last] + content[last:-2] * scans + content[-2:]


def bmp_with_run_lengths(width, height):
    """Stripes, one a row."""
    rows = b"".join(bytes([width, shade]) + b"\0\0" for shade in range(height)) + b"\0\1"
    palette = b"".join(bytes([shade] * 3 + [0]) for shade in range(256))
    header = (b"BM", 1078 + len(rows), 0, 0, 1078, 40, width, height, 1, 8, 1, len(rows), 0, 0, 256, 0)
    return struct.pack("<2sIHHIIiiHHIIiiII", *header) + palette + rows

"""A look at a data set before anything is trained on it: numbers, pictures, and one HTML page that holds them all.

`explore` reads a source and writes the page; `count_duplicates`, `fit_pca` and `find_neighbours` are what it computes
and can be called alone. Hidden here: what to do with data that a picture cannot be made of (one image, one class, a
constant, hundreds of classes), and drawing what only this page shows.

The same images, arguments and library versions give the same page to the last byte, on any number of cores: nothing
here depends on the clock, and all computing runs on a fixed number of threads. Leaves to others: where the images come
from (`data`), markup (`page`), drawing without a screen (`plots`), which folder the page goes to and what the command
is called (`cli`).
"""

import contextlib
import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fmnist_mlp.data.source import Dataset, DataSource, load_data
from fmnist_mlp.data.split import limit_indices
from fmnist_mlp.errors import cannot_write
from fmnist_mlp.files import write_whole
from fmnist_mlp.report.page import Page
from fmnist_mlp.report.plots import FAINT, INK, WIDTH, new_figure, own_style, shortened, to_png
from fmnist_mlp.words import capitalized, counted, listed

PAGE_NAME = "index.html"
PICTURE_NAMES = (
    "class_counts.png",
    "examples.png",
    "means.png",
    "pca_spectrum.png",
    "pca_components.png",
    "pca_map.png",
    "tsne_map.png",
    "nearest_pairs.png",
)

MOST_CLASSES_DRAWN = 20  # more make no readable sheet; tables always hold all
MOST_ROWS = 20  # of a table that is not folded away
EXAMPLES_PER_CLASS = 10
COMPONENTS_DRAWN = 12
TSNE_COMPONENTS = 50  # as the t-SNE paper does first (van der Maaten and Hinton 2008, section 4.2)
TSNE_FEWEST_IMAGES = 8  # fewer points have no neighbourhoods to keep
NEAREST_PAIRS = 20
VARIANCE_MARKS = (0.90, 0.95)

# Sums come out differently in the last digits on another number of threads, and t-SNE turns last digits into another
# map. One thread is slower than two on idle cores (t-SNE 16 s instead of 10 s) but not stuck on busy ones (57 s).
_THREADS = 1
_BLOCK_VALUES = 2**23  # pixels converted to float64 at once: 64 MiB


# ---- The recipe ----


def explore(
    source: DataSource,
    folder: Path,
    *,
    sample: int = 5000,
    limit: int | None = None,
    seed: int = 0,
    notify: Callable[[str], None] | None = None,
) -> Path:
    """Writes the pictures and the page about the images of `source`.

    Fashion-MNIST takes about 21 seconds on one core (AMD EPYC, Zen 5), 17 of them t-SNE.

    Args:
        source: where the images come from, see `data.find_data`.
        folder: where `index.html` and the PNG files go; made if need be. Pictures of an earlier run are replaced, and
            deleted where this run cannot make them.
        sample: how many training images the maps and the nearest neighbours are computed on, every class in its
            share; at least 1. The time of both grows faster than it.
        limit: use only so many training images, as a sweep's `limit` does; at least 1.
        seed: chooses the examples and the sample and starts t-SNE; at least 0.
        notify: called with a line before each step.

    Returns:
        The path of the page.

    Raises:
        SweepError: the images cannot be read, or `folder` cannot be written.
    """
    if sample < 1:
        raise ValueError(f"sample must be at least 1, got {sample}")
    folder, notify = Path(folder), notify or (lambda line: None)
    _check_writable(folder)  # before computing for half a minute

    notify(f"Reading {source.dataset}")
    images = _choose_images(load_data(source), sample, limit, seed)
    page = Page()
    with _fixed_threads(), own_style(_STYLE):
        notify(f"Counting classes, pixels and duplicates of {images.training}")
        _show_contents(page, images)
        _show_classes(page, images)
        _show_duplicates(page, images)

        notify("Drawing examples and means")
        _show_examples(page, images)
        _show_means(page, images)

        notify(f"Principal components of {images.for_pca}")
        pca = None if images.why_no_pca else fit_pca(images.x_train[images.pca_indices])
        _show_components(page, images, pca)
        _show_pca_map(page, images, pca)

        notify(f"t-SNE of {images.sampled}")
        _show_tsne_map(page, images, pca)

        notify(f"Nearest neighbours among {images.sampled}")
        _show_neighbours(page, images)

    text = page.to_html(
        f"{images.name}: a look at the images",
        lead=[_summary(images)],
        warnings=_warnings(images),
        # One picture a section and narrow tables: nothing to put side by side.
        style="body { max-width: 44rem; }\ntable { font-size: 0.9rem; }\n",
    )
    for name, content in page.pictures.items():
        write_whole(folder / name, content)
    for name in sorted({*PICTURE_NAMES} - {*page.pictures}):
        _delete(folder / name)
    write_whole(folder / PAGE_NAME, text)
    return folder / PAGE_NAME


# ---- What is computed ----


@dataclass(frozen=True)
class Duplicates:
    """How often the same image, equal in every pixel, occurs more than once.

    Args:
        in_train, in_test: images that equal an earlier one of the same part.
        test_in_train: test images that equal a training image: a network may have learnt them by heart.
        with_other_class: images that occur with more than one class label, counted once each.
        groups: the indices of equal images, each group as `(training indices, test indices)`; in order of appearance.
    """

    in_train: int
    in_test: int
    test_in_train: int
    with_other_class: int
    groups: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]


def count_duplicates(x_train, y_train, x_test, y_test) -> Duplicates:
    """Finds images that are equal in every pixel.

    Args:
        x_train, x_test: uint8, `(n, height, width)`.
        y_train, y_test: labels, `(n,)`.
    """
    places = {}  # SHA-256 of the pixels -> (training indices, test indices); the pixels themselves would double memory
    for part, x in enumerate((x_train, x_test)):
        for index, image in enumerate(x):
            digest = hashlib.sha256(np.ascontiguousarray(image)).digest()
            places.setdefault(digest, ([], []))[part].append(index)
    groups = [(train, test) for train, test in places.values() if len(train) + len(test) > 1]
    return Duplicates(
        in_train=sum(max(len(train) - 1, 0) for train, _ in groups),
        in_test=sum(max(len(test) - 1, 0) for _, test in groups),
        test_in_train=sum(len(test) for train, test in groups if train),
        with_other_class=sum(len({*y_train[train].tolist(), *y_test[test].tolist()}) > 1 for train, test in groups),
        groups=tuple((tuple(train), tuple(test)) for train, test in groups),
    )


def fit_pca(x):
    """Fits scikit-learn's PCA, all components, on pixels scaled to 0 to 1.

    Args:
        x: uint8, `(n, height, width)`, at least two images that are not all the same.

    Returns:
        `sklearn.decomposition.PCA`, fitted, with `min(n, height * width)` components. Fits `_flat(x) / 255`.
    """
    # Imported late: takes a second, and this module is imported for other commands too.
    from sklearn.decomposition import PCA

    # float64, for in float32 the uncentred covariance costs digits: 188 components instead of 187 for 95 % (1.9.1).
    values = _flat(x) / 255.0  # (n, pixels)
    # The covariance is the faster way where there are more images than pixels, and wasteful elsewhere.
    solver = "covariance_eigh" if values.shape[0] >= values.shape[1] else "full"
    return PCA(svd_solver=solver).fit(values)


def components_needed(explained_variance_ratio, share: float) -> int:
    """How many components, largest first, explain at least `share` (0 to 1) of the variance."""
    # The slack takes rounding: eight tenths and one tenth are meant to make nine.
    return int(np.searchsorted(np.cumsum(explained_variance_ratio), share - 1e-9)) + 1


@dataclass(frozen=True)
class Neighbours:
    """Distances are Euclidean, over all pixels, in gray levels (0 to 255).

    Args:
        nearest: int, `(n,)`: the index of the nearest other image; -1 where there is no other.
        pairs: int, `(k, 2)`: the nearest pairs of images of different classes, nearest first; the smaller index first.
        pair_distances: float64, `(k,)`.
    """

    nearest: np.ndarray
    pairs: np.ndarray
    pair_distances: np.ndarray


def find_neighbours(x, y, pairs: int = NEAREST_PAIRS) -> Neighbours:
    """Finds each image's nearest neighbour and the nearest pairs across classes, exactly; of equals the first.

    Compares all with all, block by block: 5,000 images of 784 pixels take about a second, ten times as many a hundred
    times as long. Not scikit-learn's NearestNeighbors: the nearest pairs across classes can lie beyond any fixed number
    of neighbours, and whole-number distances make ties exact and the result the same everywhere.

    Args:
        x: uint8, `(n, height, width)`.
        y: labels, `(n,)`.
        pairs: how many pairs at most, at least 1.
    """
    flat, n = _flat(x), len(x)
    step = max(1, min(1024, _BLOCK_VALUES // flat.shape[1]))
    blocks = [slice(start, min(start + step, n)) for start in range(0, n, step)]
    # Squares and products of bytes are whole numbers far below 2**53: float64 holds them exactly, so ties are ties.
    squares = np.concatenate([np.square(flat[block], dtype=np.float64).sum(axis=1) for block in blocks])  # (n,)

    shortest, nearest = np.full(n, np.inf), np.full(n, -1)
    found = np.empty((0, 3))  # columns: squared distance, smaller index, larger index
    for i, rows in enumerate(blocks):
        left = flat[rows].astype(np.float64)
        for columns in blocks[i:]:
            right = flat[columns].astype(np.float64)
            distances = squares[rows, None] + squares[columns] - 2.0 * (left @ right.T)  # (rows, columns), squared
            if rows == columns:
                np.fill_diagonal(distances, np.inf)  # nothing is its own neighbour
            _keep_nearer(shortest, nearest, rows, distances, columns.start)
            if rows != columns:
                _keep_nearer(shortest, nearest, columns, distances.T, rows.start)
            distances[y[rows, None] == y[columns]] = np.inf
            if rows == columns:
                distances[np.tril_indices_from(distances)] = np.inf  # each pair once
            found = _keep_nearest_pairs(found, distances, rows.start, columns.start, pairs)
    return Neighbours(nearest, found[:, 1:].astype(int), np.sqrt(found[:, 0]))


def _keep_nearer(shortest, nearest, rows, distances, first_column):
    """Updates the nearest neighbours of the images `rows`; of equals the first stays, for blocks come in order."""
    columns = distances.argmin(axis=1)
    distances = distances[np.arange(len(columns)), columns]
    is_nearer = distances < shortest[rows]
    shortest[rows] = np.where(is_nearer, distances, shortest[rows])
    nearest[rows] = np.where(is_nearer, columns + first_column, nearest[rows])


def _keep_nearest_pairs(found, distances, first_row, first_column, pairs):
    """The nearest `pairs` of those found so far and a block's; distances of infinity are no pairs."""
    bound = np.partition(distances, pairs - 1, axis=None)[pairs - 1] if distances.size > pairs else np.inf
    if len(found) == pairs:
        bound = min(bound, found[-1, 0])
    rows, columns = np.nonzero((distances <= bound) & np.isfinite(distances))
    block = np.column_stack([distances[rows, columns], rows + first_row, columns + first_column])
    both = np.concatenate([found, block])
    return both[np.lexsort((both[:, 2], both[:, 1], both[:, 0]))][:pairs]


def _count_values(x):
    """How often each gray level occurs: int64, `(256,)`."""
    counts = np.zeros(256, np.int64)
    flat = x.reshape(-1)
    for start in range(0, len(flat), _BLOCK_VALUES):  # bincount makes eight bytes of each pixel
        counts += np.bincount(flat[start : start + _BLOCK_VALUES], minlength=256)
    return counts


def _mean_and_std(x):
    """Mean and standard deviation of each pixel over images: two float64 arrays, `(height, width)`, gray levels."""
    flat = _flat(x)
    total, squares = np.zeros((2, flat.shape[1]))
    step = max(1, _BLOCK_VALUES // flat.shape[1])
    for start in range(0, len(flat), step):
        block = flat[start : start + step].astype(np.float64)
        total += block.sum(axis=0)
        squares += np.square(block).sum(axis=0)
    # Sums of whole numbers are exact, so nothing cancels but in this one subtraction.
    variance = (squares - total * total / len(x)) / len(x)
    return (total / len(x)).reshape(x.shape[1:]), np.sqrt(np.maximum(variance, 0.0)).reshape(x.shape[1:])


def _flat(x):
    return x.reshape(len(x), -1)


# ---- Which images ----


@dataclass(frozen=True)
class _Images:
    """The images that are looked at, and how the page calls them.

    Args:
        x_train, y_train: what `limit` leaves.
        train_indices: int32: their places among all training images, ascending.
        sample: int32, indices into `x_train`, ascending.
        pca_indices: as `sample`: what PCA is fitted on, all of them unless that would take too much memory.
        why_no_pca: a sentence, or empty where PCA can be fitted.
        name: the data set's name for the page, not escaped; short_name: for pictures, in letters that the font has.
        training, test, sampled, for_pca: a phrase each that says which images and how many.
    """

    data: Dataset
    x_train: np.ndarray
    y_train: np.ndarray
    train_indices: np.ndarray
    sample: np.ndarray
    pca_indices: np.ndarray
    why_no_pca: str
    seed: int
    name: str
    short_name: str
    training: str
    test: str
    sampled: str
    for_pca: str

    @property
    def drawn_classes(self):
        """Labels: all, also of classes without images, or where they are too many the first that have any."""
        if self.data.num_classes <= MOST_CLASSES_DRAWN:
            return range(self.data.num_classes)
        return np.unique(self.y_train)[:MOST_CLASSES_DRAWN].tolist()

    @property
    def drawn_note(self):
        """What a caption says where not all classes are drawn or images are stretched, else empty."""
        height, width = self.data.image_shape
        note = ""
        if self.data.num_classes > MOST_CLASSES_DRAWN:
            note += f" The first {len(self.drawn_classes)} of {self.data.num_classes} classes."
        if not _RATIOS[0] <= height / width <= _RATIOS[1]:
            note += " The images are stretched."
        return note


def _choose_images(data, sample, limit, seed):
    chosen = limit_indices(data.y_train, limit)
    x_train, y_train = data.x_train[chosen], data.y_train[chosen]
    training = counted(len(x_train), "training image")
    if len(x_train) < len(data.x_train):
        training = f"{len(x_train):,} of the {counted(len(data.x_train), 'training image')} (limit)"
    sample_indices, pca_indices = _stratified(y_train, sample, seed), _for_pca(x_train, y_train, seed)

    def said(indices):
        if len(indices) == len(x_train):
            return training
        return f"a sample of {len(indices):,} of the {counted(len(x_train), 'training image')} (seed {seed})"

    return _Images(
        data=data,
        x_train=x_train,
        y_train=y_train,
        train_indices=chosen,
        sample=sample_indices,
        pca_indices=pca_indices,
        why_no_pca=_why_no_pca(x_train[pca_indices]),
        seed=seed,
        name=_NAMES.get(data.source.dataset, data.source.dataset),
        short_name=shortened(_NAMES.get(data.source.dataset, data.source.dataset), 40),
        training=training,
        test=counted(len(data.x_test), "test image"),
        sampled=said(sample_indices),
        for_pca=said(pca_indices),
    )


_NAMES = {"fashion_mnist": "Fashion-MNIST", "synthetic": "Generated stand-in (synthetic)"}


def _stratified(y, count, seed):
    """`count` indices, every class in its share, chosen by `seed`; int32, ascending."""
    # limit_indices always draws the same places, so the images change places by the seed.
    order = np.random.default_rng([_SAMPLE_STREAM, seed]).permutation(len(y))
    return np.sort(order[limit_indices(y[order], count)]).astype(np.int32)


# Each use of the seed draws from a stream of its own.
_SAMPLE_STREAM, _EXAMPLES_STREAM = 1, 2


def _for_pca(x, y, seed):
    """What PCA is fitted on: all images, or as many as a gigabyte of float64 holds."""
    pixels = x[0].size
    most = 2**27 // pixels
    if pixels > 4096:  # the covariance would be too large, so that SVD has to do, which is slow in both directions
        most = 1000
    return _stratified(y, min(len(y), max(most, 2)), seed)


def _why_no_pca(x):
    if len(x) < 2:
        return "Principal components need at least two images, and there is one."
    if (x == x[0]).all():
        return "All images are the same, so there is no variance to explain."
    return ""


# ---- The head of the page ----


def _summary(images):
    return (
        f"{capitalized(images.training)} and {images.test}. The maps and nearest neighbours are computed on "
        f"{images.sampled}, every class in its share. Test images are counted, and compared for duplicates; "
        "everything else is about training images."
    )


def _warnings(images):
    source = images.data.source
    if source.kind != "synthetic":
        return []
    warning = "These are not Fashion-MNIST's images, but drawings made by a program that take their place."
    return [f"{warning} {capitalized(source.fallback_reason)}." if source.fallback_reason else warning]


# ---- The sections of the page, in order ----


def _show_contents(page, images):
    data = images.data
    height, width = data.image_shape
    page.section("What there is")
    page.facts(
        [
            ("Training images", images.training),
            ("Test images", images.test),
            ("Image", f"{height} × {width} pixels (height × width), one channel, gray levels 0 to 255"),
            ("Classes", _say_classes(images)),
            ("Identity of the data", data.identity),
        ]
    )
    page.table(
        "Pixels",
        ["", "training", "test"],
        list(zip(_PIXEL_FACTS, _pixel_facts(images.x_train), _pixel_facts(data.x_test), strict=True)),
    )
    never_varies = int((np.ptp(images.x_train, axis=0) == 0).sum())
    page.paragraph(f"{never_varies:,} of {counted(height * width, 'pixel')} never vary among {images.training}.")


def _say_classes(images):
    data = images.data
    occurring = len(np.unique(images.y_train))
    said = f"{data.num_classes}, labels 0 to {data.num_classes - 1}"
    return said if occurring == data.num_classes else f"{said}; {occurring} of them occur among the training images"


_PIXEL_FACTS = (
    "images",
    "smallest, gray level",
    "largest, gray level",
    "mean, gray levels",
    "standard deviation, gray levels",
    "pixels that are zero, %",
)


def _pixel_facts(x):
    counts = _count_values(x)
    levels, total = np.arange(256), counts.sum()
    mean = (counts * levels).sum() / total
    std = np.sqrt((counts * (levels - mean) ** 2).sum() / total)
    occurring = np.flatnonzero(counts)
    zeros = 100.0 * counts[0] / total
    return [f"{len(x):,}", str(occurring[0]), str(occurring[-1]), f"{mean:.2f}", f"{std:.2f}", f"{zeros:.2f}"]


def _show_classes(page, images):
    data = images.data
    train, test = (np.bincount(y, minlength=data.num_classes) for y in (images.y_train, data.y_test))
    page.section("Images a class")
    page.picture(
        "class_counts.png",
        _draw_counts(images, train, test),
        alt=f"Bar chart of the number of images of each class: {_span(train)} training images and {_span(test)} test "
        "images a class. The table holds the numbers.",
        caption=f"Images of each class among {images.training} and {images.test}.",
    )
    page.table(
        "Images of each class",
        ["label", "class", "training images", "%", "test images", "%"],
        [
            [str(label), name, f"{a:,}", f"{100 * a / train.sum():.1f}", f"{b:,}", f"{100 * b / test.sum():.1f}"]
            for label, (name, a, b) in enumerate(zip(data.class_names, train, test, strict=True))
        ],
        text_columns=(1,),
        is_folded=data.num_classes > MOST_ROWS,
    )


def _span(counts):
    low, high = counts.min(), counts.max()
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _show_duplicates(page, images):
    data = images.data
    found = count_duplicates(images.x_train, images.y_train, data.x_test, data.y_test)
    page.section("Exact duplicates")
    page.paragraph(f"Images that equal another one in every pixel, among {images.training} and {images.test}.")
    in_train, in_test = f"of {len(images.x_train):,}", f"of {len(data.x_test):,}"
    page.facts(
        [
            ("Within training", f"{found.in_train:,} {in_train} images equal an earlier one"),
            ("Within test", f"{found.in_test:,} {in_test} images equal an earlier one"),
            ("Between training and test", f"{found.test_in_train:,} {in_test} test images equal a training image"),
            ("With different labels", f"{counted(found.with_other_class, 'image')} with more than one class"),
        ]
    )
    if not found.groups:
        return
    groups, most = found.groups, 100
    how_many = f", the first {most} of {len(groups):,} groups" if len(groups) > most else ""
    page.table(
        f"Equal images (indices in the files, from 0{how_many})",
        ["training indices", "test indices", "classes"],
        [
            [
                listed(images.train_indices[[*train]]),
                listed(test),
                ", ".join(
                    data.class_names[label]
                    for label in sorted({*images.y_train[[*train]].tolist(), *data.y_test[[*test]].tolist()})
                ),
            ]
            for train, test in groups[:most]
        ],
        text_columns=(0, 1, 2),
        is_folded=len(groups) > MOST_ROWS,
    )


def _show_examples(page, images):
    rng = np.random.default_rng([_EXAMPLES_STREAM, images.seed])
    rows = []
    for label in images.drawn_classes:
        of_class = rng.permutation(np.flatnonzero(images.y_train == label))[:EXAMPLES_PER_CLASS]
        tiles = [_Tile(images.x_train[index]) for index in of_class]
        rows.append(_Row(_row_label(images, label) + ("" if tiles else "\nno images"), tiles))
    page.section("Examples")
    page.picture(
        "examples.png",
        _draw_sheet(images, "Examples of each class", images.training, rows, EXAMPLES_PER_CLASS),
        alt=f"Sheet of up to {EXAMPLES_PER_CLASS} training images of each class, a row a class.",
        caption=f"Up to {EXAMPLES_PER_CLASS} images of each class, chosen at random from {images.training} (seed "
        f"{images.seed}). Black is gray level 0, white 255.{images.drawn_note}",
        is_photo=True,
    )


def _show_means(page, images):
    columns = 5
    rows = []
    labels = images.drawn_classes
    for start in range(0, len(labels), columns):
        means, stds = [], []
        for label in labels[start : start + columns]:
            x = images.x_train[images.y_train == label]
            mean, std = _mean_and_std(x) if len(x) else (None, None)
            means.append(_Tile(mean, images.data.class_names[label] + ("" if len(x) else "\nno images")))
            # The bytes 0 to 255 have a standard deviation of 127.5 at most.
            stds.append(_Tile(std, "", colours="inferno", high=127.5))
        rows += [_Row("mean", means), _Row("SD", stds)]
    page.section("Mean and spread of each class")
    page.picture(
        "means.png",
        _draw_sheet(images, "Mean and standard deviation of each pixel by class", images.training, rows, columns),
        alt="For each class its mean image, and under it an image of the standard deviation of each pixel.",
        caption=f"Mean of each pixel over the images of a class (black 0, white 255 gray levels) and under it the "
        f"standard deviation (SD; black 0, bright yellow 127.5 gray levels, the most there can be). Computed on "
        f"{images.training}.{images.drawn_note}",
        is_photo=True,
    )


def _show_components(page, images, pca):
    page.section("Principal components")
    if pca is None:
        page.paragraph(images.why_no_pca)
        return
    ratio = pca.explained_variance_ratio_
    page.paragraph(f"PCA (scikit-learn) of {images.for_pca}, pixels scaled to 0 to 1, not standardized.")
    page.facts(
        [
            (
                f"{100 * share:.0f} % of the variance",
                f"{counted(components_needed(ratio, share), 'component')} of {len(ratio):,}",
            )
            for share in VARIANCE_MARKS
        ]
    )
    page.picture(
        "pca_spectrum.png",
        _draw_spectrum(images, ratio),
        alt="Curve of the cumulative explained variance in percent against the number of principal components, marked "
        + " and ".join(
            f"at {100 * share:.0f} % ({counted(components_needed(ratio, share), 'component')})"
            for share in VARIANCE_MARKS
        )
        + ".",
        caption=f"Share of the pixels' variance that the first components explain together, {images.for_pca}.",
    )
    # What explains nothing is an arbitrary direction.
    drawn = min(COMPONENTS_DRAWN, int((ratio > 1e-12).sum()))
    first = "First principal component" if drawn == 1 else f"First {drawn} principal components"
    tiles = []
    for number, (share, component) in enumerate(zip(ratio[:drawn], pca.components_, strict=False), start=1):
        largest = np.abs(component).max()
        component = component.reshape(images.data.image_shape)
        tiles.append(_Tile(component, f"{number}: {100 * share:.1f} %", colours="RdBu_r", low=-largest, high=largest))
    columns = 4
    rows = [_Row("", tiles[start : start + columns]) for start in range(0, drawn, columns)]
    page.picture(
        "pca_components.png",
        _draw_sheet(images, first, images.for_pca, rows, columns, False),
        alt=f"{first}: the weights of the pixels, as images.",
        caption="Weight of each pixel in a component: red one sign, blue the other, each image on its own scale; above "
        f"it the share of the variance that it explains, in percent. Computed on {images.for_pca}.",
    )


def _show_pca_map(page, images, pca):
    page.section("The sample in two dimensions")
    if pca is None:
        page.paragraph(images.why_no_pca)
        return
    if len(pca.components_) < 2:
        page.paragraph("Images of one pixel have one dimension: there is no map to draw.")
        return
    points = pca.transform(_flat(images.x_train[images.sample]) / 255.0)[:, :2]
    shares = [f"component {k + 1} ({100 * pca.explained_variance_ratio_[k]:.1f} % of the variance)" for k in range(2)]
    page.picture(
        "pca_map.png",
        _draw_map(images, points, "PCA map", shares),
        alt=f"Scatter plot of {counted(len(points), 'image')} over the first two principal components, by class.",
        caption=f"First two principal components (pixels 0 to 1), a point an image: {images.sampled}.",
    )


def _show_tsne_map(page, images, pca):
    y = images.y_train[images.sample]
    if pca is None:
        return  # the section has said why
    if len(y) < TSNE_FEWEST_IMAGES:
        page.paragraph(f"No t-SNE map: {counted(len(y), 'image')}, it needs at least {TSNE_FEWEST_IMAGES}.")
        return
    reduced = pca.transform(_flat(images.x_train[images.sample]) / 255.0)[:, :TSNE_COMPONENTS]  # (sample, 50 or fewer)
    if reduced.shape[1] < 2:
        return
    if np.ptp(reduced[:, 0]) == 0.0:
        page.paragraph("No t-SNE map: the images of the sample are all the same.")
        return
    # Imported late: see `fit_pca`.
    from sklearn.manifold import TSNE

    perplexity = min(30.0, (len(y) - 1) / 3)  # 30 is scikit-learn's default, and it has to be below the images' number
    points = TSNE(perplexity=perplexity, init="pca", random_state=images.seed).fit_transform(reduced)
    page.picture(
        "tsne_map.png",
        _draw_map(images, points, "t-SNE map", None),
        alt=f"Scatter plot of {counted(len(points), 'image')} by t-SNE, by class.",
        caption=f"Map by t-SNE (scikit-learn, perplexity {perplexity:.3g}, seed {images.seed}) of the first "
        f"{reduced.shape[1]} principal components, a point an image: {images.sampled}. Who is near whom means "
        "something; distances between clouds, their sizes and the axes do not.",
    )


def _show_neighbours(page, images):
    x, y = images.x_train[images.sample], images.y_train[images.sample]
    page.section("Nearest neighbours")
    if len(x) < 2:
        page.paragraph("Neighbours need at least two images, and the sample holds one.")
        return
    names = images.data.class_names
    found = find_neighbours(x, y)
    page.paragraph(
        f"Distances are Euclidean, over all pixels, in gray levels; computed on {images.sampled}, each image "
        "compared with every other."
    )
    if len(found.pairs):
        count = "pair" if len(found.pairs) == 1 else f"{len(found.pairs)} pairs"
        caption, columns = f"The {count} of images of different classes nearest to each", 3
        tiles = [
            _Tile(_lightened_pair(x[a], x[b]), f"{names[y[a]]} | {names[y[b]]}\n{distance:.0f}")
            for (a, b), distance in zip(found.pairs, found.pair_distances, strict=True)
        ]
        rows = [_Row("", tiles[start : start + columns]) for start in range(0, len(tiles), columns)]
        page.picture(
            "nearest_pairs.png",
            _draw_sheet(images, "Nearest pairs of different classes", images.sampled, rows, columns),
            alt=f"{caption} other, side by side with their classes and distance. The table holds the numbers.",
            caption=f"{caption} other; the number is their distance in gray levels. The images are drawn lighter than "
            f"they are, for the nearest ones are often dark (gamma {_PAIR_GAMMA}). Computed on {images.sampled}.",
            is_photo=True,
        )
        pixels, places = x[0].size, images.train_indices[images.sample]
        page.table(
            "Nearest pairs of different classes (indices in the training files, from 0)",
            ["rank", "class", "index", "other class", "index", "distance, gray levels", "RMS a pixel, gray levels"],
            [
                [
                    str(rank),
                    names[y[a]],
                    str(places[a]),
                    names[y[b]],
                    str(places[b]),
                    f"{distance:.1f}",
                    f"{distance / pixels**0.5:.1f}",
                ]
                for rank, ((a, b), distance) in enumerate(zip(found.pairs, found.pair_distances, strict=True), start=1)
            ],
            text_columns=(1, 3),
            is_folded=True,
        )
    else:
        page.paragraph(f"There are no pairs across classes: all images are of class {names[y[0]]}.")
    _show_confused(page, images, y, y[found.nearest])


def _show_confused(page, images, y, y_nearest):
    """For each class: how often the nearest neighbour is of another class, and of which most often."""
    names = images.data.class_names
    rows = []
    for label, name in enumerate(names):
        neighbours = np.bincount(y_nearest[y == label], minlength=len(names))
        count, own = neighbours.sum(), neighbours[label]
        neighbours[label] = 0
        other = int(neighbours.argmax())
        if not count:
            rows.append([name, "0", "", "none in the sample", ""])
        elif own == count:
            rows.append([name, f"{count:,}", "100.0", "none", ""])
        else:
            share = f"{100 * neighbours[other] / count:.1f}"
            rows.append([name, f"{count:,}", f"{100 * own / count:.1f}", names[other], share])
    own = 100.0 * (y == y_nearest).mean()
    page.paragraph(
        f"{own:.1f} % of the images have a nearest neighbour of their own class. By class: how many have, and which "
        "other class the neighbour is of most often."
    )
    page.table(
        f"Class of the nearest neighbour, {images.sampled}",
        ["class", "images", "own class, %", "other class", "other class, %"],
        rows,
        text_columns=(0, 3),
        is_folded=len(rows) > MOST_ROWS,
    )


_PAIR_GAMMA = 0.6


def _lightened_pair(image, other):
    """Two images side by side, gray levels 0 to 255, the dark ones lifted."""
    gap = np.full((image.shape[0], max(1, image.shape[1] // 28)), np.nan)
    return 255.0 * (np.hstack([image, gap, other]) / 255.0) ** _PAIR_GAMMA


def _row_label(images, label):
    name = images.data.class_names[label]
    return f"class {name}" if name == str(label) else name


# ---- Drawing ----

_STYLE = {"font.size": 9, "figure.dpi": 200}
_BOX = {"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 0.8}  # under what is written over points
_TRAIN_COLOUR, _TEST_COLOUR = "#0072b2", "#e69f00"  # Okabe and Ito: told apart with any kind of colour vision
# After Paul Tol's muted scheme, neither light nor dark so that they show on white and turned over (see `page`). Ten
# colours are more than anybody tells apart for sure: shapes and the names written on a map do so as well.
_COLOURS = (
    "#4040b0",
    "#e07020",
    "#117733",
    "#44a5d8",
    "#882255",
    "#22a088",
    "#cc6677",
    "#99992a",
    "#aa4499",
    "#777777",
)
_SHAPES = {"o": 1.0, "s": 0.8, "^": 1.1, "D": 0.6, "v": 1.1, "P": 1.2, "<": 1.1, "X": 1.2, ">": 1.1, "*": 1.8}  # areas


@contextlib.contextmanager
def _fixed_threads():
    # Imported late: looks through the libraries that are loaded, so scikit-learn's and numpy's have to be there.
    import sklearn  # noqa: F401
    import threadpoolctl

    with threadpoolctl.threadpool_limits(_THREADS):
        yield


def _title(axes, images, title, subset):
    axes.set_title(f"{title}\n", loc="left", fontsize=11, fontweight="bold")
    text = f"{images.short_name}: {subset}"
    axes.text(0.0, 1.02, text, transform=axes.transAxes, fontsize=7.5, color=FAINT, va="bottom")


def _draw_counts(images, train, test):
    data, n = images.data, images.data.num_classes
    labels = np.arange(n)
    is_named = n <= MOST_CLASSES_DRAWN
    figure = new_figure(1.3 + 0.3 * n if is_named else 3.5, layout="constrained")
    axes = figure.add_subplot()
    if is_named:
        axes.barh(labels - 0.2, train, 0.38, color=_TRAIN_COLOUR, label="training")
        axes.barh(labels + 0.2, test, 0.38, color=_TEST_COLOUR, label="test")
        axes.set_yticks(labels, [_row_label(images, label) for label in labels])
        axes.invert_yaxis()
        axes.set_xlabel("images")
        count_axis = axes.xaxis
    else:
        axes.fill_between(labels, train, step="mid", color=_TRAIN_COLOUR, label="training")
        axes.fill_between(labels, test, step="mid", color=_TEST_COLOUR, label="test")
        axes.set_xlabel("class")
        axes.set_ylabel("images")
        axes.set_ylim(bottom=0)
        count_axis = axes.yaxis
    count_axis.get_major_locator().set_params(integer=True)
    count_axis.set_major_formatter("{x:,.0f}")
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    _title(axes, images, "Images a class", f"{images.training}, {counted(len(data.y_test), 'test image')}")
    return to_png(figure)


def _draw_spectrum(images, ratio):
    figure = new_figure(3.6, layout="constrained")
    axes = figure.add_subplot()
    numbers = np.arange(1, len(ratio) + 1)
    axes.plot(numbers, 100 * np.cumsum(ratio), color=_TRAIN_COLOUR, marker="o" if len(ratio) < 30 else None)
    for share in VARIANCE_MARKS:
        needed = components_needed(ratio, share)
        axes.plot([0, needed, needed], [100 * share, 100 * share, 0], color=FAINT, linewidth=0.8, linestyle="--")
    # Both marks lie close together on the curve, so what they say goes where the curve never is.
    said = [f"{100 * share:.0f} %: {counted(components_needed(ratio, share), 'component')}" for share in VARIANCE_MARKS]
    axes.text(
        0.97, 0.06, "\n".join(said), transform=axes.transAxes, ha="right", va="bottom", linespacing=1.5, bbox=_BOX
    )
    axes.set_xlim(0, max(len(ratio), 2))
    axes.set_ylim(0, 101)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_xlabel("principal components")
    axes.set_ylabel("cumulative explained variance, %")
    _title(axes, images, "How many components the images need", images.for_pca)
    return to_png(figure)


def _draw_map(images, points, title, axis_labels):
    """A point an image, coloured and shaped by class.

    Args:
        points: `(n, 2)`, the images of the sample.
        axis_labels: two, or None where the axes mean nothing.
    """
    y = images.y_train[images.sample]
    size = float(np.clip(12000 / len(points), 6, 30))  # square points
    figure = new_figure(5.4, layout="constrained")
    axes = figure.add_subplot()
    low, high = points.min(axis=0), points.max(axis=0)
    margin = np.where(high - low > 1e-9, 0.04 * (high - low), 1.0)
    axes.set(xlim=(low[0] - margin[0], high[0] + margin[0]), ylim=(low[1] - margin[1], high[1] + margin[1]))
    occurring = np.unique(y)
    if len(occurring) <= MOST_CLASSES_DRAWN:
        names = [images.data.class_names[label] for label in occurring]
        middles = np.array([np.median(points[y == label], axis=0) for label in occurring])
        for k, label in enumerate(occurring):
            colour = _COLOURS[k % len(_COLOURS)]
            shape, area = list(_SHAPES.items())[(k + k // len(_COLOURS)) % len(_SHAPES)]
            style = {"c": colour, "marker": shape, "linewidths": 0}
            axes.scatter(*points[y == label].T, s=size * area, alpha=0.7, **style)
            axes.scatter([], [], s=30 * area, label=names[k], **style)  # what the legend shows
        _write_names(axes, names, (middles - low + margin) / (high - low + 2 * margin))
        figure.legend(loc="outside lower center", ncols=4 if max(map(len, names)) < 8 else 3, frameon=False)
    else:
        drawn = axes.scatter(*points.T, s=size, c=y, cmap="viridis", linewidths=0, alpha=0.7)
        figure.colorbar(drawn, ax=axes, location="bottom", label="class", shrink=0.8)
    if axis_labels:
        axes.set_xlabel(axis_labels[0])
        axes.set_ylabel(axis_labels[1])
    else:
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_visible(True)
    _title(axes, images, title, images.sampled)
    return to_png(figure)


def _write_names(axes, names, places):
    """Writes the classes' names on a map, each in the middle of its points or as near above as there is room.

    Args:
        places: `(classes, 2)`, shares of the axes' width and height.
    """
    line = 0.045  # the height of a name as a share of the axes'
    taken = []  # (x, y, half width) of the names that stand already
    for k in np.argsort(places[:, 1], kind="stable"):
        x, y, half = *places[k], 0.009 * len(names[k]) + 0.01
        while any(abs(x - x2) < half + half2 and abs(y - y2) < 0.99 * line for x2, y2, half2 in taken):
            y += line / 4
        taken.append((x, y, half))
        axes.text(x, y, names[k], transform=axes.transAxes, fontsize=8, ha="center", va="center", bbox=_BOX)


@dataclass(frozen=True)
class _Tile:
    """One image of a sheet: `(height, width)`, NaN for nothing; None leaves the place empty."""

    image: np.ndarray | None
    title: str = ""
    colours: str = "gray"
    low: float = 0.0
    high: float = 255.0


@dataclass(frozen=True)
class _Row:
    label: str
    tiles: list[_Tile]


_RATIOS = 1 / 8, 4  # height to width; what is flatter or taller (a row of 784 pixels) is stretched to be seen at all


def _draw_sheet(images, title, subset, rows, columns, is_dark=True):
    """A sheet of small images, all of one shape, on black like the images' own ground unless told otherwise."""
    import matplotlib  # loaded already, by `own_style`

    ink, faint, ground = ("#f2f2f2", "#b4b4b4", "#111111") if is_dark else (INK, FAINT, "white")
    left = 1.0 if any(len(row.label) > 4 for row in rows) else 0.5 if any(row.label for row in rows) else 0.1
    cell = (WIDTH - left - 0.1) / columns
    lines = max((tile.title.count("\n") + 1 for row in rows for tile in row.tiles if tile.title), default=0)
    shape = next(tile.image.shape for row in rows for tile in row.tiles if tile.image is not None)
    ratio = float(np.clip(shape[0] / shape[1], *_RATIOS))
    width = min(0.92, 1.5 / ratio) * cell  # inches; a sheet of tall images stays a sheet
    height = width * ratio

    tops, y = [], 0.55  # inches from above
    for row in rows:
        y += (0.16 * lines if any(tile.title for tile in row.tiles) else 0.0) + 0.04
        tops.append(y)
        y += max(height, 0.15 if row.label else 0.0) + 0.04
    figure = new_figure(y + 0.06, background=ground)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.text(0.1, 0.14, title, fontsize=11, fontweight="bold", color=ink, va="top")
    axes.text(0.1, 0.35, f"{images.short_name}: {subset}", fontsize=7.5, color=faint, va="top")
    for row, top in zip(rows, tops, strict=True):
        middle = top + height / 2
        axes.text(left - 0.08, middle, row.label, fontsize=8.5, color=ink, ha="right", va="center")
        for column, tile in enumerate(row.tiles):
            centre = left + (column + 0.5) * cell
            axes.text(centre, top - 0.04, tile.title, fontsize=8, color=ink, ha="center", va="bottom", linespacing=1)
            if tile.image is None:
                continue
            step = -(-max(tile.image.shape) // 400)  # more pixels than the paper has dots only cost time
            axes.imshow(
                tile.image[::step, ::step],
                cmap=matplotlib.colormaps[tile.colours],
                vmin=tile.low,
                vmax=tile.high,
                extent=(centre - width / 2, centre + width / 2, top + height, top),
                interpolation="nearest",
            )
    axes.set(xlim=(0, WIDTH), ylim=(y + 0.06, 0), aspect="auto")
    return to_png(figure)


# ---- Files ----


def _check_writable(folder):
    """Makes the folder and tries it out, or SweepError."""
    draft = folder / f".{secrets.token_hex(8)}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        draft.touch()
        draft.unlink()
    except OSError as error:
        raise cannot_write(folder, error) from error


def _delete(path):
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from error

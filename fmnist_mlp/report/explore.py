"""A look at a data set before anything is trained on it: one HTML page, and its pictures as PNG files.

`explore` reads a source and writes the page. Hidden here: what is worth showing, and what to say where data has none of
it (one image, one class, a constant, hundreds of classes).

The same images, arguments and library versions give the same page to the last byte, on any number of cores: nothing
here depends on the clock. Leaves to others: where the images come from (`data`), what is computed of them
(`image_statistics`), drawing (`plots_images`), markup (`page`), which folder the page goes to and what the command is
called (`cli`).
"""

import tempfile
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import numpy as np

from fmnist_mlp.data.source import Dataset, DataSource, load_data
from fmnist_mlp.data.split import limit_indices
from fmnist_mlp.errors import writing
from fmnist_mlp.files import write_whole
from fmnist_mlp.report import image_statistics as statistics
from fmnist_mlp.report.page import Page
from fmnist_mlp.report.plots import MOST_CLASSES_NAMED, own_style, shortened
from fmnist_mlp.report.plots_images import RATIOS, Row, Tile, draw_counts, draw_map, draw_sheet, draw_spectrum
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

MOST_ROWS = 20  # of a table that is not folded away
EXAMPLES_PER_CLASS = 10
COMPONENTS_DRAWN = 12
TSNE_COMPONENTS = 50  # as the t-SNE paper does first (van der Maaten and Hinton 2008, section 4.2)
TSNE_FEWEST_IMAGES = 8  # fewer points have no neighbourhoods to keep
NEAREST_PAIRS = 20
VARIANCE_MARKS = (0.90, 0.95)

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
    with writing(folder):  # tried before computing for half a minute
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()

    notify(f"Reading {source.dataset}")
    images = _Images(load_data(source), sample, limit, seed)
    page = Page()
    with statistics.one_thread(), own_style():
        notify(f"Counting classes, pixels and duplicates of {images.training}")
        _show_contents(page, images)
        _show_classes(page, images)
        _show_duplicates(page, images)

        notify("Drawing examples and means")
        _show_examples(page, images)
        _show_means(page, images)

        notify(f"Principal components of {images.for_pca}")
        pca = None if images.why_no_pca else statistics.fit_pca(images.x_train[images.pca_indices])
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
        with writing(folder / name):
            (folder / name).unlink(missing_ok=True)
    write_whole(folder / PAGE_NAME, text)
    return folder / PAGE_NAME


# ---- Which images ----


class _Images:
    """The images that are looked at, and how the page calls them.

    `training`, `test`, `sampled` and `for_pca` are a phrase each that says which images and how many.
    """

    def __init__(self, data: Dataset, sample: int, limit: int | None, seed: int):
        self.data, self.seed = data, seed
        self.name = _NAMES.get(data.source.dataset, data.source.dataset)
        self.train_indices = limit_indices(data.y_train, limit)  # int32, ascending; what follows is about these
        self.x_train, self.y_train = data.x_train[self.train_indices], data.y_train[self.train_indices]
        # int32, into `x_train`, ascending; PCA has all of them unless that would take too much memory.
        self.sample = statistics.stratified_sample(self.y_train, sample, seed)
        self.pca_indices = statistics.pca_sample(self.x_train, self.y_train, seed)
        everything = counted(len(data.x_train), "training image")
        is_limited = len(self.x_train) < len(data.x_train)
        self.training = f"{len(self.x_train):,} of the {everything} (limit)" if is_limited else everything
        self.test = counted(len(data.x_test), "test image")
        self.sampled, self.for_pca = self._in_words(self.sample), self._in_words(self.pca_indices)

    def _in_words(self, indices: np.ndarray) -> str:
        everything = counted(len(self.x_train), "training image")
        is_sample = len(indices) < len(self.x_train)
        return f"a sample of {len(indices):,} of the {everything} (seed {self.seed})" if is_sample else self.training

    @cached_property
    def why_no_pca(self) -> str:
        """A sentence, or empty where PCA can be fitted."""
        x = self.x_train[self.pca_indices]
        if len(x) < 2:
            return "Principal components need at least two images, and there is one."
        return "All images are the same, so there is no variance to explain." if (x == x[0]).all() else ""

    def subtitle(self, subset: str) -> str:
        """Below a picture's title: the data set, in letters that the font has, and which images."""
        return f"{shortened(self.name, 40)}: {subset}"

    @property
    def row_names(self) -> list[str]:
        """The classes' names where nothing else says that they are classes."""
        return [f"class {name}" if name == str(label) else name for label, name in enumerate(self.data.class_names)]

    @property
    def drawn_classes(self):
        """Labels: all, also of classes without images, or where they are too many the first that have any."""
        if self.data.num_classes <= MOST_CLASSES_NAMED:
            return range(self.data.num_classes)
        return np.unique(self.y_train)[:MOST_CLASSES_NAMED].tolist()

    @property
    def drawn_note(self):
        """What a caption says where not all classes are drawn or images are stretched, else empty."""
        height, width = self.data.image_shape
        note = ""
        if self.data.num_classes > MOST_CLASSES_NAMED:
            note += f" The first {len(self.drawn_classes)} of {self.data.num_classes} classes."
        return note + ("" if RATIOS[0] <= height / width <= RATIOS[1] else " The images are stretched.")


_NAMES = {"fashion_mnist": "Fashion-MNIST", "synthetic": "Generated stand-in (synthetic)"}


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
    train, test = _pixel_facts(images.x_train), _pixel_facts(data.x_test)
    page.table("Pixels", ["", "training", "test"], [[name, train[name], test[name]] for name in train])
    never_varies = int((np.ptp(images.x_train, axis=0) == 0).sum())
    page.paragraph(f"{never_varies:,} of {counted(height * width, 'pixel')} never vary among {images.training}.")


def _say_classes(images):
    data = images.data
    occurring = len(np.unique(images.y_train))
    said = f"{data.num_classes}, labels 0 to {data.num_classes - 1}"
    return said if occurring == data.num_classes else f"{said}; {occurring} of them occur among the training images"


def _pixel_facts(x):
    counts = statistics.count_values(x)
    levels, total = np.arange(256), counts.sum()
    mean = (counts * levels).sum() / total
    std = np.sqrt((counts * (levels - mean) ** 2).sum() / total)
    occurring = np.flatnonzero(counts)
    zeros = 100.0 * counts[0] / total
    return {
        "images": f"{len(x):,}",
        "smallest, gray level": str(occurring[0]),
        "largest, gray level": str(occurring[-1]),
        "mean, gray levels": f"{mean:.2f}",
        "standard deviation, gray levels": f"{std:.2f}",
        "pixels that are zero, %": f"{zeros:.2f}",
    }


def _show_classes(page, images):
    data = images.data
    train, test = (np.bincount(y, minlength=data.num_classes) for y in (images.y_train, data.y_test))
    page.section("Images a class")
    page.picture(
        "class_counts.png",
        draw_counts(images.subtitle(f"{images.training}, {images.test}"), images.row_names, train, test),
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
    duplicates = statistics.count_duplicates(images.x_train, images.y_train, data.x_test, data.y_test)
    page.section("Exact duplicates")
    page.paragraph(f"Images that equal another one in every pixel, among {images.training} and {images.test}.")
    in_train, in_test = f"of {len(images.x_train):,}", f"of {len(data.x_test):,}"
    page.facts(
        [
            ("Within training", f"{duplicates.in_train:,} {in_train} images equal an earlier one"),
            ("Within test", f"{duplicates.in_test:,} {in_test} images equal an earlier one"),
            ("Between training and test", f"{duplicates.test_in_train:,} {in_test} test images equal a training image"),
            ("With different labels", f"{counted(duplicates.with_other_class, 'image')} with more than one class"),
        ]
    )
    if not duplicates.groups:
        return
    groups, most = duplicates.groups, 100
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
    rng = np.random.default_rng([statistics.EXAMPLES_STREAM, images.seed])
    rows = []
    for label in images.drawn_classes:
        of_class = rng.permutation(np.flatnonzero(images.y_train == label))[:EXAMPLES_PER_CLASS]
        tiles = [Tile(images.x_train[index]) for index in of_class]
        rows.append(Row(tiles, images.row_names[label] + ("" if tiles else "\nno images")))
    page.section("Examples")
    page.picture(
        "examples.png",
        draw_sheet("Examples of each class", images.subtitle(images.training), rows, EXAMPLES_PER_CLASS),
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
            mean, std = statistics.mean_and_std(x) if len(x) else (None, None)
            means.append(Tile(mean, images.data.class_names[label] + ("" if len(x) else "\nno images")))
            # The bytes 0 to 255 have a standard deviation of 127.5 at most.
            stds.append(Tile(std, "", colours="inferno", high=127.5))
        rows += [Row(means, "mean"), Row(stds, "SD")]
    title = "Mean and standard deviation of each pixel by class"
    page.section("Mean and spread of each class")
    page.picture(
        "means.png",
        draw_sheet(title, images.subtitle(images.training), rows, columns),
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
    needed = {share: statistics.components_needed(ratio, share) for share in VARIANCE_MARKS}
    page.paragraph(f"PCA (scikit-learn) of {images.for_pca}, pixels scaled to 0 to 1, not standardized.")
    page.facts(
        [
            (f"{100 * share:.0f} % of the variance", f"{counted(components, 'component')} of {len(ratio):,}")
            for share, components in needed.items()
        ]
    )
    marks = [f"at {100 * share:.0f} % ({counted(components, 'component')})" for share, components in needed.items()]
    page.picture(
        "pca_spectrum.png",
        draw_spectrum(images.subtitle(images.for_pca), ratio, needed),
        alt="Curve of the cumulative explained variance in percent against the number of principal components, marked "
        f"{' and '.join(marks)}.",
        caption=f"Share of the pixels' variance that the first components explain together, {images.for_pca}.",
    )
    # What explains nothing is an arbitrary direction.
    drawn = min(COMPONENTS_DRAWN, int((ratio > 1e-12).sum()))
    first = "First principal component" if drawn == 1 else f"First {drawn} principal components"
    tiles = []
    for number, (share, component) in enumerate(zip(ratio[:drawn], pca.components_, strict=False), start=1):
        largest = np.abs(component).max()
        component = component.reshape(images.data.image_shape)
        tiles.append(Tile(component, f"{number}: {100 * share:.1f} %", colours="RdBu_r", low=-largest, high=largest))
    page.picture(
        "pca_components.png",
        draw_sheet(first, images.subtitle(images.for_pca), [Row(tiles)], columns=4, is_dark=False),
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
    points = statistics.pca_scores(pca, images.x_train[images.sample])[:, :2]
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
    reduced = statistics.pca_scores(pca, images.x_train[images.sample])[:, :TSNE_COMPONENTS]  # (sample, 50 or fewer)
    if reduced.shape[1] < 2:
        return
    if np.ptp(reduced[:, 0]) == 0.0:
        page.paragraph("No t-SNE map: the images of the sample are all the same.")
        return
    points, perplexity = statistics.fit_tsne(reduced, images.seed)
    page.picture(
        "tsne_map.png",
        _draw_map(images, points, "t-SNE map", None),
        alt=f"Scatter plot of {counted(len(points), 'image')} by t-SNE, by class.",
        caption=f"Map by t-SNE (scikit-learn, perplexity {perplexity:.3g}, seed {images.seed}) of the first "
        f"{reduced.shape[1]} principal components, a point an image: {images.sampled}. Who is near whom means "
        "something; distances between clouds, their sizes and the axes do not.",
    )


def _draw_map(images, points, title, axis_labels):
    labels, names = images.y_train[images.sample], images.data.class_names
    return draw_map(title, images.subtitle(images.sampled), points, labels, names, axis_labels)


def _show_neighbours(page, images):
    x, y = images.x_train[images.sample], images.y_train[images.sample]
    page.section("Nearest neighbours")
    if len(x) < 2:
        page.paragraph("Neighbours need at least two images, and the sample holds one.")
        return
    names = images.data.class_names
    neighbours = statistics.find_neighbours(x, y, NEAREST_PAIRS)
    page.paragraph(
        f"Distances are Euclidean, over all pixels, in gray levels; computed on {images.sampled}, each image "
        "compared with every other."
    )
    if len(neighbours.pairs):
        _show_pairs(page, images, x, y, neighbours)
    else:
        page.paragraph(f"There are no pairs across classes: all images are of class {names[y[0]]}.")
    _show_confused(page, images, y, y[neighbours.nearest])


def _show_pairs(page, images, x, y, neighbours):
    """The nearest pairs across classes, as a picture and as a table."""
    pairs, distances, names = neighbours.pairs, neighbours.pair_distances, images.data.class_names
    count = "pair" if len(pairs) == 1 else f"{len(pairs)} pairs"
    caption = f"The {count} of images of different classes nearest to each"
    pixels, places = x[0].size, images.train_indices[images.sample]
    tiles, rows = [], []
    for rank, ((a, b), distance) in enumerate(zip(pairs, distances, strict=True), start=1):
        one, other = names[y[a]], names[y[b]]
        tiles.append(Tile(_lightened_pair(x[a], x[b]), f"{one} | {other}\n{distance:.0f}"))
        indices = str(places[a]), str(places[b])
        rows.append([str(rank), one, indices[0], other, indices[1], f"{distance:.1f}", f"{distance / pixels**0.5:.1f}"])
    page.picture(
        "nearest_pairs.png",
        draw_sheet("Nearest pairs of different classes", images.subtitle(images.sampled), [Row(tiles)], columns=3),
        alt=f"{caption} other, side by side with their classes and distance. The table holds the numbers.",
        caption=f"{caption} other; the number is their distance in gray levels. The images are drawn lighter than "
        f"they are, for the nearest ones are often dark (gamma {_PAIR_GAMMA}). Computed on {images.sampled}.",
        is_photo=True,
    )
    page.table(
        "Nearest pairs of different classes (indices in the training files, from 0)",
        ["rank", "class", "index", "other class", "index", "distance, gray levels", "RMS a pixel, gray levels"],
        rows,
        text_columns=(1, 3),
        is_folded=True,
    )


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

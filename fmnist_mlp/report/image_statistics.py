"""What is computed of images before anything is trained on them: samples, duplicates, principal components, neighbours.

The results depend on the images and the seed alone, not on the number of cores: run all of it on `one_thread`. Hidden
here: blocks that fit into memory, ties, and the threads of numerical libraries.
"""

import hashlib
from dataclasses import dataclass

import numpy as np

from fmnist_mlp.data.split import limit_indices

# Each use of the seed draws from a stream of its own.
SAMPLE_STREAM, EXAMPLES_STREAM = 1, 2

BLOCK_VALUES = 2**23  # pixels converted to float64 at once: 64 MiB


def one_thread():
    """A context in which all computing is done by one thread.

    Sums come out differently in the last digits on another number of threads, and t-SNE turns last digits into another
    map. One thread is slower than two on idle cores (t-SNE 16 s instead of 10 s) but not stuck on busy ones (57 s).
    """
    # Imported late: looks through the libraries that are loaded, so scikit-learn's and numpy's have to be there.
    import sklearn  # noqa: F401
    import threadpoolctl

    return threadpoolctl.threadpool_limits(1)


# ---- Samples ----


def stratified_sample(y, count, seed):
    """`count` indices, every class in its share, chosen by `seed`; int32, ascending."""
    # limit_indices always draws the same places, so the images change places by the seed.
    order = np.random.default_rng([SAMPLE_STREAM, seed]).permutation(len(y))
    return np.sort(order[limit_indices(y[order], count)]).astype(np.int32)


def pca_sample(x, y, seed):
    """What PCA is fitted on: all images, or as many as a gigabyte of float64 holds."""
    pixels = x[0].size
    most = 2**27 // pixels
    if pixels > 4096:  # the covariance would be too large, so that SVD has to do, which is slow in both directions
        most = 1000
    return stratified_sample(y, min(len(y), max(most, 2)), seed)


# ---- Duplicates and pixels ----


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


def count_values(x):
    """How often each gray level occurs: int64, `(256,)`."""
    counts = np.zeros(256, np.int64)
    flat = x.reshape(-1)
    for start in range(0, len(flat), BLOCK_VALUES):  # bincount makes eight bytes of each pixel
        counts += np.bincount(flat[start : start + BLOCK_VALUES], minlength=256)
    return counts


def mean_and_std(x):
    """Mean and standard deviation of each pixel over images: two float64 arrays, `(height, width)`, gray levels."""
    vectors = _flat(x)
    total, squares = np.zeros((2, vectors.shape[1]))
    step = max(1, BLOCK_VALUES // vectors.shape[1])
    for start in range(0, len(vectors), step):
        block = vectors[start : start + step].astype(np.float64)
        total += block.sum(axis=0)
        squares += np.square(block).sum(axis=0)
    # Sums of whole numbers are exact, so nothing cancels but in this one subtraction.
    variance = (squares - total * total / len(x)) / len(x)
    return (total / len(x)).reshape(x.shape[1:]), np.sqrt(np.maximum(variance, 0.0)).reshape(x.shape[1:])


# ---- Principal components and maps ----


def fit_pca(x):
    """Fits scikit-learn's PCA, all components, on pixels scaled to 0 to 1.

    Args:
        x: uint8, `(n, height, width)`, at least two images that are not all the same.

    Returns:
        `sklearn.decomposition.PCA`, fitted, with `min(n, height * width)` components.
    """
    # Imported late: takes a second, and this module is imported for other commands too.
    from sklearn.decomposition import PCA

    # float64, for in float32 the uncentred covariance costs digits: 188 components instead of 187 for 95 % (1.9.1).
    values = _flat(x) / 255.0  # (n, pixels)
    # The covariance is the faster way where there are more images than pixels, and wasteful elsewhere.
    solver = "covariance_eigh" if values.shape[0] >= values.shape[1] else "full"
    return PCA(svd_solver=solver).fit(values)


def pca_scores(pca, x):
    """Where images lie along the components, largest first: `(n, components)`; `x` as in `fit_pca`."""
    return pca.transform(_flat(x) / 255.0)


def components_needed(explained_variance_ratio, share: float) -> int:
    """How many components, largest first, explain at least `share` (0 to 1) of the variance."""
    # The slack takes rounding: eight tenths and one tenth are meant to make nine.
    return int(np.searchsorted(np.cumsum(explained_variance_ratio), share - 1e-9)) + 1


def fit_tsne(x: np.ndarray, seed: int) -> tuple[np.ndarray, float]:
    """A map of vectors by scikit-learn's t-SNE: points `(n, 2)` and the perplexity; `x` is `(n, dimensions)`."""
    # Imported late: see `fit_pca`.
    from sklearn.manifold import TSNE

    perplexity = min(30.0, (len(x) - 1) / 3)  # 30 is scikit-learn's default, and it has to be below the images' number
    return TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(x), perplexity


# ---- Neighbours ----


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


def find_neighbours(x, y, pairs: int = 20) -> Neighbours:
    """Finds each image's nearest neighbour and the nearest pairs across classes, exactly; of equals the first.

    Compares all with all, block by block: 5,000 images of 784 pixels take 1.4 seconds, ten times as many a hundred
    times as long. Not scikit-learn's NearestNeighbors: the nearest pairs across classes can lie beyond any
    fixed number of neighbours, and whole-number distances make ties exact and the result the same everywhere.

    Args:
        x: uint8, `(n, height, width)`.
        y: labels, `(n,)`.
        pairs: how many pairs at most, at least 1.
    """
    # Squares and products of bytes are whole numbers far below 2**53: float64 holds them exactly, so ties are ties.
    vectors, n = _flat(x).astype(np.float64), len(x)  # 376 MB of 60,000 images: less than PCA takes
    squares = np.square(vectors).sum(axis=1)  # (n,)
    nearest, closest = np.full(n, -1), np.empty((0, 3))  # columns: squared distance, smaller index, larger index
    step = max(1, BLOCK_VALUES // n)
    for start in range(0, n if n > 1 else 0, step):
        rows = np.arange(start, min(start + step, n))
        distances = squares[rows, None] + squares - 2.0 * (vectors[rows] @ vectors.T)  # (rows, n), squared
        distances[rows - start, rows] = np.inf  # nothing is its own neighbour
        nearest[rows] = distances.argmin(axis=1)
        distances[(y[rows, None] == y) | (rows[:, None] > np.arange(n))] = np.inf  # across classes, each pair once
        closest = _keep_nearest_pairs(closest, distances, start, pairs)
    return Neighbours(nearest, closest[:, 1:].astype(int), np.sqrt(closest[:, 0]))


def _keep_nearest_pairs(closest, distances, first_row, pairs):
    """The nearest `pairs` of those so far and a block's; distances of infinity are no pairs."""
    bound = np.partition(distances, pairs - 1, axis=None)[pairs - 1] if distances.size > pairs else np.inf
    if len(closest) == pairs:
        bound = min(bound, closest[-1, 0])
    rows, columns = np.nonzero((distances <= bound) & np.isfinite(distances))
    both = np.concatenate([closest, np.column_stack([distances[rows, columns], rows + first_row, columns])])
    return both[np.lexsort((both[:, 2], both[:, 1], both[:, 0]))][:pairs]


def _flat(x):
    return x.reshape(len(x), -1)

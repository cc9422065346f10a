"""Which images train and which validate, and in which order: functions of labels and seed alone."""

from collections.abc import Sequence

import numpy as np


def limit_indices(y_train: np.ndarray, limit: int | None) -> np.ndarray:
    """The training images that `limit` leaves: every class in its share, the same images for every seed.

    Args:
        y_train: labels, `(n,)`.
        limit: how many images, at least 1; None, or as many as there are or more, means all.

    Returns:
        int32, ascending, `(min(limit, n),)`. Where `limit` allows, each class that occurs keeps an image.
    """
    n = len(y_train)
    if limit is None or limit >= n:
        return np.arange(n, dtype=np.int32)
    if limit < 1:
        raise ValueError(f"limit must be at least 1, got {limit}")
    return _drawn(y_train, _limited(np.bincount(y_train), limit), np.random.default_rng([_LIMIT_STREAM]))


def stratified_split(y_train: np.ndarray, validation_split: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Sets a share of every class aside for validation, by seed.

    Each class gives its exact share rounded down or up, so that `round(n * validation_split)` are set aside in all,
    but never its last image: with very small classes there can be fewer, and with one image there is none.

    Args:
        y_train: labels, `(n,)`.
        validation_split: at least 0 and below 1.
        seed: the trial's seed, at least 0.

    Returns:
        `(train_indices, validation_indices)`, int32, each ascending, together every image once.
    """
    if not 0.0 <= validation_split < 1.0:
        raise ValueError(f"validation_split must be at least 0 and below 1, got {validation_split}")
    chosen = _set_aside(np.bincount(y_train), validation_split)
    validation = _drawn(y_train, chosen, np.random.default_rng([_SPLIT_STREAM, seed]))
    is_train = np.ones(len(y_train), bool)
    is_train[validation] = False
    return np.flatnonzero(is_train).astype(np.int32), validation


def stratified_folds(y_train: np.ndarray, folds: int, fold: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """One fold of a cross-validation: the images that validate it, and all others, which train it.

    The images are dealt out like cards, one class after the other and in random order within it. So over the folds of
    one seed every image validates once, and neither the sizes of two folds nor their images of any one class differ
    by more than one. A class with fewer images than folds is missing from the validation of some of them, and one with
    a single image from the training of the fold that it validates.

    Args:
        y_train: labels, `(n,)`.
        folds: how many, at least 2 and at most n.
        fold: which, from 0 to `folds` - 1.
        seed: the trial's seed, at least 0; another seed deals anew.

    Returns:
        `(train_indices, validation_indices)`, int32, each ascending, together every image once.
    """
    n = len(y_train)
    if not 2 <= folds <= n:
        raise ValueError(f"folds must be at least 2 and at most the number of training images ({n:,}), got {folds}")
    if not 0 <= fold < folds:
        raise ValueError(f"fold must be from 0 to {folds - 1}, got {fold}")
    shuffled = np.random.default_rng([_FOLD_STREAM, seed]).permutation(n)
    dealt = shuffled[np.argsort(y_train[shuffled], kind="stable")]  # by class; stable keeps the random order within
    is_validation = np.zeros(n, bool)
    is_validation[dealt[fold::folds]] = True
    return np.flatnonzero(~is_validation).astype(np.int32), np.flatnonzero(is_validation).astype(np.int32)


def count_parts(
    class_counts: Sequence[int], limit: int | None, validation_split: float, folds: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """How many images of each class a trial trains and validates on, as the functions above will choose them.

    Args:
        class_counts: training images of each class.
        limit: as in `limit_indices`.
        validation_split: as in `stratified_split`; of no account where there are folds.
        folds: as in `stratified_folds`, at most the images that there are. The counts are those of the first fold,
            which trains on the fewest.

    Returns:
        `(train, validation)`, int, `(classes,)` each.
    """
    counts = np.asarray(class_counts)
    if limit is not None and limit < counts.sum():
        counts = _limited(counts, limit)
    if folds is None:
        validation = _set_aside(counts, validation_split)
    else:
        dealt = -(-np.cumsum([0, *counts]) // folds)  # to the first fold, before each class and after the last
        validation = np.diff(dealt)
    return counts - validation, validation


def epoch_order(n: int, seed: int, epoch: int) -> np.ndarray:
    """The order in which epoch `epoch` sees `n` images: an int32 permutation, a function of its arguments alone.

    So a trial that is resumed at epoch e sees what it would have seen.
    """
    return np.random.default_rng([_ORDER_STREAM, seed, epoch]).permutation(np.arange(n, dtype=np.int32))


# Each use of a seed draws from a stream of its own, so that no choice is correlated with another.
_SPLIT_STREAM, _ORDER_STREAM, _LIMIT_STREAM, _FOLD_STREAM = 1, 2, 3, 4


def _shares(quotas, total, least, most):
    """Whole numbers near `quotas` that add up to `total`, each between `least` and `most` (largest remainder).

    Args:
        quotas: exact shares, float, `(classes,)`.

    Returns:
        int, `(classes,)`; where the bounds do not allow `total`, the nearest sum that they do.
    """
    shares = np.clip(np.floor(quotas).astype(int), least, most)
    while shares.sum() < min(total, most.sum()):
        shares[np.argmax(np.where(shares < most, quotas - shares, -np.inf))] += 1
    while shares.sum() > max(total, least.sum()):
        shares[np.argmax(np.where(shares > least, shares - quotas, -np.inf))] -= 1
    return shares


def _limited(counts, limit):
    """How many images of each class `limit` leaves, of so many; int, `(classes,)`."""
    least = np.minimum(counts, 1) if limit >= np.count_nonzero(counts) else np.zeros_like(counts)
    return _shares(counts * (limit / counts.sum()), limit, least, counts)


def _set_aside(counts, validation_split):
    """How many images of each class validate, of so many; int, `(classes,)`."""
    quotas = counts * validation_split
    most = np.minimum(np.ceil(quotas).astype(int), np.maximum(counts - 1, 0))
    return _shares(quotas, round(int(counts.sum()) * validation_split), np.zeros_like(counts), most)


def _drawn(labels, shares, rng):
    """`shares[k]` random indices of each class k, without repetition; int32, ascending."""
    drawn = [rng.permutation(np.flatnonzero(labels == label))[:share] for label, share in enumerate(shares)]
    return np.sort(np.concatenate(drawn)).astype(np.int32)

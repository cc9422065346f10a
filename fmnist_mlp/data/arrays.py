"""What four arrays must be to be one data set: bytes of the right shape that fit each other, and their identity.

Whichever way they come, as IDX files, as npz or from a program, the same arrays are the same data set. Numbers are
taken exactly or not at all: of floats nobody here knows what was meant, so whoever has them gets the line to write.
"""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from fmnist_mlp.errors import SweepError

NAMES = ("x_train", "y_train", "x_test", "y_test")


def header(shape: Sequence[int]) -> bytes:
    """The header of an IDX file of unsigned bytes."""
    return bytes([0, 0, 8, len(shape)]) + np.array(shape, ">u4").tobytes()


def digest(array: np.ndarray) -> str:
    """The SHA-256 of a uint8 array as an IDX file has it: its header, so the shape, and its values."""
    content = hashlib.sha256(header(array.shape))
    content.update(np.ascontiguousarray(array))
    return content.hexdigest()


def identity(digests: Iterable[str]) -> str:
    """What a data set is, from the digests of its four arrays."""
    return hashlib.sha256("\n".join(("idx", *digests)).encode()).hexdigest()


def as_bytes(name: str, array: np.ndarray, place: Path) -> np.ndarray:
    """The array as uint8, `(n, height, width)` or `(n,)`, with exactly its values.

    Whole numbers of any type and an axis of length 1 at the end are taken; anything else is not guessed at.

    Args:
        name: one of `NAMES`.
        place: what names the array in a message.

    Raises:
        SweepError: it is something else; the message has the line to write.
    """
    is_image = name.startswith("x")
    dimensions, expected = (3, "images (n, height, width)") if is_image else (1, "labels (n,)")
    if array.ndim == dimensions + 1 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim != dimensions:
        raise _error(place, f"has the shape {array.shape}, expected {expected}", _reshaped(name, array))
    if 0 in array.shape:
        raise SweepError(f"{place}: holds nothing, it has the shape {array.shape}; expected {expected}: write it anew")
    if array.dtype.kind not in "iu":
        raise _error(place, f"is {str(array.dtype)[:60]}, expected whole numbers from 0 to 255", _rounded(name, array))
    low, high = array.min(), array.max()
    if low < 0 or high > 255:
        remedy = f"{name} = {name} // 256" if is_image and low >= 0 and high < 2**16 else ""
        raise _error(place, f"has values from {low} to {high}, expected 0 to 255", remedy)
    return np.ascontiguousarray(array, np.uint8)


def check_fit(
    paths: Sequence[Path], x_train: np.ndarray, y_train: np.ndarray, x_test: np.ndarray, y_test: np.ndarray
) -> None:
    """The four arrays are one data set, or SweepError.

    The classes are 0 to the largest label. A number that no image bears is allowed (some sets count from 1; its output
    unit learns to keep quiet), unless that is most of them. A class that only test images have is not allowed.

    Args:
        paths: what names each array in a message.
    """
    for part, (images, labels) in enumerate([(x_train, y_train), (x_test, y_test)]):
        if len(images) != len(labels):
            raise SweepError(
                f"{paths[2 * part]}: {len(images):,} images, but {paths[2 * part + 1].name} beside it has "
                f"{len(labels):,} labels; expected one a picture: replace the one that is wrong"
            )
    if x_train.shape[1:] != x_test.shape[1:]:
        (height, width), (test_height, test_width) = x_train.shape[1:], x_test.shape[1:]
        raise SweepError(
            f"{paths[2]}: images of {test_height} x {test_width} pixels, but those in {paths[0].name} have {height} x "
            f"{width}; expected one size: replace the one that is wrong"
        )
    trained = np.bincount(y_train, minlength=256) > 0
    tested = np.bincount(y_test, minlength=256) > 0
    untrained = np.flatnonzero(tested & ~trained)
    if len(untrained):
        raise SweepError(
            f"{paths[3]}: label {untrained[0]} occurs, but no image in {paths[0].name} has it; expected every class "
            f"among the training images: replace the one that is wrong or leave these test images out"
        )
    classes, num_classes = np.count_nonzero(trained), int(np.flatnonzero(trained)[-1]) + 1
    if classes < 2:
        raise SweepError(
            f"{paths[1]}: every label is {y_train[0]}; expected at least two classes: replace the one that is wrong"
        )
    if 2 * classes < num_classes:
        raise SweepError(
            f"{paths[1]}: only {classes} of the labels 0 to {num_classes - 1} occur; expected classes numbered from 0 "
            f"without gaps: number them anew"
        )


def _error(place: Path, problem: str, line: str) -> SweepError:
    anew = "pixels anew, 0 is black" if place.name.startswith("x") else "the numbers of the classes, counted from 0"
    return SweepError(f"{place}: {problem}: write {line or anew}")


def _reshaped(name: str, array: np.ndarray) -> str:
    shape = array.shape
    if name.startswith("y"):
        return f"{name} = {name}.argmax(axis=1)" if array.ndim == 2 else ""
    side = int(shape[-1] ** 0.5) if array.ndim == 2 else 0
    if side > 1 and side * side == shape[-1]:
        return f"{name} = {name}.reshape(-1, {side}, {side})"
    if array.ndim == 4 and shape[1] == 1:
        return f"{name} = {name}[:, 0]"
    if array.ndim == 4 and shape[-1] in (3, 4):  # colours, perhaps with transparency
        return f"{name} = {name}[..., :3].mean(axis=-1), for images of one channel"
    return ""


def _rounded(name: str, array: np.ndarray) -> str:
    """The line that makes whole numbers of it, where that is clear; it comes as uint8."""
    if array.dtype.kind == "b":
        return f"{name} = {name}.astype('uint8')" + " * 255" * name.startswith("x")
    if name.startswith("y"):
        if array.dtype.kind in "US":
            return f"classes, {name} = np.unique({name}, return_inverse=True)"
        is_whole = array.dtype.kind == "f" and np.isfinite(array).all() and (array == np.rint(array)).all()
        return f"{name} = {name}.astype('int64')" if is_whole else ""
    if array.dtype.kind != "f" or not (np.isfinite(array).all() and array.min() >= 0 and array.max() <= 255):
        return ""
    scale = " * 255" if array.max() <= 1 else ""
    return f"{name} = np.rint({name}{scale}).astype('uint8')"

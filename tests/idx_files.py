"""Data sets as the four files that they are published in."""

import gzip
import struct

import numpy as np

from fmnist_mlp.data.source import DataSource

NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def idx_bytes(array):
    """An array as an IDX file, written from the format's description: independent of the reader."""
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def write_idx(folder, *arrays, ending=""):
    """Write images and labels for training, images and labels for testing; give the source that reads them.

    With `.gz` for an ending they are compressed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in zip(NAMES, arrays, strict=True):
        content = idx_bytes(np.asarray(array, np.uint8))
        (folder / f"{name}{ending}").write_bytes(gzip.compress(content, mtime=0) if ending else content)
    return DataSource("idx", folder)

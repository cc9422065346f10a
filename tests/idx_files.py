"""Data sets as the four files that they are published in."""

import struct

import numpy as np

from fmnist_mlp.data.source import DataSource

NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def write_idx(folder, *arrays):
    """Write images and labels for training, images and labels for testing; give the source that reads them."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in zip(NAMES, arrays, strict=True):
        array = np.asarray(array, np.uint8)
        header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
        (folder / name).write_bytes(header + array.tobytes())
    return DataSource("idx", folder)

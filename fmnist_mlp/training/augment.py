"""Augmentation of training images: flips, shifts, erased rectangles, mixup.

It is done in two halves. `Augmentation.draw` makes every random choice of an epoch at once, with numpy, as a function
of seed and epoch alone: so a resumed trial, another seed in the same process or any number of workers see the same
images. `Augmentation.change_images` and `Augmentation.mix` carry the choices out on a minibatch, with operations that
XLA fuses into the gathering of its images; both loops call them, so both see the same numbers.

Flips and shifts are one gather. The resident images have a border of zeros as wide as the largest shift; a shifted
image is a window of that, and a flipped one is the window read backwards. (48,000 images, stack 64-128-64-32, one
core: 1.12 times the epoch without; a table of sources for each combination took 1.1 to 1.2, slices 2.5.)

Which images are augmented is left to others: training images are, validation and test images never.
"""

import numpy as np
import tensorflow as tf

# Each kind of choice has a stream of its own, so that switching one on leaves the others as they were. `data` has the
# numbers below 50.
_FLIP_STREAM, _SHIFT_STREAM, _ERASE_STREAM, _MIXUP_STREAM = 51, 52, 53, 54

# Random erasing as Zhong et al. (2017, arXiv:1708.04896, section 4.2) have it: share of the image, height / width.
_ERASED_AREA = (0.02, 1 / 3)
_ERASED_ASPECT = (0.3, 1 / 0.3)
_RECTANGLE = ("top", "bottom", "left", "right")


class Augmentation:
    """What `augment` asks for, for images of one size.

    Args:
        settings: `settings.Augment`.
        image_shape: `(height, width)`.
        batch_size: images a training step; mixup stays inside it.
    """

    def __init__(self, settings, image_shape: tuple[int, int], batch_size: int):
        self.settings, self.batch_size = settings, batch_size
        self.height, self.width = image_shape
        self._padded_width = self.width + 2 * settings.shift

    def draw(self, images: int, seed: int, epoch: int) -> dict[str, np.ndarray]:
        """All random choices of an epoch.

        Args:
            images: in the epoch.
            seed: the trial's.
            epoch: from 0.

        Returns:
            What is asked for of these, each `(images,)`, in the order of the epoch: `flip` (int32, 1 for horizontally
            plus 2 for vertically), `down` and `across` (int32, pixels that the image moves, across to the right),
            `top`, `bottom`, `left`, `right` (int32, the erased rectangle, ends as in slices), `partner` (int32, the
            other image's position in the minibatch), `share` (float64, how much of the image itself is kept).
        """
        settings, draws = self.settings, {}

        def generator(stream):
            return np.random.default_rng([stream, seed, epoch])

        if settings.horizontal_flip or settings.vertical_flip:
            both = generator(_FLIP_STREAM).integers(0, 2, (2, images), np.int32)
            draws["flip"] = settings.horizontal_flip * both[0] + 2 * settings.vertical_flip * both[1]
        if settings.shift:
            moves = generator(_SHIFT_STREAM).integers(-settings.shift, settings.shift + 1, (2, images), np.int32)
            draws |= {"down": moves[0], "across": moves[1]}
        if settings.erase:
            draws |= self._draw_rectangles(images, generator(_ERASE_STREAM))
        if settings.mixup:
            draws |= self._draw_partners(images, generator(_MIXUP_STREAM))
        return draws

    def resident(self, images: np.ndarray) -> np.ndarray:
        """The images as `change_images` reads them: uint8, one after the other, each with its border of zeros."""
        shift = self.settings.shift
        return np.pad(images, ((0, 0), (shift, shift), (shift, shift))).reshape(-1)

    def change_images(self, resident, indices, draws: dict):
        """Images flipped, shifted and erased.

        Args:
            resident: of `resident`.
            indices: which images, int32 `(batch,)`.
            draws: of `draw`, those of this minibatch.

        Returns:
            uint8 `(batch, height * width)`.
        """
        shift, width = self.settings.shift, self._padded_width
        # A shift down by one begins the window one row higher. Images beyond 2^31 pixels need long indices.
        long = tf.int64 if resident.shape[0] > np.iinfo(np.int32).max else tf.int32
        down, across, flip = (draws.get(name, 0) for name in ("down", "across", "flip"))
        # An image that is flipped and then moved right was moved left before it was flipped.
        across, down = across * (1 - 2 * (flip & 1)), down * (1 - (flip & 2))
        corner = tf.cast(indices, long) * (self.height + 2 * shift) * width
        corner += tf.cast((shift - down) * width + (shift - across), long)
        pixels = corner[:, None] + tf.cast(self._places(draws.get("flip")), long)  # (batch, height * width)
        x = tf.gather(resident, pixels)
        if "top" not in draws:
            return x
        row, column = (tf.constant(numbers.reshape(1, -1)) for numbers in np.indices((self.height, self.width)))
        row, column = tf.cast(row, tf.int32), tf.cast(column, tf.int32)
        top, bottom, left, right = (draws[name][:, None] for name in _RECTANGLE)
        is_erased = (row >= top) & (row < bottom) & (column >= left) & (column < right)
        return tf.where(is_erased, tf.zeros_like(x), x)

    def mix(self, x, targets, draws: dict):
        """Minibatch and targets, mixed with another image of it (Zhang et al. 2018, arXiv:1710.09412); as they are
        where mixup is not asked for.

        Args:
            x: `(batch, values)`, floating point.
            targets: rows of class probabilities, `(batch, num_classes)`.
            draws: of `draw`, those of this minibatch.
        """
        if "partner" not in draws:
            return x, targets
        partner, share = draws["partner"], tf.cast(draws["share"], x.dtype)[:, None]
        return tuple(share * each + (1 - share) * tf.gather(each, partner) for each in (x, targets))

    def _places(self, flip):
        """Where in the window each pixel is read, row by row: `(batch, height * width)`, or 1 for all."""
        rows, columns = np.arange(self.height), np.arange(self.width)
        places = [
            np.add.outer(r * self._padded_width, c).reshape(-1)
            for r in (rows, rows[::-1])
            for c in (columns, columns[::-1])
        ]
        table = tf.constant(np.asarray(places, np.int32))
        return table[:1] if flip is None else tf.gather(table, flip)

    def _draw_rectangles(self, images: int, generator) -> dict[str, np.ndarray]:
        """Those not erased get a rectangle of no size; the others are drawn until they lie inside the image."""
        edges = np.zeros((4, images), np.int32)
        waiting = np.flatnonzero(generator.random(images) < self.settings.erase)
        while len(waiting):
            area = generator.uniform(*_ERASED_AREA, len(waiting)) * self.height * self.width
            aspect = generator.uniform(*_ERASED_ASPECT, len(waiting))
            height = np.maximum(1, np.rint(np.sqrt(area * aspect)).astype(np.int32))
            width = np.maximum(1, np.rint(np.sqrt(area / aspect)).astype(np.int32))
            top = generator.integers(0, self.height, len(waiting), np.int32)
            left = generator.integers(0, self.width, len(waiting), np.int32)
            fits = (top + height <= self.height) & (left + width <= self.width)
            edges[:, waiting[fits]] = np.stack([top, top + height, left, left + width])[:, fits]
            waiting = waiting[~fits]
        return dict(zip(_RECTANGLE, edges, strict=True))

    def _draw_partners(self, images: int, generator) -> dict[str, np.ndarray]:
        """Each minibatch is moved round by a random number of places: the order is random, so a partner is too."""
        position = np.arange(images, dtype=np.int32)
        first = position // self.batch_size * self.batch_size
        size = np.minimum(self.batch_size, images - first)
        steps = generator.integers(1, np.maximum(size[:: self.batch_size], 2), dtype=np.int32)
        partner = (position - first + steps[position // self.batch_size]) % size
        share = generator.beta(self.settings.mixup, self.settings.mixup, images)
        return {"partner": partner.astype(np.int32), "share": share}

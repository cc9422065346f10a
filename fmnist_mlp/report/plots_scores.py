"""The pictures of one trial's scores, drawn with Pillow: a worker loads it in 20 ms, and matplotlib in 500.

TensorBoard shows pictures some 350 pixels wide: small cells and large letters are what can be read there. Each function
gives a PNG file.
"""

import functools
import io
from collections.abc import Sequence

import numpy as np

from fmnist_mlp.report.plots import BLUE, ORANGE

_MISTAKES_A_ROW = 5


def image_png(image) -> bytes:
    """A Pillow image as a PNG file."""
    content = io.BytesIO()
    image.save(content, format="png")
    return content.getvalue()


def draw_confusion_counts(counts: np.ndarray, class_names: Sequence[str]) -> bytes:
    """What is right in blue, mistakes in orange, each the darker the larger its share of its row.

    Args:
        counts: `(classes, classes)`: rows are labels.
    """
    from PIL import Image, ImageColor, ImageDraw

    n, font = len(counts), _font(13)
    has_words = n <= 16
    width, height = (40, 28) if has_words else (max(4, 800 // n),) * 2
    left, top = (96, 92) if has_words else (0, 0)
    picture = Image.new("RGB", (left + n * width + 1, top + n * height + 1), "white")
    draw = ImageDraw.Draw(picture)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    for row in range(n):
        if has_words:
            name = _fitted(class_names[row], 84, font)
            draw.text((left - 6, top + (row + 0.5) * height), name, 0, font, "rm")
            upright = Image.new("RGB", (top, width), "white")
            ImageDraw.Draw(upright).text((6, width / 2), name, 0, font, "lm")
            picture.paste(upright.rotate(90, expand=True), (left + row * width, 0))
        for column in range(n):
            # A mistake in a hundred is to be seen, so mistakes darken by the root of their share.
            is_right = row == column
            share = shares[row, column] if is_right else shares[row, column] ** 0.5
            corner = (left + column * width, top + row * height)
            full = ImageColor.getrgb(BLUE if is_right else ORANGE)
            colour = tuple(round(255 + (part - 255) * share) for part in full)
            draw.rectangle((*corner, corner[0] + width, corner[1] + height), colour, outline=(230, 230, 230))
            if has_words and counts[row, column]:
                place = (corner[0] + width / 2, corner[1] + height / 2)
                draw.text(place, str(counts[row, column]), "white" if is_right and share > 0.5 else 0, font, "mm")
    return image_png(picture)


def draw_mistakes(
    images: np.ndarray,
    labels: np.ndarray,
    predicted: np.ndarray,
    confidence: np.ndarray,
    class_names: Sequence[str],
) -> bytes:
    """Images enlarged, and below each what the model says, how surely, and what it is.

    Args:
        images: uint8 `(n, height, width)`, at least one.
        labels, predicted, confidence: of each, `(n,)`.
    """
    from PIL import Image, ImageDraw

    font, cell_width, cell_height, size = _font(12), 108, 128, 84
    height, width = images.shape[1:]
    longest = max(height, width)
    scale = size // longest if longest <= size else size / longest  # whole, where it can be: pixels stay square
    shape = (max(1, round(width * scale)), max(1, round(height * scale)))
    resampling = Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.BOX
    rows = -(-len(images) // _MISTAKES_A_ROW)
    sheet = Image.new("L", (cell_width * min(len(images), _MISTAKES_A_ROW), cell_height * rows), "white")
    draw = ImageDraw.Draw(sheet)
    for place, pixels in enumerate(images):
        row, column = divmod(place, _MISTAKES_A_ROW)
        x, y = cell_width * column, cell_height * row
        image = Image.fromarray(np.ascontiguousarray(pixels)).resize(shape, resampling)
        sheet.paste(image, (x + (cell_width - shape[0]) // 2, y + 4))
        percent = f" {100 * float(confidence[place]):.1f} %"
        answer = _fitted(class_names[predicted[place]], cell_width - 4 - font.getlength(percent), font) + percent
        truth = _fitted(f"is {class_names[labels[place]]}", cell_width - 4, font)
        draw.text((x + cell_width // 2, y + size + 14), answer, 0, font, "mm")
        draw.text((x + cell_width // 2, y + size + 29), truth, 0, font, "mm")
    return image_png(sheet)


@functools.cache
def _font(size: int):
    from PIL import ImageFont

    return ImageFont.load_default(size)


def _fitted(text: str, width: float, font) -> str:
    """The text, cut where it is wider than so many pixels."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "...") > width:
        text = text[:-1]
    return text + "..."

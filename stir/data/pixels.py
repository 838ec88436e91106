"""One image file as RGB pixels: its format, bit depth, orientation and transparency."""

from __future__ import annotations

import os
import stat
from functools import cache

import numpy as np
from PIL import Image

# Pillow hands PostScript to Ghostscript, an interpreter of programs: a picture from a stranger would be run.
NOT_TRIED = ("EPS",)
BITS_PER_SAMPLE, WHITE_IS_ZERO, ORIENTATION = 258, 262, 274  # tags of TIFF, the last of Exif too
# Exif's orientation -> the transposition that makes the image upright.
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def suffix(path: str) -> str:
    """Ending of a file name, in lower case."""
    return os.path.splitext(path)[1].lower()


@cache
def suffixes() -> frozenset[str]:
    """File name endings of all formats that are read: Pillow's, without `NOT_TRIED`."""
    return frozenset(
        suffix for suffix, name in Image.registered_extensions().items() if name in Image.OPEN and name not in NOT_TRIED
    )


@cache
def formats(suffix: str) -> tuple[str, ...]:
    """All formats that are read, the one that a file's name implies first.

    Left to itself, Pillow tries several formats on each file, which is slow.
    """
    implied = Image.registered_extensions()[suffix]
    return implied, *(name for name in Image.OPEN if name != implied and name not in NOT_TRIED)


def read_pixels(path: str, size: tuple[int, int] | None) -> np.ndarray:
    """Read an image file as RGB pixels uint8 [H, W, 3], resized bilinearly to `size`, (height, width), if given.

    Raises:
        Exception: of any kind, as Pillow's readers do, if the file is damaged or `rgb_image` refuses it.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):  # to open a pipe waits for who writes into it
        raise ValueError("it is no regular file")
    # A file object, as of a path Pillow maps some TIFFs into memory, whose orientation it then applies to their bytes.
    with open(path, "rb") as content, Image.open(content, formats=formats(suffix(path))) as file:
        image = rgb_image(file)
        if size is not None and (image.height, image.width) != size:
            image = image.resize((size[1], size[0]), Image.Resampling.BILINEAR)
        return np.asarray(image)


def rgb_image(image: Image.Image) -> Image.Image:
    """Convert an image to 8-bit RGB: upright, on white where it is transparent, and with its own white as white.

    The white of an integer image is the largest number of its bits, that of a float image is 1.

    Raises:
        ValueError: floats outside [0, 1], or integers whose white is unknown.
    """
    image.load()  # which may apply the orientation itself
    orientation = _orientation(image)
    if image.mode == "F" or image.mode.startswith("I"):
        image = _eight_bit_image(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    if image.mode != "RGB":  # convert() copies even an RGB image
        image = image.convert("RGB")
    return image.transpose(UPRIGHT[orientation]) if orientation in UPRIGHT else image


def _orientation(image: Image.Image) -> int:
    """Orientation by the image's Exif data: 1, upright, if they lack it or are damaged."""
    try:
        return image.getexif().get(ORIENTATION, 1)
    except Exception:  # the readers of Exif raise exceptions of many kinds; viewers ignore damaged Exif too
        return 1


def _eight_bit_image(image: Image.Image) -> Image.Image:
    """Scale a grey image of floats, or of integers of more than 8 bits, to 8 bits."""
    if image.has_transparency_data:
        raise ValueError("it has more than 8 bits and a transparent colour; save it with 8 bits")
    tiff_tags = getattr(image, "tag_v2", {})
    if image.mode == "F":
        white = 1
    elif image.mode.startswith("I;16"):
        white = 2 ** tiff_tags.get(BITS_PER_SAMPLE, (16,))[0] - 1
    elif image.format == "PPM":  # Pillow scales its integers to 16 bits
        white = 65_535
    else:
        raise ValueError("its pixels are 32-bit or signed integers, whose white is unknown; save it with 8 or 16 bits")
    values = np.asarray(image, np.float64)
    if not (values.min() >= 0 and values.max() <= white):  # nor if they are NaN
        raise ValueError(
            f"its values lie in [{values.min():.6g}, {values.max():.6g}], not in [0, {white}]; scale them, or save it "
            "with 8 bits"
        )
    if tiff_tags.get(WHITE_IS_ZERO) == 0:
        values = white - values
    return Image.fromarray(np.rint(values / white * 255).astype(np.uint8))

"""Pixels of one image file: bit depth, orientation, transparency, formats."""

import os
import struct

import numpy as np
import pytest
from PIL import Image

from stir.data.pixels import formats, read_pixels, rgb_image, suffixes

GREY = np.array([[0, 1, 2], [10, 200, 255]], np.uint8)  # 8-bit values that others are multiples of


def read_grey(path):
    """Pixels of a grey image, [H, W]."""
    pixels = read_pixels(str(path), None)
    assert pixels.dtype == np.uint8 and (pixels == pixels[:, :, :1]).all()
    return pixels[:, :, 0]


@pytest.mark.parametrize("name", ["grey.png", "grey.tif", "grey.pgm"])
def test_16_bits_are_scaled_by_65535(tmp_path, name):
    path = tmp_path / name
    values = GREY.astype(np.uint16) * 257 + np.array([[128, -128, 127], [-128, 128, 0]], np.int16).astype(np.uint16)
    Image.fromarray(values).save(path)
    assert np.array_equal(read_grey(path), GREY)  # the nearest of 256 levels
    Image.fromarray(np.full((2, 3), 65_535, np.uint16)).save(path)
    assert (read_grey(path) == 255).all()


def tiff(path, data, bits, sample_format=1, white_is_zero=False, shape=(2, 3)):
    """Write an uncompressed grey TIFF by hand: Pillow writes no 12-bit ones."""
    tags = [
        (256, 4, shape[1]), (257, 4, shape[0]), (258, 3, bits), (259, 3, 1), (262, 3, int(not white_is_zero)),
        (273, 4, 8), (277, 3, 1), (278, 4, shape[0]), (279, 4, len(data)), (339, 3, sample_format),
    ]  # fmt: skip
    directory = struct.pack("<H", len(tags)) + b"".join(
        struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags
    )
    path.write_bytes(struct.pack("<2sHI", b"II", 42, 8 + len(data)) + data + directory + bytes(4))


def twelve_bits(values):
    bits = "".join(f"{value:012b}" for value in values)
    bits += "0" * (-len(bits) % 8)
    return bytes(int(bits[index : index + 8], 2) for index in range(0, len(bits), 8))


def test_12_bits_are_scaled_by_4095(tmp_path):
    path = tmp_path / "grey.tif"
    values = [0, 4095, 2048, 16, 1606, 4079]
    tiff(path, twelve_bits([*values[:3], 0]) + twelve_bits([*values[3:], 0]), 12, shape=(2, 4))
    assert read_grey(path)[:, :3].flatten().tolist() == [round(value / 4095 * 255) for value in values]


def test_white_may_be_zero(tmp_path):
    path = tmp_path / "grey.tif"
    tiff(path, (GREY.astype("<u2") * 257).tobytes(), 16, white_is_zero=True)
    assert np.array_equal(read_grey(path), 255 - GREY)


def test_floats_in_the_unit_interval_are_taken_as_they_are(tmp_path):
    path = tmp_path / "grey.tif"
    Image.fromarray((GREY / 255).astype(np.float32)).save(path)
    assert np.array_equal(read_grey(path), GREY)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (GREY.astype(np.float32), r"its values lie in \[0, 255\], not in \[0, 1\]; scale them"),
        (GREY / np.float32(255) - 1, r"its values lie in \[-1, 0\], not in \[0, 1\]"),
        (np.full((2, 3), np.nan, np.float32), r"its values lie in \[nan, nan\]"),
        (GREY.astype(np.int32) * 70_000, "its pixels are 32-bit or signed integers, whose white is unknown"),
    ],
)
def test_depths_whose_white_is_unknown_are_refused(tmp_path, values, text):
    Image.fromarray(values).save(tmp_path / "grey.tif")
    with pytest.raises(ValueError, match=text):
        read_pixels(str(tmp_path / "grey.tif"), None)


def test_signed_integers_are_refused(tmp_path):
    tiff(tmp_path / "grey.tif", (GREY.astype("<i2") * 100).tobytes(), 16, sample_format=2)
    with pytest.raises(ValueError, match="signed integers"):
        read_pixels(str(tmp_path / "grey.tif"), None)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "raw.tif", "lzw.tif"])
def test_images_are_upright(tmp_path, orientation, name):
    """A camera that is held turned stores turned pixels, and says so."""
    upright = np.zeros((16, 24, 3), np.uint8)
    upright[:8, :8], upright[8:, :8], upright[:8, 8:] = 255, (255, 0, 0), (0, 0, 255)
    turned_back = {  # from the definition of each orientation, where the 0th row and the 0th column are
        1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1],
        5: upright.swapaxes(0, 1), 6: upright.swapaxes(0, 1)[::-1], 7: upright.swapaxes(0, 1)[::-1, ::-1],
        8: upright.swapaxes(0, 1)[:, ::-1],
    }  # fmt: skip
    exif = Image.Exif()
    exif[274] = orientation
    options = {"lossless": True} if name == "a.webp" else {"quality": 95, "subsampling": 0} if name == "a.jpg" else {}
    options |= {"compression": "tiff_lzw"} if name == "lzw.tif" else {}
    Image.fromarray(np.ascontiguousarray(turned_back[orientation])).save(tmp_path / name, exif=exif, **options)
    pixels = read_pixels(str(tmp_path / name), None)
    assert pixels.shape == upright.shape
    assert np.abs(pixels.astype(int) - upright).max() <= (20 if name == "a.jpg" else 0)
    assert read_pixels(str(tmp_path / name), (4, 6)).shape == (4, 6, 3)  # and resized after it was turned


def test_damaged_exif_costs_no_image(tmp_path):
    Image.fromarray(GREY).save(tmp_path / "a.jpg", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    assert read_grey(tmp_path / "a.jpg").shape == GREY.shape


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_pixels_are_white(tmp_path, mode):
    rgba = np.zeros((2, 2, 4), np.uint8)  # what lies under transparent pixels is black
    rgba[0, 0], rgba[0, 1] = (100, 100, 100, 255), (0, 0, 0, 128)
    image = Image.fromarray(rgba)
    image = image.quantize() if mode == "P" else image.convert(mode)
    image.save(tmp_path / "a.png")
    assert Image.open(tmp_path / "a.png").mode == mode
    assert read_grey(tmp_path / "a.png").tolist() == [[100, 127], [255, 255]]


def test_a_transparent_colour_is_white(tmp_path):
    colours = np.array([[[9, 8, 7], [1, 2, 3]]], np.uint8)
    Image.fromarray(colours).save(tmp_path / "a.png", transparency=(1, 2, 3))
    assert read_pixels(str(tmp_path / "a.png"), None).tolist() == [[[9, 8, 7], [255, 255, 255]]]


def test_ordinary_images_keep_their_pixels():
    colours = np.random.default_rng(0).integers(0, 256, (5, 4, 3), np.uint8)
    opaque = np.concatenate([colours, np.full((5, 4, 1), 255, np.uint8)], axis=2)
    for image in (Image.fromarray(colours), Image.fromarray(opaque), Image.fromarray(colours).quantize()):
        assert np.array_equal(np.asarray(rgb_image(image)), np.asarray(image.convert("RGB")))


def test_no_file_starts_ghostscript(tmp_path, monkeypatch):
    """PostScript is a programming language: a picture from a stranger would be run."""
    for name in ("gs", "gswin64c"):
        (tmp_path / name).write_text(f"#!/bin/sh\ntouch {tmp_path / 'run'}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr("PIL.EpsImagePlugin.gs_binary", None)  # look again
    content = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n"
    (tmp_path / "a.eps").write_bytes(content)
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(OSError, match=r".*"):
        Image.open(tmp_path / "a.eps").load()
    assert (tmp_path / "run").exists()  # Pillow would
    (tmp_path / "run").unlink()
    with pytest.raises(OSError, match="cannot identify"):
        read_pixels(str(tmp_path / "a.png"), None)
    assert not (tmp_path / "run").exists() and not {".eps", ".ps"} & suffixes()


def test_the_format_that_a_name_implies_is_tried_first():
    assert formats(".gif")[0] == "GIF" and {*formats(".gif"), "EPS"} == set(Image.OPEN)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "CMYK"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_of_a_tiff_moves_no_pixel_elsewhere(mode, orientation, tmp_path):
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (8, 12, 3), np.uint8)
    image = Image.fromarray(pixels).convert(mode)
    expected = np.asarray(image.convert("RGB"))
    expected = expected if orientation < 5 else expected.transpose(1, 0, 2)
    vertical, horizontal = orientation in (3, 4, 7, 8), orientation in (2, 3, 6, 7)
    expected = expected[::-1] if vertical else expected
    expected = expected[:, ::-1] if horizontal else expected
    image.save(tmp_path / "a.tiff", tiffinfo={0x0112: orientation})
    assert np.array_equal(read_pixels(str(tmp_path / "a.tiff"), None), expected)

"""Tiny images in every mode: exact values, whatever else the image holds."""

import struct

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from captum_ext.exceptions import ArgumentError, ArgumentTypeError
from captum_ext.images import ImageFolder, image_to_pil, image_to_tensor, open_image

RED = (255, 0, 0)


def constant(mode, value):
    return Image.new(mode, (3, 2), value)


def palette(**options):
    image = Image.new("P", (3, 2), 1)
    image.putpalette([0, 0, 0, 10, 20, 30])
    image.info.update(options)
    return image


@pytest.mark.parametrize(
    ("image", "colour"),
    [
        (constant("1", 1), (255, 255, 255)),
        (constant("L", 51), (51, 51, 51)),
        (constant("LA", (51, 7)), (51, 51, 51)),
        (palette(), (10, 20, 30)),
        (palette(transparency=1), (10, 20, 30)),
        (palette(transparency=bytes([255, 7])), (10, 20, 30)),
        (constant("RGB", (1, 2, 3)), (1, 2, 3)),
        (constant("RGBA", (1, 2, 3, 0)), (1, 2, 3)),
        (constant("RGBX", (1, 2, 3, 0)), (1, 2, 3)),
        (constant("RGBa", (17, 0, 0, 85)), (51, 0, 0)),
        (constant("La", (17, 85)), (51, 51, 51)),
        (constant("CMYK", (0, 255, 255, 0)), RED),
        (constant("CMYK", (0, 0, 0, 102)), (153, 153, 153)),
        (constant("YCbCr", (128, 128, 128)), (128, 128, 128)),
        (constant("HSV", (0, 255, 255)), RED),
        (constant("LAB", (255, 128, 128)), (255, 255, 255)),
        (constant("LAB", (0, 128, 128)), (0, 0, 0)),
        (constant("I;16", 32896), (128, 128, 128)),
        (constant("I;16B", 32896), (128, 128, 128)),
        (constant("I;16L", 257), (1, 1, 1)),
        (constant("F", 0.2), (51, 51, 51)),
    ],
    ids=lambda value: value.mode if isinstance(value, Image.Image) else None,
)
def test_a_mode_says_what_its_values_are(image, colour):
    before = image.copy()
    seen = image_to_pil(image)
    assert seen.mode == "RGB"
    rounding = 1 if image.mode == "LAB" else 0  # of the tables of its profile
    assert np.abs(np.asarray(seen).astype(int) - colour).max() <= rounding
    grey = image_to_pil(image, channels=1)
    assert grey.mode == "L"
    luma = (299 * colour[0] + 587 * colour[1] + 114 * colour[2]) / 1000
    assert abs(grey.getpixel((0, 0)) - luma) <= 0.5 + rounding
    assert image.mode == before.mode
    assert image.tobytes() == before.tobytes()


@pytest.mark.parametrize(
    ("image", "value"),
    [
        (constant("I;16", 200), 200 / 65535),
        (constant("I;16B", 32768), 32768 / 65535),
        (constant("F", 0.3), 0.3),
        (constant("L", 51), 0.2),
        (np.full((2, 3), 200, np.uint16), 200 / 65535),
        (np.full((2, 3, 1), 0.3, np.float64), 0.3),
        (np.full((2, 3, 3), 200, np.uint16), 200 / 65535),
        (np.full((2, 3), True), 1.0),
        (torch.full((1, 2, 3), 51, dtype=torch.uint8), 0.2),
        (torch.full((3, 2, 3), 0.25, dtype=torch.bfloat16), 0.25),
        (torch.full((2, 3), 0.25, dtype=torch.float16), 0.25),
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_tensor_has_all_bits_of_the_image(image, value, channels):
    seen = image_to_tensor(image, channels=channels)
    assert seen.dtype == torch.float32
    assert seen.shape == (channels, 2, 3)
    torch.testing.assert_close(seen, torch.full_like(seen, value), rtol=2e-7, atol=0)


def test_bytes_are_divided_as_torchvision_divides_them():
    functional = pytest.importorskip("torchvision.transforms.v2.functional")
    pixels = np.arange(256, dtype=np.uint8).reshape(8, 8, 4)[:, :, :3].copy()
    expected = functional.pil_to_tensor(Image.fromarray(pixels)).float() / 255
    assert torch.equal(image_to_tensor(Image.fromarray(pixels)), expected)
    assert torch.equal(image_to_tensor(pixels), expected)
    assert torch.equal(image_to_tensor(torch.from_numpy(pixels).permute(2, 0, 1)), expected)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 65535), st.integers(0, 65535))
def test_sixteen_bits_do_not_depend_on_what_else_the_image_holds(value, other):
    pixels = np.array([[value, other]], np.uint16)
    alone = image_to_tensor(pixels[:, :1], channels=1)[0, 0, 0]
    together = image_to_tensor(pixels, channels=1)[0, 0, 0]
    assert alone == together == np.float32(value / 65535)
    assert image_to_pil(pixels, channels=1).getpixel((0, 0)) == int(value / 257 + 0.5)


def test_colours_become_grey_by_their_luma():
    assert image_to_pil(constant("RGB", RED), channels=1).getpixel((0, 0)) == 76
    seen = image_to_tensor(np.array([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.5]]]), channels=1)
    torch.testing.assert_close(seen, torch.tensor([[[0.299, 0.587 + 0.057]]]))
    assert image_to_pil(palette(), channels=1).getpixel((0, 0)) == round(0.299 * 10 + 0.587 * 20 + 0.114 * 30)


@pytest.mark.parametrize(
    ("image", "colour"),
    [
        (constant("RGBA", (255, 0, 0, 102)), (255, 153, 153)),
        (constant("LA", (0, 102)), (153, 153, 153)),
        (palette(transparency=1), (255, 255, 255)),
        (np.broadcast_to(np.array([255, 0, 0, 102], np.uint8), (2, 3, 4)), (255, 153, 153)),
        (np.broadcast_to(np.array([0.0, 0.4]), (2, 3, 2)), (153, 153, 153)),
        (constant("RGB", (1, 2, 3)), (1, 2, 3)),
    ],
)
def test_a_background_shows_through_alpha_where_one_is_given(image, colour):
    assert image_to_pil(image, background=1.0).getpixel((0, 0)) == colour
    torch.testing.assert_close(image_to_tensor(image, background=(1, 1, 1))[:, 0, 0], torch.tensor(colour) / 255)


def test_a_declared_range_says_what_white_is():
    for image in (constant("I", 1023), np.full((2, 3), 1023, np.int32), np.full((2, 3), 1023.0)):
        assert image_to_pil(image, value_range=(0, 4092)).getpixel((0, 0)) == (64, 64, 64)
        assert float(image_to_tensor(image, value_range=(0, 4092))[0, 0, 0]) == 0.25
    hounsfield = np.array([[-1000, 0, 1000]], np.int16)
    assert image_to_tensor(hounsfield, channels=1, value_range=(-1000, 1000)).flatten().tolist() == [0, 0.5, 1]


@pytest.mark.parametrize(
    ("image", "options", "message"),
    [
        (constant("I", 70000), {}, "of 8 or 16 bits without sign, .* but got integers of int32"),
        (constant("F", 1.5), {}, r"floats from 0 to 1; value_range=\(black, white\) .* got floats from 1.5 to 1.5"),
        (np.full((2, 2), np.nan), {}, "got floats from nan to nan"),
        (constant("F", float("inf")), {}, "to be finite, but got values that are not finite"),
        (np.full((2, 2), 200, np.int64), {}, "got integers of int64"),
        (
            np.full((2, 2), 5000, np.uint16),
            {"value_range": (0, 4095)},
            "values from 0 to 4095, but got values from 5000",
        ),
        (np.zeros((3, 8, 8)), {}, r"an array \(H, W\) or \(H, W, C\) .*as a tensor \(C, H, W\)\), but got shape"),
        (torch.zeros(8, 8, 3), {}, r"a tensor \(H, W\) or \(C, H, W\) of 1 to 4 channels, but got shape \(8, 8, 3\)"),
        (np.zeros((0, 4)), {}, r"but got shape \(0, 4\)"),
        (constant("L", 0), {"channels": 2}, r"`channels` to be 3 \(red, green, blue\) or 1 \(grey\), but got int 2"),
        (constant("RGBA", 0), {"background": 255}, "`background` to be a number from 0 to 1, or three"),
        (constant("RGBA", 0), {"background": (0, 1)}, "`background` to be a number from 0 to 1, or three"),
        (constant("F", 0), {"value_range": (1, 0)}, "`value_range` to be two numbers, black below white"),
    ],
)
def test_what_has_no_known_values_is_refused(image, options, message):
    with pytest.raises(ArgumentError, match=message):
        image_to_pil(image, **options)
    with pytest.raises(ArgumentError, match=message):
        image_to_tensor(image, **options)


@pytest.mark.parametrize("image", ["cat.png", None, [[1]], np.array([["a"]]), np.zeros((2, 2), complex)])
def test_what_is_no_image_is_refused(image):
    with pytest.raises(ArgumentTypeError, match="`image` to be (a Pillow image, an array or a tensor|of numbers)"):
        image_to_tensor(image)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("kind", "options"), [("PNG", {}), ("TIFF", {}), ("WEBP", {"lossless": True})])
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
def test_an_image_is_turned_as_its_camera_says_and_once_however_often_it_is_read(
    kind, options, mode, orientation, tmp_path
):
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    stored = Image.fromarray(pixels).convert(mode)
    stored.save(tmp_path / "a", kind, exif=exif, **options)
    expected = np.asarray(stored.convert("RGB"))
    for turn in {1: "", 2: "h", 3: "vh", 4: "v", 5: "t", 6: "th", 7: "tvh", 8: "tv"}[orientation]:
        expected = {"h": np.fliplr, "v": np.flipud, "t": lambda one: one.transpose(1, 0, 2)}[turn](expected)
    with Image.open(tmp_path / "a") as image:  # of a path, of which Pillow 13 maps turned TIFFs wrongly
        once = image_to_pil(image)
        assert str(image.filename) == str(tmp_path / "a")
        assert np.array_equal(np.asarray(once), expected)
        assert np.array_equal(np.asarray(image_to_pil(once)), expected)
    opened = open_image(tmp_path / "a")
    assert np.array_equal(np.asarray(image_to_pil(opened)), expected)
    values = torch.from_numpy(expected.copy()).permute(2, 0, 1) / 255
    assert torch.equal(image_to_tensor(opened), values)
    assert torch.equal(ImageFolder(tmp_path)[0][0], values)


def test_an_orientation_in_xmp_is_obeyed_once(tmp_path):
    xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    Image.new("RGB", (8, 4)).save(tmp_path / "a.webp", xmp=xmp)
    opened = open_image(tmp_path / "a.webp")
    assert image_to_pil(opened).size == opened.size


def test_exif_without_entries_is_no_damage(tmp_path):
    for empty in (b"Exif\0\0II*\0\x08\0\0\0\0\0", b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0"):
        constant("RGB", RED).save(tmp_path / "a.jpg", exif=empty)
        assert open_image(tmp_path / "a.jpg").size == (3, 2)


def test_a_truncated_file_is_an_error_with_its_name(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    for kind in ("png", "jpg", "tiff", "bmp"):
        Image.fromarray(noise).save(tmp_path / f"a.{kind}")
        content = (tmp_path / f"a.{kind}").read_bytes()
        (tmp_path / f"a.{kind}").write_bytes(content[: len(content) // 2])
        with pytest.raises(OSError, match=rf"a\.{kind}: "):
            open_image(tmp_path / f"a.{kind}")


def test_lab_files_are_seen_as_their_colours(tmp_path):
    constant("LAB", (137, 128, 128)).save(tmp_path / "a.tiff")  # L* = 53.7: the middle grey of sRGB, 128
    red, green, blue = open_image(tmp_path / "a.tiff").getpixel((0, 0))
    assert max(abs(value - 128) for value in (red, green, blue)) <= 1


def test_depth_is_kept_where_it_is_asked_for(tmp_path):
    Image.fromarray(np.full((2, 3), 200, np.uint16)).save(tmp_path / "a.tiff")
    seen = open_image(tmp_path / "a.tiff", keep_depth=True)
    assert seen.mode == "F"
    assert seen.getpixel((2, 1)) == np.float32(200 / 65535)
    constant("RGBA", (1, 2, 3, 4)).save(tmp_path / "a.png")
    assert open_image(tmp_path / "a.png", keep_depth=True).mode == "RGB"


def tiff(pixels, bits, photometric, kind=1):
    """A TIFF of one strip, byte by byte; of 12 bits two values are in three bytes."""
    height, width = pixels.shape
    if bits == 12:
        strip = b"".join(((int(a) << 12) | int(b)).to_bytes(3, "big") for a, b in pixels.reshape(-1, 2))
    else:
        strip = pixels.tobytes()
    tags = {256: width, 257: height, 258: bits, 259: 1, 262: photometric, 273: 8, 277: 1, 278: height, 279: len(strip)}
    entries = [struct.pack("<HHII", tag, 4, 1, value) for tag, value in {**tags, 339: kind}.items()]
    directory = struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)
    return struct.pack("<2sHI", b"II", 42, 8 + len(strip)) + strip + directory


@pytest.mark.parametrize(
    ("pixels", "bits", "photometric", "kind", "expected"),
    [
        (np.array([[0, 4095], [1023, 7]], np.uint16), 12, 1, 1, [0, 1, 1023 / 4095, 7 / 4095]),
        (np.array([[0, 65535], [4095, 7]], np.uint16), 16, 1, 1, [0, 1, 4095 / 65535, 7 / 65535]),
        (np.array([[0, 65535], [13107, 0]], np.uint16), 16, 0, 1, [1, 0, 0.8, 1]),
        (np.array([[0, 255], [51, 0]], np.uint8), 8, 0, 1, [1, 0, 0.8, 1]),
        (np.array([[0, 1], [0.25, 0]], np.float32), 32, 0, 3, [1, 0, 0.75, 1]),
    ],
)
def test_a_tiff_says_what_its_white_is(pixels, bits, photometric, kind, expected, tmp_path):
    """X-rays, say, whose zero is white, and 12 bits, whose white would be nearly black among 16."""
    (tmp_path / "a.tiff").write_bytes(tiff(pixels, bits, photometric, kind))
    with Image.open(tmp_path / "a.tiff") as image:
        seen = image_to_tensor(image, channels=1).flatten()
    torch.testing.assert_close(seen, torch.tensor(expected, dtype=torch.float32))
    opened = image_to_tensor(open_image(tmp_path / "a.tiff", channels=1, keep_depth=True), channels=1).flatten()
    assert torch.equal(opened, seen)

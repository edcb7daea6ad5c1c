"""Photographs of files that nobody vouches for: right values, named errors, little memory."""

import io
import os
import random
import struct
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import datasets
from torchvision.transforms import v2

from captum_ext.core import regular_files
from captum_ext.core.regular_files import MAX_MEGAPIXELS
from captum_ext.exceptions import ArgumentError
from captum_ext.images import ImageFolder, open_image
from captum_ext_integrations.cli.models import Preparation
from tests.fuzz import image_files
from tests.fuzz.engine import in_child


def written(path, content):
    path.write_bytes(content)
    return path


def seen(path, *, size=(4, 4)):
    """The one value of a constant image."""
    image = open_image(path)
    assert image.mode == "RGB"
    assert image.size == size
    values = {image.getpixel((x, y)) for x in range(size[0]) for y in range(size[1])}
    assert len(values) == 1
    return values.pop()


@pytest.mark.parametrize(("value", "shown"), [(0, 0), (128, 0), (129, 1), (200, 1), (32896, 128), (65535, 255)])
@pytest.mark.parametrize("kind", ["png", "tiff"])
def test_sixteen_bits_are_divided_by_257_whatever_the_image_holds(tmp_path, kind, value, shown):
    Image.fromarray(np.full((4, 4), value, np.uint16)).save(tmp_path / f"a.{kind}")
    assert seen(tmp_path / f"a.{kind}") == (shown,) * 3


def test_sixteen_bits_of_a_grey_map_are_those_of_a_png(tmp_path):
    path = written(tmp_path / "a.pgm", b"P5 4 4 65535\n" + struct.pack(">16H", *[200] * 16))
    assert seen(path) == (1, 1, 1)


@pytest.mark.parametrize(("value", "shown"), [(0.0, 0), (0.5, 128), (1.0, 255)])
def test_floats_are_in_the_unit_interval(tmp_path, value, shown):
    Image.fromarray(np.full((4, 4), value, np.float32)).save(tmp_path / "a.tiff")
    assert seen(tmp_path / "a.tiff") == (shown,) * 3


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            np.full((4, 4), 128, np.float32),
            r"expected floats from 0 to 1; value_range=\(black, white\) declares others, "
            "but got floats from 128 to 128",
        ),
        (np.full((4, 4), -0.1, np.float32), "expected floats from 0 to 1; .*, but got floats from -0.1 to -0.1"),
        (np.full((4, 4), np.nan, np.float32), "expected finite, but got values that are not finite"),
        (np.array([[0, 1], [1, np.nan]], np.float32), "expected finite, but got values that are not finite"),
        (
            np.full((4, 4), 3, np.int32),
            "expected of 8 or 16 bits without sign, .* integers of int32",
        ),
    ],
)
def test_values_without_a_white_are_refused(tmp_path, values, message):
    Image.fromarray(values).save(tmp_path / "a.tiff")
    with pytest.raises(OSError, match=f"a.tiff: {message}"):
        open_image(tmp_path / "a.tiff")


@pytest.mark.parametrize("kind", ["jpg", "png", "tiff", "webp"])
@pytest.mark.parametrize("orientation", range(10))
def test_a_photograph_is_turned_as_its_camera_says(tmp_path, kind, orientation):
    pixels = np.zeros((16, 32, 3), np.uint8)
    pixels[:8, :8], pixels[8:, :8] = (255, 0, 0), (0, 0, 255)
    exif = Image.Exif()
    exif[image_files.ORIENTATION] = orientation
    Image.fromarray(pixels).save(tmp_path / f"a.{kind}", exif=exif)
    expected = image_files.turned(pixels, orientation).astype(int)
    seen = open_image(tmp_path / f"a.{kind}")
    assert np.abs(np.asarray(seen).astype(int) - expected).mean() < 5
    side = min(seen.size)
    prepared = Preparation(side, side, (0,) * 3, (1,) * 3)(seen)  # and not turned again on the way to the model
    cropped = v2.functional.center_crop(seen, [side, side])
    assert torch.equal(prepared, v2.functional.pil_to_tensor(cropped).float() / 255)


def test_damaged_metadata_is_no_reason_to_lose_the_picture(tmp_path):
    zero = struct.pack("<HHI", 0x011A, 10, 1) + struct.pack("<I", 38) + bytes(4) + struct.pack("<iI", -1, 0)
    orientation = struct.pack("<HHIHH", image_files.ORIENTATION, 3, 1, 6, 0)
    exifs = {
        "garbage": b"Exif\0\0" + bytes(range(40)),
        "cut off": b"Exif\0\0II*\0\x08\0\0",
        "a division by zero": b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 2) + orientation + zero,
    }
    for name, exif in exifs.items():
        Image.new("RGB", (60, 40)).save(tmp_path / "a.jpg", exif=exif)
        is_read = name == "a division by zero"
        with nullcontext() if is_read else pytest.warns(UserWarning, match="a.jpg has EXIF data that cannot be read"):
            seen = open_image(tmp_path / "a.jpg").size
        assert seen == ((40, 60) if name == "a division by zero" else (60, 40))


def test_of_an_animation_the_first_image_is_read(tmp_path):
    for kind in ("GIF", "PNG", "WEBP", "TIFF"):
        path = written(tmp_path / "a", image_files.animated(random.Random(0), kind, 40))
        assert seen(path, size=(16, 16)) == (255, 0, 0)


@pytest.mark.parametrize("sides", [(1, 20_000), (20_000, 1), (2, 70_001), (30_000, 7)])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_of_a_long_image_the_crop_alone_is_resized_as_torchvision_does_it(sides, interpolation):
    pixels = np.random.default_rng(0).integers(0, 256, (sides[1], sides[0], 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    preparation = Preparation(16, 14, (0,) * 3, (1,) * 3, interpolation)
    expected = v2.Compose([v2.Resize(16, v2.InterpolationMode(interpolation)), v2.CenterCrop(14), v2.PILToTensor()])(
        image
    )
    alone = v2.functional.pil_to_tensor(preparation._crop_alone(image))
    assert (alone.int() - expected.int()).abs().max() <= 1
    assert torch.equal((preparation(image) * 255).round().to(torch.uint8), expected)  # not that long: as torchvision


def test_ordinary_photographs_are_prepared_as_torchvision_does_it_bit_for_bit():
    from skimage import data

    for name in ("chelsea", "astronaut", "coffee", "rocket"):
        image = Image.fromarray(getattr(data, name)())
        for resize, crop in ((256, 224), (232, 224), (64, 64), (900, 700)):
            plain = v2.Compose([v2.Resize(resize, antialias=True), v2.CenterCrop(crop), v2.PILToTensor()])(image)
            assert torch.equal(Preparation(resize, crop, (0,) * 3, (1,) * 3)(image), plain.float() / 255)


def test_a_tiny_file_of_a_long_image_takes_little_memory(tmp_path):
    path = written(tmp_path / "a.png", image_files.flat_png(1, 20_000))
    assert path.stat().st_size < 300
    assert in_child(lambda: Preparation()(open_image(path)).shape, megabytes=100) == (3, 224, 224)


def test_a_size_above_the_limit_is_refused_from_the_header_and_the_limit_is_raised_by_name(tmp_path, monkeypatch):
    path = written(tmp_path / "a.png", image_files.png(20_000, 6000, 8, 2))
    message = r"a.png: 20000 x 6000 pixels, but of PNG at most 100000000 are read. CAPTUM_EXT_MAX_MEGAPIXELS in the"
    with pytest.raises(OSError, match=message):
        in_child(lambda: open_image(path), megabytes=50)
    small = written(tmp_path / "b.png", image_files.flat_png(100, 60))
    with pytest.raises(OSError, match="100 x 60 pixels, but of PNG at most 5999 are read"):
        open_image(small, max_pixels=5999)
    assert open_image(small, max_pixels=6000).size == (100, 60)
    monkeypatch.setenv(MAX_MEGAPIXELS, "0.005")
    with pytest.raises(OSError, match="at most 5000 are read"):
        open_image(small)
    assert ImageFolder(tmp_path, open_image).max_pixels == 5000
    monkeypatch.setenv(MAX_MEGAPIXELS, "many")
    with pytest.raises(ArgumentError, match="`CAPTUM_EXT_MAX_MEGAPIXELS` to be a positive number, but got 'many'"):
        open_image(small)


def test_decoders_that_keep_copies_have_half_the_limit(tmp_path):
    Image.new("RGB", (10, 10)).save(tmp_path / "a.webp")
    with pytest.raises(OSError, match="10 x 10 pixels, but of WEBP at most 60 are read"):
        open_image(tmp_path / "a.webp", max_pixels=120)
    assert open_image(tmp_path / "a.webp", max_pixels=200).size == (10, 10)


def test_a_limit_above_pillows_own_is_put_in_its_place_and_back(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40)
    Image.new("RGB", (10, 10)).save(tmp_path / "a.png")
    assert open_image(tmp_path / "a.png", max_pixels=100).size == (10, 10)
    assert Image.MAX_IMAGE_PIXELS == 40
    with pytest.raises(OSError, match="10 x 10 pixels, but of PNG at most 99 are read"):
        open_image(tmp_path / "a.png", max_pixels=99)
    assert Image.MAX_IMAGE_PIXELS == 40
    with pytest.raises(
        OSError, match="a.png: Image size .* CAPTUM_EXT_MAX_MEGAPIXELS in the environment raises the limit"
    ):
        open_image(tmp_path / "a.png", max_pixels=70)  # within twice Pillow's, which then is the lower one


@pytest.mark.parametrize(("depth", "colour"), [(16, 0), (8, 6), (8, 3)])
def test_large_images_take_no_more_than_a_few_copies(tmp_path, depth, colour):
    path = written(tmp_path / "a.png", image_files.flat_png(6000, 6000, depth, colour))
    assert in_child(lambda: Preparation()(open_image(path)).shape, megabytes=36 * 12 + 60) == (3, 224, 224)


def test_a_jpeg_of_thousands_of_scans_is_refused(tmp_path):
    path = written(tmp_path / "a.jpg", image_files.many_scans(64, 1000))
    with pytest.raises(OSError, match=r"a.jpg: a JPEG of 10\d\d scans, but at most 200 are read"):
        open_image(path)
    assert open_image(written(path, image_files.many_scans(64, 0))).size == (64, 64)


def test_other_formats_than_those_of_photographs_are_not_opened(tmp_path):
    path = written(tmp_path / "a.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n")
    with pytest.raises(OSError, match=r"a.png: cannot identify image file \(what is read: JPEG, MPO, PNG"):
        open_image(path)


@pytest.mark.parametrize(
    ("make", "what"),
    [(os.mkfifo, "a pipe"), (os.mkdir, "a folder"), (lambda path: path.symlink_to("/dev/zero"), "a device")],
)
def test_what_is_no_file_is_named_and_never_waited_for(tmp_path, make, what):
    make(tmp_path / "a.png")
    with pytest.raises(OSError, match=f"a.png: expected a file, but it is {what}"):
        open_image(tmp_path / "a.png")


def test_a_pipe_that_takes_the_place_of_a_file_is_not_read(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "a.png")
    ordinary = written(tmp_path / "b.png", b"")
    status = os.stat(ordinary)
    monkeypatch.setattr(regular_files.os, "stat", lambda _: status)
    with pytest.raises(OSError, match="a.png: expected a file, but it is a pipe"):
        open_image(tmp_path / "a.png")


def test_classes_are_those_of_image_folder(tmp_path):
    for place in ("b/z", "b", "a/y/x", "a", "c/.hidden"):
        (tmp_path / place).mkdir(parents=True, exist_ok=True)
        for name in ("2.png", "10.png", "B.png"):
            Image.new("RGB", (2, 2)).save(tmp_path / place / name)
    Image.new("RGB", (2, 2)).save(tmp_path / "c" / "1.png")
    expected = [sample for sample in datasets.ImageFolder(str(tmp_path)).samples if ".hidden" not in sample[0]]
    assert ImageFolder(tmp_path, lambda image: image).samples == expected


def test_folders_that_link_to_themselves_or_are_linked_twice_are_read_once(tmp_path):
    (tmp_path / "a" / "inner").mkdir(parents=True)
    (tmp_path / "b").mkdir()
    for place in ("a/1.png", "a/inner/2.png", "b/3.png"):
        Image.new("RGB", (2, 2)).save(tmp_path / place)
    for place, target in {"a/self": "a", "a/root": ".", "a/again": "a/inner", "a/inner/up": "a", "b/up": "."}.items():
        (tmp_path / place).symlink_to(tmp_path / target, target_is_directory=True)
    (tmp_path / "b" / "other").symlink_to(tmp_path / "a" / "inner", target_is_directory=True)
    found = [
        (os.path.relpath(path, tmp_path), label) for path, label in ImageFolder(tmp_path, lambda image: image).samples
    ]
    assert found == [
        ("a/1.png", 0),
        ("a/again/2.png", 0),
        ("b/3.png", 1),
        ("b/other/2.png", 1),
        ("b/other/up/1.png", 1),
    ]


def test_pillows_bomb_in_text_is_an_error_with_the_name(tmp_path):
    path = written(tmp_path / "a.png", image_files.text_bomb(random.Random(1)))
    with pytest.raises(OSError, match=r"a\.png: Decompressed (?i:data too large)"):
        in_child(lambda: open_image(path), megabytes=200)


def test_an_image_is_not_held_open(tmp_path):
    file = io.BytesIO()
    Image.new("RGB", (4, 4), "red").save(file, "PNG")
    path = written(tmp_path / "a.png", file.getvalue())
    image = open_image(path)
    path.write_bytes(b"")
    assert image.getpixel((3, 3)) == (255, 0, 0)

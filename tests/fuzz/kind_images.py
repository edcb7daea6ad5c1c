"""Image files: good ones of all modes, damaged ones, hostile ones, and what is no file."""

import io
import os
import socket
import warnings
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torchvision.transforms import v2

from captum_ext.images import ImageFolder, open_image
from captum_ext_integrations.cli.preparation import Preparation
from tests.fuzz import image_files
from tests.fuzz.engine import Broken, Case, Outcome, in_child

NAME = "images"
SAYS = "a good, damaged or hostile image file, or a folder with links and pipes"
MEGABYTES = 1500
NAMES = ["a", "a b", "ä", "a\nb", "\x1b]0;title\x07", "$x$", "-n", "a" * 200, "<!--", "..x", "%s"]


def case(random, folder):
    """One file, or one folder."""
    return random.choice([_good, _good, _damaged, _damaged, _damaged, _hostile, _no_file, _folder])(random, folder)


def named(random, folder, content, suffix):
    path = folder / f"{random.choice(NAMES)}.{suffix}"
    path.write_bytes(content)
    return path


def _good(random, folder):
    shape = random.choice([(random.randrange(1, 40), random.randrange(1, 40)), (1, 3000), (2000, 2), (300, 500)])
    kind, image, pixels = image_files.good(random, *shape)
    orientation = random.choice([None, *range(10)]) if kind in ("png", "tiff", "webp") else None
    path = named(random, folder, image_files.saved(random, kind, image, orientation), kind)
    preparation = Preparation(
        random.choice([8, 32, 50]), 8, (0, 0, 0), (1, 1, 1), random.choice(["bilinear", "bicubic"])
    )
    about = f"a {kind} of {image.mode}, {shape}, orientation {orientation}, {preparation}"
    expected = image_files.turned(pixels, orientation)
    return Case(about, lambda: in_child(lambda: _shows(path, expected, preparation, image.mode), MEGABYTES))


def _shows(path, expected, preparation, mode):
    seen = open_image(path)
    tolerance = 1 if mode == "CMYK" else 0
    difference = np.abs(np.asarray(seen).astype(int) - expected.astype(int)) if seen.mode == "RGB" else np.inf
    if np.shape(difference) != expected.shape or np.max(difference) > tolerance:
        raise Broken(f"other pixels: {seen.mode} {seen.size}, {np.max(difference)} away")
    torchvisions = v2.Compose(
        [
            v2.Resize(preparation.resize, v2.InterpolationMode(preparation.interpolation)),
            v2.CenterCrop(preparation.crop),
            v2.PILToTensor(),
        ]
    )
    if not torch.equal(preparation(seen), torchvisions(seen).float() / 255):
        raise Broken("resized and cropped, it differs from torchvision's")
    return Outcome.RIGHT


def _damaged(random, folder):
    kind, image, _ = image_files.good(random, random.randrange(1, 60), random.randrange(1, 60))
    content = image_files.saved(random, kind, image, 6 if kind in ("png", "tiff", "webp") else None)
    if random.random() < 0.3:
        file = folder / "whole.jpg"
        exif = Image.Exif()
        exif[image_files.ORIENTATION] = random.randrange(9)
        image.convert("RGB").save(file, exif=exif, progressive=random.random() < 0.5)
        kind, content = "jpg", file.read_bytes()
        file.unlink()
    accident, content = image_files.damaged(random, content)
    path = named(random, folder, content, random.choice([kind, kind, "png", "jpg"]))
    return Case(f"a {kind} of {image.mode}, {accident}", lambda: in_child(lambda: _named_or_as_stored(path), MEGABYTES))


def _named_or_as_stored(path):
    """An error with the file's name, or what Pillow decodes by itself."""
    try:
        seen = open_image(path)
    except OSError as error:
        return _with_name(error, path)
    except Exception as error:
        raise Broken(f"an error from the depths: {type(error).__name__}: {error}") from error
    Preparation(32, 32)(seen)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(io.BytesIO(path.read_bytes())) as stored:  # of a path, Pillow 13 maps turned TIFFs wrongly
            stored.load()
            if stored.mode.startswith(("I", "F")) or seen.mode != "RGB":
                return (
                    Outcome.RIGHT if seen.mode == "RGB" and sorted(seen.size) == sorted(stored.size) else _wrong(seen)
                )
            plain = np.asarray(stored.convert("RGB"))
    for orientation in range(1, 9):
        if np.array_equal(np.asarray(seen), image_files.turned(plain, orientation)):
            return Outcome.RIGHT
    return _wrong(seen)


def _wrong(seen):
    raise Broken(f"other pixels than are stored: {seen.mode} {seen.size}")


def _with_name(error, path):
    if str(path) not in str(error) and repr(str(path)) not in str(error):
        raise Broken(f"an error without the file's name: {error}")
    return Outcome.REFUSED


def _hostile(random, folder):
    about, content = random.choice(HOSTILE)(random)
    if len(content) > 1_000_000:
        about += f", {len(content)} bytes"
    path = named(random, folder, content, random.choice(["png", "jpg", "tif"]))
    preparation = Preparation()
    return Case(about, lambda: in_child(lambda: _bounded(path, preparation), MEGABYTES))


def _bounded(path, preparation):
    """An error with the file's name, or a tensor, in little memory."""
    try:
        tensor = preparation(open_image(path))
    except OSError as error:
        return _with_name(error, path)
    except Exception as error:
        raise Broken(f"an error from the depths: {type(error).__name__}: {error}") from error
    if tensor.shape != (3, 224, 224) or not torch.isfinite(tensor).all():
        raise Broken(f"a tensor {tuple(tensor.shape)}")
    return Outcome.RIGHT


def _long(random):
    sides = random.choice([(1, 20_000), (20_000, 1), (1, 10**6), (10**6, 1), (3, 10**7), (2, 70_000)])
    return f"a PNG of {sides}", image_files.flat_png(*sides, *random.choice([(8, 2), (1, 0), (16, 0), (8, 6)]))


def _large(random):
    depth, colour = random.choice([(16, 0), (16, 4), (16, 6), (8, 2), (8, 6), (8, 3), (1, 0)])
    side = random.choice([6000, 9900, 13_000] if colour in (0, 3) else [3000, 9900])
    return f"a flat PNG of {side} x {side}, {depth} bits, colour {colour}", image_files.flat_png(
        side, side, depth, colour
    )


def _text(random):
    return "text that unpacks to hundreds of megabytes", image_files.text_bomb(random)


def _animation(random):
    kind, frames = random.choice(["GIF", "WEBP", "PNG", "TIFF"]), random.choice([2, 1000])
    return f"a {kind} of {frames} images", image_files.animated(random, kind, frames)


def _scans(random):
    scans = random.choice([1, 20, 2000, 20_000])
    return f"a JPEG of {scans} more scans", image_files.many_scans(random.choice([64, 1000, 4000]), scans)


def _tags(random):
    return "a TIFF of absurd tags", image_files.absurd_tiff(random)


def _strip(random):
    side = random.choice([1000, 7000, 9000])
    return f"a TIFF in one strip, {side} x {side}, 4 x 16 bits", image_files.one_strip(side)


def _header(random):
    return image_files.absurd_headers(random)


def _webp(random):
    side = random.choice([1000, 6000])
    return f"a flat WebP of {side} x {side}", image_files.saved(random, "webp", Image.new("RGBA", (side, side)))


HOSTILE = [
    _long,
    _long,
    _large,
    _text,
    _animation,
    _scans,
    _webp,
    _tags,
    _tags,
    _tags,
    _tags,
    _strip,
    _header,
    _header,
    _header,
]


def _no_file(random, folder):
    path = folder / random.choice(NAMES)
    kind = random.choice(
        ["a pipe", "a socket", "a device", "a folder", "nothing", "a link to itself", "a link to a pipe"]
    )
    if kind == "a pipe":
        os.mkfifo(path)
    elif kind == "a socket":
        path = folder / "s"
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(str(path))
    elif kind == "a device":
        path = Path(random.choice(["/dev/zero", "/dev/null", "/dev/urandom"]))
    elif kind == "a folder":
        path.mkdir()
    elif kind == "a link to itself":
        path.symlink_to(path.name)
    elif kind == "a link to a pipe":
        os.mkfifo(folder / "pipe")
        path.symlink_to(folder / "pipe")
    return Case(kind, lambda: _no_image(path))


def _no_image(path):
    try:
        open_image(path)
    except OSError as error:
        return _with_name(error, path)
    raise Broken("it was read")


def _folder(random, folder):
    """Folders with links among them, and what is to be found: every file of a class once."""
    root = folder / "root"
    places = [root / name for name in ("a", "b", "c")[: random.randrange(1, 4)]]
    for place in list(places):
        places += [place / name for name in random.sample(["x", "y", ".hidden"], random.randrange(3))]
    for place in places:
        place.mkdir(parents=True)
    files = {place / f"{number}.png" for place in places for number in range(random.randrange(1, 3))}
    for file in files:
        Image.new("RGB", (2, 2)).save(file)
    for number in range(random.randrange(6)):
        (random.choice(places) / f"link{number}").symlink_to(random.choice([root, *places]), target_is_directory=True)
    if random.random() < 0.5:
        os.mkfifo(places[0] / "pipe")
        files.add(places[0] / "pipe")
    return Case(f"{len(places)} folders with links", lambda: _found(root, {file.resolve() for file in files}))


def _found(root, files):
    images = ImageFolder(root, lambda image: image.size)
    paths = [Path(path) for path, _ in images.samples]
    for label, name in enumerate(sorted(place.name for place in root.iterdir())):
        real = [
            path.resolve() for (path, kind) in zip(paths, [k for _, k in images.samples], strict=True) if kind == label
        ]
        own = {
            file
            for file in files
            if file.is_relative_to(root / name)
            and not any(part.startswith(".") for part in file.relative_to(root).parts)
        }
        if len(set(real)) != len(real):
            raise Broken(f"files of {name} are there twice: {real}")
        if not own <= set(real):
            raise Broken(f"files of {name} are not found: {own - set(real)}")
    for place, path in enumerate(paths):
        _read_but_for_pipes(images, place, path)
    return Outcome.RIGHT


def _read_but_for_pipes(images, place, path):
    try:
        images[place]
    except OSError as error:
        if path.name != "pipe":
            raise Broken(f"a good file is not read: {error}") from error
        _with_name(error, path)

"""Image files made for the campaign: good ones with the pixels that they show, and hostile ones."""

import io
import random
import struct
import zlib

import numpy as np
from PIL import Image

ORIENTATION = 0x0112
SIGNATURE = b"\x89PNG\r\n\x1a\n"


def noise(random: random.Random, *shape):
    """Bytes of an image."""
    return np.random.default_rng(random.getrandbits(32)).integers(0, 256, shape, dtype=np.uint8)


def turned(pixels, orientation):
    """What is seen of stored pixels (H, W, 3), by the definition of the tag."""
    return {
        2: lambda: pixels[:, ::-1],
        3: lambda: pixels[::-1, ::-1],
        4: lambda: pixels[::-1],
        5: lambda: pixels.transpose(1, 0, 2),
        6: lambda: pixels[::-1].transpose(1, 0, 2),
        7: lambda: pixels[::-1, ::-1].transpose(1, 0, 2),
        8: lambda: pixels.transpose(1, 0, 2)[::-1],
    }.get(orientation, lambda: pixels)()


def grey(values):
    return np.repeat(np.asarray(values, dtype=np.uint8)[..., None], 3, axis=2)


def good(random: random.Random, width, height):
    """A format, the image to save in it, and the pixels (H, W, 3) to be read."""
    maker = random.choice([_rgb, _grey, _alpha, _grey_alpha, _palette, _bits, _sixteen, _floats, _cmyk])
    return maker(random, width, height)


def _rgb(random, width, height):
    pixels = noise(random, height, width, 3)
    return random.choice(["png", "bmp", "tiff", "ppm", "webp"]), Image.fromarray(pixels), pixels


def _grey(random, width, height):
    values = noise(random, height, width)
    return random.choice(["png", "bmp", "tiff", "ppm", "gif"]), Image.fromarray(values), grey(values)


def _alpha(random, width, height):
    pixels = noise(random, height, width, 4)
    return random.choice(["png", "tiff"]), Image.fromarray(pixels), pixels[..., :3]


def _grey_alpha(random, width, height):
    values = noise(random, height, width, 2)
    image = Image.merge("LA", [Image.fromarray(np.ascontiguousarray(values[..., place])) for place in (0, 1)])
    return random.choice(["png", "tiff"]), image, grey(values[..., 0])


def _palette(random, width, height):
    colours, places = noise(random, 256, 3), noise(random, height, width)
    image = Image.fromarray(places)
    image.putpalette(colours.tobytes())
    if random.random() < 0.5:
        image.info["transparency"] = random.randrange(256)
    return random.choice(["png", "tiff", "bmp"]), image, colours[places]


def _bits(random, width, height):
    values = noise(random, height, width) > 127
    return random.choice(["png", "bmp", "tiff"]), Image.fromarray(values), grey(values * 255)


def _sixteen(random, width, height):
    values = noise(random, height, width).astype(np.uint16) * 256 + noise(random, height, width)
    values >>= random.randrange(9)  # dark ones, too
    return random.choice(["png", "tiff"]), Image.fromarray(values), grey(np.round(values / 257))


def _floats(random, width, height):
    values = (noise(random, height, width) / 255).astype(np.float32)
    return "tiff", Image.fromarray(values), grey(np.round(values * 255))


def _cmyk(random, width, height):
    inks = noise(random, height, width, 4).astype(np.int64)
    pixels = np.round((255 - inks[..., :3]) * (255 - inks[..., 3:]) / 255)
    return "tiff", Image.fromarray(inks.astype(np.uint8), "CMYK"), pixels.astype(np.uint8)


def saved(random: random.Random, kind, image, orientation=None):
    """A file of the image, without a loss, with the tag of a camera if it can hold one."""
    options = {"lossless": True} if kind == "webp" else {}
    if kind == "tiff":
        compressions = [None, "tiff_lzw", "tiff_adobe_deflate", "packbits"]
        options["compression"] = random.choice(compressions) if image.mode not in ("F",) else None
    if kind == "png" and image.info.get("transparency") is not None:
        options["transparency"] = image.info["transparency"]
    if orientation is not None and not (kind == "tiff" and not 1 <= orientation <= 8):  # which libtiff does not write
        exif = Image.Exif()
        exif[ORIENTATION] = orientation
        options["exif"] = exif
    file = io.BytesIO()
    image.save(file, "PPM" if kind == "ppm" else kind.upper(), **options)
    return file.getvalue()


def damaged(random: random.Random, content):
    """The bytes of a file after an accident."""
    content = bytearray(content)
    accident = random.choice(["cut off", "flipped", "overwritten", "inserted", "removed", "repeated", "zeroed"])
    place = random.randrange(len(content))
    length = min(len(content) - place, random.choice([1, 2, 8, 100, 1000]))
    if accident == "cut off":
        del content[place:]
    elif accident == "flipped":
        for _ in range(random.choice([1, 1, 10])):
            content[random.randrange(len(content))] ^= 1 << random.randrange(8)
    elif accident == "overwritten":
        content[place : place + length] = random.randbytes(length)
    elif accident == "inserted":
        content[place:place] = random.randbytes(length)
    elif accident == "removed":
        del content[place : place + length]
    elif accident == "repeated":
        content[place:place] = content[place : place + length] * random.choice([1, 50])
    else:
        content[place : place + length] = bytes(length)
    return accident, bytes(content)


def chunk(name, content):
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(width, height, depth=8, colour=2, content=b"", *more):
    """A PNG with any header; `more` are chunks before the pixels."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"".join(
        [SIGNATURE, chunk(b"IHDR", header), *more, chunk(b"IDAT", zlib.compress(content, 9)), chunk(b"IEND", b"")]
    )


def flat_png(width, height, depth=8, colour=2):
    """A whole PNG of black pixels, which packs a thousand to one."""
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    row = bytes(1 + (width * channels * depth + 7) // 8)
    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    palette = [chunk(b"PLTE", bytes(768))] if colour == 3 else []
    return b"".join([SIGNATURE, chunk(b"IHDR", header), *palette, chunk(b"IDAT", packed), chunk(b"IEND", b"")])


def text_bomb(random: random.Random, megabytes=200):
    """Text or a profile that unpacks to hundreds of megabytes."""
    packed = zlib.compress(bytes(megabytes << 20), 9)
    bomb = random.choice(
        [
            chunk(b"zTXt", b"Comment\0\0" + packed),
            chunk(b"iTXt", b"Comment\0\x01\0\0\0" + packed),
            chunk(b"iCCP", b"icc\0\0" + packed),
        ]
    )
    return png(4, 4, 8, 2, bytes(13 * 4), *[bomb] * random.choice([1, 1, 3]))


def animated(random: random.Random, kind, frames):
    """An animation, of which the first image is red."""
    images = [Image.new("RGB", (16, 16), "red")]
    images += [Image.fromarray(noise(random, 16, 16, 3)) for _ in range(min(frames, 30))] * (frames // 30 + 1)
    file = io.BytesIO()
    images[0].save(file, kind, save_all=True, append_images=images[1:frames], lossless=True)
    return file.getvalue()


def many_scans(side, scans):
    """A progressive JPEG that goes over its image again and again."""
    file = io.BytesIO()
    Image.new("RGB", (side, side), "red").save(file, "JPEG", progressive=True)
    content = file.getvalue()
    last = content.rindex(b"\xff\xda")
    return content[:-2] + content[last:-2] * scans + content[-2:]


def tiff(*entries, tail=b"", after=0):
    """A little-endian TIFF of raw entries (tag, kind, count, value)."""
    directory = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + directory + struct.pack("<I", after) + tail


def absurd_tiff(random: random.Random):
    """Tags that ask for more than there is."""
    big = random.choice([2**31 - 1, 2**32 - 1, 2**24, 65535, 0])
    entries = {
        256: (4, 1, random.choice([16, 40000, 2**31 - 1, 1])),
        257: (4, 1, random.choice([16, 40000, 2**31 - 1, 100_000])),
        258: (3, 1, random.choice([8, 16, 1, 64, 65535])),
        259: (3, 1, random.choice([1, 5, 8, 7, 32773, 34712, 50000])),
        262: (3, 1, random.choice([0, 1, 2, 3, 6])),
        273: (4, 1, 200),
        277: (3, 1, random.choice([1, 3, 4, 65535])),
        278: (4, 1, random.choice([16, 2**32 - 1, 1])),
        279: (4, 1, random.choice([256, 2**32 - 1])),
        322: (4, 1, random.choice([16, 65536])),
        323: (4, 1, random.choice([16, 65536])),
        324: (4, 1, 200),
        325: (4, 1, 256),
    }
    if random.random() < 0.5:
        for tag in (322, 323, 324, 325):
            del entries[tag]
    else:
        for tag in (273, 278, 279):
            del entries[tag]
    for tag in random.sample(sorted(entries), random.randrange(3)):
        kind, _, value = entries[tag]
        entries[tag] = (random.choice([kind, 1, 2, 5, 7, 12, 13, 99]), big, value)
    if random.random() < 0.5:
        entries[random.choice([270, 274, 305, 700, 34665, 34675, 37500])] = (random.choice([2, 3, 4, 5, 7]), big, 8)
    listed = [(tag, *entries[tag]) for tag in sorted(entries)]
    content = random.choice([bytes(2000), random.randbytes(2000), zlib.compress(bytes(50 << 20), 9)])
    return tiff(*listed, tail=content, after=random.choice([0, 0, 8, 2**31]))


def one_strip(side):
    """A TIFF in one strip of four channels of 16 bits, packed a thousand to one."""
    packer = zlib.compressobj(9)
    row = bytes(side * 8)
    packed = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    entries = [
        (256, 4, 1, side),
        (257, 4, 1, side),
        (258, 3, 4, 200),
        (259, 3, 1, 8),
        (262, 3, 1, 2),
        (273, 4, 1, 216),
        (277, 3, 1, 4),
        (278, 4, 1, side),
        (279, 4, 1, len(packed)),
        (338, 3, 1, 2),
    ]
    start = tiff(*entries)
    return start + bytes(200 - len(start)) + struct.pack("<4H", 16, 16, 16, 16) + bytes(8) + packed


def absurd_headers(random: random.Random):
    """Small files of all formats that claim to be huge, or are of another program."""
    big = random.choice([30_000, 65_535, 100_000, 2**31 - 1])
    return random.choice(
        [
            ("a PNG header", png(big, random.choice([1, big]))),
            ("a PNG header of 16 bits", png(big, big, 16, random.choice([0, 2, 4, 6]))),
            (
                "a GIF screen",
                b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0, 0, 0) + b"\x2c" + bytes(9) + b"\x02\0;",
            ),
            ("a BMP header", b"BM" + struct.pack("<IIIIiiHHIIiiII", 54, 0, 54, 40, big, big, 1, 24, 0, 0, 1, 1, 0, 0)),
            (
                "a BMP of a long header",
                b"BM" + struct.pack("<III", 54, 0, 54) + struct.pack("<I", 2**32 - 1) + bytes(40),
            ),
            ("a PPM header", f"P6 {big} {big} 65535\n".encode()),
            ("a PGM in text", f"P2 {big} 1 255\n".encode() + b"1 " * 1000),
            ("a WebP canvas", b"RIFF\x1e\0\0\0WEBPVP8X\x0a\0\0\0\x10\0\0\0\xff\x3f\0\xff\x3f\0ALPH\0\0\0\0"),
            (
                "a JPEG 2000",
                b"\xff\x4f\xff\x51\x00\x2f\0\0"
                + struct.pack(">8IH", big, big, 0, 0, big, big, 0, 0, 3)
                + b"\7\1\1" * 3,
            ),
            ("a program for a printer", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100000 100000\n%%EndComments\n"),
            ("a PDF", b"%PDF-1.4\n"),
            ("a page", b"<html><body>404</body></html>"),
            ("nothing", b""),
            ("an archive", b"PK\x03\x04" + bytes(100)),
            ("an icon", b"\0\0\1\0\1\0\0\0\0\0\1\0\x20\0\xff\xff\xff\x7f\x16\0\0\0" + png(big, big)),
        ]
    )

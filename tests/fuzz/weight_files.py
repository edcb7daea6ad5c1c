"""Files of weights made for the campaign: good ones, and hostile ones that are made byte by byte."""

import io
import json
import pickle
import struct
import tarfile
import zipfile
from collections import OrderedDict

import torch
from safetensors.torch import save
from torch import nn


def model():
    """A small network with fixed weights, of all kinds of tensors."""
    generator = torch.Generator().manual_seed(0)
    built = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 5))
    for parameter in built.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator)
    return built.eval()


def state(random):
    """Weights of that network."""
    generator = torch.Generator().manual_seed(random.getrandbits(32))
    return OrderedDict(
        (key, torch.randn(value.shape, generator=generator).abs().to(value.dtype))
        for key, value in model().state_dict().items()
    )


def archive(content):
    """As torch.save writes it."""
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


def old(content):
    """As torch.save wrote it before version 1.6."""
    file = io.BytesIO()
    torch.save(content, file, _use_new_zipfile_serialization=False)
    return file.getvalue()


def safetensors(content):
    """With a header and no checksum."""
    return save(dict(content))


def repacked(content, kind=zipfile.ZIP_DEFLATED):
    """An archive of torch.save, packed by another program."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as before, zipfile.ZipFile(file, "w", kind) as after:
        for entry in before.infolist():
            after.writestr(entry.filename, before.read(entry))
    return file.getvalue()


def with_pickle(pickled, kind=zipfile.ZIP_STORED, **data):
    """An archive of torch.save with any pickle in it."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", kind, compresslevel=1) as made:
        made.writestr("archive/data.pkl", pickled)
        made.writestr("archive/version", "3\n")
        for key, content in data.items():
            made.writestr(f"archive/data/{key.strip('_')}", content)
    return file.getvalue()


def called(module, name, arguments, times=1):
    """A pickle of {"fc.weight": module.name(*arguments)}, as protocol 2 writes it."""
    call = b"c" + module.encode() + b"\n" + name.encode() + b"\n" + arguments + b"R"
    return b"\x80\x02}(" + b"".join(b"X\x02\0\0\0w" + bytes([65 + k]) + call for k in range(times)) + b"u."


def storage(n_numbers, key=b"0", kind=b"FloatStorage"):
    """What refers to a storage of so many numbers."""
    length = b"\x8a\x08" + struct.pack("<q", n_numbers)
    names = b"X\x07\0\0\0storagectorch\n" + kind + b"\nX" + struct.pack("<I", len(key)) + key + b"X\x03\0\0\0cpu"
    return b"(" + names + length + b"tQ"


def tensor(n_numbers, shape, stride=(1,), offset=0, key=b"0", kind=b"FloatStorage"):
    """A pickle of {"w": one tensor} on such a storage."""

    def numbers(values):
        return b"(" + b"".join(b"\x8a\x08" + struct.pack("<q", value) for value in values) + b"t"

    ends = b"\x8a\x08" + struct.pack("<q", offset) + numbers(shape) + numbers(stride)
    empty = b"\x89ccollections\nOrderedDict\n)R"
    body = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage(n_numbers, key, kind) + ends + empty + b"tR"
    return b"\x80\x02}X\x01\0\0\0w" + body + b"s."


def nested_tuples(depth):
    """A key of a dictionary whose hash takes 2 ** depth steps."""
    levels = b"".join(b"q" + bytes([k]) + b"h" + bytes([k]) + b"\x86" for k in range(depth))
    return b"\x80\x02})" + levels + b"K\x01s."


def big_safetensors(header, data=b""):
    """Any header, with its length before it."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def overlapping(times, length):
    """An archive with many entries that are one and the same data."""
    file = io.BytesIO()
    keys = [f"k{number}" for number in range(times)]
    with zipfile.ZipFile(file, "w") as made:
        pickled = pickle.dumps({}, protocol=2)
        made.writestr("archive/data.pkl", pickled)
        made.writestr("archive/data/0", bytes(length))
        first = made.infolist()[-1]
        for key in keys:
            entry = zipfile.ZipInfo(f"archive/data/{key}")
            entry.header_offset, entry.CRC = first.header_offset, first.CRC
            entry.file_size = entry.compress_size = length
            made.filelist.append(entry)
            made.NameToInfo[entry.filename] = entry
    return file.getvalue()


class Evil:
    """Something whose pickle runs code."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def tar():
    """The archive of torch's first versions."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as made:
        for name in ("storages", "tensors", "pickle"):
            entry = tarfile.TarInfo(name)
            entry.size = 16
            made.addfile(entry, io.BytesIO(bytes(16)))
    return file.getvalue()


def prefixed(content):
    """An archive behind another one, of which readers may find either list."""
    return archive({"other": torch.zeros(3)}) + content

"""Files of references that are damaged, hostile, of another format, or no files."""

import json
import tempfile
import warnings
from functools import lru_cache
from pathlib import Path

import torch

from captum_ext.references import ReferenceDistribution
from tests.fuzz.base_folders import PRECIOUS, check_precious, no_file, refused_by_name
from tests.fuzz.damages import ODD_VALUES, json_edited, sparse, spoiled
from tests.fuzz.engine import Broken, Case, Outcome, in_child

NAME = "reference-files"
SAYS = "a file of references with another header, other sizes or bytes, or a link, pipe or folder in its place"
MEGABYTES = 1500


@lru_cache(maxsize=1)
def fitted():
    samples = torch.linspace(0, 1, 24).reshape(12, 2)
    return ReferenceDistribution.fit(lambda a, b: a + b, (samples, samples * 3), n_neighborhoods=2, n_references=3)


@lru_cache(maxsize=1)
def content_of_references():
    """The bytes of a file."""
    with tempfile.TemporaryDirectory() as folder:
        fitted().save(Path(folder) / "references.safetensors")
        return (Path(folder) / "references.safetensors").read_bytes()


def tensors_of(one):
    parts = [part for i in range(len(one.references)) for part in one.references_as_tuple(i)]
    return [*parts, *one.density, one.centers, *([] if one.probe_outputs is None else [one.probe_outputs])]


def same_references(found):
    pairs = zip(tensors_of(found), tensors_of(fitted()), strict=False)
    counts = len(tensors_of(found)) == len(tensors_of(fitted()))
    return counts and found.metadata == fitted().metadata and all(torch.equal(*pair) for pair in pairs)


def case(random, folder):
    """One damage, to one file."""
    content, path = content_of_references(), folder / "references.safetensors"
    path.write_bytes(content)
    (folder / "precious").write_bytes(PRECIOUS)
    about, ours = random.choice([edited_header, spoiled_content, put_in_place, other_layout, odd_length])(random, path)
    return Case(about, lambda: in_child(lambda: tried(path, ours), MEGABYTES))


def tried(path, ours):
    """Right, or refused by name; what was read stays as it is when the file does not."""
    with warnings.catch_warnings(), refused_by_name(path) as refused:
        warnings.simplefilter("error")
        try:
            found = ReferenceDistribution.load(path)
        except FileNotFoundError as error:
            if str(path) not in str(error):
                raise
            return Outcome.REFUSED
        if ours and not same_references(found):
            raise Broken("other references without a word")
        check_copies(path, found)
    check_precious(path.parent)
    if (path.parent / "executed").exists():
        raise Broken("code of the file was executed")
    return Outcome.REFUSED if refused else Outcome.RIGHT


def check_copies(path, found):
    """References that were read do not know the file any more."""
    before = [tensor.clone() for tensor in tensors_of(found)]
    with path.open("rb+") as file:
        file.write(bytes(path.stat().st_size))
    if not all(torch.equal(*pair) for pair in zip(before, tensors_of(found), strict=True)):
        raise Broken("writing into the file changes what was read")
    with path.open("rb+") as file:
        file.truncate(0)
    if not all(torch.equal(*pair) for pair in zip(before, tensors_of(found), strict=True)):
        raise Broken("the end of the file changes what was read")


def header_and_data(content):
    size = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + size]), content[8 + size :]


def with_header(header, data, spaces=0):
    text = (header if isinstance(header, bytes) else json.dumps(header).encode()) + b" " * spaces
    return len(text).to_bytes(8, "little") + text + data


def edited_header(random, path):
    """The header's JSON is another; perhaps the digest is gone, as in older files."""
    header, data = header_and_data(path.read_bytes())
    without = random.random() < 0.5
    if without:
        del header["__metadata__"]["digest"]
    if random.random() < 0.4:
        settings = json.loads(header["__metadata__"]["settings"])
        about = json_edited(random, settings)
        header["__metadata__"]["settings"] = json.dumps(settings)
    else:
        about = json_edited(random, header)
    path.write_bytes(with_header(header, data))
    return f"header: {about}{', no digest' if without else ''}", not without


def spoiled_content(random, path):
    """The bytes are others."""
    if random.random() < 0.1:
        sparse(path, random.choice([2**31, 2**40]))
        return "a file that says it is large", True
    name, content = spoiled(random, path.read_bytes(), path.parent)
    path.write_bytes(content)
    return name, True


def put_in_place(random, path):
    """A link, a pipe, a folder or a socket; a link that a user names is followed."""
    return no_file(random, path, path.parent), True


def other_layout(random, path):
    """Tensors of other types, sizes or places, with a header that fits them more or less."""
    header, data = header_and_data(path.read_bytes())
    header["__metadata__"].pop("digest")
    name = random.choice([name for name in header if name != "__metadata__"])
    entry = header[name]
    kind = random.choice(["dtype", "shape", "offsets", "more", "values"])
    if kind == "dtype":
        entry["dtype"] = random.choice(["F64", "F16", "BF16", "I64", "BOOL", "F8_E4M3", "C64", "F4", "x", 7])
    elif kind == "shape":
        entry["shape"] = random.choice([[], [0], [2**62, 4], [-1], [1] * 100, [2**32, 2**32], [0, 2**62], [1.5], "x"])
    elif kind == "offsets":
        entry["data_offsets"] = random.choice(
            [[0, 2**63], [-8, 0], [8, 0], [0, 0], [2**64, 2**65], [0], [0, 8, 9], None]
        )
    elif kind == "more":
        header |= {f"references.{i}.0": entry for i in range(2, random.choice([3, 50_000]))}
    else:
        data = random.choice([b"\x00\x00\xc0\x7f", b"\xff\xff\x7f\x7f"]) * (len(data) // 4)
    path.write_bytes(with_header(header, data))
    return f"{name}: {kind} {str(entry)[:100]}", False


def odd_length(random, path):
    """The first eight bytes, or the space around the JSON, are others."""
    header, data = header_and_data(path.read_bytes())
    kind = random.choice(["length", "spaces", "text"])
    if kind == "length":
        content = path.read_bytes()
        size = random.choice([0, 1, 2, 100, len(content), 2**31, 2**62, 2**64 - 1])
        path.write_bytes(size.to_bytes(8, "little") + content[8:])
        return f"length {size}", True
    if kind == "spaces":
        path.write_bytes(with_header(header, data, random.choice([1, 1000, 10**6])))
        return "spaces behind the header", True
    text = random.choice(
        [json.dumps(random.choice(ODD_VALUES[:14])).encode(), b"[" * 100_000, b"\xff\xfe", b"{}", b"9" * 9999]
    )
    path.write_bytes(with_header(text, data))
    return f"header {text[:20]!r}", True

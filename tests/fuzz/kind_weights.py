"""Files of weights: good ones in all forms, damaged ones, hostile ones, and what is no file."""

import os
import pickle
import warnings
import zipfile
import zlib

import torch

from captum_ext.exceptions import ModelLoadError
from captum_ext_integrations.cli.weights import load_weights
from tests.fuzz import weight_files as files
from tests.fuzz.engine import Broken, Case, Outcome, in_child
from tests.fuzz.image_files import damaged

NAME = "weights"
SAYS = "a good, damaged or hostile file of weights"
MEGABYTES = 1500


def case(random, folder):
    """One file."""
    return random.choice([_good, _flipped, _flipped, _damaged, _damaged, _odd, _hostile, _hostile, _no_file])(
        random, folder
    )


def written(folder, content, suffix):
    path = folder / f"weights{suffix}"
    path.write_bytes(content)
    return path


def _loaded(path):
    """The weights of a model that read a file; None where it was refused with the file's name."""
    model = files.model()
    try:
        load_weights(model, path, "small")
    except ModelLoadError as error:
        if str(path) not in str(error) or "small" not in str(error):
            raise Broken(f"an error without the names of file and model: {error}") from error
        if "\n" in str(error):
            raise Broken(f"an error of several lines: {error}") from error
        return None
    except Exception as error:
        raise Broken(f"an error from the depths: {type(error).__name__}: {error}") from error
    return {key: value.clone() for key, value in model.state_dict().items()}


def _same(loaded, state):
    return all(torch.equal(loaded[key], value.to(loaded[key].dtype)) for key, value in state.items())


def _must_be(path, state):
    loaded = _loaded(path)
    if loaded is None:
        raise Broken("a good file is refused")
    if not _same(loaded, state):
        raise Broken("other weights than were saved")
    return Outcome.RIGHT


def _good(random, folder):
    state = files.state(random)
    dtype = random.choice([torch.float32, torch.float32, torch.float16, torch.bfloat16, torch.float64])
    state = {key: value.to(dtype) if value.is_floating_point() else value for key, value in state.items()}
    if random.random() < 0.3:
        state["0.weight"] = state["0.weight"] * float("nan") if random.random() < 0.5 else state["0.weight"] / 0
    forms = {
        "an archive": (lambda: files.archive(state), ".pth"),
        "an old file": (lambda: files.old(state), ".pt"),
        "safetensors": (lambda: files.safetensors(state), ".safetensors"),
        "a packed archive": (lambda: files.repacked(files.archive(state)), ".pth"),
        "parameters": (
            lambda: files.archive({key: torch.nn.Parameter(value, False) for key, value in state.items()}),
            "",
        ),
        "views of one tensor": (lambda: files.archive(_views(state)), ".bin"),
    }
    form = random.choice(sorted(forms))
    make, suffix = forms[form]
    path = written(folder, make(), suffix)
    return Case(f"{form} of {dtype}", lambda: _must_be_or_nan(path, state))


def _views(state):
    flat = torch.cat([value.flatten().to(torch.float64) for value in state.values()])
    views, start = {}, 0
    for key, value in state.items():
        views[key] = flat[start : start + value.numel()].view(value.shape)
        start += value.numel()
    return views


def _must_be_or_nan(path, state):
    loaded = _loaded(path)
    if loaded is None:
        raise Broken("a good file is refused")
    for key, value in state.items():
        if not torch.equal(loaded[key].nan_to_num(), value.to(loaded[key].dtype).nan_to_num()):
            raise Broken(f"other weights than were saved: {key}")
    return Outcome.RIGHT


def _flipped(random, folder):
    """Flipped bits of an archive, which has checksums: seen, or harmless."""
    state = files.state(random)
    content = bytearray(random.choice([files.archive, lambda one: files.repacked(files.archive(one))])(state))
    places = [random.randrange(len(content)) for _ in range(random.choice([1, 1, 1, 5]))]
    for place in places:
        content[place] ^= 1 << random.randrange(8)
    path = written(folder, bytes(content), ".pth")
    return Case(f"an archive with flipped bits at {places}", lambda: in_child(lambda: _seen(path, state), MEGABYTES))


def _seen(path, state):
    loaded = _loaded(path)
    if loaded is None:
        return Outcome.REFUSED
    if not _same(loaded, state):
        raise Broken("other weights without a word")
    return Outcome.RIGHT


def _damaged(random, folder):
    """A file after an accident. Old files and safetensors have no checksums: their numbers may be others."""
    state = files.state(random)
    form = random.choice(["archive", "old", "safetensors"])
    accident, content = damaged(random, getattr(files, form)(state))
    path = written(folder, content, ".safetensors" if form == "safetensors" else ".pth")
    check = _seen if form == "archive" or accident == "cut off" else _refused_or_read
    return Case(f"{form}, {accident}", lambda: in_child(lambda: check(path, state), MEGABYTES))


def _refused_or_read(path, _):
    return Outcome.REFUSED if _loaded(path) is None else Outcome.RIGHT


def _odd(random, folder):
    """Tensors that are no weights, of the right names and shapes."""
    state = dict(files.state(random))
    key = random.choice(["0.weight", "3.weight"])
    value = state[key]
    odd = {
        "sparse": lambda: value.to_sparse(),
        "sparse in rows": lambda: torch.zeros(5, 16).to_sparse_csr(),
        "meta": lambda: value.to("meta"),
        "complex": lambda: value.to(torch.complex64),
        "whole numbers": lambda: value.to(torch.int8),
        "truths": lambda: value > 0,
        "quantized": lambda: torch.quantize_per_tensor(value, 0.1, 0, torch.qint8),
        "of another shape": lambda: value[:1],
        "expanded to a million": lambda: torch.zeros(1).expand(10**6, 10**6),
        "no tensor": lambda: [1.0],
        "a number": lambda: 3,
        "nothing": lambda: None,
    }
    label = random.choice(sorted(odd))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what is in beta, or no longer
            state[key] = odd[label]()
        content = files.archive({**state, 7: value} if random.random() < 0.1 else state)
    except (RuntimeError, NotImplementedError):  # this torch has none of these
        label, content = "a list", files.archive([value])
    path = written(folder, content, ".pth")
    return Case(f"{key} is {label}", lambda: in_child(lambda: _must_be_refused(path), MEGABYTES))


def _must_be_refused(path):
    if _loaded(path) is not None:
        raise Broken("it was read")
    return Outcome.REFUSED


def _hostile(random, folder):
    label = random.choice(sorted(HOSTILE))
    suffix = ".safetensors" if label.startswith("safetensors") else ".pth"
    path = written(folder, HOSTILE[label](random, folder), suffix)
    about = f"{label}, {path.stat().st_size} bytes"

    def run():
        in_child(lambda: _must_be_refused(path), MEGABYTES)
        if (folder / "executed").exists():
            raise Broken("code of the file ran")
        return Outcome.REFUSED

    return Case(about, run)


def _deflated(random, _):
    size = random.choice([100, 2000]) << 20
    return files.with_pickle(files.tensor(size // 4, (size // 4,)), zipfile.ZIP_DEFLATED, _0=bytes(size))


def _number(random):
    return random.choice([10**7, 10**10, 2**40, 2**62, -1])


def _eight_bytes(random):
    return _number(random).to_bytes(8, "little", signed=True)


def _entry(shape, dtype="F32", places=(0, 64)):
    return {"0.weight": {"dtype": dtype, "shape": shape, "data_offsets": places}}


def _json(header):
    return lambda random, _: files.big_safetensors(header(random) if callable(header) else header, bytes(64))


HOSTILE = {
    "a packed archive of gigabytes": _deflated,
    "an archive of entries that are one": lambda random, _: files.overlapping(random.choice([10, 3000]), 900_000),
    "an archive behind another": lambda random, _: files.prefixed(files.archive(files.state(random))),
    "an archive with something behind it": lambda random, _: files.archive(files.state(random)) + bytes(30),
    "a storage longer than its data": lambda random, _: files.with_pickle(
        files.tensor(_number(random), (random.choice([3, 10**7]),)), _0=bytes(64)
    ),
    "a storage without data": lambda random, _: files.with_pickle(files.tensor(10, (10,))),
    "a tensor longer than its storage": lambda random, _: files.with_pickle(
        files.tensor(16, (_number(random),), (random.choice([0, 1, -1]),), random.choice([0, 10**9])), _0=bytes(64)
    ),
    "a bytearray of any length": lambda random, _: files.with_pickle(
        files.called("__builtin__", "bytearray", b"\x8a\x08" + _eight_bytes(random) + b"\x85")
    ),
    "a tensor that is called": lambda random, _: files.with_pickle(
        files.called(random.choice(["torch", "torch.sparse"]), "FloatTensor", b"J\0\0\0\x40\x85", 50)
    ),
    "a program": lambda random, folder: files.archive({"w": files.Evil(folder / "executed")}),
    "a program in an old file": lambda random, folder: files.old({"w": files.Evil(folder / "executed")}),
    "a bare program": lambda random, folder: pickle.dumps(files.Evil(folder / "executed"), random.randrange(6)),
    "a memo of billions": lambda random, _: files.with_pickle(b"\x80\x02}r" + b"\xff" * 4 + b"."),
    "a key that takes years": lambda random, _: files.with_pickle(files.nested_tuples(random.choice([30, 60, 200]))),
    "a long number": lambda random, _: files.with_pickle(b"\x80\x02\x8b\0\0\x0f\0" + b"\x7f" * 0xF0000 + b"."),
    "a million lists": lambda random, _: files.with_pickle(b"\x80\x02" + b"]" * 900_000 + b"."),
    "lists in lists": lambda random, _: files.with_pickle(b"\x80\x02" + b"]" * 90_000 + b"a" * 89_999 + b"."),
    "text of a length": lambda random, _: files.with_pickle(b"\x80\x04\x8d" + b"\xff" * 7 + b"\x0f."),
    "the archive of torch's first versions": lambda random, _: files.tar(),
    "an old file cut off in its pickles": lambda random, _: files.old(files.state(random))[: random.randrange(1, 900)],
    "a list": lambda random, _: random.choice([files.archive, files.old])([torch.zeros(3)]),
    "nothing": lambda random, _: b"",
    "a page": lambda random, _: b"<html>404</html>",
    "zeros": lambda random, _: bytes(random.choice([1, 8, 1000, 10**6])),
    "an archive of something else": lambda random, _: _zipped(random),
    "random bytes": lambda random, _: random.choice([b"", b"PK\x03\x04", b"\x80\x02"]) + random.randbytes(1000),
    "safetensors of a long header": lambda random, _: _eight_bytes(random) + b"{}" * 20,
    "safetensors of lists in lists": _json(b"[" * 900_000),
    "safetensors of a list": _json([1, 2]),
    "safetensors of names without shapes": _json({"0.weight": {"dtype": "F32"}}),
    "safetensors of odd shapes": _json(
        lambda random: _entry(random.choice([[-4, 3], [2**62, 4], [True], "4", [1.5], {"a": 4}, None]))
    ),
    "safetensors of an odd dtype": _json(_entry([16], "F31")),
    "safetensors of odd places": _json(
        lambda random: _entry([16], places=random.choice([[64, 0], [0, 2**62], [8, 72], [], None]))
    ),
    "safetensors of nothing": lambda random, _: b"",
}  # fmt: skip


def _zipped(random):
    import io

    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        for name in random.sample(
            ["a.txt", "archive/data.pkl", "archive/constants.pkl", "/data.pkl", "x/y/data.pkl"], 2
        ):
            made.writestr(name, zlib.compress(b"x"))
    return file.getvalue()


def _no_file(random, folder):
    path = folder / random.choice(["w.pth", "w.safetensors", "a\nb.pth"])
    kind = random.choice(["a pipe", "a folder", "nothing", "a link to itself"])
    if kind == "a pipe":
        os.mkfifo(path)
    elif kind == "a folder":
        path.mkdir()
    elif kind == "a link to itself":
        path.symlink_to(path.name)
    return Case(f"{kind} as {path.suffix}", lambda: _no_weights(path))


def _no_weights(path):
    try:
        load_weights(files.model(), path, "small")
    except ModelLoadError as error:
        if str(path) not in str(error) and repr(str(path)) not in str(error):
            raise Broken(f"an error without the file's name: {error}") from error
        return Outcome.REFUSED
    raise Broken("it was read")

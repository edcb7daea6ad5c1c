"""Samples as people have them: the same rows and references whatever they come in."""

from collections import namedtuple

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.data import ConcatDataset, DataLoader, Dataset, IterableDataset, Subset, TensorDataset

from captum_ext.attr import IntegratedGradients
from captum_ext.dataset import RunOptions, attribute_dataset
from captum_ext.exceptions import ArgumentError, ArgumentTypeError
from captum_ext.images import ImageFolder, image_dataset, image_to_tensor
from captum_ext.references import ReferenceDistribution

N = 7
PIXELS = np.random.default_rng(0).integers(0, 256, (N, 4, 4, 3), dtype=np.uint8)
INPUTS = torch.stack([image_to_tensor(pixels) for pixels in PIXELS])
LABELS = [k % 3 for k in range(N)]
PICTURES = [Image.fromarray(pixels) for pixels in PIXELS]
QUIET = RunOptions(batch_size=3, show_progress=False)


class Model(nn.Module):
    """Three scores, linear in the image; knows how its images are prepared, as adapted models do."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.sin(torch.arange(3.0 * 48)).reshape(3, 48))

    def forward(self, images):
        return images.flatten(1) @ self.weight.T


class Adapted(Model):
    def prepare(self, image):
        return image_to_tensor(image)[None]


class Rows(Dataset):
    def __init__(self, make):
        self.make = make

    def __len__(self):
        return N

    def __getitem__(self, index):
        if index >= N:
            raise IndexError(index)
        return self.make(index)


class Stream(IterableDataset):
    def __init__(self, make):
        self.make = make

    def __iter__(self):
        return map(self.make, range(N))


class Again:
    """An iterable that begins anew, of no class that torch knows."""

    def __init__(self, make):
        self.make = make

    def __iter__(self):
        return map(self.make, range(N))


Feature = {name: type(name, (), {}) for name in ("Image", "ClassLabel", "Value")}


class HuggingFace:
    """A stand-in for `datasets.Dataset`: rows are dictionaries, columns have types, and no class of torch's."""

    features = {"id": Feature["Value"](), "photo": Feature["Image"](), "animal": Feature["ClassLabel"]()}  # noqa: RUF012
    _fingerprint = "abc"

    def __len__(self):
        return N

    def __getitem__(self, index):
        return {"id": 100 + index, "photo": PICTURES[index], "animal": LABELS[index]}


class HuggingFaceStream(Again):
    features = HuggingFace.features

    def __init__(self):
        super().__init__(HuggingFace().__getitem__)


Pair = namedtuple("Pair", ["img", "cls"])
MAKERS = {
    "dictionaries of pictures": lambda k: {"image": PICTURES[k], "label": LABELS[k]},
    "dictionaries of arrays": lambda k: {"img": PIXELS[k], "cls": LABELS[k]},
    "dictionaries of bytes in tensors": lambda k: {
        "image": torch.from_numpy(PIXELS[k]).permute(2, 0, 1),
        "label": torch.tensor(LABELS[k]),
    },
    "dictionaries of inputs": lambda k: {"pixel_values": INPUTS[k], "labels": LABELS[k]},
    "dictionaries with other things": lambda k: {
        "__key__": f"{k:05}",
        "jpg": PICTURES[k],
        "boxes": np.zeros((2, 4)),
        "cls": LABELS[k],
    },
    "tuples of pictures": lambda k: (PICTURES[k], LABELS[k]),
    "lists of pictures": lambda k: [PICTURES[k], LABELS[k]],
    "named tuples": lambda k: Pair(PICTURES[k], LABELS[k]),
    "pictures of palettes": lambda k: (PICTURES[k].convert("RGB").convert("RGBA"), LABELS[k]),
}
SHAPES = {"by index": Rows, "in order": Stream, "a list": lambda make: [make(k) for k in range(N)], "again": Again}


def rows_of(dataset, out, model=None):
    found = attribute_dataset(
        IntegratedGradients(model or Adapted()),
        dataset,
        out,
        target="label",
        attribute_kwargs={"n_steps": 2},
        run=QUIET,
    )
    assert not found.failures
    return found.table(["index", "target", "score"]).to_pydict(), found.maps()


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    return rows_of(TensorDataset(INPUTS, torch.tensor(LABELS)), tmp_path_factory.mktemp("expected"))


@pytest.fixture(scope="module")
def fitted():
    return ReferenceDistribution.fit(Model(), INPUTS, 1, 3)


def same_fit(one, other):
    return all(
        torch.equal(a, b) for a, b in zip(one.references + one.density, other.references + other.density, strict=True)
    )


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize("shape", SHAPES)
def test_samples_of_every_form_give_the_same_rows_and_references(maker, shape, expected, fitted, tmp_path):
    samples = SHAPES[shape](MAKERS[maker])
    length = None if shape in ("by index", "a list") else N
    prepared = image_dataset(samples, image_to_tensor, length=length)
    rows, maps = rows_of(prepared, tmp_path / "a")
    assert rows == expected[0]
    assert torch.equal(maps, expected[1])
    assert same_fit(ReferenceDistribution.fit(Model(), prepared, 1, 3), fitted)
    assert [label for _, label in DataLoader(prepared, batch_size=None)] == LABELS


@pytest.mark.parametrize("maker", MAKERS)
def test_a_model_that_prepares_its_images_takes_samples_as_they_are(maker, expected, fitted, tmp_path):
    rows, maps = rows_of(Rows(MAKERS[maker]), tmp_path / "a")
    assert rows == expected[0]
    assert torch.equal(maps, expected[1])
    for shape in ("by index", "in order"):
        assert same_fit(ReferenceDistribution.fit(Adapted(), SHAPES[shape](MAKERS[maker]), 1, 3), fitted)
    if "inputs" not in maker and "arrays" not in maker and "bytes" not in maker:  # which may be batches there
        for shape in ("a list", "again"):
            assert same_fit(ReferenceDistribution.fit(Adapted(), SHAPES[shape](MAKERS[maker]), 1, 3), fitted)


def test_columns_that_a_data_set_declares_are_taken(expected, fitted, tmp_path):
    assert rows_of(HuggingFace(), tmp_path / "a")[0] == expected[0]
    for samples in (HuggingFace(), HuggingFaceStream()):
        assert same_fit(ReferenceDistribution.fit(Adapted(), samples, 1, 3), fitted)
        assert same_fit(ReferenceDistribution.fit(Model(), image_dataset(samples, image_to_tensor), 1, 3), fitted)


def test_batches_in_dictionaries_are_read_as_a_loader_makes_them(expected, fitted, tmp_path):
    def collate(rows):
        return {
            "labels": torch.tensor([row["animal"] for row in rows]),
            "pixel_values": INPUTS[[row["id"] - 100 for row in rows]],
        }

    loader = DataLoader(HuggingFace(), batch_size=3, collate_fn=collate)
    assert rows_of(loader, tmp_path / "a", Model())[0] == expected[0]
    loader = DataLoader(HuggingFace(), batch_size=N, collate_fn=collate)  # as many at once as the others: same rounding
    assert same_fit(ReferenceDistribution.fit(Model(), loader, 1, 3), fitted)


def test_a_loader_of_pictures_says_what_makes_tensors_of_them(fitted):
    rows = Rows(MAKERS["tuples of pictures"])
    with pytest.raises(ArgumentTypeError, match=r"image_dataset\(samples, prepare\) makes tensors of images"):
        ReferenceDistribution.fit(Model(), DataLoader(rows, batch_size=N), 1, 3)
    loader = DataLoader(image_dataset(rows, image_to_tensor), batch_size=N, num_workers=1)
    assert same_fit(ReferenceDistribution.fit(Model(), loader, 1, 3), fitted)


@pytest.mark.parametrize("shape", ["by index", "in order"])
def test_a_collation_of_the_caller_gets_prepared_samples(shape, expected, tmp_path):
    def collate(pairs):
        return torch.stack([image for image, _ in pairs]), torch.tensor([label for _, label in pairs])

    length = N if shape == "in order" else None
    prepared = image_dataset(SHAPES[shape](MAKERS["tuples of pictures"]), image_to_tensor, length=length)
    assert rows_of(DataLoader(prepared, 3, collate_fn=collate), tmp_path / "a", Model())[0] == expected[0]


def test_data_sets_made_of_prepared_ones_are_data_sets(expected, tmp_path):
    prepared = image_dataset(Rows(MAKERS["tuples of pictures"]), image_to_tensor)
    parts = ConcatDataset([Subset(prepared, range(3)), Subset(prepared, range(3, N))])
    assert rows_of(parts, tmp_path / "a")[0] == expected[0]


def test_a_folder_is_read_by_its_path(tmp_path):
    (tmp_path / "a").mkdir()
    PICTURES[0].save(tmp_path / "a" / "0.png")
    found = image_dataset(tmp_path, image_to_tensor)
    assert isinstance(found, ImageFolder)
    assert torch.equal(found[0][0], INPUTS[0])
    files = image_dataset([(str(tmp_path / "a" / "0.png"), 5)], image_to_tensor)
    assert torch.equal(files[0][0], INPUTS[0])
    assert files[0][1] == 5


@pytest.mark.parametrize(
    "prepare",
    [
        lambda image: {"pixel_values": image_to_tensor(image)[None]},
        lambda image: {"pixel_values": [image_to_tensor(image).numpy()]},
        lambda image: image_to_tensor(image).requires_grad_(),
    ],
)
def test_what_processors_return_is_one_image(prepare):
    image, label = image_dataset([(PICTURES[0], 1)], prepare)[0]
    assert torch.equal(image, INPUTS[0])
    assert not image.requires_grad
    assert label == 1


def test_keys_say_which_of_several_images_is_meant():
    rows = [{"left": PICTURES[0], "right": PICTURES[1], "a": 1, "b": 2}]
    image, label = image_dataset(rows, image_to_tensor, image_key="right", label_key="b")[0]
    assert torch.equal(image, INPUTS[1])
    assert label == 2
    image, label = image_dataset([("x", PICTURES[1], 4)], image_to_tensor, image_key=1, label_key=2)[0]
    assert torch.equal(image, INPUTS[1])
    assert label == 4
    assert len(image_dataset(rows, image_to_tensor, image_key="left")[0]) == 1  # of two integers none is the label


def test_networks_of_one_channel_get_grey():
    image, _ = image_dataset([(PICTURES[0], 0)], lambda seen: image_to_tensor(seen, channels=1), channels=1)[0]
    assert image.shape == (1, 4, 4)


def test_a_stream_goes_on_where_a_run_stopped_and_an_early_end_is_told(expected, tmp_path):
    class Stops(Again):
        def __iter__(self):
            for k in range(N):
                if k == 5:
                    raise KeyboardInterrupt
                yield self.make(k)

    make = MAKERS["tuples of pictures"]
    Stops.__qualname__ = "Again"
    with pytest.raises(KeyboardInterrupt):
        rows_of(image_dataset(Stops(make), image_to_tensor, length=N), tmp_path / "a")
    assert rows_of(image_dataset(Again(make), image_to_tensor, length=N), tmp_path / "a")[0] == expected[0]
    method, nine = IntegratedGradients(Model()), image_dataset(Again(make), image_to_tensor, length=9)
    with pytest.warns(UserWarning, match="2 of 9 samples .* expected 9 samples, but got an end after 7 samples, befo"):
        found = attribute_dataset(method, nine, tmp_path / "b", target="label", run=QUIET)
    assert [failure["index"] for failure in found.failures] == [7, 8]


def test_an_image_that_cannot_be_read_is_a_failure_of_its_sample(tmp_path):
    def make(index):
        return {"image": Image.new("I", (4, 4)) if index == 2 else PICTURES[index], "label": 0}

    with pytest.warns(UserWarning, match="1 of 7 samples have no row.*`image` to be of 8 or 16 bits without sign"):
        attribute_dataset(IntegratedGradients(Adapted()), Rows(make), tmp_path / "a", target="label", run=QUIET)


def test_how_samples_are_read_is_part_of_a_run(tmp_path):
    rows = Rows(MAKERS["tuples of pictures"])
    rows_of(image_dataset(rows, image_to_tensor), tmp_path / "a")
    with pytest.raises(ValueError, match="dataset.format.prepare was"):
        rows_of(image_dataset(rows, lambda image: 1 - image_to_tensor(image)), tmp_path / "a")


def both(samples, tmp_path, error, message):
    """The same mistake in a fit and in a run."""
    with pytest.raises(error, match=message):
        ReferenceDistribution.fit(Model(), samples)
    with pytest.raises(error, match=message):
        attribute_dataset(IntegratedGradients(Model()), samples, tmp_path / "out", target=0, run=QUIET)


@pytest.mark.parametrize(
    ("samples", "error", "message"),
    [
        (
            Rows(MAKERS["tuples of pictures"]),
            ArgumentTypeError,
            r"to be images with a `prepare` of theirs, as in .*image_dat",
        ),
        (Rows(MAKERS["dictionaries of arrays"]), ArgumentTypeError, "to be images with a `prepare` of theirs"),
        (HuggingFace(), ArgumentTypeError, "to be images with a `prepare` of theirs"),
        (
            Rows(lambda k: {"a": PICTURES[k], "b": PICTURES[k]}),
            ArgumentError,
            r"`image_key` to be given.*with \['a', 'b'\]",
        ),
        (Rows(lambda k: {"label": k}), ArgumentTypeError, "or of dictionaries with an image, but got dict"),
        (
            {"train": HuggingFace(), "test": HuggingFace()},
            ArgumentTypeError,
            "of several splits name one, but got those of",
        ),
        (
            image_dataset(Rows(MAKERS["tuples of pictures"]), lambda image: None),
            ArgumentTypeError,
            r"`prepare` to be a function that returns a tensor",
        ),
        (
            image_dataset(HuggingFace(), image_to_tensor, image_key="x"),
            ArgumentError,
            r"`image_key` to be one of \['id', ",
        ),
        (
            image_dataset(HuggingFace(), image_to_tensor, label_key="x"),
            ArgumentError,
            r"`label_key` to be one of \['id', ",
        ),
    ],
)
def test_what_cannot_be_known_of_samples_is_asked_for(samples, error, message, tmp_path):
    if "returns a tensor" in message:  # of each sample by itself
        with pytest.raises(error, match=message):
            ReferenceDistribution.fit(Model(), samples)
        with pytest.warns(UserWarning, match=message):
            attribute_dataset(IntegratedGradients(Model()), samples, tmp_path / "out", target=0, run=QUIET)
        return
    both(samples, tmp_path, error, message)


def test_what_is_read_once_only_is_refused(tmp_path):
    generator = (MAKERS["tuples of pictures"](k) for k in range(N))
    with pytest.raises(ArgumentTypeError, match=r"can be read twice \(an iterator or generator cannot: give an object"):
        image_dataset(generator, image_to_tensor)
    both(generator, tmp_path, ArgumentTypeError, "read twice|with a length and an index")

    class Once(IterableDataset):
        def __init__(self):
            self.rows = map(MAKERS["tuples of pictures"], range(N))

        def __iter__(self):
            return self.rows

    with pytest.raises(
        ArgumentError, match="to be the same at every reading .* but got 0 samples at the second reading"
    ):
        ReferenceDistribution.fit(Adapted(), Once(), 1, 2)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((7,), {}, ArgumentTypeError, "`samples` to be with len and an index, or an iterable"),
        (([], 3), {}, ArgumentTypeError, "`prepare` to be a function of a Pillow image"),
        (([],), {"length": 3}, ArgumentError, "`length` to be given for an iterable without an index only"),
        ((Again(int),), {"length": 0}, ArgumentError, "`length` to be a positive integer|`length`"),
        (([],), {"channels": 4}, ArgumentError, "`channels` to be 3"),
    ],
)
def test_arguments_that_cannot_be_used_say_so(arguments, options, error, message):
    with pytest.raises(error, match=message):
        image_dataset(*arguments, **options)


def test_a_stream_needs_its_length_and_no_workers_in_a_run(tmp_path):
    samples = Stream(MAKERS["tuples of pictures"])
    method = IntegratedGradients(Adapted())
    with pytest.raises(ArgumentTypeError, match=r"image_dataset\(samples, prepare, length=...\), but got Stream"):
        attribute_dataset(method, samples, tmp_path / "a", target=0, run=QUIET)
    run = RunOptions(num_workers=2, show_progress=False)
    with pytest.raises(ArgumentError, match="`num_workers` to be 0 for samples that are read in order, but got 2"):
        attribute_dataset(method, image_dataset(samples, length=N), tmp_path / "a", target=0, run=run)


def test_data_sets_of_hugging_face_are_taken_as_they_are(expected, fitted, tmp_path):
    datasets = pytest.importorskip("datasets")
    kinds = {"id": datasets.Value("int64"), "photo": datasets.Image(), "animal": datasets.ClassLabel(3)}
    columns = {"id": list(range(N)), "photo": PICTURES, "animal": LABELS}
    rows = datasets.Dataset.from_dict(columns, features=datasets.Features(kinds))
    assert rows_of(rows, tmp_path / "a")[0] == expected[0]
    assert rows_of(image_dataset(rows, image_to_tensor), tmp_path / "b", Model())[0] == expected[0]
    stream = rows.to_iterable_dataset()
    assert rows_of(image_dataset(stream, image_to_tensor, length=N), tmp_path / "c", Model())[0] == expected[0]
    for samples in (rows, stream, rows.with_format("torch"), rows.with_format("numpy")):
        assert same_fit(ReferenceDistribution.fit(Adapted(), samples, 1, 3), fitted)
    with pytest.raises(ArgumentTypeError, match="of several splits name one"):
        ReferenceDistribution.fit(Adapted(), datasets.DatasetDict({"train": rows}))


def test_columns_that_are_not_decoded_are_read(expected, fitted, tmp_path):
    datasets = pytest.importorskip("datasets")
    kinds = {"photo": datasets.Image(), "animal": datasets.ClassLabel(3)}
    rows = datasets.Dataset.from_dict({"photo": PICTURES, "animal": LABELS}, features=datasets.Features(kinds))
    undecoded = rows.cast_column("photo", datasets.Image(decode=False))
    assert isinstance(undecoded[0]["photo"]["bytes"], bytes)
    assert rows_of(undecoded, tmp_path / "a")[0] == expected[0]
    for samples in (undecoded, undecoded.to_iterable_dataset()):
        assert same_fit(ReferenceDistribution.fit(Adapted(), samples, 1, 3), fitted)


def test_bytes_and_paths_of_files_are_images(tmp_path):
    path = tmp_path / "one.png"
    PICTURES[0].save(path)
    content = path.read_bytes()
    for image in (
        {"bytes": content, "path": None},
        {"bytes": content, "path": "of another machine.png"},
        {"bytes": None, "path": str(path)},
    ):
        for sample in (image, {"id": "a", "photo": image, "label": 2}, (image, 2)):
            found = image_dataset([sample], image_to_tensor)[0]
            assert torch.equal(found if sample is image else found[0], INPUTS[0])
            assert sample is image or found[1] == 2
    grey = image_dataset(
        [{"bytes": content, "path": None}], lambda image: image_to_tensor(image, channels=1), channels=1
    )
    assert grey[0].shape == (1, 4, 4)


def test_bytes_that_are_no_image_are_told_by_their_name():
    for image, message in (
        ({"bytes": b"no image", "path": "cat.png"}, "bytes of cat.png: cannot identify image file"),
        ({"bytes": b"no image", "path": None}, "bytes of an image: cannot identify image file"),
        ({"bytes": None, "path": "missing.png"}, "missing.png"),
    ):
        with pytest.raises(OSError, match=message):
            image_dataset([image], image_to_tensor)[0]
    with pytest.raises(ArgumentTypeError, match="`samples` to be images with a `prepare` of theirs"):
        image_dataset([{"bytes": b"no image", "path": None}])[0]
    with pytest.raises(ArgumentTypeError, match="`samples` to be of tensors"):
        image_dataset([{"bytes": None, "path": None}], image_to_tensor)[0]

"""Saving and loading: what goes in comes out, and a bad file is called one."""

import json
import os

import pytest
import torch
from safetensors.torch import load_file, save_file

from captum_ext.exceptions import ReferenceFileError
from captum_ext.references import ReferenceDistribution


@pytest.fixture
def fitted():
    samples = torch.linspace(0, 1, 24).reshape(12, 2)
    return ReferenceDistribution.fit(lambda a, b: a + b, (samples, samples * 3), n_neighborhoods=2, n_references=3)


def test_a_saved_distribution_comes_back_exactly(fitted, tmp_path):
    fitted.save(tmp_path / "references.safetensors")
    again = ReferenceDistribution.load(tmp_path / "references.safetensors")
    for i in range(2):
        assert torch.equal(again.density[i], fitted.density[i])
        for one, other in zip(again.references[i], fitted.references[i], strict=True):
            assert torch.equal(one, other)
    assert torch.equal(again.centers, fitted.centers)
    assert again.metadata == {"n_samples": 12, "n_neighborhoods": 2, "n_references": 3, "seed": 0}


def test_an_existing_path_is_not_overwritten_unless_asked(fitted, tmp_path):
    path = tmp_path / "references.safetensors"
    path.write_text("precious")
    with pytest.raises(FileExistsError, match=r"references\.safetensors exists; pass overwrite=True"):
        fitted.save(path)
    assert path.read_text() == "precious"
    fitted.save(path, overwrite=True)
    assert len(ReferenceDistribution.load(path).density) == 2


def test_a_failed_save_leaves_no_file_behind(fitted, tmp_path, monkeypatch):
    def fail(*args):
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        fitted.save(tmp_path / "references.safetensors")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("keep", [0, 7, 40, 200, -10])
def test_a_truncated_file_is_called_damaged(fitted, tmp_path, keep):
    path = tmp_path / "references.safetensors"
    fitted.save(path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ReferenceFileError, match=r"references\.safetensors is damaged or incomplete"):
        ReferenceDistribution.load(path)


def test_a_missing_file_is_a_file_not_found_error(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing\.safetensors is not a file"):
        ReferenceDistribution.load(tmp_path / "nothing.safetensors")


def rewritten(path, fitted, change_tensors=lambda t: t, **metadata):
    fitted.save(path)
    settings = json.dumps({"sets": 2, "n_inputs": 2})
    known = {"format": "captum_ext.ReferenceDistribution", "version": "1", "settings": settings}
    save_file(change_tensors(load_file(path)), path, {**known, **metadata})
    return path


def test_a_file_of_a_newer_version_says_so(fitted, tmp_path):
    path = rewritten(tmp_path / "new.safetensors", fitted, version="2")
    with pytest.raises(
        ReferenceFileError, match=r"newer version of captum_ext \(file version 2, this one reads up to 1\)"
    ):
        ReferenceDistribution.load(path)


def test_any_other_safetensors_file_is_refused(tmp_path):
    save_file({"weight": torch.zeros(2)}, tmp_path / "model.safetensors")
    with pytest.raises(ReferenceFileError, match="holds no fitted references"):
        ReferenceDistribution.load(tmp_path / "model.safetensors")


def test_a_missing_folder_is_made_and_a_file_in_its_place_is_named(fitted, tmp_path):
    fitted.save(tmp_path / "new" / "folder" / "references.safetensors")
    assert len(ReferenceDistribution.load(tmp_path / "new" / "folder" / "references.safetensors").density) == 2
    (tmp_path / "file").write_text("mine")
    for inside in ("references.safetensors", "folder/references.safetensors"):
        with pytest.raises(NotADirectoryError, match="file.* is not a folder, and cannot be made one"):
            fitted.save(tmp_path / "file" / inside)


def test_densities_in_double_precision_can_be_saved_and_loaded(tmp_path):
    made = ReferenceDistribution(
        [torch.zeros(2, 3)], [torch.tensor([0.5, 0.5], dtype=torch.float64)], torch.zeros(1, 4)
    )
    made.save(str(tmp_path / "made.safetensors"))
    assert ReferenceDistribution.load(str(tmp_path / "made.safetensors")).density[0].dtype == torch.float64


def without(name):
    return lambda tensors: {key: value for key, value in tensors.items() if key != name}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (without("density.1"), "density.1"),
        (without("references.0.1"), "references.0.1"),
        (without("centers"), "centers"),
        (lambda t: {**t, "density.0": t["density.0"] * 2}, "`density.0.` to be non-negative numbers that sum to one"),
        (
            lambda t: {**t, "references.1.0": t["references.1.0"][:1].clone()},
            "`references.1..1.` to be of 1 rows like the first",
        ),
        (
            lambda t: {**t, "centers": t["centers"][:1].clone()},
            "one set of references, one density and one of the centers",
        ),
    ],
)
def test_contents_that_do_not_belong_together_are_refused(fitted, tmp_path, change, reason):
    path = rewritten(tmp_path / "odd.safetensors", fitted, change)
    with pytest.raises(ReferenceFileError, match=reason):
        ReferenceDistribution.load(path)


def test_what_was_read_does_not_know_the_file_any_more(fitted, tmp_path):
    path = tmp_path / "references.safetensors"
    fitted.save(path)
    again = ReferenceDistribution.load(path)
    path.write_bytes(bytes(path.stat().st_size))
    assert torch.equal(again.references[0][1], fitted.references[0][1])
    with path.open("rb+") as file:
        file.truncate(0)  # of a mapped file, the next look would end the process
    assert torch.equal(again.references[1][0], fitted.references[1][0])
    assert torch.equal(again.centers, fitted.centers)
    again.references[0][0].add_(1)


def test_a_changed_number_is_noticed_by_the_digest(fitted, tmp_path):
    path = tmp_path / "references.safetensors"
    fitted.save(path)
    content = path.read_bytes()
    for place in (-1, -30, -100):
        changed = bytearray(content)
        changed[place] ^= 1
        path.write_bytes(changed)
        with pytest.raises(ReferenceFileError, match=r"references\.safetensors is damaged .*digest .*Put back a copy"):
            ReferenceDistribution.load(path)


def test_a_file_larger_than_allowed_is_not_read(fitted, tmp_path):
    path = tmp_path / "references.safetensors"
    fitted.save(path)
    size = path.stat().st_size
    message = rf"has {size:,} bytes, more than the {size - 1:,} that are read\. Pass a larger `max_bytes`"
    with pytest.raises(ReferenceFileError, match=message):
        ReferenceDistribution.load(path, max_bytes=size - 1)
    assert len(ReferenceDistribution.load(path, max_bytes=size).density) == 2
    with path.open("rb+") as file:
        file.truncate(2**40)
    with pytest.raises(ReferenceFileError, match="more than the 4,294,967,296 that are read"):
        ReferenceDistribution.load(path)


def test_a_link_that_the_user_names_is_followed_and_a_pipe_is_not_waited_for(fitted, tmp_path):
    fitted.save(tmp_path / "references.safetensors")
    (tmp_path / "link").symlink_to(tmp_path / "references.safetensors")
    assert len(ReferenceDistribution.load(tmp_path / "link").density) == 2
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ReferenceFileError, match="pipe is a pipe, where a file is expected"):
        ReferenceDistribution.load(tmp_path / "pipe")
    with pytest.raises(ReferenceFileError, match="is a folder, where a file is expected"):
        ReferenceDistribution.load(tmp_path)


def test_saving_replaces_a_link_and_leaves_what_it_names_alone(fitted, tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "nothing")
    with pytest.raises(FileExistsError, match="link exists; pass overwrite=True"):
        fitted.save(tmp_path / "link")
    fitted.save(tmp_path / "link", overwrite=True)
    assert not (tmp_path / "link").is_symlink()
    assert not (tmp_path / "nothing").exists()


def test_what_a_killed_process_left_is_removed_by_the_next_save(fitted, tmp_path):
    left = tmp_path / ".references.0123456789ab.tmp.safetensors"
    other = tmp_path / ".others.0123456789ab.tmp.safetensors"
    left.write_text("half")
    other.write_text("half of another file")
    fitted.save(tmp_path / "references.safetensors")
    assert not left.exists()
    assert other.exists()


def test_references_that_share_memory_can_be_saved(tmp_path):
    shared = torch.arange(8.0).reshape(4, 2)
    half = torch.tensor([0.5, 0.5])
    made = ReferenceDistribution([shared[:2], shared[2:]], [half, half], shared[:2])
    made.save(tmp_path / "made.safetensors")
    assert torch.equal(ReferenceDistribution.load(tmp_path / "made.safetensors").references[1], shared[2:])


HEADERS = {
    "deep": b"[" * 100_000,
    "a list": b"[]",
    "no offsets": json.dumps({"centers": {"dtype": "F32", "shape": [1]}}).encode(),
    "outside": json.dumps({"centers": {"dtype": "F32", "shape": [2**37], "data_offsets": [0, 2**39]}}).encode(),
    "integers": json.dumps({"centers": {"dtype": "I64", "shape": [1], "data_offsets": [0, 8]}}).encode(),
    "empty": json.dumps({"centers": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}}).encode(),
}


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
def test_a_hostile_header_is_one_named_error(tmp_path, header):
    known = {"format": "captum_ext.ReferenceDistribution", "version": "1", "settings": '{"sets": 1, "n_inputs": 1}'}
    if header.startswith(b"{"):
        header = json.dumps({"__metadata__": known, **json.loads(header)}).encode()
    path = tmp_path / "hostile.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))
    with pytest.raises(ReferenceFileError, match=r"hostile\.safetensors is damaged or incomplete"):
        ReferenceDistribution.load(path)
    path.write_bytes((2**63).to_bytes(8, "little") + header)
    with pytest.raises(ReferenceFileError, match="a header longer than the file"):
        ReferenceDistribution.load(path)


@pytest.mark.parametrize("settings", [{"sets": 10**6, "n_inputs": 10**6}, {"sets": 0}, {"sets": "2"}, {"note": []}, {}])
def test_settings_that_do_not_fit_are_one_named_error(fitted, tmp_path, settings):
    settings = {} if not settings else {"sets": 2, "n_inputs": 2, **settings}
    path = rewritten(tmp_path / "odd.safetensors", fitted, settings=json.dumps(settings))
    with pytest.raises(ReferenceFileError, match=r"odd\.safetensors is damaged or incomplete"):
        ReferenceDistribution.load(path)

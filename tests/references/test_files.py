"""Saving and loading: what goes in comes out, and a bad file is called one."""

import json

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


def test_a_missing_folder_is_named(fitted, tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere is not a folder"):
        fitted.save(tmp_path / "nowhere" / "references.safetensors")


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
        (lambda t: {**t, "centers": t["centers"][:1].clone()}, "one set, one density and one centre"),
    ],
)
def test_contents_that_do_not_belong_together_are_refused(fitted, tmp_path, change, reason):
    path = rewritten(tmp_path / "odd.safetensors", fitted, change)
    with pytest.raises(ReferenceFileError, match=reason):
        ReferenceDistribution.load(path)

"""Ray Data: the rows of the local run, with workers that die."""

import json
import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from captum.attr import GradientShap, Saliency

from captum_ext.attr import IntegratedGradients
from captum_ext.dataset import DatasetAttributions, RunOptions, attribute_dataset
from captum_ext.dataset.manifest import write_manifest
from captum_ext.exceptions import ArgumentError, ArgumentTypeError, RunFolderError
from captum_ext.references import ReferenceDistribution
from tests.dataset.toy import Bent, Images, Linear
from tests.scale.program import BATCH_SIZE, SETTINGS, Noise, make_method

pytestmark = [pytest.mark.scale, pytest.mark.filterwarnings("default")]
ray = pytest.importorskip("ray")
psutil = pytest.importorskip("psutil")
ROOT = Path(__file__).parent.parent.parent
QUIET = RunOptions(show_progress=False)


@pytest.fixture(scope="module", autouse=True)
def cluster():
    path = os.pathsep.join([str(ROOT), str(ROOT / "integrations")])
    runtime = {"env_vars": {"PYTHONPATH": path}}
    ray.init(num_cpus=2, include_dashboard=False, runtime_env=runtime, log_to_driver=False)
    yield
    ray.shutdown()


def explain(*arguments, **keywords):
    from captum_ext_integrations.ray_data import explain

    return explain(*arguments, **{"show_progress": False, **keywords})


def linear():
    return IntegratedGradients(Linear())


def saliency():
    return Saliency(Linear())


def table(n_samples):
    images = np.stack([Images(n_samples)[i][0].numpy() for i in range(n_samples)])
    rows = [{"picture": images[i], "number": i, "class": i % 2} for i in range(n_samples)]
    return ray.data.from_items(rows, override_num_blocks=5)


def columns():
    from captum_ext_integrations.ray_data import Source

    return Source("picture", "number", "class")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    options = RunOptions(BATCH_SIZE, show_progress=False)
    return attribute_dataset(make_method(), Noise(), tmp_path_factory.mktemp("local"), run=options, **SETTINGS)


def workers():
    """Processes of the actors that explain."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        title = " ".join(process.info["cmdline"] or [])
        if "ray::" in title and "MapBatches(Explainer)" in title:
            found.append(process.pid)
    return found


def test_two_workers_of_which_one_is_killed_give_the_rows_of_the_local_run(tmp_path, undisturbed):
    out, killed = tmp_path / "out", []

    def kill_one():
        while len(list(out.glob("rows-*.parquet"))) < 8:
            time.sleep(0.01)
        pids = workers()
        killed.extend(pids)
        os.kill(pids[0], signal.SIGKILL)

    killer = threading.Thread(target=kill_one, daemon=True)
    killer.start()
    found = explain(Noise(), make_method, out, concurrency=2, batch_size=BATCH_SIZE, **SETTINGS)
    killer.join()
    assert len(killed) == 2
    assert found.complete
    assert found.table().equals(undisturbed.table())
    assert torch.equal(found.maps(), undisturbed.maps())
    stored = [index for indices, _ in found.batches() for index in indices.tolist()]
    assert sorted(stored) == list(range(len(Noise())))


def test_a_local_run_goes_on_with_ray(tmp_path, undisturbed):
    out = tmp_path / "out"

    def stop(done, _):
        if done > 2400:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        attribute_dataset(make_method(), Noise(), out, run=RunOptions(BATCH_SIZE, show_progress=stop), **SETTINGS)
    assert 2400 <= len(DatasetAttributions(out)) < 3000
    found = explain(Noise(), make_method, out, concurrency=2, batch_size=BATCH_SIZE, **SETTINGS)
    assert found.table().equals(undisturbed.table())
    assert torch.equal(found.maps(), undisturbed.maps())
    before = {path: path.stat().st_mtime_ns for path in out.glob("rows-*")}
    explain(Noise(), make_method, out, concurrency=2, batch_size=BATCH_SIZE, **SETTINGS)  # nothing to do
    assert before == {path: path.stat().st_mtime_ns for path in out.glob("rows-*")}


def test_a_ray_data_set_gives_the_same_rows(tmp_path):
    local = attribute_dataset(linear(), Images(20), tmp_path / "local", target="label", run=QUIET)
    found = explain(table(20), linear, tmp_path / "ray", target="label", source=columns(), batch_size=4, shard_rows=8)
    assert found.complete
    names = ["index", "target", "prediction"]
    assert found.table(names).equals(local.table(names))
    torch.testing.assert_close(found.maps(), local.maps(), rtol=1e-3, atol=1e-6)
    assert explain(table(20), linear, tmp_path / "ray", target="label", source=columns(), batch_size=4).complete


def random_method():
    return GradientShap(Bent())


def test_random_methods_give_the_rows_of_the_local_run(tmp_path):
    images = np.stack([Images(12)[i][0].numpy() for i in range(12)])
    arguments = {"target": 0, "attribute_kwargs": {"baselines": torch.eye(4).reshape(4, 2, 2, 1), "n_samples": 2}}
    local = attribute_dataset(
        random_method(), Images(12), tmp_path / "a", run=RunOptions(5, show_progress=False), **arguments
    )
    rows = [{"picture": images[i], "number": i} for i in range(12)]
    found = explain(
        ray.data.from_items(rows, override_num_blocks=3),
        random_method,
        tmp_path / "b",
        source=columns().__class__("picture", "number"),
        batch_size=4,
        **arguments,
    )
    assert found.table().equals(local.table())
    assert torch.equal(found.maps(), local.maps())


def test_an_index_that_repeats_is_refused(tmp_path):
    repeated = table(6).map(lambda row: {**row, "number": row["number"] % 3})
    with pytest.raises(ArgumentError, match="an index that differs for every sample"):
        explain(repeated, linear, tmp_path, target=0, source=columns(), batch_size=2, shard_rows=2)


def test_samples_that_fail_are_recorded_by_workers_too(tmp_path):
    with pytest.warns(UserWarning, match="2 of 9 samples have no row"):
        found = explain(Images(9, broken=(1,), nan=(4,)), linear, tmp_path / "out", target=0)
    assert [entry["index"] for entry in found.failures] == [1, 4]
    assert len(found) == 7


def test_both_ends_of_a_group_that_failed_and_were_repaired_leave_its_other_rows(tmp_path):
    arguments = {"target": 0, "batch_size": 8, "shard_rows": 8}
    with pytest.warns(UserWarning, match="2 of 8 samples have no row"):
        first = explain(Images(8, broken=(0, 7)), linear, tmp_path / "ray", **arguments)
    assert first.manifest["done"] == [[1, 6]]
    found = explain(Images(8), linear, tmp_path / "ray", **arguments)
    assert found.complete
    assert found.failures == []
    local = attribute_dataset(linear(), Images(8), tmp_path / "local", target=0, run=QUIET)
    assert found.table(["index", "target", "prediction"]).equals(local.table(["index", "target", "prediction"]))
    torch.testing.assert_close(found.maps(), local.maps(), rtol=1e-3, atol=1e-6)
    manifest = json.loads((tmp_path / "ray" / "manifest.json").read_text())
    write_manifest(tmp_path / "ray" / "manifest.json", {**manifest, "n_done": 6, "done": [[1, 6]]})
    assert explain(Images(8), linear, tmp_path / "ray", **arguments).complete  # the driver died before it wrote that


def named(row):
    return {**row, "picture": row["picture"] * (np.nan if row["number"] == 2 else 1), "file": f"{row['number']}.png"}


def test_failures_and_other_columns_of_a_ray_data_set_are_told_by_name(tmp_path):
    from captum_ext_integrations.ray_data import Source

    source = Source("picture", "number", name="file")
    with pytest.warns(UserWarning, match="1 of 4 samples have no row.*The first: 2.png: NonFiniteError"):
        found = explain(table(4).map(named), linear, tmp_path, target=0, source=source)
    assert [(entry["index"], entry["name"]) for entry in found.failures] == [(2, "2.png")]
    assert found.table(["name"]).to_pydict()["name"] == ["0.png", "1.png", "3.png"]
    other = table(4).map(named).map(lambda row: {**row, "class": str(row["class"])})
    with pytest.raises(RunFolderError, match=r"dataset.types was"):
        explain(other, linear, tmp_path, target=0, source=source)


def total(inputs):
    return inputs.flatten(1).sum(1)


def total_method():
    return IntegratedGradients(total)


def test_images_of_several_sizes_are_refused_as_locally(tmp_path):
    from captum_ext_integrations.ray_data import Source

    mixed = [torch.ones(1, side, side) for side in (2, 3)]
    arguments = {"target": None, "batch_size": 1, "shard_rows": 8}
    with pytest.raises(ArgumentError, match=r"`map_format` to be of one `size` .*, but got \(2, 2\) and \(3, 3\)"):
        explain(ray_table(mixed), total_method, tmp_path / "a", source=Source("picture", "number"), **arguments)
    with pytest.raises(
        ArgumentTypeError, match=r"several sizes need batch_size=1\), but got \(1, 2, 2\) and \(1, 3, 3\)"
    ):
        explain(
            ray_table(mixed),
            total_method,
            tmp_path / "b",
            source=Source("picture", "number"),
            **{**arguments, "batch_size": 2},
        )


def ray_table(images):
    rows = [{"picture": image.numpy(), "number": number} for number, image in enumerate(images)]
    return ray.data.from_items(rows, override_num_blocks=1)


def test_references_from_a_ray_data_set_are_those_of_its_images():
    from captum_ext_integrations.ray_data import Source, fit_references

    n_samples = 30
    images = torch.stack([Images(n_samples)[i][0] for i in range(n_samples)])
    fitted = fit_references(table(n_samples), Linear, 2, 3, source=Source("picture", "number"), batch_size=7)
    # as many rows at once: neighbourhoods of these evenly spaced outputs change places with the last digit
    expected = ReferenceDistribution.fit(Linear(), images, 2, 3, internal_batch_size=7)
    torch.testing.assert_close(fitted.centers, expected.centers)
    for one, other in zip(fitted.references, expected.references, strict=True):
        torch.testing.assert_close(one, other)
    for one, other in zip(fitted.density, expected.density, strict=True):
        torch.testing.assert_close(one, other)


def test_mistakes_are_reported_as_locally(tmp_path):
    from captum_ext_integrations.ray_data import Source, fit_references

    with pytest.raises(ArgumentError, match="an index from 0 to 1, the model's outputs, but got 5 for sample 0"):
        explain(Images(4), linear, tmp_path / "a", target=5)
    with pytest.raises(ArgumentTypeError, match="`make_method` to be a function"):
        explain(Images(4), linear(), tmp_path / "b", target=0)
    with pytest.raises(ArgumentError, match=r"columns of the data set \(picture, number, class\), but got 'image'"):
        explain(table(4), linear, tmp_path / "c", target=0)
    with pytest.raises(ArgumentError, match="`source` to be an index from 0 to 3"):
        explain(
            table(4).map(lambda row: {**row, "number": row["number"] + 9}),
            linear,
            tmp_path / "e",
            target=0,
            source=columns(),
        )
    with pytest.raises(ArgumentTypeError, match="a Ray data set; others go to ReferenceDistribution.fit"):
        fit_references(Images(4), Linear)
    with pytest.raises(ArgumentError, match="an index that differs for every sample"):
        fit_references(table(4), Linear, source=Source("picture", "class"))
    with pytest.raises(ArgumentError, match=r"columns of the data set \(picture, number, class\), but got 'image'"):
        fit_references(table(4), Linear)
    with pytest.raises(ArgumentError, match='without "delta", which this method does not have') as caught:
        explain(Images(4), saliency, tmp_path / "f", target=0, fields=("delta",))
    assert "ray::" not in str(caught.value)
    explain(Images(4), linear, tmp_path / "d", target=0)
    with pytest.raises(RunFolderError, match="seed was int 0, now int 1"):
        explain(Images(4), linear, tmp_path / "d", target=0, seed=1)

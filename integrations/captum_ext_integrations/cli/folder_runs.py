"""A method over a folder of images: on this machine, or on workers of Ray."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from captum_ext.dataset import DatasetAttributions, MapFormat, RunOptions, attribute_dataset
from captum_ext.dataset.run import default_fields
from captum_ext.exceptions import ArgumentError
from captum_ext.images import ImageFolder
from captum_ext_integrations.cli.images import folder_of, labelled_folder_of
from captum_ext_integrations.cli.messages import say
from captum_ext_integrations.cli.methods import MethodSpec
from captum_ext_integrations.cli.models import LoadedModel, load_model
from captum_ext_integrations.cli.progress import bar
from captum_ext_integrations.cli.targets import Target, TargetSpec, target_of_folder
from captum_ext_integrations.cli.upsamplers import DEFAULT_UPSAMPLER

OK, FAILED = 0, 1
_MOST_NAMED = 10


@dataclass(frozen=True)
class FolderRun:
    """A method over a folder of images, as it was asked for; the target is what it is once the model is loaded."""

    folder: Path
    method: MethodSpec
    target: TargetSpec | Target
    out: Path
    metrics: tuple[str, ...] = ()
    curves: bool = False
    maps: bool = True
    size: int | None = None
    dtype: str | None = None
    limit: int | None = None
    batch_size: int = 8
    resume: bool = True
    labels: str | None = None
    rank: int | str = 0
    world_size: int | None = None

    def images(self, loaded: LoadedModel) -> ImageFolder:
        """The folder, prepared for the model."""
        if self.out.resolve().is_relative_to(self.folder.resolve()):
            raise ArgumentError("out", f"outside of {self.folder}, whose files are the images", str(self.out))
        if self.target == "label":
            return labelled_folder_of(loaded, self.folder, self.limit, self.labels)
        if self.labels is not None:
            raise ArgumentError("labels", "given with --target label only", f"{self.labels!r} with {self.target!r}")
        return folder_of(loaded, self.folder, self.limit)

    def with_target_of(self, loaded: LoadedModel) -> FolderRun:
        """The same with what the model has for the target."""
        asked = self.target
        return replace(self, target=target_of_folder(loaded, asked)) if isinstance(asked, TargetSpec) else self

    def arguments(self, method: Any) -> dict[str, Any]:
        """What both engines are to compute."""
        target = self.target.target if isinstance(self.target, TargetSpec) else self.target
        fields = [name for name in default_fields(method, target) if self.maps or name != "map"]
        return {
            "target": target,
            "fields": (*fields, *self.metrics, *(["curves"] if self.curves else [])),
            "map_format": MapFormat(None if self.size is None else (self.size, self.size), self.dtype or "float16"),
            "attribute_kwargs": self.method.attribute_kwargs,
        }

    def options(self, method: Any) -> dict[str, Any]:
        """How both are to go about it."""
        return {
            "batch_size": self.batch_size,
            "seed": self.method.seed,
            "resume": self.resume,
            "configuration": self._configuration(method),
        }

    def in_its_place(self) -> FolderRun:
        """The same with rank and world size as numbers, and with the device that torchrun means for the process."""
        rank, world_size = RunOptions(resume=self.resume, rank=self.rank, world_size=self.world_size).place
        method, local_rank = self.method, os.environ.get("LOCAL_RANK")
        if self.rank == "env" and local_rank and method.model.device == "auto" and torch.cuda.is_available():
            method = replace(method, model=replace(method.model, device=f"cuda:{local_rank}"))
        return replace(self, method=method, rank=rank, world_size=world_size)

    def for_workers(self, num_gpus: float) -> FolderRun:
        """The same with paths and a device that mean the same elsewhere."""
        spec = self.method
        weights = None if spec.model.weights is None else spec.model.weights.absolute()
        device = spec.model.device if spec.model.device != "auto" else "cuda" if num_gpus else "cpu"
        model = replace(spec.model, weights=weights, device=device)
        references = None if spec.references is None else spec.references.absolute()
        method = replace(spec, model=model, references=references)
        return replace(self, method=method, folder=self.folder.absolute())

    def _configuration(self, method: Any) -> dict[str, Any]:
        spec, cam = self.method, {}
        if spec.name in ("gradcam", "cam"):  # by the layer that was chosen, which may as well be named
            cam = {"layer": method.layer, "upsampler": spec.upsampler or DEFAULT_UPSAMPLER}
        code = {"code": spec.code} if spec.code else {}  # of a caller's class, which may change between two runs
        return {"method": spec.name, "model": spec.model.name, **cam, **code}


def layer_of(method: Any) -> str | None:
    """The layer that a CAM or MWP explains, chosen or given; None: the method has none."""
    layer = getattr(method, "layer", None)
    if isinstance(layer, nn.Module):
        return next((name for name, part in method.forward_func.named_modules() if part is layer), None)
    return layer if isinstance(layer, str) else None


def run_here(job: FolderRun, num_workers: int = 0) -> int:
    """A folder on this machine."""
    job = job.in_its_place()
    loaded = load_model(job.method.model)
    job = job.with_target_of(loaded)
    images = job.images(loaded)
    return run_method(job, images, job.method.build(loaded), num_workers)


def run_method(job: FolderRun, images: ImageFolder, method: Any, num_workers: int = 0) -> int:
    """A method that is built already, over images that are known already."""
    _say_layer(job, method)
    with bar(job.method.name) as on_done, _reported_below():
        attributions = attribute_dataset(
            method,
            images,
            job.out,
            run=RunOptions(
                num_workers=num_workers,
                show_progress=on_done,
                rank=job.rank,
                world_size=job.world_size,
                **job.options(method),
            ),
            **job.arguments(method),
        )
    return report(attributions, job.world_size or 1)


def run_with_ray(job: FolderRun, workers: int, num_gpus: float) -> int:
    """A folder on workers of Ray: those of RAY_ADDRESS, or of this machine."""
    _check_fitted(job.method)
    from captum_ext_integrations import ray_data

    job = job.for_workers(num_gpus)
    on_cpu = replace(job.method.model, device="cpu")  # the driver explains nothing
    loaded = load_model(on_cpu)
    job = job.with_target_of(loaded)
    images, method = job.images(loaded), job.method.build(loaded)
    environment: dict[str, Any] = {"worker_process_setup_hook": _searching_here(os.getcwd())}
    if "PYTHONPATH" in os.environ:
        environment["env_vars"] = {"PYTHONPATH": os.environ["PYTHONPATH"]}
    settings: dict[str, Any] = {"runtime_env": environment, "logging_level": "ERROR"}
    if "RAY_ADDRESS" not in os.environ:
        settings.update(address="local", num_cpus=workers, include_dashboard=False, log_to_driver=False)
    _say_layer(job, method)
    ray_data.ray.init(ignore_reinit_error=True, **settings)
    try:
        _check_cluster(ray_data.ray.cluster_resources(), workers, num_gpus)
        with bar(f"{job.method.name}, {workers} workers") as on_done, _reported_below():
            attributions = ray_data.explain(
                images,
                job.method.build,
                job.out,
                concurrency=workers,
                num_gpus=num_gpus,
                show_progress=on_done,
                **job.options(method),
                **job.arguments(method),
            )
    finally:
        ray_data.ray.shutdown()
    return report(attributions)


def _searching_here(folder: str) -> Callable[[], None]:
    """What lets workers import a caller's modules from a folder; at the end of the path, as in this process."""

    def search() -> None:
        import sys

        if folder not in sys.path:
            sys.path.append(folder)

    return search


def _say_layer(job: FolderRun, method: Any) -> None:
    layer = layer_of(method)
    if layer is not None:
        say(f"{job.method.name} of layer {layer}")


def _check_fitted(spec: MethodSpec) -> None:
    """Refuse what every worker would do again."""
    if spec.name == "lpi" and spec.references is not None and spec.references.is_dir():
        expected = (
            "a file for lpi with --engine ray (captum-ext fit-references FOLDER --out FILE), "
            "as every worker would be fitted to the folder again"
        )
        raise ArgumentError("references", expected, f"the folder {spec.references}")


def _check_cluster(resources: dict[str, float], workers: int, num_gpus: float) -> None:
    """Refuse to wait for what the cluster does not have."""
    for name, wanted in (("CPU", float(workers)), ("GPU", workers * num_gpus)):
        if wanted > resources.get(name, 0):
            received = f"{workers} workers, who want {wanted:g} {name}s of {resources.get(name, 0):g}"
            raise ArgumentError("workers", "within what the cluster has", received)


def report(attributions: DatasetAttributions, world_size: int = 1) -> int:
    """Say what there is now, and which files failed; the exit code.

    Of several processes the last has it: torchrun would end the others for one that is not 0.
    """
    n_images = attributions.manifest["n_samples"]
    say(f"{len(attributions)} of {n_images} images in {attributions.folder}")
    if world_size > 1 and len(attributions) + len(attributions.failures) < n_images:
        return OK
    for failure in attributions.failures[:_MOST_NAMED]:
        say(f"  no row: {failure['name']}: {failure['error']}")
    if len(attributions.failures) > _MOST_NAMED:
        left = len(attributions.failures) - _MOST_NAMED
        say(f"  and {left} more; see {attributions.folder / 'manifest.json'}")
    return OK if attributions.complete and not attributions.failures else FAILED


@contextmanager
def _reported_below() -> Iterator[None]:
    """Without the warning that some samples have no row, which `report` tells in full."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*samples have no row")
        yield

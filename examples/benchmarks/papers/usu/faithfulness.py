"""Tables 2, 3, 8, 9 and 10: CAM methods x upsamplers x metrics on real images, with the controls beside them."""

from __future__ import annotations

import warnings
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from captum_ext import USU, InterpolationUpsampler
from captum_ext_integrations import grad_cam
from examples.benchmarks.engine.experiment import Options
from examples.benchmarks.engine.metric_columns import (
    Columns,
    Cost,
    Display,
    Remembered,
    Targets,
    measured_cost,
    upsampling_columns,
)
from examples.benchmarks.engine.networks import LITE, Network, load_network, on_lite, preparation_of
from examples.benchmarks.engine.pictures import heat_map, photograph
from examples.benchmarks.engine.samples import Samples, load_samples
from examples.benchmarks.engine.store import Row
from examples.benchmarks.papers.usu.usu_methods import products, score_maps, temperatures, upsamplers

CAMS = ("GradCAM", "HiResCAM", "GradCAMPlusPlus", "XGradCAM", "FullGrad", "ShapleyCAM", "FinerCAM")
#: The first wants maps of every layer, of which the embedding has no class token; the second weights tokens themselves.
NOT_ON_TOKENS = ("FullGrad", "ShapleyCAM")
PICTURED = 6  # images in the gallery
PICTURED_CAMS = ("GradCAM", "FullGrad")
WITH_TEMPERATURES = "GradCAM"  # the CAM with the ablation of temperatures
BATCH = 4


class Faithfulness:
    """One data set and network, that of the options or another of `LITE`."""

    def __init__(
        self,
        data: str,
        options: Options,
        cams: tuple[str, ...] = CAMS,
        limit: int | None = None,
        network: str | None = None,
    ) -> None:
        self.data, self.options = data, options
        self.network_name = options.network if network is None else network
        self._asked = cams[:2] if options.fast else cams
        self.cams = tuple(cam for cam in self._asked if cam not in self.not_run)
        self.limit = 2 if options.fast else limit

    @property
    def name(self) -> str:
        """Folder of its rows."""
        name = f"usu-faithfulness-{self.data.partition(':')[0]}"
        return on_lite(name, self.network_name) if self.network_name in LITE else name

    @property
    def settings(self) -> dict[str, Any]:
        """Data, network and methods."""
        data_settings = {"data": self.data, "limit": self.limit, "cams": self.cams}
        return data_settings | self.options.network_settings | {"network": self.network_name}

    @property
    def size(self) -> str:
        """In words."""
        return f"{self.network_name}; {', '.join(self.cams)}"

    @property
    def not_run(self) -> dict[str, str]:
        """CAM methods that cannot explain this network, with the reason."""
        names = NOT_ON_TOKENS if self.network_name.startswith("torchvision:vit") else ()
        return {name: "the host's class needs maps, not tokens" for name in self._asked if name in names}

    @property
    def device(self) -> str:
        """Where the network runs."""
        return self.options.device

    def prepare(self) -> None:
        """See that the weights fit."""
        _ = self.network

    @cached_property
    def network(self) -> Network:
        """The network."""
        options = self.options
        return load_network(self.network_name, options.cache, options.weights, options.n_classes).to(options.device)

    @cached_property
    def samples(self) -> Samples:
        """The images."""
        return load_samples(self.data, preparation_of(self.network_name), self.limit, self.options.seed)

    def parts(self) -> list[str]:
        """One image each."""
        return [f"{index:04d}" for index in range(len(self.samples))]

    def run(self, part: str) -> list[Row]:
        """All CAM methods and upsamplers on one image."""
        place, model = int(part), self.network.model
        image, (label,) = self.samples.load([place], self.network.n_classes)
        image = image.to(self.network.device)
        index = self.samples.indices[place]
        with torch.no_grad():
            target = int(model(image).argmax())
        seed = self.options.seed_of(index)
        scored, costs = score_maps(model, self.network.preparation, image, target, seed)
        ask = Remembered(model)
        rows: list[Row] = []
        for cam in self.cams:
            shared = {"data": self.samples.name, "network": self.network.name, "sample": index, "cam": cam}
            shared |= {"label": label, "target": target}
            made, errors = self._maps(cam, image, target, scored, costs)
            rows += [{**shared, "method": name, "error": error} for name, error in errors.items()]
            for group in _groups(list(made), BATCH):
                rows += self._rows(made, group, shared, image, ask, pictured=place < PICTURED)
        return rows

    def _rows(
        self,
        made: dict[str, tuple[Tensor, Cost]],
        group: list[str],
        shared: Row,
        image: Tensor,
        ask: Remembered,
        pictured: bool,
    ) -> list[Row]:
        """Rows of some of the maps; when a metric fails on them, each is tried alone."""
        maps = torch.cat([made[name][0] for name in group])
        preparation, repeated = self.network.preparation, image.expand(len(group), -1, -1, -1)
        targets = [int(shared["target"])] * len(group)
        what = Targets(repeated, targets, ask, self.network.black, self.network.blurred(repeated))
        try:
            columns = self._measured(what, maps, made["nearest"][0] if "nearest" in made else None)
        except Exception as error:
            if len(group) == 1:
                return [{**shared, "method": group[0], "error": f"{type(error).__name__}: {error}"}]
            alone = [self._rows(made, [name], shared, image, ask, pictured) for name in group]
            return [row for one in alone for row in one]
        rows = []
        for k, name in enumerate(group):
            row = {**shared, "method": name, **vars(made[name][1])}
            row |= {column: values[k] for column, values in columns.items()}
            if pictured and shared["cam"] in PICTURED_CAMS:
                row["picture"] = heat_map(maps[k, 0])
                row["photograph"] = photograph(preparation.displayable(image)[0])
            rows.append(row)
        return rows

    def _measured(self, what: Targets, maps: Tensor, nearest: Tensor | None) -> Columns:
        """Metrics, and the relative error of mass in the cells of a 7 x 7 grid (D1), nearest being without error."""
        preparation = self.network.preparation
        columns = upsampling_columns(what, maps, Display(preparation.mean, preparation.std), self.options.seed)
        if nearest is not None:
            grid = torch.nn.functional.adaptive_avg_pool2d
            cells, true = grid(maps.double(), 7), grid(nearest.double(), 7)
            columns["d1_error"] = ((cells - true).abs().sum((1, 2, 3)) / true.abs().sum()).tolist()
        return columns

    def _maps(
        self, cam: str, image: Tensor, target: int, scored: dict[str, Tensor], costs: dict[str, Cost]
    ) -> tuple[dict[str, tuple[Tensor, Cost]], dict[str, str]]:
        """Maps (1, 1, H, W) by upsampler with their cost, and what failed."""
        made: dict[str, tuple[Tensor, Cost]] = {}
        errors: dict[str, str] = {}
        chosen = upsamplers(scored) | (temperatures(scored) if cam == WITH_TEMPERATURES else {})
        for name, (scoring, upsampler) in chosen.items():
            try:
                with measured_cost(self.network.model, 1) as cost:
                    maps = self._cam(cam, image, target, upsampler)
            except Exception as error:
                errors[name] = f"{type(error).__name__}: {error}"
                continue
            made[name] = maps, cost + costs[scoring] if scoring else cost
        return made | products(made.get("bilinear"), scored, costs), errors

    def _cam(self, cam: str, image: Tensor, target: int, upsampler: USU | InterpolationUpsampler) -> Tensor:
        """The CAM of the package's adapter: mass-true, before any scaling."""
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

        network = self.network
        options: dict[str, Any] = {"upsampler": upsampler, "normalize": False, "as_tensor": True}
        if network.to_grid is not None:
            options["reshape_transform"] = network.to_grid
        targets = None if cam == "FinerCAM" else [ClassifierOutputTarget(target)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the host's
            layers = [] if cam == "FullGrad" else [network.layer]  # it takes every layer with a bias
            maps = getattr(grad_cam, cam)(network.model, layers, **options)(image, targets)
        return torch.as_tensor(maps)[:, None].detach()


def _groups(names: list[str], size: int) -> list[list[str]]:
    return [names[start : start + size] for start in range(0, len(names), size)]

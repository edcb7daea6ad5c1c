"""Fitted neighbourhoods of a model's outputs, with the samples that stand for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from os import PathLike
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from captum_ext.core.autocast import own_precision
from captum_ext.core.checks import (
    check_bool,
    check_choice,
    check_positive_int,
    check_seed,
    check_tensor,
    check_tensors,
    describe,
)
from captum_ext.core.inspection import check_rows_independent
from captum_ext.core.types import ForwardFunc, TensorOrTensors, Tensors
from captum_ext.exceptions import ArgumentError, ArgumentTypeError
from captum_ext.references.clustering import Neighborhood, find_neighborhoods
from captum_ext.references.reference_files import MOST_BYTES, damaged_unless_consistent, load_tensors, save_tensors
from captum_ext.references.sample_source import TOKEN_IDS, SampleSource

if TYPE_CHECKING:
    from torch.utils.data import Dataset

_DENSITY_TOLERANCE = 1e-4
_MOST_SEED = 2**32 - 1  # of the clustering
_N_PROBES = 3
_OF_PAPER = {"vgg16": 9, "resnet34": 7}  # neighbourhoods by network, in its section "Comparison"
_REFERENCES_OF_PAPER = 20


@dataclass(frozen=True, eq=False)
class ReferenceDistribution:
    r"""The local distributions of Local Path Integration: for each neighbourhood, references and their densities.

    Paper: "Local Path Integration for Attribution", https://doi.org/10.1609/aaai.v37i3.25422. The model's outputs at
    the samples are clustered by KMeans into neighbourhoods, and inside each of them into `n_references` sub-clusters;
    the member nearest to a sub-cluster's centre is a reference, the sub-cluster's share of the neighbourhood its
    density.

    Attributes:
        references: one tensor ($m_i$, ...) for each neighbourhood i, or a tuple of them for several inputs, on the CPU.
            $m_i$ may be less than `n_references`.
        density: one float32 tensor ($m_i$,) for each neighbourhood, summing to one.
        centers: (n, outputs) float32, the neighbourhoods' centres in the space of the model's outputs.
        metadata: what the fit was given: numbers of samples, neighbourhoods and references asked for, and the seed.
        probe_outputs: (q, outputs) of the model at a few of the references (`probes`), by which it is known again; None
            in files of version 0.1.

    Example:
        >>> import torch
        >>> from captum_ext.references import ReferenceDistribution
        >>> samples = torch.tensor([[0.0], [0.1], [0.2], [5.0], [5.1]])
        >>> fitted = ReferenceDistribution.fit(lambda x: x, samples, n_neighborhoods=2, n_references=1)
        >>> fitted.assign(torch.tensor([[4.0], [0.3]])).tolist() in ([0, 1], [1, 0])
        True

    Deviations from the authors' code: every neighbourhood keeps its own densities; a reference is searched among the
    members of its own sub-cluster; equal samples are merged and their densities added.
    """

    references: list[TensorOrTensors]
    density: list[Tensor]
    centers: Tensor
    metadata: dict[str, int] = field(default_factory=dict)
    probe_outputs: Tensor | None = None

    def __post_init__(self) -> None:
        centers = check_tensor("centers", self.centers)
        for name in ("references", "density"):
            if not isinstance(getattr(self, name), list):
                raise ArgumentTypeError(name, "a list, one entry for each neighbourhood", describe(getattr(self, name)))
        if not len(self.references) == len(self.density) == len(centers) > 0 or centers.dim() != 2:
            counts = f"{len(self.references)} sets, {len(self.density)} densities, {tuple(centers.shape)} centres"
            raise ArgumentError(
                "references",
                "one set of references, one density and one of the centers (n, outputs) for each neighbourhood",
                counts,
            )
        if self.probe_outputs is not None and len(self.probe_outputs) != len(self._probe_places()):
            expected = f"of {len(self._probe_places())} rows, one for each probe"
            raise ArgumentError("probe_outputs", expected, describe(self.probe_outputs))
        for i, density in enumerate(self.density):
            if not isinstance(density, Tensor):
                raise ArgumentTypeError(f"density[{i}]", "a tensor", describe(density))
            check_tensors(f"density[{i}]", density)
            for tensor in check_tensors(f"references[{i}]", self.references[i], allow_ids=True):
                if density.shape != (len(tensor),):
                    expected = f"one number for each of the {len(tensor)} references"
                    raise ArgumentError(f"density[{i}]", expected, describe(density))
            if not bool((density >= 0).all()) or abs(float(density.sum()) - 1) > _DENSITY_TOLERANCE:
                total = float(density.sum())
                raise ArgumentError(f"density[{i}]", "non-negative numbers that sum to one", f"a sum of {total}")

    @classmethod
    @own_precision
    def fit(
        cls,
        forward_func: ForwardFunc,
        samples: TensorOrTensors | Dataset[Any] | Iterable[Any],
        n_neighborhoods: int = 1,
        n_references: int = 20,
        *,
        n_inputs: int = 1,
        seed: int = 0,
        internal_batch_size: int | None = None,
        show_progress: bool = False,
        allow_batch_statistics: bool = False,
        token_ids: bool = False,
    ) -> ReferenceDistribution:
        """Cluster the model's outputs at the samples and keep the samples nearest to the clusters' centres.

        The samples are read twice, first for their outputs, which are kept, then for the chosen references; so memory
        grows with the number of outputs, not with the size of the images.

        Args:
            forward_func: the model; its outputs (M, ...) are flattened. Use logits.
            samples: a tensor (M, ...) or a tuple of them; a `torch.utils.data.Dataset` or one of Hugging Face's; or a
                re-iterable of batches such as an unshuffled DataLoader. Of an element that is a tuple or list, the
                first `n_inputs` entries are the model's inputs, the rest (labels) is ignored; of a dictionary its
                image. Images that are no tensors yet are prepared by the model's own `prepare`, if it has one;
                otherwise say how with `captum_ext.images.image_dataset`.
            n_neighborhoods: how many neighbourhoods. Keep it well below the number of classes: with neighbourhoods as
                fine as classes the references share what is to be explained. One by default, since more were worse: on
                400 digits of ten classes DiffID minus that of Expected Gradients was +0.009 (standard error 0.003) with
                1, -0.054 (0.006) with 2, -0.162 (0.007) with 4 and -0.303 (0.010) with 7
                (`python -m examples.benchmarks.measurements.neighborhoods`).
            n_references: most references for each neighbourhood.
            n_inputs: how many tensors the model takes.
            seed: of the clustering. The global random states are left as they are.
            internal_batch_size: rows given to the model at once. None: chosen by device and row size.
            show_progress: show a bar for each pass over the samples.
            allow_batch_statistics: allow batch norm that mixes the rows of a batch; running statistics are put back.
            token_ids: allow samples of token ids (int64, int32), for methods at layers.

        Raises:
            ArgumentError: fewer than two samples, samples that are not the same at the second reading, or token ids
                that an embedding does not have.
            ArgumentTypeError: samples that cannot be read twice, or elements that are not tensors.
            NonFiniteError: NaN or infinity in a sample or in the model's outputs.
            ModelOutputError: `forward_func` did not return one row for each sample.
        """
        n_neighborhoods = check_positive_int("n_neighborhoods", n_neighborhoods)
        n_references = check_positive_int("n_references", n_references)
        n_inputs, seed = check_positive_int("n_inputs", n_inputs), check_seed("seed", seed, _MOST_SEED)
        check_rows_independent(forward_func, allow_batch_statistics)
        token_ids = check_bool("token_ids", token_ids)
        source = SampleSource(samples, n_inputs, internal_batch_size, show_progress, token_ids, forward_func)

        def collect(indices: list[int]) -> Tensors:
            chosen = source.collect(indices)
            return tuple(torch.stack(parts) for parts in zip(*(chosen[index] for index in indices), strict=True))

        return cls.fit_outputs(
            source.outputs(forward_func), collect, n_neighborhoods, n_references, seed=seed, token_ids=token_ids
        )

    @classmethod
    def paper(
        cls,
        forward_func: ForwardFunc,
        samples: TensorOrTensors | Dataset[Any] | Iterable[Any],
        network: str,
        *,
        n_inputs: int = 1,
        seed: int = 0,
        internal_batch_size: int | None = None,
        show_progress: bool = False,
        allow_batch_statistics: bool = False,
    ) -> ReferenceDistribution:
        """`fit` with the numbers of the paper: 9 neighbourhoods for VGG-16 or 7 for ResNet-34, of 20 references each.

        The paper found these numbers empirically, for the 1,000 classes of ImageNet with all of its training images as
        samples, and gives none for other networks. It explains with 20 gradients, one for each reference: with this
        distribution that is `LocalPathIntegration(...).attribute(..., n_steps=20)`, whose points are stratified where
        the paper draws each by itself.

        These are not the defaults: see `n_neighborhoods` of `fit` for what was measured with as many.

        Args:
            forward_func: as in `fit`.
            samples: as in `fit`.
            network: whose numbers: "vgg16" or "resnet34". The model itself may be any.
            n_inputs: as in `fit`.
            seed: as in `fit`.
            internal_batch_size: as in `fit`.
            show_progress: as in `fit`.
            allow_batch_statistics: as in `fit`.

        Raises:
            ArgumentError: another network; and as `fit`.
            ArgumentTypeError, NonFiniteError, ModelOutputError: as `fit`.

        Example:
            >>> import torch
            >>> from captum_ext import LocalPathIntegration, ReferenceDistribution
            >>> samples = torch.rand(400, 5, generator=torch.Generator().manual_seed(0))
            >>> fitted = ReferenceDistribution.paper(lambda x: x @ torch.eye(5), samples, "resnet34")
            >>> len(fitted.density), {len(density) for density in fitted.density}
            (7, {20})
            >>> lpi = LocalPathIntegration(lambda x: x @ torch.eye(5), references=fitted)
            >>> lpi.attribute(torch.rand(1, 5), target=0, n_steps=20).shape
            torch.Size([1, 5])
        """
        check_choice("network", network, tuple(_OF_PAPER))
        return cls.fit(
            forward_func,
            samples,
            _OF_PAPER[network],
            _REFERENCES_OF_PAPER,
            n_inputs=n_inputs,
            seed=seed,
            internal_batch_size=internal_batch_size,
            show_progress=show_progress,
            allow_batch_statistics=allow_batch_statistics,
        )

    @classmethod
    @own_precision
    def fit_outputs(
        cls,
        outputs: Tensor,
        collect: Callable[[list[int]], TensorOrTensors],
        n_neighborhoods: int = 1,
        n_references: int = 20,
        *,
        seed: int = 0,
        token_ids: bool = False,
    ) -> ReferenceDistribution:
        """The same from outputs that were computed elsewhere, such as on a cluster.

        Args:
            outputs: (M, ...), the model's outputs at M samples.
            collect: a function of indices into the samples that returns them, (n, ...) or a tuple of such tensors.
            n_neighborhoods: as in `fit`.
            n_references: as in `fit`.
            seed: as in `fit`.
            token_ids: as in `fit`.

        Raises:
            ArgumentError: fewer than two samples, or `collect` returned another number of them.
            NonFiniteError: NaN or infinity in the outputs or the samples.

        Example:
            >>> import torch
            >>> from captum_ext.references import ReferenceDistribution
            >>> samples = torch.tensor([[0.0], [0.1], [5.0]])
            >>> fitted = ReferenceDistribution.fit_outputs(samples * 2, lambda places: samples[places], n_references=2)
            >>> sorted(fitted.density[0].tolist()) == torch.tensor([1 / 3, 2 / 3]).tolist()
            True
        """
        n_neighborhoods = check_positive_int("n_neighborhoods", n_neighborhoods)
        n_references = check_positive_int("n_references", n_references)
        seed = check_seed("seed", seed, _MOST_SEED)
        (outputs,) = check_tensors("outputs", (outputs,))
        outputs = outputs.detach().reshape(len(outputs), -1).to("cpu", torch.float32)
        neighborhoods = find_neighborhoods(outputs, n_neighborhoods, n_references, seed)
        indices = [index for part in neighborhoods for index in part.members.tolist()]
        samples = check_tensors("collect(indices)", collect(indices), allow_ids=token_ids, where_ids=TOKEN_IDS)
        collected = tuple(part.detach().cpu() for part in samples)
        if len(collected[0]) != len(indices):
            raise ArgumentError("collect", f"a function that returns {len(indices)} samples", describe(collected[0]))
        chosen = {index: tuple(tensor[place] for tensor in collected) for place, index in enumerate(indices)}
        merged = [_merge_duplicates(part, chosen, outputs) for part in neighborhoods]
        metadata = {
            "n_samples": len(outputs),
            "n_neighborhoods": n_neighborhoods,
            "n_references": n_references,
            "seed": seed,
        }
        places = _probe_places([len(kept) for kept, _ in merged])
        probed = torch.tensor([merged[i][0][k] for i, k in places])
        return cls(
            references=[_references(kept, chosen) for kept, _ in merged],
            density=[density for _, density in merged],
            centers=torch.stack([part.center for part in neighborhoods]),
            metadata=metadata,
            probe_outputs=outputs[probed],
        )

    def references_as_tuple(self, neighborhood: int) -> Tensors:
        """References of one neighbourhood as a tuple, also for a single input.

        Args:
            neighborhood: its number, from 0.
        """
        tensors = self.references[neighborhood]
        return tensors if isinstance(tensors, tuple) else (tensors,)

    def probes(self) -> Tensors:
        """The few references (q, ...) at which the model's outputs were kept."""
        sets = [self.references_as_tuple(i) for i in range(len(self.references))]
        rows = [tuple(tensor[k] for tensor in sets[i]) for i, k in self._probe_places()]
        return tuple(torch.stack(parts) for parts in zip(*rows, strict=True))

    def is_fitted_to(self, outputs: Tensor, tolerance: float = 5e-3) -> bool:
        """Whether a model with these outputs (q, ...) at `probes` is the one that this was fitted to.

        Without kept outputs nothing can be said: then it is True.

        Args:
            outputs: (q, ...) of the model at `probes`.
            tolerance: differences up to this share of the largest output are rounding.
        """
        if self.probe_outputs is None:
            return True
        given = outputs.detach().reshape(len(outputs), -1).to("cpu", torch.float32)
        if given.shape != self.probe_outputs.shape:
            return False
        return bool((given - self.probe_outputs).abs().max() <= tolerance * self.probe_outputs.abs().max())

    def _probe_places(self) -> list[tuple[int, int]]:
        return _probe_places([len(density) for density in self.density])

    @own_precision
    def assign(self, outputs: Tensor) -> Tensor:
        """Index (N,), on the CPU, of the neighbourhood whose centre is nearest to each row of outputs (N, ...).

        Args:
            outputs: (N, ...) of the model that the distribution was fitted to.

        Raises:
            ArgumentError: another number of outputs than the distribution was fitted on.
            NonFiniteError: NaN or infinity in the outputs.
        """
        check_tensors("outputs", outputs if isinstance(outputs, Tensor) else (outputs,))
        flat = outputs.detach().reshape(outputs.shape[0], -1).cpu().double()
        if flat.shape[1] != self.centers.shape[1]:
            raise ArgumentError(
                "references",
                f"fitted on a model with {flat.shape[1]} outputs, as this one has",
                f"a distribution fitted on {self.centers.shape[1]} outputs",
            )
        return torch.cdist(flat, self.centers.double()).argmin(1)

    def save(self, path: str | PathLike[str], *, overwrite: bool = False) -> None:
        """Write the distribution to one safetensors file, whole or not at all; its folder is made if there is none.

        Args:
            path: of the file.
            overwrite: replace a file that is there.

        Raises:
            FileExistsError: the path exists and `overwrite` is off, or it is no file.
            NotADirectoryError: there is a file where the folder has to be.
            OSError: it cannot be written; what was there is still there.
        """
        tensors = {"centers": self.centers}
        if self.probe_outputs is not None:
            tensors["probe_outputs"] = self.probe_outputs
        for i, density in enumerate(self.density):
            tensors[f"density.{i}"] = density
            for k, value in enumerate(self.references_as_tuple(i)):
                tensors[f"references.{i}.{k}"] = value
        n_inputs = len(self.references_as_tuple(0))
        save_tensors(path, tensors, {**self.metadata, "sets": len(self.density), "n_inputs": n_inputs}, overwrite)

    @classmethod
    def load(cls, path: str | PathLike[str], *, max_bytes: int = MOST_BYTES) -> ReferenceDistribution:
        """Read what `save` wrote. The tensors are copies: the file may change or vanish afterwards.

        Args:
            path: the file. Nothing in it is executed.
            max_bytes: size up to which a file is read, 4 GiB if not given; memory is about twice that of the file.

        Raises:
            FileNotFoundError: no such file.
            ReferenceFileError: damaged, truncated, no file of references, larger than `max_bytes`, or written by a
                newer version.
        """
        tensors, metadata = load_tensors(path, check_positive_int("max_bytes", max_bytes))
        with damaged_unless_consistent(path):
            n_sets, n_inputs = metadata.pop("sets"), metadata.pop("n_inputs")
            references: list[TensorOrTensors] = []
            for i in range(n_sets):
                parts = tuple(tensors[f"references.{i}.{k}"] for k in range(n_inputs))
                references.append(parts if n_inputs > 1 else parts[0])
            density = [tensors[f"density.{i}"] for i in range(n_sets)]
            centers, probed = tensors["centers"], tensors.get("probe_outputs")
            return cls(references, density, centers, metadata, probed)

    def __repr__(self) -> str:
        counts = [len(density) for density in self.density]
        shape = describe(self.references_as_tuple(0)[0][0])
        return f"ReferenceDistribution({len(counts)} neighbourhoods with {counts} references, each {shape})"


def _probe_places(sizes: list[int]) -> list[tuple[int, int]]:
    """Neighbourhood and place in it of the probes: the first references of all, then the second ones, ..."""
    places = [(i, k) for k in range(max(sizes)) for i, size in enumerate(sizes) if k < size]
    return places[:_N_PROBES]


def _references(kept: list[int], samples: dict[int, Tensors]) -> TensorOrTensors:
    """The samples with these indices, (m, ...) or a tuple of them."""
    tensors = tuple(torch.stack(values) for values in zip(*(samples[index] for index in kept), strict=True))
    return tensors if len(tensors) > 1 else tensors[0]


def _merge_duplicates(part: Neighborhood, samples: dict[int, Tensors], outputs: Tensor) -> tuple[list[int], Tensor]:
    """Indices of a neighbourhood's references without repeats, and the added densities of those that were merged."""
    kept: list[int] = []
    density: list[float] = []
    for index, share in zip(part.members.tolist(), part.density.tolist(), strict=True):
        for place, other in enumerate(kept):
            same_inputs = all(torch.equal(a, b) for a, b in zip(samples[index], samples[other], strict=True))
            if same_inputs or torch.equal(outputs[index], outputs[other]):
                density[place] += share
                break
        else:
            kept.append(index)
            density.append(share)
    return kept, torch.tensor(density, dtype=torch.float32)

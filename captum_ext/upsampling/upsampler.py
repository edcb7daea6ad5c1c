"""USU: segments, scores and redistribution behind one call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from captum_ext.core.autocast import own_precision
from captum_ext.core.blur import Blur
from captum_ext.core.checks import check_bool, check_choice, check_count, check_positive_int, check_tensors, describe
from captum_ext.core.fills import Fill, make_fill
from captum_ext.core.model import compute_gradients
from captum_ext.core.pixels import warn_of_frames
from captum_ext.core.request import Request
from captum_ext.core.target_functions import is_function
from captum_ext.core.types import ForwardFunc, Target
from captum_ext.core.warn import warn_caller
from captum_ext.exceptions import ArgumentError, ArgumentTypeError
from captum_ext.images import check_normalisation
from captum_ext.segmentation import Segment, Segmenter, check_labels, seen
from captum_ext.upsampling.empty_cells import scored_where_mass_is
from captum_ext.upsampling.known_outputs import KnownOutputs, KnownRows
from captum_ext.upsampling.redistribution import POTENTIALS, REDISTRIBUTIONS, as_maps, redistribute
from captum_ext.upsampling.refinement import Refinement, nested, refine
from captum_ext.upsampling.scoring import FILLS, SCORERS, GradientScorer, MaskedImages, Scorer, unit_scores
from captum_ext.upsampling.settings import (
    check_fill,
    check_positive,
    check_segmenter,
    check_size,
)

_Segments = Segmenter | Segment | str | Tensor | None
Score = Callable[[Tensor], list[Tensor]]
_PAPER_TEMPERATURE = 0.1
_PAPER_REFINEMENT = Refinement(kernel="diagonal")


class USUUpsampler:
    r"""Universal Semantic-Aware Upsampling (Buono et al., "Attribution Upsampling should Redistribute, Not
    Interpolate", 2026).

    https://arxiv.org/abs/2603.16067

    Segments each image, scores every segment by what masking it does to the model, and redistributes each coarse cell's
    mass over its pixels in proportion to $\exp(s / \text{temperature})$ of their segments' scores (see `redistribute`).
    Volumes (N, C, D, H, W) and signals (N, C, T) are upsampled in the same way, with segments of as many dimensions.

    Args:
        temperature: of the potential. The paper has 0.1, which makes maps far more peaked than 0.3.
        potential: "tensor", "power" or "log-odds"; `gamma` is the exponent of the last two.
        gamma: see `potential`.
        redistribution: "local" keeps each cell's mass. The others share the map's mass among cells by their importance,
            "global-area" (the paper's formula) times their area and "global-mass" times their own mass: equal
            importances give "local" back with "global-mass" only (see `redistribute`).
        importance_temperature: of that sharing; None: `temperature`.
        segmenter: None for SLIC with 50 segments, a method's name, a `Segmenter`, a function from one image (H, W, C)
            in [0, 1] to labels (H, W), or a label tensor (H, W) or (N, H, W); for volumes and signals likewise, such
            as labels (T,) (see `Segmenter` for what its methods make of them).
        scorer: "deletion+insertion", "deletion", "insertion", "coalition", "gradient", "constant", "random" (the
            control), or an object such as `CoalitionScorer(n_passes=64)`.
        output: what is scored: "logit" (the model's outputs as they are) or "probability" (their softmax, of a class).
        fill: what stands for a missing segment: "mean" (of each image's channels), "blur" (which may leave the class to
            small images: nothing warns here, see `images.Blur`), "rise" or an `images.Blur`, "zero", a number or a
            tensor.
        refinement: None, or a `Refinement` for finer segments where scores change; its kernel "diagonal", the paper's,
            is for images.
        mean: the model's input normalisation, undone for the segmenter; without it (and `std`) each image is scaled
            from its own minimum and maximum.
        std: see `mean`.
        internal_batch_size: rows given to the model at once. None: chosen by device and row size.
        show_progress: show a bar that counts passes.
        allow_batch_statistics: allow batch norm that mixes the rows of a batch.
        remember: of how many images the model's outputs stay known from call to call (0: none), so that other CAM
            classes, targets and scorers that mask the same need no passes; as many as are explained at once, or more.
            Exact: an output is used again only for the same image, filling and mask, bit for bit, and for a model whose
            parameters, buffers, modules, modes and hooks are what they were; what else a function depends on is not
            seen. Of models without `additional_forward_args` that return up to 65,536 numbers for each row, which are
            kept on their device; others are asked again.
        skip_empty: score only segments that lie, in part at least, in cells with mass: the others get none whatever
            their scores. All others of an image count as one segment, and scores are scaled by the least and the
            largest of those that are scored, so that a map may be less or more peaked than without. Needs
            `redistribution` other than "global-area", no refinement, and maps of the inputs' size.

    Within a call, equal images (with several targets) share their passes, whatever `remember` is.

    Raises:
        ArgumentTypeError, ArgumentError, NonFiniteError: a setting that cannot be used, whatever the images.

    Example:
        >>> import torch
        >>> from captum_ext.upsampling import USUUpsampler
        >>> usu = USUUpsampler(segmenter=torch.tensor([[0, 0, 1, 1]]))
        >>> image = torch.tensor([[[[1.0, 1.0, 5.0, 5.0]]]])
        >>> usu(torch.ones(1, 1, 1), image, lambda x: x[..., 2:].sum((1, 2, 3))).squeeze()
        tensor([0.0689, 0.0689, 1.9311, 1.9311])

    Deviations from the paper: scores are the sum of deletion and insertion instead of deletion alone, the temperature
    is 0.3, segments are not refined. The presets have the paper's settings: `paper()` its method, `fixed()` the same
    with one segmentation, `iwmr()` its global redistribution. We have not reproduced the paper's gains in Infidelity,
    and do not repeat its claim of uniqueness.
    """

    def __init__(
        self,
        *,
        temperature: float = 0.3,
        potential: str = "tensor",
        gamma: float = 2.0,
        redistribution: str = "local",
        importance_temperature: float | None = None,
        segmenter: _Segments = None,
        scorer: str | Scorer | Tensor = "deletion+insertion",
        output: str = "logit",
        fill: str | float | Tensor | Blur = "mean",
        refinement: Refinement | None = None,
        mean: Any = None,
        std: Any = None,
        internal_batch_size: int | None = None,
        show_progress: bool = False,
        allow_batch_statistics: bool = False,
        remember: int = 0,
        skip_empty: bool = False,
    ) -> None:
        self.temperature = check_positive("temperature", temperature)
        self.potential = check_choice("potential", potential, POTENTIALS)
        self.gamma = check_positive("gamma", gamma)
        self.redistribution = check_choice("redistribution", redistribution, REDISTRIBUTIONS)
        self.importance_temperature = (
            None if importance_temperature is None else check_positive("importance_temperature", importance_temperature)
        )
        self.segmenter = check_segmenter(segmenter)
        self.scorer = _check_scorer(scorer)
        self.probability = check_choice("output", output, ("logit", "probability")) == "probability"
        self.fill = check_fill(fill)
        self.refinement = _check_refinement(refinement, self.segmenter, self.scorer)
        self.mean, self.std = check_normalisation(mean, std)
        self.internal_batch_size = (
            None if internal_batch_size is None else check_positive_int("internal_batch_size", internal_batch_size)
        )
        self.show_progress = check_bool("show_progress", show_progress)
        self.allow_batch_statistics = check_bool("allow_batch_statistics", allow_batch_statistics)
        self.remember = check_count("remember", remember)
        self._remembered = KnownOutputs()
        self.skip_empty = check_bool("skip_empty", skip_empty)
        if self.skip_empty and (self.redistribution == "global-area" or self.refinement is not None):
            expected = 'False where segments are refined, or with redistribution="global-area", which gives mass to all'
            raise ArgumentError("skip_empty", expected, "True")

    @classmethod
    def paper(
        cls,
        *,
        refinement: Refinement | None = _PAPER_REFINEMENT,
        segmenter: _Segments = None,
        scorer: str | Scorer | Tensor = "deletion",
        fill: str | float | Tensor | Blur = "mean",
        mean: Any = None,
        std: Any = None,
        internal_batch_size: int | None = None,
        remember: int = 0,
    ) -> USUUpsampler:
        """The paper's method: each cell keeps its mass, segments are refined where their scores change.

        Equations 8 to 11 at temperature 0.1 with the tensor potential, and the refinement of section C. D1 to D4 hold.
        Scores come from "masked perturbation", which we take for deletion. The paper does not state what is masked
        with, which of the model's outputs is scored, how images are segmented, nor the refinement's numbers: there we
        have this class's and `Refinement`'s defaults.

        Args:
            refinement: as in the paper with our numbers where it has none; None is `fixed()`.
            segmenter: as in the constructor; label maps and functions have one level, and are for `fixed()`.
            scorer: as in the constructor, as what follows.
            fill: what stands for a missing segment.
            mean: the model's input normalisation.
            std: see `mean`.
            internal_batch_size: rows given to the model at once.
            remember: of how many images outputs stay known from call to call, as in the constructor.

        Raises:
            ArgumentTypeError, ArgumentError, NonFiniteError: a setting that cannot be used.

        Example:
            >>> from captum_ext.upsampling import USU, check_desiderata
            >>> report = check_desiderata(USU.paper(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]))
            >>> [d.satisfied for d in (report.d1, report.d2, report.d3, report.d4)], report.d1.error < 1e-6
            ([True, True, True, True], True)
        """
        return cls(
            temperature=_PAPER_TEMPERATURE,
            refinement=refinement,
            segmenter=segmenter,
            scorer=scorer,
            fill=fill,
            mean=mean,
            std=std,
            internal_batch_size=internal_batch_size,
            remember=remember,
        )

    @classmethod
    def fixed(
        cls,
        *,
        segmenter: _Segments = None,
        scorer: str | Scorer | Tensor = "deletion",
        fill: str | float | Tensor | Blur = "mean",
        mean: Any = None,
        std: Any = None,
        internal_batch_size: int | None = None,
        remember: int = 0,
    ) -> USUUpsampler:
        """`paper()` with one segmentation instead of refined ones: "USU-Fixed" of the paper's Table 2, as we read it.

        The paper does not explain that name, which may also mean fixed masses in contrast to the row "USU-IWMR". D1 to
        D4 hold. Arguments and errors as `paper`; a label map or function can be the segmenter, a score map the scorer.

        Example:
            >>> import torch
            >>> from captum_ext.upsampling import USU
            >>> usu = USU.fixed(segmenter=torch.tensor([[0, 0, 1, 1]]))
            >>> image = torch.tensor([[[[1.0, 1.0, 5.0, 5.0]]]])
            >>> usu(torch.ones(1, 1, 1), image, lambda x: x[..., 2:].sum((1, 2, 3))).squeeze()
            tensor([9.0796e-05, 9.0796e-05, 1.9999e+00, 1.9999e+00])
        """
        return cls.paper(
            refinement=None,
            segmenter=segmenter,
            scorer=scorer,
            fill=fill,
            mean=mean,
            std=std,
            internal_batch_size=internal_batch_size,
            remember=remember,
        )

    @classmethod
    def iwmr(
        cls,
        *,
        importance_temperature: float | None = None,
        refinement: Refinement | None = _PAPER_REFINEMENT,
        segmenter: _Segments = None,
        scorer: str | Scorer | Tensor = "deletion",
        fill: str | float | Tensor | Blur = "mean",
        mean: Any = None,
        std: Any = None,
        internal_batch_size: int | None = None,
        remember: int = 0,
    ) -> USUUpsampler:
        """The paper's soft IWMR (importance-weighted mass redistribution): `paper()` with "global-area", equation 13.

        D1 and D4 are lost: cells share the map's mass by their importance, which is their best-scored segment's, and
        every pixel depends on all importances. By theorem 6 there remain D2, D3, D1-G (each cell's pixels sum to its
        redistributed mass, and all cells to the map's mass) and D4' (a pixel depends on its cell's redistributed mass
        and the scores within its cell alone). The coarse map is forgotten but for its total: two maps of equal total
        give the same result. So equal importances do not give `paper()` back, as the paper says, but a map of equal
        cells; with `USU(redistribution="global-mass")`, a variant of ours, they do.

        Args:
            importance_temperature: of the sharing among cells. None: 0.1, the only temperature that the paper states.
            refinement: as in `paper`, as what follows; None for one segmentation.
            segmenter: what divides the image.
            scorer: how segments are scored.
            fill: what stands for a missing segment.
            mean: the model's input normalisation.
            std: see `mean`.
            internal_batch_size: rows given to the model at once.
            remember: of how many images outputs stay known from call to call, as in the constructor.

        Raises:
            ArgumentTypeError, ArgumentError, NonFiniteError: a setting that cannot be used.

        Example:
            >>> from captum_ext.upsampling import USU, check_desiderata
            >>> report = check_desiderata(USU.iwmr())
            >>> report.d1.satisfied, report.d4.satisfied, report.d1_g.satisfied, report.d4_prime.satisfied
            (False, False, True, True)
        """
        return cls(
            temperature=_PAPER_TEMPERATURE,
            redistribution="global-area",
            importance_temperature=importance_temperature,
            refinement=refinement,
            segmenter=segmenter,
            scorer=scorer,
            fill=fill,
            mean=mean,
            std=std,
            internal_batch_size=internal_batch_size,
            remember=remember,
        )

    @own_precision
    def __call__(
        self,
        coarse: Tensor,
        inputs: Tensor,
        forward_func: ForwardFunc,
        target: Target = None,
        additional_forward_args: Any = None,
        size: tuple[int, ...] | None = None,
    ) -> Tensor:
        """Upsample `coarse` (N, h, w) or (N, 1, h, w) to (N, 1, H, W).

        Args:
            coarse: attribution on a grid, for the images of `inputs`; (N, 1, d, h, w) for volumes and (N, 1, t) for
                signals, both also without the 1.
            inputs: (N, C, H, W), volumes (N, C, D, H, W) or signals (N, C, T), as the model takes them.
            forward_func: the model; its score of `target` is what segments are scored by.
            target: as in Captum, or a function of one row's output (`captum_ext.models.targets`). None: the largest
                output of each image.
            additional_forward_args: as in Captum.
            size: (H, W) of the result. None: that of the inputs.

        Raises:
            ArgumentError: shapes that do not fit, a model in training mode with batch norm.
            NonFiniteError: NaN or infinity in the map, the inputs or the scores.
        """
        inputs = _images(inputs)
        dims = inputs.dim() - 2
        maps = as_maps("coarse", coarse, dims)
        if len(maps) != len(inputs):
            raise ArgumentError("coarse", f"of {len(inputs)} rows like the inputs", describe(coarse))
        size = None if size is None else check_size("size", size, dims)
        shown = [maps] if size in (None, tuple(inputs.shape[2:])) else None
        scores = self.score_map(inputs, forward_func, target, additional_forward_args, shown)
        return self.redistribute(maps, scores, size)

    @own_precision
    def redistribute(self, coarse: Tensor, score_map: Tensor, size: tuple[int, ...] | None = None) -> Tensor:
        """Redistribute by a score map, without any pass through the model.

        Args:
            coarse: (N, h, w) or (N, 1, h, w); of volumes and signals likewise.
            score_map: what `score_map` gave, (N, 1, H, W). (N, 1, T) are scores of signals where `coarse` is (N, t) or
                `size` is (T,), else those of images of one row.
            size: (H, W) of the result. None: that of the score map.
        """
        if size is None:
            dims = 1 if isinstance(coarse, Tensor) and coarse.dim() == 2 else None
            scores = as_maps("score_map", score_map, dims)
        else:
            dims = len(check_size("size", size))
            scores = as_maps("score_map", score_map, dims)
            scores = nn.functional.interpolate(scores[:, None], size=size, mode="nearest")[:, 0]
        maps = as_maps("coarse", coarse, scores.dim() - 1)
        of_signals = scores.dim() == 2
        return redistribute(
            maps if of_signals else maps[:, None],
            scores if of_signals else scores[:, None],
            temperature=self.temperature,
            potential=self.potential,
            gamma=self.gamma,
            redistribution=self.redistribution,
            importance_temperature=self.importance_temperature,
        )

    @own_precision
    def score_map(
        self,
        inputs: Tensor,
        forward_func: ForwardFunc,
        target: Target = None,
        additional_forward_args: Any = None,
        maps: Sequence[Tensor] | None = None,
    ) -> Tensor:
        """Scores (N, 1, H, W) in [0, 1] of the segments of each image, shown at their pixels.

        Of volumes they are (N, 1, D, H, W), of signals (N, 1, T).

        Args:
            inputs: images (N, C, H, W), volumes or signals.
            forward_func: the model.
            target: as in Captum, or a function of one row's output (`captum_ext.models.targets`).
            additional_forward_args: as in Captum.
            maps: those that will be redistributed by the scores at the inputs' size: with `skip_empty`, segments
                without mass in all of them are not scored, and are shown as 0.
        """
        images = _images(inputs).detach()
        warn_of_frames((images,))
        dims = images.dim() - 2
        if self.refinement is not None and self.refinement.kernel == "diagonal" and dims != 2:
            expected = f'None or of kernel "max-min" for inputs {tuple(images.shape)}, which are no images'
            raise ArgumentError("refinement", expected, 'kernel "diagonal"')
        if isinstance(self.scorer, Tensor):
            given = as_maps("scorer", self.scorer, dims)[:, None]
            if len(given) not in (1, len(images)) or given.shape[2:] != images.shape[2:]:
                expected = (
                    f"of one row or {len(images)} rows like the inputs, and of their size {tuple(images.shape[2:])}"
                )
                raise ArgumentError("scorer", expected, describe(self.scorer))
            return given.expand(len(images), *given.shape[1:]).to(images.device)
        request = self._request(images, forward_func, target, additional_forward_args)
        fill, scorer = make_fill("fill", self.fill, request.inputs, FILLS, (1,)), self.scorer

        known = self._known(request, forward_func, fill)

        def score(labels: Tensor) -> list[Tensor]:
            masked = MaskedImages(request, labels, fill, self.probability, self.show_progress, known)
            return [check_tensors(f"scores of image {i}", one)[0] for i, one in enumerate(scorer(masked))]

        levels = self._levels(images)
        _warn_of_undivided(levels[-1])
        try:
            return self._shown(images, levels, score, maps if self.skip_empty else None)[:, None]
        finally:
            self._remembered.trim(self.remember)

    def _shown(self, images: Tensor, levels: list[Tensor], score: Score, maps: Sequence[Tensor] | None) -> Tensor:
        """Scores (N, H, W) in [0, 1] of the segments of nested label maps, or of those with mass in the maps."""
        if maps:
            given = [as_maps("maps", one, images.dim() - 2) for one in maps]
            shown = scored_where_mass_is(levels[0], given, score)
        else:
            shown = [one[label] for one, label in zip(unit_scores(score(levels[0])), levels[0], strict=True)]
        score_map = torch.stack(shown).to(torch.promote_types(images.dtype, torch.float32))
        if self.refinement is not None:
            score_map = refine(score_map, levels, score, self.refinement)
        return score_map

    def _known(self, request: Request, forward_func: ForwardFunc, fill: Fill) -> KnownRows | None:
        """Outputs that need no pass: those of earlier calls, and those that equal images of this one share."""
        alone = request.n_rows == 1 and not self.remember
        if alone or self.allow_batch_statistics or request.model.forward_args.values:
            return None
        outputs = self._remembered.of(forward_func) if self.remember else KnownOutputs()
        (filling,) = fill.values or (torch.zeros_like(request.inputs[0][:1]),)
        known = outputs.at(request.inputs[0], filling.expand(request.n_rows, *filling.shape[1:]))
        return known if self.remember or not known.are_distinct else None

    def _request(self, images: Tensor, forward_func: ForwardFunc, target: Target, forward_args: Any) -> Request:
        """The images and the model; without a target, each image's largest output is its own."""

        def request_for(chosen: Target) -> Request:
            if self.probability and is_function(chosen):
                expected = (
                    'an index where output="probability", which is the softmax of a class; make it output="logit"'
                )
                raise ArgumentError("target", expected, describe(chosen))
            return Request(
                forward_func,
                images,
                chosen,
                forward_args,
                self.internal_batch_size,
                gradient_func=compute_gradients if isinstance(self.scorer, GradientScorer) else None,
                allow_batch_statistics=self.allow_batch_statistics,
            )

        request = request_for(target)
        chosen = _largest_output(request) if target is None else None
        return request if chosen is None else request_for(chosen)

    def _levels(self, images: Tensor) -> list[Tensor]:
        """Label maps (N, H, W), one, or nested ones from coarse to fine."""
        size = tuple(images.shape[2:])
        if isinstance(self.segmenter, Tensor):
            return [check_labels("segmenter", self.segmenter, len(images), size).to(images.device)]
        for name, numbers in (("mean", self.mean), ("std", self.std)):
            if numbers is not None and len(numbers) not in (1, images.shape[1]):
                expected = f"one number, or one for each of the inputs' {images.shape[1]} channels"
                raise ArgumentError(name, expected, f"{len(numbers)} numbers")
        segmenter, shown = self.segmenter, seen(images, self.mean, self.std)
        depth, growth = (1, 1) if self.refinement is None else (self.refinement.depth, self.refinement.growth)
        levels = [Segmenter(segmenter.method, segmenter.n_segments * growth**level)(shown) for level in range(depth)]
        return nested([check_labels("segmenter", one, len(images), size).to(images.device) for one in levels])


def _warn_of_undivided(finest: Tensor) -> None:
    """Say which images have one segment (N, ...), in which there is nothing to redistribute."""
    undivided = (finest.flatten(1).amax(1) == 0).nonzero().squeeze(1).tolist()
    if undivided and finest[0].numel() > 1:
        warn_caller(
            f"The segments of {len(undivided)} of {len(finest)} inputs (first row {undivided[0]}) are all of the "
            "input, so that every cell of the coarse map is spread evenly, as by nearest interpolation: give USU a "
            "segmenter that divides it."
        )


def _images(inputs: Any) -> Tensor:
    """The inputs, if they are images, volumes or signals."""
    if not isinstance(inputs, Tensor):
        raise ArgumentTypeError("inputs", "a tensor of images (N, C, H, W)", describe(inputs))
    if check_tensors("inputs", inputs)[0].dim() not in (3, 4, 5):
        expected = "a batch of images (N, C, H, W), volumes (N, C, D, H, W) or signals (N, C, T)"
        raise ArgumentError("inputs", expected, describe(inputs))
    return inputs


def _check_scorer(scorer: Any) -> Scorer | Tensor:
    if isinstance(scorer, Tensor):
        maps = as_maps("scorer", scorer)
        low, high = float(maps.min()), float(maps.max())
        if low < 0 or high > 1:
            raise ArgumentError("scorer", "a score map between 0 and 1", f"values from {low:.4g} to {high:.4g}")
        return scorer
    if isinstance(scorer, str):
        return SCORERS[check_choice("scorer", scorer, tuple(SCORERS))]()
    if not callable(scorer) or isinstance(scorer, type):
        raise ArgumentTypeError("scorer", "a name, a callable or a score map", describe(scorer))
    return scorer  # type: ignore[no-any-return]


def _check_refinement(refinement: Any, segmenter: Segmenter | Tensor, scorer: Scorer | Tensor) -> Refinement | None:
    if refinement is None:
        return None
    if not isinstance(refinement, Refinement):
        raise ArgumentTypeError("refinement", "a Refinement or None", describe(refinement))
    if isinstance(segmenter, Tensor) or callable(segmenter.method):
        expected = "None with a label map or function, which have one level, as in USU.fixed"
        raise ArgumentError("refinement", expected, "a Refinement")
    if isinstance(scorer, Tensor):
        raise ArgumentError(
            "refinement", "None with a score map, which has no segments, as in USU.fixed", "a Refinement"
        )
    return refinement


def _largest_output(request: Request) -> Target:
    """Class of the largest output of each image; None for models with one output."""
    outputs = request.outputs
    if outputs.dim() == 1 or outputs.shape[1] == 1:
        return None
    if outputs.dim() > 2:
        raise ArgumentError("target", "given for outputs with more than two dimensions", "None")
    return outputs.argmax(1)


#: Short name.
USU = USUUpsampler

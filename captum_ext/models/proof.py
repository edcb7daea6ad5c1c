"""What a pass shows, or else an error: rows, gradients, and that tokens stand for their patches."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import Tensor, nn

from captum_ext.exceptions import AdaptError, ArgumentError
from captum_ext.models.layers import Candidate, reaches
from captum_ext.models.outputs import seeds_of
from captum_ext.models.recording import Recording
from captum_ext.models.token_grids import GridReader, Layout, check_patches, fits

_MOST_LENGTHS = 6  # of sequences that are looked at
_MOST_OTHERS = 256  # tokens that are not those of patches
_MOST_SPLIT = 3  # of these so many may stand before those of patches, if others stand behind
_MOST_SOURCES = 4  # sequences before joined tokens that these are compared with
_EARLY = 0.2  # of the modules' calls: what is computed before is not the last


def score_gradients(rows: Any, recording: Recording, wanted: list[Tensor]) -> tuple[list[Tensor | None], str | None]:
    """Gradients of a sum of the first row's numbers, and what has to be said of them.

    Where the scores are constant, as those of a classifier whose weights are still zero, they are taken of what it
    gets. The graph is kept.
    """
    seeds = seeds_of(rows, 0)
    if seeds:
        gradients = _weighted_gradients(seeds, wanted)
        if any(reaches(one) for one in gradients) or recording.head is None:
            return gradients, None
        return _weighted_gradients([recording.head[0]], wanted), "the scores are constant: the head's weights are zero"
    return [None] * len(wanted), None


def _weighted_gradients(seeds: list[Tensor], wanted: list[Tensor]) -> list[Tensor | None]:
    """Gradients of the sum of all numbers with weights that differ: sums of softmax or layer norm are constant."""
    flat = torch.cat([seed.flatten().float() for seed in seeds])
    total = (flat * _weights(flat.numel(), flat.device)).sum()
    return list(torch.autograd.grad(total, wanted, retain_graph=True, allow_unused=True))


def _weights(count: int, device: torch.device) -> Tensor:
    return torch.arange(1, count + 1, dtype=torch.float32, device=device).cos()


def check_rows(gradient: Tensor | None, model: nn.Module, what: str = "images") -> None:
    """Raise where the first row of the scores does not depend on the first input, or depends on the second.

    Raises:
        AdaptError: no gradient, or that of another row.
    """
    if gradient is not None and not reaches(gradient[:1]):
        raise AdaptError(
            f"The gradients of the scores at the {what} are all zero: in this dtype the scores do not change with "
            "them, as those of a network that was not trained, or whose activations vanish. Load its weights first."
        )
    if gradient is None:
        raise AdaptError(
            f"No gradient reaches the {what} from the scores: the model detaches what it computes, computes under "
            "no_grad, or returns constants. Explain the model as it was before, or pass output= with a part that has "
            "gradients."
        )
    if reaches(gradient[1:]) and not any(part.training for part in model.modules()):
        raise AdaptError(
            "The first row of the scores depends on the second input: the model mixes the rows of a batch, or its "
            "first dimension is not that of inputs. Pass output= with a function that gives one row for each input."
        )


def find_reader(
    model: nn.Module, recording: Recording, size: tuple[int, ...], patch: tuple[int, ...] | None
) -> tuple[GridReader, str | None]:
    """How the features of a model are read, and for a model with tokens why they cannot be, if so.

    The grid of patches is that of the last convolution before the first sequence, or follows from the size of a patch
    that the model states. For each number of tokens around those of patches, gradients show that each of these stands
    for its patch.

    Raises:
        ArgumentError: an image that is not made of whole patches.
    """
    rank = len(size)
    plain = GridReader(rank, channels_last=_only_order(recording))
    sequences = _sequences(recording) if rank > 1 else []
    if not sequences:
        return plain, None
    if any(_reorders(part) for part in model.modules()):
        return plain, "it changes the order of its tokens (unroll)"
    base, is_exact = _patch_grid(recording, sequences[0], size, patch)
    if base is None:
        return plain, f"nothing shows for which patches its {sequences[0].shape[1]} tokens are"
    sides = tuple(max(round(side / cells), 1) for side, cells in zip(size, base, strict=True))
    if is_exact:
        check_patches(size, sides)
    proved = tuple(dict.fromkeys(_proved_places(recording, sequences, base)))
    if not proved:
        lengths = ", ".join(map(str, sequence_lengths(recording)[:8]))
        grid = " x ".join(map(str, base))
        return plain, f"its sequences of {lengths} tokens do not show the {grid} patches of the image in their order"
    return GridReader(rank, sides, proved, plain.channels_last, whole_patches=is_exact), None


def _reorders(module: nn.Module) -> bool:
    """Whether a module is of a Hiera, which sorts tokens by the units that are pooled later."""
    return "Unroll" in type(module).__name__ or hasattr(module, "unroll_schedule")


def without_early(
    candidates: list[Candidate], recording: Recording, reader: GridReader, size: tuple[int, ...]
) -> list[Candidate]:
    """The candidates, without those at the beginning of a model whose later tokens cannot be read.

    They are not its last features, as the patches of a Perceiver.
    """
    names = [call.name for call in recording.calls]
    if all(is_explained(reader, length, size) for length in sequence_lengths(recording) if length > 1):
        return candidates
    return [one for one in candidates if names.index(one.name) >= _EARLY * len(names)]


def is_explained(reader: GridReader, length: int, size: tuple[int, ...]) -> bool:
    """Whether a grid explains a sequence of so many tokens."""
    try:
        reader.layout((1, length, 1), size)
    except AdaptError:
        return False
    return True


def sequence_lengths(recording: Recording) -> list[int]:
    """How many tokens the sequences of a pass have, each number once."""
    return list(dict.fromkeys(one.shape[1] for one in _sequences(recording)))


def _sequences(recording: Recording) -> list[Tensor]:
    """Features (N, L, C) that depend on the images."""
    outputs = [call.output for call in recording.calls if call.output is not None]
    return [one for one in outputs if one.dim() == 3 and one.requires_grad]


def _only_order(recording: Recording) -> bool | None:
    """False where every layer that says it has its channels first."""
    said = {
        call.channels_last
        for call in recording.calls
        if call.channels_last is not None and call.output is not None and call.output.dim() > 3
    }
    return False if said == {False} else None


def _patch_grid(
    recording: Recording, first: Tensor, size: tuple[int, ...], patch: tuple[int, ...] | None
) -> tuple[tuple[int, ...] | None, bool]:
    """The grid of patches, and whether patches do not overlap."""
    grid, is_exact = None, False
    for call in recording.calls:
        if call.output is first:
            break
        output, module = call.output, call.module
        if output is not None and isinstance(module, nn.modules.conv._ConvNd) and fits(tuple(output.shape[2:]), size):
            grid = tuple(output.shape[2:])
            is_exact = tuple(module.stride) == tuple(module.kernel_size) and module.stride[0] > 1
    if grid is not None and math.prod(grid) <= first.shape[1]:
        return grid, is_exact
    if patch is not None and len(patch) == len(size):
        check_patches(size, patch)
        return tuple(side // one for side, one in zip(size, patch, strict=True)), True
    return None, False


def _proved_places(recording: Recording, sequences: list[Tensor], base: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    """Numbers of tokens before those of patches and behind them, each shown by the first sequence of that length."""
    tried: set[tuple[int, tuple[int, ...]]] = set()
    for sequence in sequences:
        before = _grids_before(recording, sequence, base)
        for grid in dict.fromkeys((base, *(tuple(one.shape[2:]) for one in before if one.dim() > 3))):
            others = sequence.shape[1] - math.prod(grid)
            if not 0 <= others <= _MOST_OTHERS or (others, grid) in tried or len(tried) == _MOST_LENGTHS:
                continue
            tried.add((others, grid))
            sources = [recording.inputs, *before]
            for prefix in dict.fromkeys((others, *range(min(others, _MOST_SPLIT)))):
                if any(_stands_in_place(sequence, Layout(grid, True, prefix), source) for source in sources):
                    yield prefix, others - prefix
                    break


def _grids_before(recording: Recording, sequence: Tensor, base: tuple[int, ...]) -> list[Tensor]:
    """What was computed last before a sequence: features on the grid of patches, and a convolution's maps."""
    latest: dict[str, Tensor] = {}
    for call in recording.calls:
        if call.output is sequence:
            break
        if call.output is not None and call.output.requires_grad:
            is_map = isinstance(call.module, nn.modules.conv._ConvNd) and call.output.dim() == len(base) + 2
            if tuple(call.output.shape[2:]) == base or is_map:
                latest["maps"] = call.output
            elif call.output.dim() == 3 and call.output.shape[1] == math.prod(base):
                latest["tokens"] = call.output
    return list(latest.values())


def is_order_shown(recording: Recording, reader: GridReader, size: tuple[int, ...], length: int) -> bool:
    """Whether gradients show that so many tokens, joined from those of patches, stand in the order of reading.

    The first sequence of that length is compared with the tokens before it, of which it was made, and with maps.
    """
    calls = [call for call in recording.calls if call.output is not None and call.output.requires_grad]
    sequences = [cast(Tensor, call.output) for call in calls if cast(Tensor, call.output).dim() == 3]
    first = next(one for one in sequences if one.shape[1] == length)
    layout = reader.layout(tuple(first.shape), size)
    maps = _grids_before(recording, first, layout.grid)
    if any(_stands_in_place(first, layout, source) for source in (recording.inputs, *maps)):
        return True
    before = sequences[: next(place for place, one in enumerate(sequences) if one is first)]
    for source in list({id(one): one for one in before if one.shape[1] != length}.values())[::-1][:_MOST_SOURCES]:
        try:
            of_source = reader.layout(tuple(source.shape), size)
        except AdaptError:
            continue
        if _stands_in_place(first, layout, source, of_source):
            return True
    return False


def _stands_in_place(sequence: Tensor, layout: Layout, source: Tensor, of_source: Layout | None = None) -> bool:
    """Whether every token of the grid depends on its own place in the image, or in maps before, more than on others.

    Places are told apart by the digits of their coordinates in base two: the tokens whose digit is one have a gradient
    that is larger at each of their places than at any other place. So a few gradients show the order of all tokens.
    """
    axes = torch.meshgrid(*(torch.arange(side, device=sequence.device) for side in layout.grid), indexing="ij")
    for axis, side in zip(axes, layout.grid, strict=True):
        for digit in range((side - 1).bit_length()):
            chosen = (axis >> digit) % 2 == 1
            tokens = sequence[0, layout.prefix + chosen.flatten().nonzero()[:, 0]]
            gradient = _weighted_gradients([tokens], [source])[0]
            if of_source is None:
                energy = _energy(gradient, layout.grid)
            else:
                energy = None if gradient is None else _joined(of_source.apply(gradient), layout.grid)
            if energy is None or not float(energy[chosen].min()) > float(energy[~chosen].max()):
                return False
    return True


def _energy(gradient: Tensor | None, grid: tuple[int, ...]) -> Tensor | None:
    """Mean size of a gradient of the first row at each place of a grid; None where it has no places."""
    if gradient is None:
        return None
    size = gradient[0].abs().float()
    if gradient.dim() == 3:  # tokens
        return size.sum(-1).reshape(grid) if len(size) == math.prod(grid) else None
    pool: Any = nn.functional.adaptive_avg_pool2d if len(grid) == 2 else nn.functional.adaptive_avg_pool3d
    return cast(Tensor, pool(size.sum(0)[None], grid)[0])


def _joined(gradient: Tensor, grid: tuple[int, ...]) -> Tensor:
    """Mean size of a gradient (N, C, h, w) of the first row in the places of a coarser grid, padded to whole cells."""
    size = gradient[0].abs().float().sum(0)
    factors = [-(-side // cells) for side, cells in zip(size.shape, grid, strict=True)]
    missing = [factor * cells - side for side, cells, factor in zip(size.shape, grid, factors, strict=True)]
    padded = nn.functional.pad(size, [part for one in reversed(missing) for part in (0, one)])
    cells = padded.reshape([part for pair in zip(grid, factors, strict=True) for part in pair])
    return cells.mean(tuple(range(1, 2 * len(grid), 2)))


def choose_layer(candidates: list[Candidate], gradients: list[Tensor | None], kind: str) -> Candidate | None:
    """The first candidate at whose positions the scores have gradients."""
    for one, gradient in zip(candidates, gradients, strict=False):
        if gradient is not None and reaches(one.at_positions(gradient)[:1]):
            return one
    return candidates[0] if kind == "detections" and candidates else None


def check_layer(candidate: Candidate, gradient: Tensor | None, instead: str | None) -> None:
    """Raise where the scores have no gradient at the positions of a layer that the caller chose.

    Raises:
        ArgumentError: with a layer that has.
    """
    if gradient is not None and reaches(candidate.at_positions(gradient)[:1]):
        return
    where = "anywhere" if not reaches(gradient) else "at its patches, but only at the tokens before them"
    expected = "a layer at whose positions the scores have gradients" + (f", such as {instead!r}" if instead else "")
    raise ArgumentError("layer", expected, f"{candidate.name!r}, where they have none {where}")

"""`adapt`: from any model to a module that returns one row for each image, with what is known of it proved."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from captum_ext.core.checks import check_gradients_possible, describe
from captum_ext.core.inspection import check_gradients_right
from captum_ext.exceptions import ArgumentError, ArgumentTypeError
from captum_ext.models.adapted_model import AdaptedModel, Knowledge
from captum_ext.models.class_names import find_class_names
from captum_ext.models.entries import Entry, find_entry, input_device, input_dtype, unwrapped
from captum_ext.models.facts import FOUND, GIVEN, Fact, unknown
from captum_ext.models.layers import (
    Candidate,
    embedding_layer,
    find_candidates,
    named_layer,
    only_call,
    reaches,
    said_before,
)
from captum_ext.models.model_facts import model_patch
from captum_ext.models.outputs import Part, Reading, find_reading
from captum_ext.models.proof import (
    check_layer,
    check_rows,
    choose_layer,
    find_reader,
    is_explained,
    is_order_shown,
    score_gradients,
    sequence_lengths,
    without_early,
)
from captum_ext.models.recording import Recording, recorded_pass
from captum_ext.models.sources import ImageSource, find_source
from captum_ext.models.texts import TextLogits, Texts, text_logits
from captum_ext.models.token_grids import GridReader, TokenGrid, check_maps

_N_ROWS = 2
_N_TOKENS = 8
_LONGEST = 300  # characters of a model's own error


def adapt(
    model: nn.Module,
    processor: Any = None,
    *,
    output: Part | Texts | None = None,
    size: int | tuple[int, ...] | None = None,
    channels: int | None = None,
    mean: Any = None,
    std: Any = None,
    class_names: Sequence[str] | Mapping[int, str] | str | Path | None = None,
    layer: str | nn.Module | None = None,
    grid: TokenGrid | Callable[[Tensor], Tensor] | None = None,
) -> AdaptedModel:
    """A model as everything here takes it: images (N, C, H, W) in, one row for each out, with what is known of it.

    What is not given is inferred: from the processor, from what the model says of itself (the config of Hugging Face,
    timm's pretrained_cfg), or from one pass of two random images, in the model's own mode, on its device and in its
    dtype. The pass shows which part of the output has a row for each image, that its gradients reach the images, that
    a row does not depend on another image, which tokens stand for which patches, and at which layer the scores have
    gradients. What it cannot show is an error that says what to pass; what is needed for CAMs alone, grid and layer,
    is an error where it is asked for. `print(adapted)` shows everything with its origin.

    Tokens that a model joins two by two (Swin, PVT) are compared with those that they are joined from; where gradients
    do not show that they stay in the order of reading, it is assumed, and `print` has a note. Models that are known to
    sort tokens otherwise (Hiera) have no grid unless it is given. Images of other sizes than in the pass are not tried.

    The pass leaves nothing behind: buffers, hooks, gradients and the random numbers are as before, and no tensor of it
    is kept. Parameters may be frozen.

    Args:
        model: of transformers, timm, torchvision, open_clip, or any other module of images; also one of text from
            transformers, whose layer is its embedding.
        processor: what prepares its images: a Hugging Face processor, torchvision's weights or their transforms(),
            timm's or open_clip's transform, or any function from a PIL image to a tensor (C, H, W). None: timm's
            preparation for its models; for others `mean` and `std` say how values are normalised.
        output: which part of what the model returns has the rows: a key, an attribute, a position, or a function.
            `Texts([...])`: the logits of CLIP, SigLIP and their like for these texts, which are the classes; without
            it their rows are embeddings of images.
        size: of the images, one side or (H, W), in pixels.
        channels: of the images.
        mean: of each channel, or of all, for values in [0, 1].
        std: see `mean`.
        class_names: of the outputs: names, a mapping from numbers, or a file with one a line, or JSON.
        layer: to be explained by CAMs: a module of the model, or its name.
        grid: how features become maps (N, C, h, w): a `TokenGrid`, or a function of the features.

    Returns:
        A module around the model, whose numbers are the model's bit for bit.

    Raises:
        AdaptError: something cannot be inferred or proved: the model fails for its images or has no image input, no
            gradient reaches them, rows depend on each other, it is not clear which part has the scores.
        ArgumentTypeError, ArgumentError: an argument that cannot be used, a layer at which the scores have no
            gradients, a grid that does not explain the features, images that are not made of whole patches.
        ArgumentsConflictError: a processor that makes other images than the model takes or than is said.
        ModelOutputError, OutputRowsError: no scores in floating point, or another number of rows than of images.

    Example:
        >>> import torch
        >>> from torchvision.models import VisionTransformer
        >>> from captum_ext.models import adapt
        >>> network = VisionTransformer(image_size=32, patch_size=8, num_layers=2, num_heads=2, hidden_dim=16,
        ...                             mlp_dim=32, num_classes=3).eval()
        >>> adapted = adapt(network, mean=0.5, std=0.5, class_names=["cat", "dog", "cow"])
        >>> print(adapted)
        AdaptedModel of VisionTransformer
          output       scores (N, 3) from the output                (found by a pass)
          call         model(images)                                (its signature)
          size         32 x 32                                      (the model's image_size)
          channels     3                                            (the first convolution)
          mean         0.5                                          (given)
          std          0.5                                          (given)
          prepare      an image                                     (resized to cover the size, cropped at the centre)
          class names  3: cat, dog, cow                             (given)
          grid         patches of 8 x 8, 1 token before them        (found by a pass)
          layer        encoder.layers.encoder_layer_1.ln_1          (found by a pass)
          note         the scores are constant: the head's weights are zero  (found by a pass)
        >>> features = torch.rand(1, 17, 16)
        >>> adapted.to_grid(features).shape
        torch.Size([1, 16, 4, 4])
    """
    if not isinstance(model, nn.Module):
        raise ArgumentTypeError("model", "a torch.nn.Module", describe(model))
    if isinstance(model, AdaptedModel):
        raise ArgumentTypeError("model", "a model that is not adapted yet: pass adapted.model", "an AdaptedModel")
    check_gradients_possible()
    check_gradients_right(model)
    inside, given = unwrapped(model), Given(layer, grid)
    entry = find_entry(model)
    if entry.takes == "text":
        texts = output if isinstance(output, Texts) else None
        of_images = {"texts": texts, "size": size, "channels": channels, "mean": mean, "std": std, "grid": grid}
        return _adapted_text(model, entry, cast("Part | None", output), class_names, given, of_images)
    source = find_source(inside, processor, size, channels, mean, std)
    images = _test_images(source, input_device(inside), input_dtype(inside))
    if isinstance(output, Texts):
        entry, output = _with_texts(inside, entry, text_logits(inside, output, processor)), None
    sizes = f"images of {source.size.value} ({source.size.origin}) with {source.channels.value} channels"
    if source.transform.value is not None and source.size.origin == source.transform.origin:
        hint = f"It was tried with {sizes}, as the processor makes them: pass a processor that fits the model."
    else:
        hint = f"It was tried with {sizes} ({source.channels.origin}): pass size= and channels= if it takes others."
    interpolate = source.size.origin == GIVEN
    with recorded_pass(model, entry, images, hint, interpolate) as recording:
        embeds = entry.method is not None and entry.texts is None
        reading = find_reading(recording.returned, _N_ROWS, output, embeds)
        known = _proved(inside, recording, reading, source, entry, given)
        _check_logits(inside, entry, recording, interpolate)
    names = find_class_names(class_names, reading, processor, inside, entry.texts)
    return AdaptedModel(model, replace(known, class_names=names))


def _with_texts(model: nn.Module, entry: Entry, texts: TextLogits) -> Entry:
    """The entry of images that are compared with texts, which are encoded before the pass.

    Raises:
        ArgumentError: tokens that the text encoder does not take.
    """
    try:
        texts.embeddings(model)
    except Exception as error:  # whatever the model raises
        reason = f"one whose tokens fail in the model: {type(error).__name__}: {error}"
        raise ArgumentError("tokenizer", "that of the model", reason[:_LONGEST]) from error
    return replace(entry, texts=texts)


def _check_logits(model: nn.Module, entry: Entry, recording: Recording, interpolate: bool) -> None:
    """Let the model compute its logits for texts by itself wherever they are not, bit for bit, those of the pass."""
    if entry.texts is not None and entry.texts.is_known and not model.training:
        images = recording.inputs.detach().requires_grad_()
        own = entry.texts.of_model(model, images, entry.options(images, interpolate))
        entry.texts.is_known = own is None or torch.equal(own, recording.returned)


@dataclass(frozen=True)
class Given:
    """What the caller says of layers."""

    layer: str | nn.Module | None
    grid: TokenGrid | Callable[[Tensor], Tensor] | None

    @property
    def function(self) -> Callable[[Tensor], Tensor] | None:
        """The caller's function from features to maps."""
        return None if isinstance(self.grid, TokenGrid) else self.grid


def _proved(
    model: nn.Module, recording: Recording, reading: Reading, source: ImageSource, entry: Entry, given: Given
) -> Knowledge:
    """What a pass of images shows."""
    size = source.size.value
    rows = reading(recording.returned, _N_ROWS)
    reader, why_no_tokens = _reader(model, recording, given.grid, size)
    candidates = find_candidates(recording, reader, size, reading.kind, given.function)
    candidates = without_early(candidates, recording, reader, size)
    chosen = None if given.layer is None else _given_candidate(model, recording, reader, size, given)
    wanted = [recording.inputs, *(one.output for one in candidates), *([] if chosen is None else [chosen.output])]
    gradients, note = score_gradients(rows, recording, wanted)
    if reading.kind == "detections" and not reaches(gradients[0]):
        note = "no detection in random images: that their scores have gradients is not shown"
    else:
        check_rows(gradients[0], model)
    best = choose_layer(candidates, gradients[1:], reading.kind)
    if chosen is not None and reading.kind != "detections":
        check_layer(chosen, gradients[-1], None if best is None else best.name)
    layer = chosen or best
    if given.grid is None:
        note = _with_order(note, recording, reader, size, layer)
    if isinstance(reader, GridReader) and reader.channels_last is None and layer is not None:
        reader = replace(reader, channels_last=layer.channels_last, channels=layer.n_channels)
    why = why_no_tokens or "no module that is called once returns features with several positions"
    known_grid = given.grid if given.grid is not None else None if why_no_tokens and layer is None else reader
    return Knowledge(
        entry=entry,
        reading=reading,
        source=source,
        class_names=unknown(),
        grid=Fact(known_grid, FOUND if given.grid is None else GIVEN),
        why_no_grid=why,
        layer=Fact(None if layer is None else layer.name, FOUND if chosen is None else GIVEN),
        why_no_layer=why,
        note=note,
    )


def _with_order(
    note: str | None, recording: Recording, reader: GridReader, size: tuple[int, ...], layer: Candidate | None
) -> str | None:
    """The note, and whether the order of joined tokens at the layer is assumed."""
    if layer is None or reader.patch_size is None or layer.output.dim() != 3 or len(size) == 1:
        return note
    grid, length = layer.shape[1:], layer.output.shape[1]
    patches = tuple(round(side / one) for side, one in zip(size, reader.patch_size, strict=True))
    if grid == patches or is_order_shown(recording, reader, size, length):
        return note
    cells = " x ".join(map(str, grid))
    assumed = (
        f"the {length} tokens of the layer are taken for {cells} places in the order of reading, which is not shown"
    )
    return assumed if note is None else f"{note}; {assumed}"


def _reader(model: nn.Module, recording: Recording, grid: Any, size: tuple[int, ...]) -> tuple[GridReader, str | None]:
    """How features are read, found or given, and why tokens cannot be."""
    if isinstance(grid, TokenGrid):
        reader = grid.reader()
        lengths = sequence_lengths(recording)
        if not any(is_explained(reader, length, size) for length in lengths):
            listed = ", ".join(map(str, lengths)) or "no"
            raise ArgumentError("grid", f"one of the model's sequences of {listed} tokens", repr(grid))
        return reader, None
    if grid is not None and not callable(grid):
        raise ArgumentTypeError("grid", "a TokenGrid, or a function of features", describe(grid))
    return find_reader(model, recording, size, model_patch(model))


def _given_candidate(
    model: nn.Module, recording: Recording, reader: GridReader, size: tuple[int, ...], given: Given
) -> Candidate:
    """The layer that the caller names, as a candidate."""
    name = named_layer(model, cast("str | nn.Module", given.layer))
    call = only_call(recording, name)
    output = cast(Tensor, call.output)
    if given.function is not None:
        maps = check_maps(given.function(output), len(output), len(size))
        return Candidate(name, output, given.function, tuple(maps.shape[1:]), None)
    layout = reader.layout(tuple(output.shape), size, said_before(recording, call))
    return Candidate(name, output, layout.apply, tuple(layout.apply(output).shape[1:]), layout.channels_last)


def _adapted_text(
    model: nn.Module, entry: Entry, output: Part | None, class_names: Any, given: Given, images: dict[str, Any]
) -> AdaptedModel:
    """A model of token ids, whose layer is its embedding.

    Raises:
        ArgumentError: an argument that is about images.
    """
    inside = unwrapped(model)
    for name, value in images.items():
        if value is not None:
            raise ArgumentError(name, "left out: the model has no image input, it takes token ids", describe(value))
    n_ids = getattr(getattr(inside, "config", None), "vocab_size", None)
    most = n_ids if isinstance(n_ids, int) and n_ids > 1 else 2
    ids = torch.randint(1, most, (_N_ROWS, _N_TOKENS), generator=torch.Generator().manual_seed(0))
    hint = (
        "The methods and metrics take it without adapt: pass a function that returns one row of scores for each text."
    )
    with recorded_pass(model, entry, ids.to(input_device(inside)), hint, False) as recording:
        reading = find_reading(recording.returned, _N_ROWS, output, False)
        name = embedding_layer(inside, recording) if given.layer is None else named_layer(inside, given.layer)
        of_layer = cast(Tensor, only_call(recording, name).output)
        gradients, note = score_gradients(reading(recording.returned, _N_ROWS), recording, [of_layer])
        check_rows(gradients[0], inside, "embedding")
    why = "it takes token ids"
    known = Knowledge(
        entry=entry,
        reading=reading,
        source=None,
        class_names=find_class_names(class_names, reading, None, inside),
        grid=Fact(None, why),
        why_no_grid=why,
        layer=Fact(name, "the model's embedding" if given.layer is None else GIVEN),
        why_no_layer="",
        note=note,
    )
    return AdaptedModel(model, known)


def _test_images(source: ImageSource, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Two images of random pixels, normalised as far as that is known."""
    shape = (_N_ROWS, source.channels.value, *source.size.value)
    pixels = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    if source.mean.value is not None and source.std.value is not None:
        one = (1, -1, *[1] * len(source.size.value))
        pixels = (pixels - torch.tensor(source.mean.value).view(one)) / torch.tensor(source.std.value).view(one)
    return pixels.to(device, dtype)

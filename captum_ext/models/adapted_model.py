"""A model with what is known of it: its images, its scores, its classes, its grids, its layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from captum_ext.core.checks import describe
from captum_ext.core.text import shown
from captum_ext.exceptions import AdaptError, ArgumentError, ArgumentTypeError
from captum_ext.images import display_range
from captum_ext.models.entries import Entry, unwrapped
from captum_ext.models.facts import Fact
from captum_ext.models.outputs import Reading
from captum_ext.models.sources import ImageSource, prepared
from captum_ext.models.token_grids import GridReader, TokenGrid, check_maps

_LONGEST = 60  # characters of a name in a table


@dataclass(frozen=True)
class Knowledge:
    """What `adapt` found out and proved; each fact has its origin.

    Attributes:
        entry: how inputs go in.
        reading: which part of the output has the rows.
        source: where images come from; None of text.
        class_names: of the outputs.
        grid: how features become maps: a reader, or a function of the caller; None where that is not known.
        why_no_grid: the reason for that.
        layer: name of the layer to explain.
        why_no_layer: the reason where there is none.
        note: what else the pass showed.
    """

    entry: Entry
    reading: Reading
    source: ImageSource | None
    class_names: Fact[tuple[str, ...] | None]
    grid: Fact[GridReader | TokenGrid | Callable[[Tensor], Tensor] | None]
    why_no_grid: str
    layer: Fact[str | None]
    why_no_layer: str
    note: str | None = None


class AdaptedModel(nn.Module):
    """A model that returns one row for each image, with what is known of it; made by `adapt`.

    It is a module like any other: every method, metric and upsampler takes it, and so do Captum and pytorch-grad-cam.
    Its numbers are the model's, bit for bit; mode, device and dtype are those of the model inside. `print` shows what
    is known, and where it is known from.

    Args:
        model: the model inside.
        knowledge: what `adapt` found out; nobody else makes it.

    Attributes:
        model: the model inside.
        size: of the images, (H, W); of what `prepare` makes and the model was tried with.
        channels: of the images.
        mean: of each channel, of values in [0, 1]; None where it is not known.
        std: see `mean`.
        class_names: of the outputs; None where they are not known.
        kind: "scores" (N, K), "maps" (N, K, H, W), "embedding" (N, D) or "detections", as the model returns them.
        n_outputs: K or D; 0 of detections.
        layer_name: name of the layer to explain, inside of the model; None where there is none.

    Example:
        >>> import torch
        >>> from captum_ext.models import adapt
        >>> network = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(),
        ...                               torch.nn.Linear(4 * 36, 3)).eval()
        >>> adapted = adapt(network, size=8, mean=0.5, std=0.5, class_names=["zero", "one", "two"])
        >>> adapted.layer_name, adapted.size, adapted.channels
        ('1', (8, 8), 1)
        >>> images = torch.rand(2, 1, 8, 8) * 2 - 1
        >>> torch.equal(adapted(images), network(images)), adapted.display(images).shape
        (True, torch.Size([2, 8, 8, 1]))
    """

    def __init__(self, model: nn.Module, knowledge: Knowledge) -> None:
        super().__init__()
        self.model = model
        self.knowledge = knowledge
        self.texts = knowledge.entry.texts
        self.training = model.training
        self._latest_size: tuple[int, ...] | None = None

    def forward(self, inputs: Tensor, attention_mask: Tensor | None = None) -> Any:
        """Rows of images (N, C, H, W), or of token ids (N, L).

        Args:
            inputs: as the model takes them.
            attention_mask: of token ids; pass it as `additional_forward_args`.

        Returns:
            (N, K), or what `kind` says.

        Raises:
            ArgumentTypeError: no tensor.
            OutputRowsError: the model returned another number of rows.
            ModelOutputError: the model returned something else than when it was adapted.
        """
        if not isinstance(inputs, Tensor):
            raise ArgumentTypeError("inputs", "a tensor with a row for each input", describe(inputs))
        self._latest_size = tuple(inputs.shape[2:])
        returned = self.knowledge.entry(self.model, inputs, attention_mask)
        return self.knowledge.reading(returned, len(inputs))

    @property
    def size(self) -> tuple[int, ...]:
        """Size of the images."""
        return self._source.size.value

    @property
    def channels(self) -> int:
        """Channels of the images."""
        return self._source.channels.value

    @property
    def mean(self) -> tuple[float, ...] | None:
        """Mean of the normalisation."""
        return self._source.mean.value

    @property
    def std(self) -> tuple[float, ...] | None:
        """Standard deviation of the normalisation."""
        return self._source.std.value

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """Names of the outputs."""
        return self.knowledge.class_names.value

    @property
    def kind(self) -> str:
        """What the rows are."""
        return self.knowledge.reading.kind

    @property
    def n_outputs(self) -> int:
        """Numbers, or maps, in a row."""
        return self.knowledge.reading.n_outputs

    @property
    def layer_name(self) -> str | None:
        """Name of the layer to explain."""
        return self.knowledge.layer.value

    @property
    def layer(self) -> nn.Module:
        """The layer to explain: the last one with places in the image that the scores depend on; of text the embedding.

        Raises:
            AdaptError: there is none.
        """
        if self.layer_name is None:
            raise AdaptError(f"There is no layer to explain: {self.knowledge.why_no_layer}. Pass adapt layer=.")
        return unwrapped(self.model).get_submodule(self.layer_name)

    def class_name(self, index: int) -> str:
        """Name of a class, or its number where names are not known.

        Args:
            index: of the class, from 0.

        Raises:
            ArgumentError: no such class.
        """
        if not 0 <= index < self.n_outputs:
            raise ArgumentError("index", f"from 0 to {self.n_outputs - 1}", str(index))
        return f"class {index}" if self.class_names is None else self.class_names[index]

    def prepare(self, image: Any) -> Tensor:
        """An image, or a list of them, as the model takes them: (1, C, H, W) or (N, C, H, W).

        Turned as EXIF says and brought to the model's channels, as `captum_ext.images.image_to_pil` does, then
        prepared; on the device and in the dtype of the model.

        Args:
            image: a PIL image, or an array or tensor whose kind of numbers says what white is.

        Raises:
            AdaptError: it is not known how images are prepared.
            ArgumentTypeError, ArgumentError: no image, or one whose white is not known.
        """
        parameter = next((one for one in self.model.parameters() if one.is_floating_point()), None)
        batch = prepared(self._source, image)
        return batch if parameter is None else batch.to(parameter.device, parameter.dtype)

    def display(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) as seen: (N, H, W, C) in [0, 1], on the CPU.

        The normalisation is undone; where it is not known, each image is scaled from its minimum and maximum.

        Raises:
            ArgumentTypeError, ArgumentError, NonFiniteError: as `captum_ext.images.display_range`.
        """
        return display_range(images, self.mean, self.std).float().cpu().movedim(1, -1)

    def to_grid(self, features: Tensor, size: tuple[int, ...] | None = None) -> Tensor:
        """Features of a layer as maps (N, C, h, w); also as `reshape_transform` of pytorch-grad-cam.

        Class, distillation and register tokens are left out; channels that are last are brought to the front; what is
        (N, C, h, w) stays as it is.

        Args:
            features: (N, L, C), (N, h, w, C) or (N, C, h, w), or their gradients.
            size: of the images (H, W) that they are of; None: of the images that the model was last called with.

        Raises:
            AdaptError: no grid explains their shape.
            ArgumentError: images that are not made of whole patches.
        """
        grid = self.knowledge.grid.value
        of_size = size or self._latest_size or self._source.size.value
        if isinstance(grid, GridReader):
            return grid.read(features, of_size)
        if isinstance(grid, TokenGrid):
            return grid(features, of_size)
        if grid is None:
            raise AdaptError(
                f"It is not known how features become maps: {self.knowledge.why_no_grid}. Pass adapt "
                "grid=TokenGrid(...), or a function that makes maps (N, C, h, w) of features."
            )
        return check_maps(grid(features), len(features), len(of_size))

    @property
    def _source(self) -> ImageSource:
        if self.knowledge.source is None:
            raise AdaptError(
                "The model has no image input: it takes token ids. Make them with its tokenizer, and explain its "
                "embedding with Captum's layer methods or captum_ext.attr.LayerExpectedGradients and its like."
            )
        return self.knowledge.source

    def __repr__(self) -> str:
        return _table(f"AdaptedModel of {type(unwrapped(self.model)).__name__}", _lines(self.knowledge))


def _lines(known: Knowledge) -> list[tuple[str, str, str]]:
    """What is known, as name, value and origin."""
    lines = [("output", str(known.reading), known.reading.origin), ("call", str(known.entry), "its signature")]
    if known.source is not None:
        source = known.source
        lines += [
            ("size", " x ".join(map(str, source.size.value)), source.size.origin),
            ("channels", str(source.channels.value), source.channels.origin),
            ("mean", _numbers(source.mean.value), source.mean.origin),
            ("std", _numbers(source.std.value), source.std.origin),
            ("prepare", "an image" if source.transform.value else "-", source.transform.origin),
        ]
    names = known.class_names
    more = ", ..." if len(names.value or ()) > 3 else ""
    listed = (
        "-"
        if names.value is None
        else f"{len(names.value)}: {', '.join(name.split(',')[0] for name in names.value[:3])}{more}"
    )
    lines.append(("class names", shown(listed, _LONGEST), names.origin))
    if known.source is not None:
        lines.append(("grid", _grid(known.grid.value), known.grid.origin if known.grid.value else known.why_no_grid))
    lines.append(
        ("layer", shown(known.layer.value or "-"), known.layer.origin if known.layer.value else known.why_no_layer)
    )
    return [*lines, *([("note", known.note, "found by a pass")] if known.note else [])]


def _grid(grid: Any) -> str:
    if isinstance(grid, TokenGrid | GridReader):
        return str(grid.reader() if isinstance(grid, TokenGrid) else grid)
    return "-" if grid is None else f"by {getattr(grid, '__name__', type(grid).__name__)}"


def _numbers(values: tuple[float, ...] | None) -> str:
    return "-" if values is None else ", ".join(f"{value:.4g}" for value in values)


def _table(title: str, lines: list[tuple[str, str, str]]) -> str:
    width, middle = max(len(line[0]) for line in lines), max(min(len(line[1]), 60) for line in lines)
    rows = [f"  {name:{width}}  {value:{middle}}  ({origin})" for name, value, origin in lines]
    return "\n".join([title, *rows])

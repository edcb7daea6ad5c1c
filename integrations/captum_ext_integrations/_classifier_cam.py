"""CAM: the weights of the classifier itself over the maps that it averages."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from captum_ext.core.checks import describe
from captum_ext.core.optional import require
from captum_ext.exceptions import ArgumentError, ArgumentTypeError
from captum_ext.models.targets import ClassTarget
from captum_ext.upsampling import Upsampler
from captum_ext_integrations._cam_layers import layers_and_reshape
from captum_ext_integrations._cam_recorder import Recorder
from captum_ext_integrations._grad_cam_base import Redistributing

_base: Any = require("pytorch_grad_cam.base_cam", "grad-cam")
_targets: Any = require("pytorch_grad_cam.utils.model_targets", "grad-cam")
_project: Any = require("pytorch_grad_cam.utils.svd_on_activations", "grad-cam").get_2d_projection

#: What may stand between the target layer and the pooling, tried in this order.
_BETWEEN: tuple[Callable[[Tensor], Tensor], ...] = (
    lambda maps: maps,
    functional.relu,
    functional.relu6,
    functional.silu,
    functional.gelu,
    functional.hardswish,
)
#: What may come after the classifier: every output is still that of one class.
_AFTER: tuple[Callable[[Tensor], Tensor], ...] = (
    lambda logits: logits,
    lambda logits: logits.softmax(-1),
    lambda logits: logits.log_softmax(-1),
    torch.sigmoid,
)
_ROUNDING = 64  # units in the last place of the largest number: sums in another order differ by fewer


@dataclass(frozen=True)
class LinearCall:
    """A linear layer in a pass: what it took, (N, channels), and gave, (N, classes)."""

    layer: nn.Linear
    taken: Tensor
    given: Tensor


class ClassifierRecorder(Recorder):
    """Keeps the calls of linear layers beside the activations, and no graph."""

    def __init__(self, cam: Any) -> None:
        self.calls: list[LinearCall] = []
        self.outputs: Any = None
        super().__init__(cam)

    def __call__(self, x: Tensor) -> Any:
        """The model's outputs."""
        self.calls = []
        handles = [
            module.register_forward_hook(self._keep_call, with_kwargs=True)
            for module in self.model.modules()
            if isinstance(module, nn.Linear)
        ]
        try:
            with torch.no_grad():
                self.outputs = super().__call__(x)
        finally:
            for handle in handles:
                handle.remove()
        return self.outputs

    def _keep_call(self, layer: nn.Linear, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        taken = args[0] if args else kwargs["input"]
        if taken.dim() == 2:
            self.calls.append(LinearCall(layer, taken.detach().clone(), output.detach().clone()))


class CAM(Redistributing, _base.BaseCAM):  # type: ignore[misc]
    r"""Class Activation Mapping (Zhou, Khosla, Lapedriza, Oliva and Torralba, "Learning Deep Features for
    Discriminative Localization", CVPR 2016), in the form of the host's classes.

    https://arxiv.org/abs/1512.04150

    $$M_c(x, y) = \sum_k w_k^c \, f_k(x, y)$$

    for the maps $f_k$ that the network averages over all positions, and the weights $w^c$ of class c in the linear
    layer that takes these averages. The mean of $M_c$ over positions plus the bias of c is the logit of c. At the layer
    that is averaged it is GradCAM of the logit times the number of positions; it needs no gradient.

    Every pass shows whether the network is of this kind, and by which layer: the linear layer is the one that took the
    averages of the target layer, or of an activation of it (ReLU, ReLU6, SiLU, GELU, Hardswish), which many networks
    have as a function and not as a layer.

    Args:
        model: as the host's; its outputs are those of the linear layer, or their softmax, log-softmax or sigmoid.
        target_layers: the last layer before the average over positions, with or without its activation. None: `layer`
            of an adapted model (`captum_ext.models.adapt`).
        reshape_transform: as the host's. None: `to_grid` of an adapted model.
        classifier: the linear layer. None: found, as said above.
        upsampler: a name, an object or a function; None: the host's own scaling.
        normalize: with an upsampler, divide each map by its maximum.
        as_tensor: return a tensor on the model's device instead of an array.

    Raises:
        ArgumentTypeError: a classifier that is no linear layer; when called, targets that are no classes.
        ArgumentError: a classifier that is not in the model; when called, a network that has no linear layer right
            after the average over positions, several such layers, or classes that there are not.

    Example:
        >>> import torch
        >>> from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
        >>> from captum_ext_integrations.grad_cam import CAM
        >>> model = torch.nn.Sequential(
        ...     torch.nn.Conv2d(1, 1, 1), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(1, 2)
        ... )
        >>> for k, parameter in enumerate(model.parameters()):
        ...     _ = torch.nn.init.constant_(parameter, [1.0, 0.0, 3.0, 0.5][k])
        >>> cam = CAM(model, [model[0]], upsampler="nearest", normalize=False)
        >>> image = torch.tensor([[[[0.0, 1.0], [2.0, 1.0]]]])
        >>> cam(image, [ClassifierOutputTarget(1)]).tolist(), model(image)[0, 1].item()  # the mean of the map, and 0.5
        ([[[0.0, 3.0], [6.0, 3.0]]], 3.5)

    Deviations from the paper: what is below zero is set to zero, as in all classes of the host.
    """

    def __init__(
        self,
        model: nn.Module,
        target_layers: list[nn.Module] | None = None,
        reshape_transform: Callable[[Tensor], Tensor] | None = None,
        *,
        classifier: nn.Linear | None = None,
        upsampler: Upsampler | str | None = None,
        normalize: bool = True,
        as_tensor: bool = False,
    ) -> None:
        self._configure(upsampler, normalize, as_tensor)
        self.classifier = None if classifier is None else _check_classifier(model, classifier)
        layers, reshape = layers_and_reshape(model, target_layers, reshape_transform)
        _base.BaseCAM.__init__(self, model, layers, reshape, uses_gradients=False)
        self._record()

    def _record(self) -> None:
        self.activations_and_grads.release()
        self.activations_and_grads = ClassifierRecorder(self)

    def get_cam_image(
        self,
        input_tensor: Tensor,  # noqa: ARG002
        target_layer: Any,
        targets: Any,
        activations: Any,
        grads: Any,  # noqa: ARG002
        eigen_smooth: bool = False,
    ) -> Any:
        """Raw map (N, h, w), as the host's."""
        maps = torch.as_tensor(activations)
        maps = maps.to(torch.promote_types(maps.dtype, torch.float32))
        if maps[0, 0].numel() == 1:
            received = f"{describe(target_layer)} with one position, where a map locates nothing"
            raise ArgumentError("target_layers", "layers with several positions", received)
        call, maps = self._classifying_call(maps, target_layer)
        weights = call.layer.weight.detach().to(maps.dtype).cpu()[_classes(targets, call.given.shape[1])]
        weighted = (weights.reshape(*weights.shape, *(1,) * (maps.dim() - 2)) * maps).numpy()
        return _project(weighted) if eigen_smooth else weighted.sum(axis=1)

    def _classifying_call(self, maps: Tensor, target_layer: nn.Module) -> tuple[LinearCall, Tensor]:
        """The call of the layer that classifies by the averages of the maps (N, K, ...), and what is averaged."""
        recorder = self.activations_and_grads
        calls = [call for call in recorder.calls if self.classifier in (None, call.layer)]
        fitting = [(call, averaged) for call in calls if (averaged := _averaged(call, maps)) is not None]
        if not fitting:
            self._refuse(target_layer, calls)
        names = {module: name for name, module in self.model.named_modules()}
        classifying = [one for one in fitting if _is_classified_by(recorder.outputs, one[0])]
        if not classifying:
            expected = "one whose outputs are those of its linear layer, their softmax, log-softmax or sigmoid"
            raise ArgumentError("model", expected, f"other outputs after {names[fitting[0][0].layer]!r}")
        layers = list(dict.fromkeys(call.layer for call, _ in classifying))
        if len(layers) > 1:
            several = ", ".join(repr(names[layer]) for layer in layers)
            raise ArgumentError("classifier", "given, as several layers classify by the same averages", several)
        return classifying[0]

    def _refuse(self, target_layer: nn.Module, calls: list[LinearCall]) -> None:
        names = {module: name for name, module in self.model.named_modules()}
        linear = (
            ", ".join(dict.fromkeys(repr(names[call.layer]) for call in calls)) or "no linear layer of (N, channels)"
        )
        expected = (
            "the last layer before an average over positions that a linear layer takes as it is: CAM is defined for no "
            "other network (GradCAM is for all)"
        )
        received = f"{names.get(target_layer)!r}, whose averages are not what is taken by {linear}"
        raise ArgumentError("target_layers", expected, received)


def _check_classifier(model: nn.Module, classifier: Any) -> nn.Linear:
    if not isinstance(classifier, nn.Linear):
        raise ArgumentTypeError("classifier", "a linear layer (torch.nn.Linear) of the model", describe(classifier))
    if all(classifier is not module for module in model.modules()):
        raise ArgumentError("classifier", "a linear layer of the model", f"{classifier}, which is not in it")
    return classifier


def _averaged(call: LinearCall, maps: Tensor) -> Tensor | None:
    """What of the maps (N, K, ...) the layer took the averages of over positions; None: of nothing."""
    if call.taken.shape != maps.shape[:2] or maps.dim() < 3:
        return None
    for between in _BETWEEN:
        through = between(maps)
        if _equal(through.mean(tuple(range(2, maps.dim()))), call.taken):
            return through
    return None


def _is_classified_by(outputs: Any, call: LinearCall) -> bool:
    if not isinstance(outputs, Tensor) or outputs.shape != call.given.shape:
        return False
    return any(_equal(outputs, after(call.given.float())) for after in _AFTER)


def _equal(one: Tensor, other: Tensor) -> bool:
    """Whether tensors of equal shape are the same but for rounding, of the less precise one."""
    rounding = max(torch.finfo(tensor.dtype).eps for tensor in (one, other))
    one, other = (tensor.detach().cpu().double() for tensor in (one, other))
    return bool((one - other).abs().max() <= _ROUNDING * rounding * other.abs().max())


def _classes(targets: Any, n_classes: int) -> list[int]:
    """The class of every target."""
    classes = []
    for target in targets:
        if type(target) not in (_targets.ClassifierOutputTarget, ClassTarget):
            expected = "ClassifierOutputTarget objects, as CAM is the map of a class"
            raise ArgumentTypeError("targets", expected, describe(target))
        category: Any = target.index if isinstance(target, ClassTarget) else target.category
        index = operator.index(category)
        if not -n_classes <= index < n_classes:
            raise ArgumentError("targets", f"of the {n_classes} classes", str(index))
        classes.append(index)
    return classes

"""Images: read by what they are, without their details, and as they are seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from captum_ext.core.lazy import on_first_use

if TYPE_CHECKING:
    from captum_ext.core.blur import Blur, gaussian_blur
    from captum_ext.images.display import check_normalisation as check_normalisation
    from captum_ext.images.display import display_range
    from captum_ext.images.files import open_image
    from captum_ext.images.folders import ImageFolder
    from captum_ext.images.modes import image_to_pil, image_to_tensor
    from captum_ext.images.samples import image_dataset

__all__ = [
    "Blur",
    "ImageFolder",
    "display_range",
    "gaussian_blur",
    "image_dataset",
    "image_to_pil",
    "image_to_tensor",
    "open_image",
]

# Imported on first use: whoever only opens files waits for no torch.
_HOMES = {
    "Blur": "captum_ext.core.blur",
    "gaussian_blur": "captum_ext.core.blur",
    "check_normalisation": "captum_ext.images.display",
    "display_range": "captum_ext.images.display",
    "open_image": "captum_ext.images.files",
    "ImageFolder": "captum_ext.images.folders",
    "image_to_pil": "captum_ext.images.modes",
    "image_to_tensor": "captum_ext.images.modes",
    "image_dataset": "captum_ext.images.samples",
}

__getattr__, __dir__ = on_first_use(__name__, _HOMES)

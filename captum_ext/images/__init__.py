"""Images: read by what they are, without their details, and as they are seen."""

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

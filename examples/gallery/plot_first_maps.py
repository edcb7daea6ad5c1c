"""
Three methods on two photographs
================================

Integrated Gradients, Expected Gradients and Local Path Integration, 20 gradients each, on one scale for each
photograph. About 19 seconds of one core.
"""

# %%
# A network with its ImageNet weights, two photographs, and 20 images that serve as references. Everything comes with
# packages.

import torch

from captum_ext import ExpectedGradients, LocalPathIntegration
from captum_ext.attr import IntegratedGradients
from captum_ext.visualize import Caption, show_maps
from examples import real_data

model = real_data.efficientnet_lite0()
images = real_data.photographs("chelsea", "coffee")
references, _ = real_data.imagenet_images()
with torch.no_grad():
    target = model(images).argmax(1)

# %%
# Captum's call. The delta is the sum of the attributions minus the difference of scores: zero would be exact.


def explained(method):
    maps, delta = method.attribute(images, target=target, n_steps=20, return_convergence_delta=True)
    print(type(method).__name__, "delta", [round(value, 2) for value in delta.tolist()])
    return maps


maps = {
    "IG (zero)": explained(IntegratedGradients(model)),
    "EG (20 references)": explained(ExpectedGradients(model, references=references)),
    "LPI (20 references)": explained(LocalPathIntegration(model, references=references)),
}

# %%
# Orange speaks for the class, blue against it; maps of one photograph compare.

titles = ["a cat", "a cup of coffee"]
caption = Caption(unit="attribution of a pixel, in units of the logit")
figure = show_maps(maps, real_data.displayable(images), titles=titles, caption=caption, scale="image")
figure

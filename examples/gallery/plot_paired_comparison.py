"""
Two methods on the same images, with a paired test
==================================================

A mean over a few images says little without an interval. ``compare`` has intervals, paired tests and corrections.
About 24 seconds of one core.
"""

# %%
# Eight ImageNet images; Integrated Gradients from zero and from the blurred image, 10 gradients each.

import torch

from captum_ext.attr import IntegratedGradients
from captum_ext.images import gaussian_blur
from captum_ext.metrics import compare, insertion
from captum_ext.visualize import show_scores
from examples import real_data

model = real_data.efficientnet_lite0()
images = real_data.imagenet_images()[0][:8]
with torch.no_grad():
    target = model(images).argmax(1)
ig = IntegratedGradients(model)
maps = {
    "IG (zero)": ig.attribute(images, target=target, n_steps=10),
    "IG (blur)": ig.attribute(images, baselines=gaussian_blur(images), target=target, n_steps=10),
}

# %%
# One number for each image and method.

scores = {name: insertion(model, images, one, target, normalize="input") for name, one in maps.items()}
table = compare(scores, control="IG (zero)")
print(table.to_markdown())

# %%
# Every image is a point: the interval is of the mean.

figure = show_scores({"insertion": table})
figure

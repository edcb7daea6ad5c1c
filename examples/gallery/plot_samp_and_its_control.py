"""
SAMP beside its control
=======================

SAMP's path goes from a blurred image to the image and on to the mean colour. Integrated Gradients from the same two
baselines is what it has to be compared with. About 10 seconds of one core.
"""

# %%
# About as many gradients for both.

from captum_ext import SAMP
from captum_ext.attr import IntegratedGradients
from captum_ext.images import gaussian_blur
from captum_ext.metrics import deletion, insertion
from captum_ext.visualize import Caption, show_maps
from examples import real_data

model = real_data.efficientnet_lite0()
cup = real_data.photographs("coffee")
target = model(cup).argmax(1)
samp, n_gradients = SAMP(model), 28
ig = IntegratedGradients(model)
halves = [
    ig.attribute(cup, baselines=baseline, target=target, n_steps=n_gradients // 2)
    for baseline in (gaussian_blur(cup), 0)
]
maps = {"SAMP++": samp.attribute(cup, target=target), "IG (blur + zero)": (halves[0] + halves[1]) / 2}

# %%
# Insertion (higher is better) and deletion (lower is better), of the logit, divided by that of the image.

for name, one in maps.items():
    areas = [float(metric(model, cup, one, target, normalize="input").auc) for metric in (insertion, deletion)]
    print(f"{name}: insertion {areas[0]:.2f}, deletion {areas[1]:.2f}")

# %%
# One photograph shows what the methods do, not which one is better: that is in the verdicts.

figure = show_maps(
    maps,
    real_data.displayable(cup),
    titles=["a cup of coffee"],
    caption=Caption(unit="attribution of a pixel"),
    scale="map",
)
figure

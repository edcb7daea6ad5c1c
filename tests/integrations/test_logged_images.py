"""Maps in TensorBoard and MLflow: what is read back is the figure."""

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from captum_ext.exceptions import ArgumentError, ArgumentTypeError
from captum_ext.visualize import Caption, figure_pixels, save_figure, show_maps

MAPS = {"IG": torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))}
PHOTOGRAPHS = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
LOOK = {"titles": ["cat", "dog"], "limits": (-2.0, 2.0), "caption": Caption("step 3")}


def expected():
    return figure_pixels(show_maps(MAPS, PHOTOGRAPHS, **LOOK))


def test_a_figures_pixels_are_those_of_its_file():
    file = io.BytesIO()
    save_figure(show_maps(MAPS), file, dpi=50)
    pixels = figure_pixels(show_maps(MAPS), dpi=50)
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, np.asarray(Image.open(file).convert("RGB")))
    with pytest.raises(ArgumentError, match="`dpi` to be a positive number"):
        figure_pixels(show_maps(MAPS), dpi=0)


def test_tensorboard_has_the_figure_at_its_step(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from torch.utils.tensorboard import SummaryWriter

    from captum_ext_integrations.tensorboard_images import log_maps

    with SummaryWriter(tmp_path) as writer:
        log_maps(writer, "maps", MAPS, PHOTOGRAPHS, step=3, **LOOK)
    events = EventAccumulator(str(tmp_path)).Reload()
    (image,) = events.Images("maps")
    assert image.step == 3
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(image.encoded_image_string))), expected())


IN_MLFLOW = """
import mlflow
from captum_ext_integrations.mlflow_images import log_maps
from tests.integrations.test_logged_images import LOOK, MAPS, PHOTOGRAPHS
with mlflow.start_run():
    log_maps("maps/step_3.png", MAPS, PHOTOGRAPHS, **LOOK)
"""


def test_mlflow_has_the_figure_among_its_artifacts(tmp_path):
    pytest.importorskip("mlflow")
    settings = {"MLFLOW_ALLOW_FILE_STORE": "true", "MLFLOW_TRACKING_URI": (tmp_path / "runs").as_uri()}
    root = Path(__file__).parents[2]
    # a process of its own: MLflow keeps for the whole process where it has written before
    subprocess.run([sys.executable, "-c", IN_MLFLOW], cwd=root, env={**os.environ, **settings}, check=True)
    (written,) = tmp_path.rglob("step_3.png")
    np.testing.assert_array_equal(np.asarray(Image.open(written)), expected())


def test_what_is_no_writer_is_refused():
    from captum_ext_integrations.tensorboard_images import log_maps

    with pytest.raises(ArgumentTypeError, match="`writer` to be a SummaryWriter, with a method add_image, but got str"):
        log_maps("runs", "maps", MAPS)

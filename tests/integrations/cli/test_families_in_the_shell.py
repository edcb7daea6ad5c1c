"""Models of transformers, open_clip and torchvision by name: their numbers, their images, and what may be wrong."""

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torchvision import models

from captum_ext.exceptions import ModelLoadError
from captum_ext.images import open_image
from captum_ext_integrations.cli.messages import in_options
from captum_ext_integrations.cli.models import ModelSpec, load_model
from captum_ext_integrations.cli.preparation import Preparation, ProcessorPreparation, WholePreparation
from tests.integrations.cli import families
from tests.integrations.cli.calls import fail, succeed

transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """A folder with vit, grey, clip, segformer and yolos."""
    root = tmp_path_factory.mktemp("checkpoints")
    families.vit(root / "vit")
    families.vit(root / "grey", channels=1)
    families.clip(root / "clip")
    families.segformer(root / "segformer")
    families.yolos(root / "yolos")
    return root


def test_a_classifier_of_transformers_is_explained_with_its_names_and_its_processor(checkpoints, here):
    from captum_ext.attr import IntegratedGradients

    spec = f"hf:{checkpoints / 'vit'}"
    said = succeed("explain", "cat.png", "--model", spec, "--n-steps", 4, "--target", "dog", "--out", "map.npy")
    net = transformers.AutoModelForImageClassification.from_pretrained(checkpoints / "vit")
    processor = transformers.AutoImageProcessor.from_pretrained(checkpoints / "vit")
    image = processor(images=open_image(here / "cat.png"), return_tensors="pt")["pixel_values"]
    maps = IntegratedGradients(lambda pixels: net(pixels).logits).attribute(image, target=1, n_steps=4)
    np.testing.assert_allclose(np.load("map.npy"), maps[0].sum(0).detach().numpy(), rtol=1e-4, atol=1e-7)
    assert f"ig: dog, score {net(image).logits[0, 1].item():.3g}" in said


@pytest.mark.parametrize("command", ["explain --method gradcam", "upsample --cam LayerCAM", "explain --method rise"])
def test_maps_of_tokens_are_drawn_without_more_than_a_name(command, checkpoints, here):
    name, *options = command.split()
    said = succeed(name, "cat.png", "--model", f"hf:{checkpoints / 'vit'}", *options, "--out", "map.png")
    assert ("of layer vit." in said) == ("rise" not in command)
    with Image.open("map.png") as picture:
        assert picture.size[0] > 100


def test_a_grey_classifier_of_transformers_works_in_every_command(checkpoints, here):
    model = ("--model", f"hf:{checkpoints / 'grey'}")
    succeed("fit-references", "photos", *model, "--n-references", 2, "--out", "r.safetensors")
    succeed("explain", "cat.png", *model, "--method", "lpi", "--references", "r.safetensors", "--n-steps", 2)
    succeed("upsample", "cat.png", *model, "--upsampler", "usu")
    succeed("run", "photos", *model, "--n-steps", 2, "--limit", 2)
    succeed("evaluate", "photos", *model, "--method", "saliency", "--metric", "deletion", "--limit", 2)


def test_a_flat_folder_has_no_labels_of_a_model_with_names_either(checkpoints, here):
    (here / "flat").mkdir()
    (here / "flat" / "cat.png").symlink_to(here / "cat.png")
    call = ("run", "flat", "--model", f"hf:{checkpoints / 'vit'}", "--method", "saliency", "--target", "label")
    message = 'Expected --target to be "label" for a folder with one folder for each class only, but got flat, which'
    assert message in fail(*call, "--out", "out")


def test_a_grey_network_of_timm_works(here):
    import timm

    save_file(timm.create_model("resnet10t", in_chans=1, num_classes=3).state_dict(), "grey.safetensors")
    model = ("--model", "timm:resnet10t", "--weights", "grey.safetensors", "--channels", 1, "--n-classes", 3)
    size = ("--resize", 64, "--crop", 64)
    succeed("explain", "cat.png", *model, *size, "--mean", 0.5, "--std", 0.5, "--n-steps", 2, "--out", "map.npy")
    assert np.load("map.npy").shape == (64, 64)
    assert "--mean to be given for timm:resnet10t, which takes grey images" in fail("explain", "cat.png", *model, *size)
    assert "given together with --weights FILE" in fail("explain", "cat.png", *model[:2], "--channels", 1)
    message = "--channels to be left out: the model's config says it"
    assert message in fail("explain", "cat.png", "--model", "hf:somewhere", "--channels", 1)


def test_several_texts_are_classes_with_the_logits_of_clip(checkpoints, here):
    net, tokenizer = transformers.CLIPModel.from_pretrained(checkpoints / "clip"), None
    tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoints / "clip")
    texts = ["a photo of a cat", "a rocket", "a cup of coffee"]
    loaded = load_model(ModelSpec(f"hf:{checkpoints / 'clip'}", texts=tuple(texts)))
    image = loaded.preparation(open_image(here / "cat.png"))[None]
    tokens = tokenizer(texts, return_tensors="pt", padding=True)
    with torch.no_grad():
        logits = net(pixel_values=image, **{key: tokens[key] for key in ("input_ids", "attention_mask")})
        torch.testing.assert_close(loaded.model(image), logits.logits_per_image, rtol=1e-5, atol=1e-5)
    best = texts[int(logits.logits_per_image.argmax())]
    options = [option for text in texts for option in ("--text", text)]
    said = succeed("explain", "cat.png", "--model", f"hf:{checkpoints / 'clip'}", *options, "--n-steps", 2)
    assert f"ig: {best}, score {logits.logits_per_image.max():.3g}" in said
    said = succeed(
        "upsample",
        "cat.png",
        "--model",
        f"hf:{checkpoints / 'clip'}",
        *options,
        "--target",
        "a rocket",
        "--out",
        "c.npy",
    )
    assert "GradCAM of layer vision_model" in said
    assert "a rocket" in said


def test_of_one_text_the_similarity_is_explained_in_every_command(checkpoints, here):
    model = ("--model", f"hf:{checkpoints / 'clip'}", "--text", "a photo of a cat")
    loaded = load_model(ModelSpec(model[1], texts=("a photo of a cat",)))
    image = loaded.preparation(open_image(here / "cat.png"))[None]
    with torch.no_grad():
        score = float(loaded.similarity(loaded.model(image)[0]))
    said = succeed("explain", "cat.png", *model, "--method", "idgi", "--n-steps", 2, "--out", "map.npy")
    assert f"idgi: a photo of a cat, score {score:.3g}" in said
    succeed("upsample", "cat.png", *model, "--upsampler", "usu", "--out", "cam.npy")
    succeed("run", "photos", *model, "--n-steps", 2, "--limit", 2)
    succeed("evaluate", "photos", *model, "--method", "saliency", "--metric", "deletion", "--limit", 2)
    assert "left out with one --text, whose similarity is explained" in fail(
        "explain", "cat.png", *model, "--target", 1
    )


def test_open_clip_takes_weights_of_a_file_and_its_own_tokenizer(checkpoints, here):
    open_clip = pytest.importorskip("open_clip")
    net = families.open_clip_config(checkpoints)
    model = ("--model", "open_clip:tiny-shell", "--weights", checkpoints / "open_clip.safetensors")
    loaded = load_model(ModelSpec(model[1], model[3], texts=("a photo of a cat", "a rocket")))
    image = loaded.preparation(open_image(here / "cat.png"))[None]
    with torch.no_grad():
        found = net(image, open_clip.get_tokenizer("tiny-shell")(["a photo of a cat", "a rocket"]))
    expected = found[2] * found[0] @ found[1].T
    torch.testing.assert_close(loaded.model(image), expected, rtol=1e-5, atol=1e-5)
    said = succeed("explain", "cat.png", *model, "--text", "a photo of a cat", "--method", "gradcam")
    assert "gradcam of layer visual.transformer.resblocks" in said


def test_a_text_of_which_only_the_beginning_would_be_seen_is_refused(checkpoints, here):
    families.open_clip_config(checkpoints)
    weights = ("--weights", checkpoints / "open_clip.safetensors")
    long = ("--text", "a photo of a cat " * 5)
    hf = ("explain", "cat.png", "--model", f"hf:{checkpoints / 'clip'}", *long)
    assert "--text to be of at most 10 tokens, which the model takes, but got 27: 'a photo" in fail(*hf)
    own = ("explain", "cat.png", "--model", "open_clip:tiny-shell", *weights, *long)
    assert "--text to be of at most 16 tokens, which the model takes, but got 27: 'a photo" in fail(*own)


def test_a_model_of_embeddings_says_what_it_wants(checkpoints, here):
    model = ("--model", f"hf:{checkpoints / 'clip'}")
    assert '--target to be --text "a photo of a cat", or the number of a coordinate' in fail(
        "explain", "cat.png", *model
    )
    assert "coordinate 3 of the embedding" in succeed("explain", "cat.png", *model, "--target", 3, "--n-steps", 2)
    message = "--text to be given for models that compare images with texts (CLIP, SigLIP); hf:"
    assert message in fail("explain", "cat.png", "--model", f"hf:{checkpoints / 'vit'}", "--text", "a cat")


def test_a_region_of_a_segmentation_is_a_box_or_a_mask_of_the_picture(checkpoints, here):
    from captum_ext.models.targets import RegionTarget

    model = ("--model", f"hf:{checkpoints / 'segformer'}", "--method", "saliency", "--target", "cat")
    picture = open_image(here / "cat.png")
    mask = np.zeros((picture.height, picture.width), np.uint8)
    mask[60:240, 100:300] = 255
    Image.fromarray(mask).save("mask.png")
    for name, region in (("box", "100,60,300,240"), ("mask", "mask.png")):
        said = succeed("explain", "cat.png", *model, "--region", region, "--out", f"{name}.npy")
        assert "saliency: cat in the region, score" in said
    np.testing.assert_array_equal(np.load("box.npy"), np.load("mask.npy"))
    loaded = load_model(ModelSpec(model[1]))
    image = loaded.preparation(picture)[None].requires_grad_()
    own = np.asarray(Image.fromarray(mask).resize((64, 64), Image.Resampling.NEAREST)) > 0
    RegionTarget(own, 1, reduce="mean")(loaded.model(image)[0]).backward()
    np.testing.assert_allclose(np.load("box.npy"), image.grad[0].abs().sum(0).numpy(), rtol=1e-4, atol=1e-8)
    succeed("upsample", "cat.png", *model[:2], "--target", "cat", "--region", "mask.png", "--upsampler", "usu")


def test_without_a_region_it_is_where_the_class_is_predicted(checkpoints, here):
    model = ("--model", f"hf:{checkpoints / 'segformer'}", "--method", "saliency")
    assert "where it is predicted" in succeed("explain", "cat.png", *model)
    loaded = load_model(ModelSpec(model[1]))
    with torch.no_grad():
        predicted = loaded.model(loaded.preparation(open_image(here / "cat.png"))[None])[0].argmax(0)
    for index, name in enumerate(("sky", "cat", "road")):
        if not bool((predicted == index).any()):
            message = f"--region to be given for {name}, which the model predicts nowhere in this picture"
            assert message in fail("explain", "cat.png", *model, "--target", name)


@pytest.mark.parametrize(
    ("region", "message"),
    [
        ("400,60,500,100", "--region to be within the picture, 451 wide and 300 high, but got 400,60,500,100"),
        ("10,10,5,20", "--region to be four numbers X0,Y0,X1,Y1 in pixels of the picture, with X0 < X1"),
        ("small.png", "--region to be a mask of the picture's size, 451 x 300, but got small.png, 5 x 5"),
        ("black.png", "--region to be one of which a pixel is in what the model sees"),
        ("nowhere.png", "nowhere.png: No such file"),
    ],
)
def test_a_region_that_is_none_is_refused(region, message, checkpoints, here):
    Image.new("L", (5, 5), 255).save("small.png")
    Image.new("L", (451, 300), 0).save("black.png")
    assert message in fail("explain", "cat.png", "--model", f"hf:{checkpoints / 'segformer'}", "--region", region)


def test_the_most_confident_detection_is_explained_and_printed_as_a_box_that_can_be_given(checkpoints, here):
    from captum_ext.models.targets import DetectionTarget

    model = ("--model", f"hf:{checkpoints / 'yolos'}", "--method", "saliency")
    said = succeed("explain", "cat.png", *model, "--out", "best.npy")
    found = said.split(" at ")[1].split(", score")[0]
    label = said.split("saliency: ")[1].split(" at ")[0]
    net = transformers.AutoModelForObjectDetection.from_pretrained(checkpoints / "yolos")
    loaded = load_model(ModelSpec(model[1]))
    image = loaded.preparation(open_image(here / "cat.png"))[None]
    with torch.no_grad():
        outputs = net(image)
    scores = outputs.logits[0].softmax(-1)[:, :-1]
    best = int(scores.amax(1).argmax())
    x, y, width, height = outputs.pred_boxes[0, best].tolist()
    corners = [(x - width / 2) * 451, (y - height / 2) * 300, (x + width / 2) * 451, (y + height / 2) * 300]
    corners = np.clip(corners, 0, [451, 300, 451, 300])
    np.testing.assert_allclose([float(part) for part in found.split(",")], corners, atol=1.5)
    assert label == ("cat", "cup")[int(scores[best].argmax())]
    assert float(said.split("score ")[1].split()[0]) == pytest.approx(float(scores.max()), rel=5e-3)
    x0, y0, x1, y1 = (float(part) for part in found.split(","))
    succeed("explain", "cat.png", *model, "--box", found, "--target", label, "--out", "box.npy")
    # Smaller than what is found: where both are the same, the overlap has a kink.
    smaller = x0 + 0.1 * (x1 - x0), y0 + 0.1 * (y1 - y0), x1 - 0.05 * (x1 - x0), y1 - 0.1 * (y1 - y0)
    given = ",".join(map(str, smaller))
    succeed("explain", "cat.png", *model, "--box", given, "--target", label, "--out", "box.npy")
    box = np.array(smaller) * [32 / 451, 32 / 300, 32 / 451, 32 / 300]
    target = DetectionTarget(box, ("cat", "cup").index(label), size=(32, 32))
    image.requires_grad_()
    target({name: getattr(net(image), name)[0] for name in ("logits", "pred_boxes")}).backward()
    expected = image.grad[0].abs().sum(0).numpy()
    np.testing.assert_allclose(np.load("box.npy"), expected, rtol=0.02, atol=0.02 * expected.max())
    succeed("upsample", "cat.png", *model[:2], "--upsampler", "bilinear")


def test_a_box_where_nothing_is_or_outside_of_the_picture_is_refused(checkpoints, here):
    model = ("--model", f"hf:{checkpoints / 'yolos'}")
    message = "--box to be within the picture, 451 wide and 300 high, but got 0,0,452,10"
    assert message in fail("explain", "cat.png", *model, "--box", "0,0,452,10")
    output = fail("explain", "cat.png", *model, "--box", "1,1,3,3")
    assert (
        "--box to be around an object that is found, with half of both areas in common, but got 1,1,3,3; found"
        in output
    )
    assert "--box to be four numbers" in fail("explain", "cat.png", *model, "--box", "1,1,3")
    message = "--box to be given for detectors only, but got it for a model that returns scores of classes"
    assert message in fail("explain", "cat.png", "--model", f"hf:{checkpoints / 'vit'}", "--box", "1,1,30,30")
    message = "--region to be given for segmentation networks only, but got it for a model that returns detections"
    assert message in fail("explain", "cat.png", *model, "--region", "1,1,30,30")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("yolos", (), "of a detector every picture has a place of its own (call explain or upsample for each picture"),
        ("segformer", (), "of a segmentation every picture has a place of its own (call explain or upsample"),
        ("yolos", ("--box", "1,1,9,9"), "--box to be given for one picture: in others it is another place (call expl"),
        ("segformer", ("--region", "1,1,9,9"), "--region to be given for one picture"),
    ],
)
def test_places_of_one_picture_are_refused_for_folders(name, options, message, checkpoints, here):
    model = ("--model", f"hf:{checkpoints / name}", *options)
    assert message in fail("run", "photos", *model)
    assert message in fail("evaluate", "photos", *model, "--method", "saliency")


def test_segmentation_and_detection_of_torchvision_see_the_whole_picture(here):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = models.segmentation.lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=4)
    save_file(net.state_dict(), "segmentation.safetensors")
    name = "torchvision:lraspp_mobilenet_v3_large"
    spec = ModelSpec(name, here / "segmentation.safetensors", n_classes=4, resize=64)
    loaded = load_model(spec)
    assert isinstance(loaded.preparation, WholePreparation)
    assert loaded.preparation(open_image(here / "cat.png")).shape == (3, 64, 96)
    model = ("--model", name, "--weights", "segmentation.safetensors", "--n-classes", 4, "--resize", 64)
    said = succeed("explain", "cat.png", *model, "--method", "saliency", "--region", "0,0,200,200", "--out", "map.npy")
    assert "in the region" in said
    assert np.load("map.npy").shape == (64, 96)


def test_references_are_of_one_size_and_lpi_compares_rows_of_numbers(checkpoints, here):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = models.segmentation.lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=4)
    save_file(net.state_dict(), "segmentation.safetensors")
    name = "torchvision:lraspp_mobilenet_v3_large"
    model = ("--model", name, "--weights", "segmentation.safetensors", "--n-classes", 4, "--resize", 64)
    eg = ("--method", "eg", "--references", "photos", "--n-steps", 2, "--region", "150,50,250,200")
    message = "--references to be images of one size, as --crop makes them"
    assert message in fail("explain", "cat.png", *model, *eg)
    assert "in the region" in succeed("explain", "cat.png", *model, *eg, "--crop", 64)
    lpi = ("--method", "lpi", "--references", "photos", "--n-steps", 2)
    message = "which lpi compares; eg and weighted-ig take them, but got those of a detector"
    assert message in fail("explain", "cat.png", "--model", f"hf:{checkpoints / 'yolos'}", *lpi)


def test_a_detector_that_squashes_the_picture_has_its_map_over_all_of_it(here):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = models.detection.ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=4)
        for parameter in net.parameters():
            if parameter.dim() == 4:  # so that what is seen does not vanish on its way
                torch.nn.init.kaiming_normal_(parameter)
    save_file(net.state_dict(), "detector.safetensors")
    name = "torchvision:ssdlite320_mobilenet_v3_large"
    model = ("--model", name, "--weights", "detector.safetensors", "--n-classes", 4)
    said = succeed("upsample", "cat.png", *model, "--upsampler", "nearest", "--out", "map.npy")
    assert "GradCAM of layer backbone" in said
    assert np.load("map.npy").shape == (300, 451)
    box = said.split(" at ")[1].split(", upsampled")[0]
    said = succeed("explain", "cat.png", *model, "--method", "saliency", "--box", box, "--out", "map.png")
    assert f" at {box}, score" in said


@pytest.mark.parametrize("size", [(451, 300), (300, 451), (97, 40)])
def test_the_place_of_a_box_is_where_the_preparation_puts_it(size):
    """A grey box on black, found again in what is prepared."""
    processor = transformers.ViTImageProcessor(**families.SQUARE, image_mean=[0] * 3, image_std=[1] * 3)

    def squashed(image):
        return processor(images=image, return_tensors="pt")["pixel_values"][0]

    preparations = {
        "crop": Preparation(40, 32, (0,) * 3, (1,) * 3),
        "whole": WholePreparation(64, 64, (0,) * 3, (1,) * 3),
        "as it is": WholePreparation(800, 800, (0,) * 3, (1,) * 3, enlarge=False),
        "squashed": ProcessorPreparation(squashed, 32, (0,) * 3, (1,) * 3, 3),
    }
    for name, made in preparations.items():
        width, height = size
        box = (0.4 * width, 0.3 * height, 0.6 * width, 0.7 * height)
        box = tuple(float(round(edge)) for edge in box)
        pixels = np.zeros((height, width, 3), np.uint8)
        pixels[int(box[1]) : int(box[3]), int(box[0]) : int(box[2])] = 255
        shown = made(Image.fromarray(pixels))[0].numpy()
        place = made.placement(size)
        found = place.into(box)
        for axis, (first, last) in enumerate(((found[0], found[2]), (found[1], found[3]))):
            profile = shown.max(axis)  # along x, then along y
            assert last - first == pytest.approx(profile.sum(), abs=0.6), name
            centre = (profile * (np.arange(len(profile)) + 0.5)).sum() / profile.sum()
            assert (first + last) / 2 == pytest.approx(centre, abs=0.3), name
        assert place.back(found) == pytest.approx(box, abs=1e-6)


def without_weights(folder):
    families.vit(folder)
    (folder / "model.safetensors").unlink()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: folder.mkdir(), "has no config.json"),
        (lambda folder: None, "or a folder as save_pretrained writes it, but there is no folder"),
        (
            lambda folder: families.vit(folder) and (folder / "model.safetensors").unlink(),
            "that transformers loads, but:",
        ),
    ],
)
def test_a_folder_that_is_no_checkpoint_says_so(make, message, tmp_path):
    make(tmp_path / "model")
    with pytest.raises(ModelLoadError, match=message):
        load_model(ModelSpec(f"hf:{tmp_path / 'model'}"))


def test_weights_that_are_missing_are_no_random_numbers(tmp_path):
    import transformers as hf

    families.saved(hf.ViTModel(hf.ViTConfig(**families.VISION)), None, tmp_path)
    config = hf.ViTConfig(num_labels=3, architectures=["ViTForImageClassification"], **families.VISION)
    config.save_pretrained(tmp_path)
    hf.ViTImageProcessor(**families.SQUARE).save_pretrained(tmp_path)
    with pytest.raises(ModelLoadError, match=r"2 tensors are missing .* classifier.bias, classifier.weight: they"):
        load_model(ModelSpec(f"hf:{tmp_path}"))


def test_a_folder_without_a_processor_asks_for_the_normalisation(tmp_path, here):
    families.vit(tmp_path / "vit")
    (tmp_path / "vit" / "preprocessor_config.json").unlink()
    model = ("--model", f"hf:{tmp_path / 'vit'}", "--n-steps", 1)
    assert "--mean to be given for hf:" in fail("explain", "cat.png", *model)
    succeed("explain", "cat.png", *model, "--mean", 0.5, "--std", 0.5, "--out", "map.npy")
    assert np.load("map.npy").shape == (32, 32)


def test_options_of_the_preparation_are_the_processors(checkpoints, here):
    model = ("--model", f"hf:{checkpoints / 'vit'}", "--n-steps", 1)
    loaded = load_model(ModelSpec(model[1], mean=(0.25,) * 3))
    assert loaded.preparation.mean == (0.25,) * 3
    assert "--crop to be left out: this processor resizes without a crop" in fail(
        "explain", "cat.png", *model, "--crop", 8
    )


def test_weights_of_a_trainer_go_into_the_architecture_of_a_folder(checkpoints, tmp_path):
    net = transformers.AutoModelForImageClassification.from_pretrained(checkpoints / "vit")
    torch.save(
        {"state_dict": {f"model.{key}": value * 2 for key, value in net.state_dict().items()}}, tmp_path / "w.ckpt"
    )
    loaded = load_model(ModelSpec(f"hf:{checkpoints / 'vit'}", tmp_path / "w.ckpt"))
    assert torch.equal(loaded.adapted.model.classifier.weight, net.classifier.weight * 2)


def test_no_connection_names_the_folder_as_a_way_out(monkeypatch):
    def offline(*_, **__):
        raise OSError("We couldn't connect to the hub\nand more")

    monkeypatch.setattr(transformers.AutoConfig, "from_pretrained", offline)
    with pytest.raises(ModelLoadError, match=r"could not be loaded from the hub \(We couldn't connect .* hf:FOLDER"):
        load_model(ModelSpec("hf:owner/name"))


@pytest.mark.parametrize(
    ("module", "name", "extra"), [("transformers", "hf:x", "hf"), ("open_clip", "open_clip:x", "clip")]
)
def test_a_library_that_is_missing_is_named_with_its_extra(module, name, extra, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ModelLoadError, match=rf"{module} is needed for .* 'captum-ext\[cli,{extra}\]'"):
        load_model(ModelSpec(name))


def test_names_and_tags_of_open_clip_that_do_not_exist_are_answered_with_those_that_do(checkpoints):
    families.open_clip_config(checkpoints)
    with pytest.raises(ModelLoadError, match="There is no model open_clip:ViT-B-33. Close matches: open_clip:ViT-B-32"):
        load_model(ModelSpec("open_clip:ViT-B-33"))
    with pytest.raises(ModelLoadError, match=r"a pretrained tag \(of which there are none\), but nothing is given"):
        load_model(ModelSpec("open_clip:tiny-shell"))


def test_a_function_may_return_what_adapt_makes(here):
    model = ("--model", "tests.integrations.cli.tiny:adapted")
    said = succeed("explain", "cat.png", *model, "--target", "two", "--n-steps", 2, "--out", "map.npy")
    assert "ig: two" in said
    assert np.load("map.npy").shape == (32, 32)
    assert "returns an AdaptedModel, which prepares its images itself" in fail(
        "explain", "cat.png", *model, "--crop", 8
    )


@pytest.mark.parametrize("method", ["gradcam", "saliency", "ig"])
def test_a_run_is_known_again_with_the_processor_the_texts_and_the_tokens(method, checkpoints, here):
    for name, options in (("vit", ()), ("clip", ("--text", "a photo of a cat"))):
        run = ("run", "photos", "--model", f"hf:{checkpoints / name}", *options, "--method", method, "--limit", 2)
        run = (*run, "--out", name, *(("--n-steps", 2) if method == "ig" else ()))
        succeed(*run)
        before = [path.stat().st_mtime_ns for path in sorted((here / name).glob("rows-*"))]
        assert "2 of 2 images" in succeed(*run, "--num-workers", 1)
        assert before == [path.stat().st_mtime_ns for path in sorted((here / name).glob("rows-*"))]
        other = ("--mean", "0.4,0.4,0.4") if name == "vit" else ("--text", "a rocket")
        message = "dataset.transform.processor.image_mean was list" if name == "vit" else "target.embedding was str"
        assert message in fail(*run[:4], *other, *run[4 + len(options) :])


def test_what_adapt_asks_for_is_said_in_options(here):
    normal = ("--mean", 0.5, "--std", 0.5)
    tiny = "tests.integrations.cli.tiny"
    message = fail("explain", "cat.png", "--model", f"{tiny}:transformer", "--resize", 30, "--crop", 30, *normal)
    assert "Expected --crop to be of whole patches of 4 x 4, such as (32, 32)" in message
    model = ("--model", f"{tiny}:unordered", "--resize", 16, "--crop", 16, *normal)
    message = fail("explain", "cat.png", *model, "--method", "gradcam")
    assert "Expected --layer to be one that is called once" in message
    assert "do not show the 4 x 4 patches of the image in their order" in message
    message = fail("explain", "cat.png", "--model", f"{tiny}:for_64", "--resize", 32, "--crop", 32, *normal)
    assert "Expected tests.integrations.cli.tiny:for_64 to take images of 32 x 32 (--crop)" in message


def test_arguments_of_adapt_become_options_and_what_has_none_is_given_by_a_function():
    assert in_options("Pass adapt layer=.") == "Pass --layer."
    said = in_options("pass size= and channels= if it takes others, or mean= and std=")
    assert said == "pass --crop and --channels if it takes others, or --mean and --std"
    assert in_options("Pass output= with a key").endswith(
        "a key (Arguments as output= are given by a function: --model MODULE:FUNCTION may return what adapt makes.)"
    )

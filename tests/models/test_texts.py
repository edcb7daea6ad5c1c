"""Models of images and texts: logits with a column for each text, as the model computes them itself."""

import copy
import json

import pytest
import torch

from captum_ext.attr import IntegratedGradients
from captum_ext.core.fingerprints import of_module
from captum_ext.exceptions import ArgumentError, ArgumentTypeError
from captum_ext.metrics import deletion
from captum_ext.models import Texts, adapt

hf = pytest.importorskip("transformers")
open_clip = pytest.importorskip("open_clip")
tokenizers = pytest.importorskip("tokenizers")

SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
VISION = {"image_size": 32, "patch_size": 8, **SIZES}
TEXT = {"vocab_size": 20, "max_position_embeddings": 10, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
TEXT |= SIZES
TEXTS = ["a photo of a cat", "a rocket", "a cup of coffee"]
MEAN = {"mean": 0.5, "std": 0.5}


def drawn(model):
    """A model with weights of the size that trained ones have."""
    torch.manual_seed(0)
    for name, parameter in model.named_parameters():
        if "logit_" not in name:
            parameter.data = torch.randn_like(parameter) * 0.2
    return model.eval()


def a_tokenizer():
    words = ["<s>", "</s>", "<unk>", "a", "photo", "of", "cat", "dog", "rocket", "cup", "coffee"]
    own = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({word: place for place, word in enumerate(words)}, unk_token="<unk>")
    )
    own.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    ends = [("<s>", 0), ("</s>", 1)]
    own.post_processor = tokenizers.processors.TemplateProcessing("<s> $A </s>", special_tokens=ends)
    names = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "</s>", "unk_token": "<unk>"}
    return hf.PreTrainedTokenizerFast(tokenizer_object=own, **names)


def clip():
    return drawn(hf.CLIPModel(hf.CLIPConfig(text_config=TEXT, vision_config=VISION, projection_dim=12)))


def siglip():
    return drawn(hf.SiglipModel(hf.SiglipConfig(text_config={**TEXT, "projection_size": 16}, vision_config=VISION)))


def alt_clip():
    """A CLIP of other arithmetic: with two towers of other kinds, and a norm of its own."""
    text = {**TEXT, "project_dim": 16, "max_position_embeddings": 16}
    return drawn(hf.AltCLIPModel(hf.AltCLIPConfig(text_config=text, vision_config=VISION, projection_dim=12)))


def of_open_clip(tmp_path):
    vision = {"image_size": 32, "layers": 2, "width": 16, "head_width": 8, "patch_size": 8}
    text = {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2}
    path = tmp_path / "tiny-texts.json"
    path.write_text(json.dumps({"embed_dim": 16, "vision_cfg": vision, "text_cfg": text}))
    open_clip.add_model_config(path)
    return drawn(open_clip.create_model("tiny-texts")), open_clip.get_tokenizer("tiny-texts")


def own_logits(model, texts, images, full_length=False):
    options = {"padding": "max_length", "max_length": 10} if full_length else {"padding": True}
    tokens = a_tokenizer()(texts, return_tensors="pt", **options)
    given = {name: tokens[name] for name in ("input_ids", "attention_mask")}
    return model(pixel_values=images, **given).logits_per_image


@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize("n_texts", [1, 3])
@pytest.mark.parametrize("make", [clip, siglip, alt_clip])
def test_logits_are_those_of_transformers_bit_for_bit(make, n_texts, grad):
    model, texts = make(), TEXTS[:n_texts]
    adapted = adapt(model, output=Texts(texts, a_tokenizer()), **MEAN)
    for n_rows in (1, 2, 5):
        images = torch.randn(n_rows, 3, 32, 32, requires_grad=grad)
        with torch.set_grad_enabled(grad):
            logits = adapted(images)
            assert torch.equal(logits, own_logits(model, texts, images, full_length=make is siglip))
    assert (adapted.kind, adapted.n_outputs, adapted.class_names) == ("scores", n_texts, tuple(texts))


@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize("n_texts", [1, 3])
def test_logits_are_those_of_open_clip_bit_for_bit(n_texts, grad, tmp_path):
    model, tokenizer = of_open_clip(tmp_path)
    texts = TEXTS[:n_texts]
    adapted = adapt(model, output=Texts(texts, tokenizer), **MEAN)
    for n_rows in (1, 2, 5):
        images = torch.randn(n_rows, 3, 32, 32, requires_grad=grad)
        with torch.set_grad_enabled(grad):
            assert torch.equal(adapted(images), model.get_logits(images, tokenizer(texts))[0])
    assert adapted.texts.is_known


def test_what_is_known_of_clip_and_siglip_spares_the_text_encoder():
    for make in (clip, siglip):
        model = make()
        adapted = adapt(model, output=Texts(TEXTS, a_tokenizer()), **MEAN)
        assert adapted.texts.is_known
        images = torch.randn(2, 3, 32, 32)
        adapted(images)
        calls = []
        model.text_model.register_forward_hook(lambda *_, calls=calls: calls.append(1))
        adapted(images)
        assert not calls


def test_a_fingerprint_knows_the_texts_and_no_addresses():
    prints = [
        of_module(adapt(clip(), output=Texts(texts, a_tokenizer()), **MEAN)) for texts in (TEXTS, TEXTS, TEXTS[:2])
    ]
    assert prints[0] == prints[1] != prints[2]


def test_the_texts_are_encoded_again_where_weights_or_their_dtype_change():
    model, images = clip(), torch.randn(2, 3, 32, 32)
    adapted = adapt(model, output=Texts(TEXTS, a_tokenizer()), **MEAN)
    with torch.no_grad():
        before = adapted(images)
        model.text_projection.weight.add_(1.0)
        assert not torch.equal(adapted(images), before)
        assert torch.equal(adapted(images), own_logits(model, TEXTS, images))
        adapted.bfloat16()  # older versions of transformers make no mask of text in float64
        assert torch.equal(adapted(images.bfloat16()), own_logits(model, TEXTS, images.bfloat16()))
        copied = copy.deepcopy(adapted)
        copied.model.text_projection.weight.mul_(2.0)
        assert torch.equal(copied(images.bfloat16()), own_logits(copied.model, TEXTS, images.bfloat16()))
        assert torch.equal(adapted(images.bfloat16()), own_logits(model, TEXTS, images.bfloat16()))


def test_in_training_mode_the_model_draws_its_dropout_for_texts_too():
    config = hf.CLIPConfig(
        text_config={**TEXT, "attention_dropout": 0.5}, vision_config={**VISION, "attention_dropout": 0.5}
    )
    model = drawn(hf.CLIPModel(config)).train()
    adapted = adapt(model, output=Texts(TEXTS, a_tokenizer()), **MEAN)
    images = torch.randn(2, 3, 32, 32)
    torch.manual_seed(1)
    logits = adapted(images)
    torch.manual_seed(1)
    assert torch.equal(logits, own_logits(model, TEXTS, images))


def test_the_texts_are_classes_of_methods_metrics_and_cams(tmp_path):
    grad_cam = pytest.importorskip("captum_ext_integrations.grad_cam")
    model, tokenizer = of_open_clip(tmp_path)
    adapted = adapt(model, output=Texts(TEXTS, tokenizer), **MEAN)
    images = torch.randn(2, 3, 32, 32)
    maps, delta = IntegratedGradients(adapted).attribute(
        images, target=[0, 2], n_steps=200, return_convergence_delta=True
    )
    with torch.no_grad():
        scores, of_black = adapted(images), adapted(torch.zeros(1, 3, 32, 32))
    change = torch.stack([scores[0, 0] - of_black[0, 0], scores[1, 2] - of_black[0, 2]])
    torch.testing.assert_close(maps.flatten(1).sum(1) - delta, change)
    assert float(delta.abs().max()) < 0.02 * float(change.abs().max())
    curve = deletion(adapted, images, maps, [0, 2])
    torch.testing.assert_close(curve.scores[:, 0], scores[[0, 1], [0, 2]])
    cams = grad_cam.GradCAM(adapted, normalize=False)(images, None)  # the classes that the model predicts
    assert cams.shape == (2, 32, 32)
    assert "compared with 3 texts" in str(adapted)
    assert "3: a photo of a cat, a rocket, a cup of coffee" in str(adapted)
    assert adapted.class_name(1) == "a rocket"
    assert adapted.layer_name == "visual.transformer.resblocks.1.ln_1"


def test_the_whole_processor_brings_its_tokenizer():
    image_processor = hf.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    whole = type("Processor", (), {"image_processor": image_processor, "tokenizer": a_tokenizer()})()
    model = clip()
    adapted = adapt(model, whole, output=Texts(TEXTS), class_names=["cat", "rocket", "cup"])
    assert adapted.class_names == ("cat", "rocket", "cup")
    assert adapted.size == (32, 32)
    with pytest.raises(ArgumentError, match=r"`tokenizer` to be given, as Texts\(.*transformers.AutoTokenizer"):
        adapt(model, image_processor, output=Texts(TEXTS))


def test_texts_that_cannot_be_compared_are_refused(tmp_path):
    model, tokenizer = clip(), a_tokenizer()
    for texts in ("a cat", ["a cat", 3], 7):
        with pytest.raises(ArgumentTypeError, match=r"`texts` to be a list of texts, as \[\"a photo of a cat\"\]"):
            Texts(texts)
    for texts in ([], ["a cat", " "]):
        with pytest.raises(ArgumentError, match="`texts` to be a list of texts, none of which is empty"):
            Texts(texts)
    with pytest.raises(ArgumentError, match="`texts` to be of at most 10 tokens, which the model takes, but got 27"):
        adapt(model, output=Texts(["a photo of a cat " * 5], tokenizer))
    with pytest.raises(ArgumentTypeError, match="`tokenizer` to be a function that makes tokens"):
        Texts(TEXTS, tokenizer="clip")
    with pytest.raises(ArgumentTypeError, match="`tokenizer` to be a tokenizer of transformers"):
        adapt(model, output=Texts(TEXTS, lambda texts: texts))
    other, _ = of_open_clip(tmp_path)
    with pytest.raises(ArgumentError, match=r"tokenizer=...\): open_clip.get_tokenizer\(NAME\), but got None"):
        adapt(other, output=Texts(TEXTS))
    with pytest.raises(ArgumentTypeError, match=r"a function that makes a tensor \(T, L\) of T texts"):
        adapt(other, output=Texts(TEXTS, tokenizer))
    small = drawn(hf.CLIPModel(hf.CLIPConfig(text_config={**TEXT, "vocab_size": 4}, vision_config=VISION)))
    with pytest.raises(ArgumentError, match="`tokenizer` to be that of the model, but got one whose tokens fail in"):
        adapt(small, output=Texts(TEXTS, tokenizer))
    classifier = drawn(hf.ViTForImageClassification(hf.ViTConfig(**VISION)))
    with pytest.raises(ArgumentError, match="`texts` to be left out, as ViTForImageClassification has no text encoder"):
        adapt(classifier, output=Texts(TEXTS, tokenizer))
    words = drawn(hf.BertForSequenceClassification(hf.BertConfig(**{**SIZES, "vocab_size": 20})))
    with pytest.raises(ArgumentError, match="`texts` to be left out: the model has no image input"):
        adapt(words, output=Texts(TEXTS))

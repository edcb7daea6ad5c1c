"""Tiny checkpoints of transformers and open_clip with random weights, saved as their libraries save them."""

import json

import pytest
import torch

VISION = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
VISION |= {"image_size": 32, "patch_size": 8}
TEXT = {"vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
TEXT |= {"max_position_embeddings": 10, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
WORDS = ["a", "photo", "of", "cat", "dog", "rocket", "cup", "coffee"]
SQUARE = {"size": {"height": 32, "width": 32}}


def saved(model, processor, folder):
    """A model with weights of the size that a trained one has, and its processor, in a folder."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for parameter in model.parameters():
            parameter.data = torch.randn_like(parameter) * 0.2
    model.eval().save_pretrained(folder)
    if processor is not None:
        processor.save_pretrained(folder)
    return model


def vit(folder, channels=3):
    """A classifier of three classes."""
    import transformers as hf

    names = {0: "cat", 1: "dog", 2: "rocket"}
    config = hf.ViTConfig(num_channels=channels, id2label=names, **VISION)
    mean = [0.5] * channels
    return saved(
        hf.ViTForImageClassification(config), hf.ViTImageProcessor(image_mean=mean, image_std=mean, **SQUARE), folder
    )


def clip(folder):
    """A CLIP with a tokenizer of a few words."""
    import tokenizers
    import transformers as hf

    model = hf.CLIPModel(hf.CLIPConfig(text_config=TEXT, vision_config=VISION, projection_dim=12))
    processor = hf.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    vocabulary = {word: place for place, word in enumerate(["<s>", "</s>", "<unk>", *WORDS])}
    own = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="<unk>"))
    own.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    own.post_processor = tokenizers.processors.TemplateProcessing(
        "<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    tokenizer = hf.PreTrainedTokenizerFast(
        tokenizer_object=own, bos_token="<s>", eos_token="</s>", pad_token="</s>", unk_token="<unk>"
    )
    made = saved(model, processor, folder)
    tokenizer.save_pretrained(folder)
    return made, tokenizer


def segformer(folder):
    """A segmentation of three classes on a quarter of the image's sides."""
    import transformers as hf

    stages = {"hidden_sizes": [8, 16], "depths": [1, 1], "num_attention_heads": [1, 2], "mlp_ratios": [2, 2]}
    stages |= {"num_encoder_blocks": 2, "sr_ratios": [2, 1], "patch_sizes": [7, 3], "strides": [4, 2]}
    config = hf.SegformerConfig(decoder_hidden_size=16, id2label={0: "sky", 1: "cat", 2: "road"}, **stages)
    return saved(
        hf.SegformerForSemanticSegmentation(config),
        hf.SegformerImageProcessor(size={"height": 64, "width": 64}),
        folder,
    )


def yolos(folder):
    """A detector of two classes with five queries, whose boxes are shares of the image."""
    import transformers as hf

    config = hf.YolosConfig(num_detection_tokens=5, id2label={0: "cat", 1: "cup"}, **{**VISION, "image_size": [32, 32]})
    processor = hf.YolosImageProcessor(size={"height": 32, "width": 32}, do_pad=False)
    return saved(hf.YolosForObjectDetection(config), processor, folder)


def open_clip_config(folder, name="tiny-shell"):
    """A model of open_clip by a config of its own, with weights in `folder/open_clip.pt`."""
    from safetensors.torch import save_file

    open_clip = pytest.importorskip("open_clip")
    config = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "layers": 2, "width": 16, "head_width": 8, "patch_size": 8},
        "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2},
    }
    path = folder / f"{name}.json"
    path.write_text(json.dumps(config))
    open_clip.add_model_config(path)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = open_clip.create_model(name).eval()
    save_file(model.state_dict(), folder / "open_clip.safetensors")
    return model

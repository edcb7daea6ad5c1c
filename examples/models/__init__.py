"""Ten lines for each library: adapt a model, explain it with LPI and GradCAM, score the map, draw a figure.

    python -m examples.models.hf_classifier FOLDER_OR_NAME

The others are `timm_classifier`, `clip_zero_shot`, `detector`, `segmentation` and `video`. The photographs are those of
scikit-image; put your own in their place.
"""

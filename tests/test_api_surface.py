"""The public names, in one place: a change here is a change of the interface."""

import inspect

import pytest

import captum_ext
import captum_ext.attr
import captum_ext.dataset
import captum_ext.images
import captum_ext.metrics
import captum_ext.models
import captum_ext.models.targets
import captum_ext.references
import captum_ext.selection
import captum_ext.upsampling
import captum_ext.visualize

PUBLIC = {
    captum_ext: [
        "EG",
        "LPI",
        "SAMP",
        "USU",
        "ExpectedGradients",
        "InterpolationUpsampler",
        "LocalPathIntegration",
        "ReferenceDistribution",
        "SalientManipulationPath",
        "Shared",
        "USUUpsampler",
        "WeightedIG",
        "WeightedIntegratedGradients",
        "__version__",
        "check_desiderata",
        "on_nonfinite",
        "redistribute",
    ],
    captum_ext.images: [
        "Blur",
        "ImageFolder",
        "display_range",
        "gaussian_blur",
        "image_dataset",
        "image_to_pil",
        "image_to_tensor",
        "open_image",
    ],
    captum_ext.upsampling: [
        "UPSAMPLERS",
        "USU",
        "CoalitionScorer",
        "DesiderataReport",
        "InterpolationUpsampler",
        "PerturbationScorer",
        "Refinement",
        "ScoringUpsampler",
        "USUUpsampler",
        "Upsampler",
        "alpha_error",
        "beta_error",
        "check_desiderata",
        "make_upsampler",
        "mass_deficit",
        "mass_excess",
        "pool_attribution",
        "redistribute",
        "upsample_maps",
    ],
    captum_ext.attr: [
        "AGI",
        "XRAI",
        "EG",
        "LPI",
        "METHODS",
        "MWP",
        "RISE",
        "SAMP",
        "BaselineFitness",
        "BlurIG",
        "ExcitationBackprop",
        "ExpectedGradients",
        "GuidedIG",
        "ImportantDirectionIG",
        "IntegratedGradients",
        "LayerEG",
        "LayerExpectedGradients",
        "LayerImportantDirectionIG",
        "LayerIntegratedGradients",
        "LayerLPI",
        "LayerLocalPathIntegration",
        "LayerWeightedIG",
        "LayerWeightedIntegratedGradients",
        "LocalPathIntegration",
        "NeuronEG",
        "NeuronExpectedGradients",
        "NeuronImportantDirectionIG",
        "NeuronIntegratedGradients",
        "NeuronLPI",
        "NeuronLocalPathIntegration",
        "NeuronWeightedIG",
        "NeuronWeightedIntegratedGradients",
        "PathScores",
        "SalientManipulationPath",
        "WeightedIG",
        "WeightedIntegratedGradients",
        "expected_change",
        "n_steps_for",
        "relative_error",
        "method_class",
        "method_settings",
    ],
    captum_ext.dataset: ["DatasetAttributions", "MapFormat", "OnMasks", "RunOptions", "attribute_dataset"],
    captum_ext.selection: [
        "CANDIDATES",
        "CHECKS",
        "CONTROLS",
        "CRITERIA",
        "Answer",
        "Candidate",
        "Choice",
        "ChooseOptions",
        "Criterion",
        "Kind",
        "Setting",
        "Standing",
        "DiffOptions",
        "Difference",
        "boundaries",
        "choose",
        "decide",
        "diff",
        "map_similarity",
    ],
    captum_ext.models: ["AdaptedModel", "Texts", "TokenGrid", "adapt"],
    captum_ext.references: ["ReferenceDistribution", "standard_baselines", "weighted_ig_baselines"],
    captum_ext.models.targets: [
        "ClassTarget",
        "DetectionTarget",
        "OutputTarget",
        "RegionTarget",
        "SimilarityTarget",
    ],
    captum_ext.visualize: [
        "PALETTES",
        "Caption",
        "Effect",
        "ForestLine",
        "Look",
        "Mark",
        "Outside",
        "Palette",
        "colorize",
        "figure_pixels",
        "outline",
        "overlay",
        "save_figure",
        "share_outside",
        "show_cam_on_image",
        "show_comparison",
        "show_curves",
        "show_errors",
        "show_forest",
        "show_maps",
        "show_path",
        "show_ranks",
        "show_scores",
        "show_segments",
        "show_slices",
        "show_tokens",
        "symmetric_limits",
    ],
    captum_ext.metrics: [
        "Comparison",
        "Infidelity",
        "PerturbationCurve",
        "Ranking",
        "attribution_variance",
        "compare",
        "concentration",
        "curves",
        "deletion",
        "diff_id",
        "gini",
        "infidelity",
        "insertion",
        "iou",
        "irof",
        "monotonicity",
        "pixel_flipping",
        "pointing_game",
        "road",
        "sensitivity_n",
    ],
}

CAPTUM_ARGUMENTS = [
    "inputs",
    "baselines",
    "target",
    "additional_forward_args",
    "n_steps",
    "method",
    "internal_batch_size",
    "return_convergence_delta",
]


@pytest.mark.parametrize("module", PUBLIC, ids=lambda module: module.__name__)
def test_a_module_offers_exactly_its_public_names(module):
    assert sorted(module.__all__) == sorted(PUBLIC[module])
    for name in module.__all__:
        assert getattr(module, name) is not None


STRAIGHT = ["generator", "tol", "tol_map", "return_n_gradients", "return_standard_error", "show_progress"]
OWN_ARGUMENTS = {
    "ExpectedGradients": STRAIGHT,
    "ImportantDirectionIG": STRAIGHT,
    "IntegratedGradients": STRAIGHT,
    "LocalPathIntegration": STRAIGHT,
    "SalientManipulationPath": ["pixels_in_step", "return_path", "show_progress"],
    "WeightedIntegratedGradients": STRAIGHT,
}


@pytest.mark.parametrize("name", OWN_ARGUMENTS)
def test_attribute_takes_captums_arguments_in_captums_order(name):
    parameters = inspect.signature(getattr(captum_ext.attr, name).attribute).parameters
    assert list(parameters)[1:9] == CAPTUM_ARGUMENTS
    assert [p.name for p in parameters.values() if p.kind is p.KEYWORD_ONLY] == OWN_ARGUMENTS[name]


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'captum_ext' has no attribute 'Nothing'"):
        captum_ext.Nothing  # noqa: B018


def test_every_public_object_has_a_docstring_with_an_example_or_attributes():
    for module, names in PUBLIC.items():
        for name in names:
            value = getattr(module, name)
            if callable(value):
                assert any(part in value.__doc__ for part in ("Example", "Attributes", "Args", "Costs")), (
                    f"{module.__name__}.{name}"
                )

"""Curves, paths, scores, segments, slices and tokens: what is drawn, and what the caption says."""

import io

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex, to_rgba

from captum_ext import SAMP
from captum_ext.attr import PathScores
from captum_ext.exceptions import ArgumentError, ArgumentsConflictError, ArgumentTypeError
from captum_ext.metrics import PerturbationCurve, compare
from captum_ext.visualize import (
    Caption,
    Look,
    colorize,
    save_figure,
    show_curves,
    show_maps,
    show_path,
    show_scores,
    show_segments,
    show_slices,
    show_tokens,
)
from captum_ext.visualize.looks import wrapped

HOSTILE = "$\\input{x}$ <script>\x1b[2J\u202e"
SHOWN = "\\$\\input{x}\\$ <script>\\x1b[2J\\u202e"


def panels(figure):
    return [axis for axis in figure.axes if axis.images]


def said(figure):
    return " ".join(figure.get_supxlabel().split())


def drawable(figure):
    save_figure(figure, io.BytesIO(), dpi=30)
    return True


def curve(scores, valid):
    rows = torch.tensor(scores)
    return PerturbationCurve(torch.tensor([0.0, 1.0]), rows, rows.mean(1), None, torch.tensor(valid), rows[:, 0], True)


def test_a_curve_is_the_mean_of_the_rows_that_count():
    figure = show_curves({"a": curve([[0.0, 1.0], [0.0, 3.0], [9.0, 9.0]], [True, True, False])})
    (line,) = figure.axes[0].lines
    assert line.get_xdata().tolist() == [0, 1]
    assert line.get_ydata().tolist() == [0, 2]
    assert said(figure) == "Means of rows: a 2 (1 left out)."
    both = show_curves({"a": curve([[0.0, 1.0]] * 3, [True] * 3), "b": (np.arange(2), np.ones((3, 2)))})
    assert said(both) == "Means of 3 rows."


def test_every_line_differs_by_its_marker_and_further_curves_of_a_name_by_their_dashes():
    x = np.arange(3.0)
    figure = show_curves({str(k): [(x, x + k), (x, x - k)] for k in range(20)})
    lines = figure.axes[0].lines
    assert len({(line.get_color(), line.get_marker()) for line in lines}) == 20
    assert [line.get_linestyle() for line in lines[:2]] == ["-", "--"]
    assert len(figure.axes[0].get_legend().get_texts()) == 20
    assert said(figure) == "Solid: the first curve of a method, dashed: its others."
    assert drawable(figure)


def test_points_that_are_not_finite_are_not_drawn():
    figure = show_curves({"a": (np.arange(3.0), np.array([1, np.nan, 2]))})
    assert figure.axes[0].lines[0].get_xdata().tolist() == [0, 2]
    nothing = show_curves({"a": curve([[1.0, 2.0]], [False])})
    assert said(nothing) == "Means of rows: a 0 (1 left out)."


def test_dictionaries_of_curves_are_panels_in_which_a_name_looks_the_same():
    x = np.arange(2.0)
    figure = show_curves({"gap": {"a": (x, x), "b": (x, x)}, "error": {"b": (x, x), HOSTILE: (x, x)}}, x_label="steps")
    first, second = figure.axes
    assert [axis.get_ylabel().replace("\n", " ") for axis in figure.axes] == ["gap", "error"]
    assert [axis.get_xlabel() for axis in figure.axes] == ["steps", "steps"]
    looks = [[(line.get_color(), line.get_marker()) for line in axis.lines] for axis in figure.axes]
    assert looks[0][1] == looks[1][0]
    assert len({*looks[0], *looks[1]}) == 3
    assert [text.get_text().replace("\n", " ") for text in second.get_legend().get_texts()] == ["b", SHOWN]
    assert first.get_xscale() == "linear"
    assert drawable(figure)


def test_logarithmic_axes_leave_out_what_is_not_above_zero_and_say_so():
    curves = {"a": ([1.0, 10.0, 100.0], [0.5, 0.0, 0.05]), "b": ([0.0, 10.0], [1.0, 0.1])}
    figure = show_curves(curves, logarithmic=True)
    (axis,) = figure.axes
    assert axis.get_xscale() == axis.get_yscale() == "log"
    assert [line.get_xdata().tolist() for line in axis.lines] == [[1, 100], [10]]
    assert said(figure) == "Both axes are logarithmic, without 2 points that are not above zero."
    figure.draw_without_rendering()
    assert {"1", "2", "5", "10", "50"} <= {text.get_text() for text in axis.get_xticklabels()}
    whole = show_curves({"x": {"a": ([1, 2], [1, 2])}, "y": {"a": ([1, 2], [1, 2])}}, logarithmic=True)
    assert said(whole) == "Both axes are logarithmic."
    nothing = show_curves({"a": ([0.0], [0.0])}, logarithmic=True)
    assert said(nothing) == "No point is above zero, as logarithmic axes are."
    assert drawable(nothing)


def test_what_is_no_curve_is_refused():
    with pytest.raises(ArgumentTypeError, match="`logarithmic` to be True or False"):
        show_curves({"a": ([1], [1])}, logarithmic="x")
    expected = "`curves` to be a dictionary of curves, or one of such dictionaries, each with a curve at least"
    for odd in ({"a": {"b": ([1], [1])}, "c": ([1], [1])}, {"a": {"b": ([1], [1])}, "c": {}}, {"a": {}}):
        with pytest.raises(ArgumentTypeError, match=expected):
            show_curves(odd)
    with pytest.raises(ArgumentTypeError, match="`curves` to be a dictionary of name and curve, with one at least"):
        show_curves({})
    with pytest.raises(ArgumentTypeError, match="`curves.'a'.` to be a PerturbationCurve or a pair of x and y"):
        show_curves({"a": [1, 2]})
    with pytest.raises(ArgumentError, match="`curves.'a'.` to be x .S,. and y .S,. or .N, S., but got shapes .3,. and"):
        show_curves({"a": (np.arange(3), np.arange(2))})


def test_both_paths_are_drawn_over_the_share_of_the_input_that_is_there():
    samp = SAMP(lambda x: x[:, 0] * x[:, 1], insertion_baselines=0, momentum=0, step_bound=None)
    _, paths = samp.attribute(torch.tensor([[1.0, 2.0], [2.0, 2.0]]), n_steps=2, return_path=True)
    figure = show_path(paths, titles=["one", HOSTILE])
    for axis in figure.axes:
        for line in axis.lines:
            there, score = line.get_xdata(), line.get_ydata()
            assert score[there == 0].tolist() == [0]
            assert score[there == 1] > 0
    assert figure.axes[1].get_title().replace("\n", " ") == SHOWN
    assert said(figure).startswith(
        "Insertion goes to the right, from a baseline to the input. Deletion goes to the left"
    )
    assert drawable(figure)


def test_what_is_no_path_is_refused():
    ones = torch.ones(1, 2)
    with pytest.raises(ArgumentTypeError, match="`paths` to be what SAMP's `attribute"):
        show_path({})
    with pytest.raises(ArgumentTypeError, match="`paths` to be what SAMP's `attribute"):
        show_path({"insertion": ones})
    with pytest.raises(ArgumentError, match="`titles` to be 1, one for each, but got 2"):
        show_path({"insertion": PathScores(ones, ones)}, titles=["a", "b"])
    with pytest.raises(ArgumentError, match="`paths` to be of shares and scores .N, S."):
        show_path({"insertion": PathScores(ones, ones[0])})
    with pytest.raises(ArgumentError, match="`paths` to be of the same number of inputs"):
        show_path({"insertion": PathScores(ones, ones), "deletion": PathScores(torch.ones(2, 2), torch.ones(2, 2))})


def test_scores_have_a_panel_for_each_metric_and_a_line_for_each_method():
    scores = {"deletion": {"IG": [0.0, 1.0, np.nan], HOSTILE: [1, 1, 1]}, "iou": {"IG": [1.0], HOSTILE: [2.0]}}
    intervals = {metric: dict.fromkeys(one, (0.5, 0.25, 0.75)) for metric, one in scores.items()}
    figure = show_scores(scores, intervals=intervals, higher_is_better={"deletion": False})
    assert [axis.get_title() for axis in figure.axes] == ["deletion (lower is better)", "iou"]
    assert [text.get_text().replace("\n", " ") for text in figure.axes[0].get_yticklabels()] == ["IG", SHOWN]
    points, interval, mean = figure.axes[0].lines[:3]
    assert points.get_xdata()[:2].tolist() == [0, 1]
    assert list(interval.get_xdata()) == [0.25, 0.75]
    assert mean.get_xdata()[0] == 0.5
    assert said(figure) == "Grey dots: samples; disc: their mean; line: its interval. Not finite and left out: IG 1."
    assert show_scores(scores).axes[0].lines[2].get_xdata()[0] == 0.5
    assert drawable(figure)


def test_a_comparison_has_its_intervals_and_its_differences_from_the_control():
    found = compare({"IG": [0.0, 1.0, 2.0], "LPI": [1.0, 3.0, 5.0]}, "IG", higher_is_better=False)
    figure = show_scores({"deletion": found})
    assert [axis.get_title() for axis in figure.axes] == ["deletion (lower is better)", "deletion, less that of IG"]
    row = found.table.loc["LPI"]
    assert list(figure.axes[0].lines[4].get_xdata()) == [row["ci_low"], row["ci_high"]]
    assert figure.axes[1].lines[3].get_xdata().tolist() == [1, 2, 3]
    assert figure.axes[1].lines[5].get_xdata()[0] == 2
    assert len(show_scores({str(k): {"a": [1]} for k in range(5)}).axes) == 8


def test_what_is_no_table_of_scores_is_refused():
    with pytest.raises(
        ArgumentTypeError, match="`scores` to be a dictionary of metric, method and scores, or of metric and Compar"
    ):
        show_scores({"deletion": [1, 2]})
    with pytest.raises(ArgumentError, match="`scores` to be of the same methods for every metric"):
        show_scores({"a": {"IG": [1]}, "b": {"LPI": [1]}})
    with pytest.raises(ArgumentError, match="`scores.'a'..'IG'.` to be of shape .n,., but got shape .1, 1."):
        show_scores({"a": {"IG": [[1]]}})
    with pytest.raises(ArgumentError, match="`intervals` to be mean, low and high of 'IG' for 'a'"):
        show_scores({"a": {"IG": [1]}}, intervals={"a": {}})


LABELS = np.array([[0, 0, 1, 1], [0, 0, 2, 2], [0, 0, 2, 2]])


def test_borders_are_where_labels_differ():
    figure = show_segments(LABELS, np.zeros((3, 4, 3)))
    photograph, borders = panels(figure)[0].images
    assert photograph.get_array().max() == 0
    drawn = np.asarray(borders.get_array())
    assert drawn[..., 3].tolist() == [[0, 1, 1, 1], [0, 1, 0, 0], [0, 1, 0, 0]]
    assert drawn[0, 1, :3].tolist() == [1, 1, 1]  # white on black
    assert said(figure) == "Segments: 3."
    assert show_segments(LABELS).axes[0].images[1].get_array()[0, 1, :3].tolist() == [0, 0, 0]


def test_scores_of_segments_are_looked_up_by_label():
    expected = [[1, 1, -2, -2], [1, 1, 3, 3], [1, 1, 3, 3]]
    for scores in ([1.0, -2.0, 3.0], torch.tensor([[1.0, -2.0, 3.0]]), np.array(expected)):
        figure = show_segments(LABELS, np.ones((3, 4)), scores=scores, look=Look(quantile=1))
        photograph, scored = panels(figure)
        assert scored.images[0].get_array().tolist() == expected
        assert scored.images[0].get_clim() == (-3, 3)
        assert len(photograph.images) == len(scored.images) == 2
    assert drawable(figure)


def test_segments_that_do_not_fit_are_refused():
    with pytest.raises(ArgumentError, match="`labels` to be integers .H, W. or .N, H, W."):
        show_segments(LABELS + 0.5)
    with pytest.raises(ArgumentError, match="`labels` to be of the photographs' shape .1, 2, 2., but got .1, 3, 4."):
        show_segments(LABELS, np.ones((2, 2)))
    with pytest.raises(
        ArgumentError, match="`scores` to be one number for each label from 0, but got labels from 0 to 2"
    ):
        show_segments(LABELS, scores=[1.0, 2.0])
    with pytest.raises(ArgumentError, match="`scores` to be one number for each label from 0, but got labels from -1"):
        show_segments(LABELS - 1, scores=[1.0, 2.0, 3.0])
    with pytest.raises(ArgumentError, match="`scores` to be .S,., .N, S. or maps of the labels' shape"):
        show_segments(LABELS, scores=np.ones((1, 2, 3, 4)))


def test_slices_have_the_scale_of_their_volume_and_the_mass_in_them_is_said():
    values = np.ones((4, 2, 3))
    values[3] = 5.0
    figure = show_slices({"a": values}, np.zeros((4, 2, 3)), slices=[0, -1], look=Look(quantile=1))
    assert [axis.get_title() for axis in panels(figure)] == ["slice 0", "slice 3", "a", "a"]
    assert panels(figure)[2].images[0].get_clim() == (0, 5)
    assert "Mass in the slices shown, of 4: a 75 %. " in said(figure)
    alone = show_slices(values, slices=[0], look=Look(quantile=1))
    assert panels(alone)[0].images[0].get_clim() == (0, 5)
    assert panels(alone)[0].get_title() == "slice 0"
    assert drawable(figure)


def test_methods_of_other_units_have_ranges_of_their_own_over_all_slices():
    values = {"a": np.arange(8.0).reshape(2, 2, 2), "b": -np.ones((2, 2, 2))}
    figure = show_slices(values, look=Look(quantile=1), scale="method")
    assert [axis.images[0].get_clim() for axis in panels(figure)] == [(0, 7), (0, 7), (-1, 1), (-1, 1)]
    assert len([axis for axis in figure.axes if axis.get_label() == "<colorbar>"]) == 2
    assert "Each method has its own scale: colours do not compare" in said(figure)
    with pytest.raises(ArgumentsConflictError, match='one range is that of scale="all", not of "method"'):
        show_slices(values, scale="method", limits=(0, 1))


def test_slices_are_in_the_middle_of_equal_parts_and_across_any_axis():
    values = np.arange(24.0).reshape(1, 1, 2, 3, 4)
    assert [axis.get_title() for axis in panels(show_slices(values, slices=2, axis=2))] == ["slice 1", "slice 3"]
    assert panels(show_slices(values, axis=1))[0].images[0].get_array().shape == (2, 4)
    assert len(panels(show_slices(values, slices=9, axis=1))) == 3
    assert "Pixels are sums over 3 channels" in said(show_slices(values.repeat(3, 1)))


class Video:
    """A model that knows how its videos are seen."""

    def display(self, videos):
        return (videos / 2 + 0.5).movedim(1, -1)


def test_volumes_are_seen_as_people_have_them():
    from captum_ext.visualize.inputs import seen_volume

    expected = np.full((2, 4, 5, 3), 0.2)
    for volume in (
        np.full((2, 4, 5), 51, np.uint8),
        torch.full((1, 3, 2, 4, 5), 0.2, dtype=torch.float64),
        torch.full((1, 2, 4, 5), 0.2, dtype=torch.float64),
    ):
        np.testing.assert_allclose(seen_volume(volume)[0], expected)
    np.testing.assert_allclose(seen_volume(torch.full((1, 3, 2, 4, 5), -0.6), Video())[0], expected, atol=1e-7)
    values = np.arange(8.0).reshape(2, 2, 2)
    scaled, sentence = seen_volume(values)
    np.testing.assert_allclose(scaled[..., 0], values / 7)
    assert sentence.startswith("How photographs are normalised is not known")


def test_slices_that_cannot_be_shown_are_refused():
    values = np.ones((4, 2, 3))
    with pytest.raises(ArgumentError, match="`slices` to be numbers of slices from 0 to 3"):
        show_slices(values, slices=[4])
    with pytest.raises(ArgumentError, match="`axis` to be a dimension of .D, H, W.: 0, 1 or 2"):
        show_slices(values, axis=3)
    with pytest.raises(ArgumentError, match="`maps` to be the map of one volume, .* but got shape .2, 4, 2, 3."):
        show_slices(np.ones((2, 4, 2, 3)))
    with pytest.raises(ArgumentError, match="`maps` to be of the volume's size"):
        show_slices(values, np.ones((4, 2, 2)))
    with pytest.raises(ArgumentError, match="`volume` to be one volume .D, H, W., .* of 1 or 3 channels"):
        show_slices(values, np.ones((2, 4, 2, 3)))
    with pytest.raises(ArgumentError, match=r"`volume` to be one volume .* but got shape \(1,\)"):
        show_slices(values, [3])
    with pytest.raises(ArgumentTypeError, match="`slices` to be a number of slices, or a list of their numbers"):
        show_slices(values, slices="all")


def boxes(figure, *tokens):
    texts = {text.get_text(): text.get_bbox_patch() for text in figure.axes[0].texts}
    return [texts[token] for token in tokens]


def test_tokens_stand_on_the_colours_of_their_numbers_and_negative_ones_are_framed():
    figure = show_tokens(["good", "bad", "the"], {"IG": torch.tensor([[2.0, -1.0, 0.0]])})
    good, bad, the = boxes(figure, "good", "bad", "the")
    expected = [to_hex(colour / 255) for colour in colorize(np.array([2.0, -1.0, 0.0]), (-2, 2))]
    assert [to_hex(box.get_facecolor()) for box in (good, bad, the)] == expected
    assert bad.get_linestyle() == "--"
    assert [box.get_edgecolor()[3] for box in (good, bad, the)] == [0, 1, 0]
    assert "Dashed frame: against it. No token is beyond the scale." in said(figure)
    assert drawable(figure)


def test_texts_share_one_scale_unless_each_has_its_own():
    maps = np.array([[1.0, 0.0], [4.0, -2.0]])
    tokens = [["a", "b"], ["c", "d"]]
    one = show_tokens(tokens, maps, titles=["x", "y"])
    assert to_hex(boxes(one, "a")[0].get_facecolor()) == to_hex(colorize(np.array([1.0]), (-4, 4))[0] / 255)
    assert len([axis for axis in one.axes if axis.get_label() == "<colorbar>"]) == 1
    own = show_tokens(tokens, maps, titles=["x", "y"], scale="text")
    assert to_hex(boxes(own, "a")[0].get_facecolor()) == to_hex(colorize(np.array([1.0]), (-1, 1))[0] / 255)
    assert {"x (range -1 to 1)", "y (range -4 to 4)"} <= {text.get_text() for text in own.axes[0].texts}
    assert "Each text has its own scale" in said(own)


def test_embeddings_are_summed_and_the_mass_of_padding_is_said():
    maps = torch.zeros(1, 3, 2)
    maps[0, 0], maps[0, 2] = 0.5, -0.5
    figure = show_tokens(["a", "b"], maps, caption=Caption(unit=HOSTILE))
    assert to_rgba(boxes(figure, "a")[0].get_facecolor())[:3] == pytest.approx((122 / 255, 36 / 255, 4 / 255), abs=0.01)
    text = said(figure)
    assert text.startswith("Numbers are sums over 2 of an embedding. Mass behind the texts, not drawn: 50 %. ")


def test_long_texts_go_into_further_lines_and_hostile_tokens_are_shown_as_they_are():
    tokens = [HOSTILE, "", "\n", "猫", *["word"] * 100]
    figure = show_tokens(tokens, {"IG": np.linspace(-1, 1, 104)})
    texts = figure.axes[0].texts
    assert [text.get_text() for text in texts[1:5]] == [SHOWN, "''", "\\n", "猫"]
    heights = [text.get_position()[1] for text in texts]
    assert max(heights) > 4
    assert max(text.get_position()[0] + 5 for text in texts) < figure.axes[0].get_xlim()[1] + 5
    assert drawable(figure)


def test_tokens_without_a_finite_number_are_crossed_out():
    figure = show_tokens(["a", "b"], {"IG": np.array([1.0, np.nan])})
    assert boxes(figure, "b")[0].get_hatch() == "xxxx"
    assert "Crossed out, NaN or infinite: IG 1. " in said(figure)


def test_what_are_no_tokens_is_refused():
    for tokens in ("text", [], [1, 2], ["a", 3]):
        with pytest.raises(ArgumentTypeError, match="`tokens` to be a list of tokens, or of lists of them"):
            show_tokens(tokens, np.ones(2))
    with pytest.raises(ArgumentError, match="`maps` to be .N, L. or .N, L, E. of 1 texts of up to 3 tokens, but got"):
        show_tokens(["a", "b", "c"], np.ones(2))
    with pytest.raises(ArgumentError, match="`titles` to be 1, one for each, but got 2"):
        show_tokens(["a"], np.ones(1), titles=["x", "y"])
    with pytest.raises(ArgumentError, match="`tokens` to be of at most 400 lines"):
        show_tokens(["word"] * 40_000, np.ones(40_000))


@pytest.mark.parametrize("text", ["a" * 5000, "$\\frac$", "\x1b[2J\n", "猫 " * 2000, "<b>|"])
def test_every_figure_has_any_text_and_stays_of_its_size(text):
    around = Caption(text, text, (text,))
    ones, x = np.ones((2, 2)), np.arange(2.0)
    for figure in (
        show_maps({text: ones, "b": ones}, np.ones((2, 2)), titles=text, caption=around),
        show_maps({text: ones * 0, "b": 3 * ones}, np.ones((1, 1)), caption=around, limits=(0, 1)),
        show_curves({text: (x, np.ones((3, 2))), "b": (x, x)}, x_label=text, caption=around),
        show_path({text: PathScores(torch.ones(1, 2), torch.ones(1, 2))}, titles=[text], caption=around),
        show_scores({text: {text: [1.0, np.nan]}}, caption=around),
        show_segments(LABELS, titles=[text], caption=around),
        show_slices({text: np.ones((2, 2, 2))}, caption=around),
        show_tokens([text], {text: np.ones(2)}, titles=[text], caption=around),
    ):
        assert drawable(figure)  # warnings are errors
        assert figure.get_figwidth() < 25
        assert figure.get_figheight() < 15


@pytest.mark.parametrize("none", [[], np.empty(0), torch.empty(0)])
def test_a_method_without_scores_has_a_line_without_dots(none):
    figure = show_scores({"deletion": {"IG": [0.3, 0.2], "failed": none}})
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["IG", "failed"]


def test_no_line_begins_with_a_per_cent():
    text = "a number of 12 % and (14 %) to be wrapped at every width"
    for width in range(10, 60):
        lines = wrapped(text, width).split("\n")
        assert " ".join(lines) == text
        assert not any(line.startswith("%") for line in lines)

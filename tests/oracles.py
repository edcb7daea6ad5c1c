"""Slow, literal versions of the methods and metrics, written from the papers; they share no code with the package."""

import itertools
import math

import numpy as np
import torch
from scipy import ndimage, stats


def gradient(function, point):
    """Gradient of a function of one row at one point."""
    leaf = point.clone().requires_grad_()
    with torch.enable_grad():
        return torch.autograd.grad(function(leaf[None]).sum(), leaf)[0]


def gauss_legendre(n):
    nodes, weights = np.polynomial.legendre.leggauss(n)
    return (nodes + 1) / 2, weights / 2


def integrated_gradients(function, x, baseline, n_steps=50):
    """Equation 1 of the LPI paper for one row, by Gauss-Legendre quadrature."""
    total = torch.zeros_like(x)
    for alpha, weight in zip(*gauss_legendre(n_steps), strict=True):
        total += float(weight) * gradient(function, baseline + float(alpha) * (x - baseline))
    return (x - baseline) * total


def weighted_integrated_gradients(function, x, references, weights, n_steps=50):
    """Expectation of Integrated Gradients over weighted references, leaving out x itself."""
    pairs = [(r, float(w)) for r, w in zip(references, weights, strict=True) if not torch.equal(r, x)]
    mass = sum(w for _, w in pairs)
    return sum(w / mass * integrated_gradients(function, x, r, n_steps) for r, w in pairs)


def adaptive_integrated_gradients(function, x, baseline, n_steps):
    """Greedy halving of the interval whose trapezoid is furthest from the known difference of scores."""

    def evaluate(alpha):
        point = baseline + alpha * (x - baseline)
        slope_map = gradient(function, point)
        return {
            "alpha": alpha,
            "score": float(function(point[None]).sum()),
            "map": slope_map,
            "slope": float((slope_map * (x - baseline)).sum()),
        }

    n_first, per_round = max(2, round(0.4 * n_steps)), max(1, round(0.6 * n_steps / 8))
    nodes = [evaluate(k / (n_first - 1)) for k in range(n_first)]
    while len(nodes) < n_steps:
        errors = []
        for k in range(len(nodes) - 1):
            left, right = nodes[k], nodes[k + 1]
            width = right["alpha"] - left["alpha"]
            trapezoid = width * (left["slope"] + right["slope"]) / 2
            errors.append((-abs(trapezoid - (right["score"] - left["score"])), k))
        chosen = [k for _, k in sorted(errors)[: min(per_round, n_steps - len(nodes))]]
        nodes += [evaluate((nodes[k]["alpha"] + nodes[k + 1]["alpha"]) / 2) for k in chosen]
        nodes.sort(key=lambda node: node["alpha"])
    total = torch.zeros_like(x)
    for left, right in itertools.pairwise(nodes):
        total += (right["alpha"] - left["alpha"]) * (left["map"] + right["map"]) / 2
    return (x - baseline) * total


def group_size(n_pixels, n_steps):
    """Of all sizes of a group, the one whose number of groups is nearest to n_steps; as near: fewer, then smaller."""

    def distance(size):
        groups = len(range(0, n_pixels, size))
        return abs(groups - n_steps), groups, size

    return min(range(1, n_pixels + 1), key=distance)


def saliency_path(
    function,
    x,
    baseline,
    direction,
    n_steps,
    momentum=0.0,
    bound=None,
    trapezoid=False,
    pixels=None,
    velocity_counts=False,
    size=None,
):
    """SAMP for one row and one direction, pixel by pixel; returns attributions and how many gradients they took.

    `pixels` is a list of lists of flat element indices that move together; None: every element by itself.
    """
    start, end = (baseline, x) if direction == "insertion" else (x, baseline)
    shape, point, end = x.shape, start.flatten().clone(), end.flatten()
    pixels = pixels or [[i] for i in range(len(point))]
    size = size or group_size(len(pixels), n_steps)
    length = float((end - point).abs().sum())
    waiting = [k for k, members in enumerate(pixels) if any(float(end[i] - point[i]) != 0 for i in members)]
    velocity, attribution, n_gradients = torch.zeros_like(point), torch.zeros_like(point), 0
    pending = None
    while waiting:
        slope = gradient(function, point.reshape(shape)).flatten()
        n_gradients += 1
        velocity = momentum * velocity + (1 - momentum) * slope
        factor = velocity if velocity_counts else slope
        if pending is not None:
            attribution += pending * factor / 2
        promise = {k: sum(float(velocity[i] * (end[i] - point[i])) for i in pixels[k]) for k in waiting}
        best_first = sorted(waiting, key=lambda k: (-promise[k] if direction == "insertion" else promise[k], k))
        chosen = best_first[:size]
        move = torch.zeros_like(point)
        for k in chosen:
            for i in pixels[k]:
                move[i] = end[i] - point[i]
        norm = float(move.abs().sum())
        if bound is not None and norm > length / bound * 1.00001:  # not by rounding alone
            move *= length / bound / norm
            point = point + move
        else:
            for k in chosen:
                for i in pixels[k]:
                    point[i] = end[i]
            waiting = [k for k in waiting if k not in chosen]
        attribution += move * factor / (2 if trapezoid else 1)
        pending = move if trapezoid else None
    if pending is not None:
        slope = gradient(function, point.reshape(shape)).flatten()
        velocity = momentum * velocity + (1 - momentum) * slope
        attribution += pending * (velocity if velocity_counts else slope) / 2
        n_gradients += 1
    return (attribution if direction == "insertion" else -attribution).reshape(shape), n_gradients


def important_directions(function, x, baseline, n_steps):
    """IDGI for one row: every step's change of the score goes to the squares of the gradient where it starts."""
    points = [baseline + k / n_steps * (x - baseline) for k in range(n_steps + 1)]
    scores = [float(function(point[None]).sum()) for point in points]
    slopes = [gradient(function, point) for point in points[:-1]]
    total, used = torch.zeros_like(x), [k for k in range(n_steps) if float(slopes[k].abs().sum()) > 0]
    for place, k in enumerate(used):
        first = 0 if place == 0 else k
        until = used[place + 1] if place + 1 < len(used) else n_steps
        total += slopes[k] ** 2 / (slopes[k] ** 2).sum() * (scores[until] - scores[first])
    return total


def pixels_to_remove(score, x, attribution, fill, alpha, relative_to_fill=False, rtol=0.0):
    """D of Weighted IG for one row (features are pixels): bisection over how many leading features are replaced."""
    order = sorted(range(len(x)), key=lambda i: -float(attribution[i]))

    def at(count):
        changed = x.clone()
        for i in order[:count]:
            changed[i] = fill[i]
        return float(score(changed[None]))

    lowest = at(len(x)) if relative_to_fill else 0.0
    goal = lowest + alpha * (at(0) - lowest)
    low, high = 0, len(x)
    if not at(low) > goal >= at(high):
        return len(x)
    while high - low > max(1, int(rtol * high)):
        middle = (low + high) // 2
        low, high = (low, middle) if at(middle) <= goal else (middle, high)
    return high


def fitness_weighted_gradients(function, score, x, references, fill, n_steps=5, keep=None, absolute=False, **search):
    """Weighted IG for one row, reference by reference: attributions, weights and numbers of removed features."""
    maps = [integrated_gradients(function, x, reference, n_steps) for reference in references]
    removed = [pixels_to_remove(score, x, one.abs() if absolute else one, fill, **search) for one in maps]
    weights = [1 / count / sum(1 / other for other in removed) for count in removed]
    if keep is not None:
        weights = [w if w >= keep / len(weights) else 0.0 for w in weights]
        weights = [w / sum(weights) for w in weights]
    return sum(w * one for w, one in zip(weights, maps, strict=True)), weights, removed


def largest_remainder(weights, seats):
    """Seats by whole quotas first and then by largest fraction, for weights that give everyone at least one."""
    quotas = [w / sum(weights) * seats for w in weights]
    counts = [int(q) for q in quotas]
    by_fraction = sorted(range(len(quotas)), key=lambda i: -(quotas[i] - counts[i]))
    for i in by_fraction[: seats - sum(counts)]:
        counts[i] += 1
    return counts


def image_with_pixels(x, baseline, kept):
    """Row x (C, H, W), with the pixels outside of the set `kept` of (i, j) taken from the baseline."""
    result = baseline.clone()
    for i, j in kept:
        result[:, i, j] = x[:, i, j]
    return result


def mean_filled(x, kept):
    """Row x (C, H, W), with the pixels outside of `kept` replaced by each channel's mean over `kept`."""
    result = torch.empty_like(x)
    for c in range(x.shape[0]):
        result[c] = sum(float(x[c, i, j]) for i, j in kept) / len(kept)
    return image_with_pixels(x, result, kept)


def pixels_by_importance(attribution, absolute):
    """Pixels (i, j) of a map (C, H, W) without ties, the most important first."""
    channels = attribution.abs() if absolute else attribution
    total = channels.sum(0)
    pixels = [(i, j) for i in range(total.shape[0]) for j in range(total.shape[1])]
    return sorted(pixels, key=lambda p: -float(total[p]))


def trapezoid_area(xs, ys):
    return sum((b - a) * (p + q) / 2 for a, b, p, q in zip(xs, xs[1:], ys, ys[1:], strict=False))


def diff_id(function, x, attribution, fractions):
    """DiffID of one row with mean imputation: curve relative to F(x), and its area."""
    order = pixels_by_importance(attribution, absolute=True)
    own = float(function(x[None]))
    curve = []
    for delta in fractions:
        k = round(delta * len(order))
        inserted = float(function(mean_filled(x, order[: len(order) - k])[None]))
        deleted = float(function(mean_filled(x, order[k:])[None]))
        curve.append((inserted - deleted) / own)
    return curve, trapezoid_area([0, *fractions, 1], [0, *curve, 0])


def cell_of(i, j, grid, size):
    """Coarse pixel of fine pixel (i, j), in integers."""
    return i * grid[0] // size[0], j * grid[1] // size[1]


def redistributed(coarse, scores, potential):
    """Equations 8 to 11 of the USU paper for one map (h, w) and one score map (H, W), pixel by pixel."""
    (h, w), (height, width) = coarse.shape, scores.shape
    members = {(k, m): [] for k in range(h) for m in range(w)}
    for i in range(height):
        for j in range(width):
            members[cell_of(i, j, (h, w), (height, width))].append((i, j))
    result = torch.zeros(height, width, dtype=torch.float64)
    for cell, pixels in members.items():
        mass = float(coarse[cell]) * len(pixels)
        total = sum(potential(float(scores[p])) for p in pixels)
        for p in pixels:
            result[p] = mass * potential(float(scores[p])) / total
    return result


def globally_shared(coarse, scores, temperature, by_mass):
    """Coarse map (h, w) whose masses follow equation 13 (by area), or its variant that keeps each cell's own mass."""
    (h, w), (height, width) = coarse.shape, scores.shape
    area, importance = torch.zeros(h, w, dtype=torch.float64), torch.full((h, w), -1.0, dtype=torch.float64)
    for i in range(height):
        for j in range(width):
            cell = cell_of(i, j, (h, w), (height, width))
            area[cell] += 1
            importance[cell] = max(float(importance[cell]), float(scores[i, j]))
    mass = coarse * area
    share = ((importance - 0.5) / temperature).exp() * (mass if by_mass else area)
    return float(mass.sum()) * share / share.sum() / area


def pooled(fine, grid):
    """Equation 1 for one map (H, W): each cell's mass, the sum of its pixels, over their number."""
    mass, pixels = [torch.zeros(grid, dtype=torch.float64) for _ in range(2)]
    for i in range(fine.shape[0]):
        for j in range(fine.shape[1]):
            cell = cell_of(i, j, grid, fine.shape)
            mass[cell] += float(fine[i, j])
            pixels[cell] += 1
    return mass / pixels


def upsampling_errors(fine, truth, grid):
    """Alpha and beta (H, W), equations 19 and 20, and mass excess and deficit (h, w) of section D, for one map."""
    alpha, beta = [torch.zeros(fine.shape, dtype=torch.float64) for _ in range(2)]
    given, true = [torch.zeros(grid, dtype=torch.float64) for _ in range(2)]
    for i in range(fine.shape[0]):
        for j in range(fine.shape[1]):
            a, a_true = float(fine[i, j]), float(truth[i, j])
            alpha[i, j] = max(0.0, abs(a) - abs(a_true))
            beta[i, j] = max(0.0, abs(a_true) - abs(a))
            cell = cell_of(i, j, grid, fine.shape)
            given[cell] += a
            true[cell] += a_true
    excess, deficit = [torch.zeros(grid, dtype=torch.float64) for _ in range(2)]
    for k in range(grid[0]):
        for m in range(grid[1]):
            excess[k, m] = max(0.0, float(given[k, m] - true[k, m]))
            deficit[k, m] = max(0.0, float(true[k, m] - given[k, m]))
    return alpha, beta, excess, deficit


def h_map(scores):
    """Equation 16 for one score map (H, W): K_DD over every 3 x 3 window, whose pixels beyond the border repeat it."""
    kernel = [[-1, 0, 1], [0, 0, 0], [1, 0, -1]]
    height, width = scores.shape
    result = torch.zeros(height, width, dtype=torch.float64)
    for i in range(height):
        for j in range(width):
            for di in range(3):
                for dj in range(3):
                    row, column = min(max(i + di - 1, 0), height - 1), min(max(j + dj - 1, 0), width - 1)
                    result[i, j] += kernel[di][dj] * float(scores[row, column])
    return result


def merged_scores(coarse, fine, h, mu, tau):
    """Equations 17 and 18 at one pixel."""
    alpha = 1 / (1 + math.exp((abs(h) - mu) / tau))
    return alpha * coarse + (1 - alpha) * fine


def rise(model, images, target, kept, shift, probability):
    """Section 3.2 of Petsiuk et al.: one image and one mask after the other, (N, H, W)."""
    n_masks, grid = kept.shape[0], kept.shape[1]
    height, width = images.shape[2:]
    cell_height, cell_width = math.ceil(height / grid), math.ceil(width / grid)
    larger = ((grid + 1) * cell_height, (grid + 1) * cell_width)
    maps = torch.zeros(len(images), height, width, dtype=torch.float64)
    for i in range(n_masks):
        upsampled = torch.nn.functional.interpolate(
            kept[i][None, None].float(), size=larger, mode="bilinear", align_corners=False
        )[0, 0]
        top, left = int(shift[i, 0]), int(shift[i, 1])
        mask = upsampled[top : top + height, left : left + width]
        for n in range(len(images)):
            score = model(images[n : n + 1] * mask)[0, target[n]]
            maps[n] += score.double() * mask.double()
    return (maps / (n_masks * probability)).to(images.dtype)


def blur_ig(function, image, max_sigma, n_steps, mode, middle, derivative_step=None):
    """Equation 4 of Xu et al. for one image (C, H, W): the path of blurred images, one step after the other.

    With `derivative_step` as in the authors' program, which takes the derivative of the blur by a difference.
    """

    def blurred(sigma):
        blurry = ndimage.gaussian_filter(image.numpy(), (0, sigma, sigma), mode=mode) if sigma else image.numpy()
        return torch.from_numpy(np.array(blurry))

    total = torch.zeros_like(image)
    for step in range(n_steps):
        low, high = max_sigma * step / n_steps, max_sigma * (step + 1) / n_steps
        at = (low + high) / 2 if middle else low
        change = blurred(low) - blurred(high)
        if derivative_step is not None:
            change = (blurred(at) - blurred(at + derivative_step)) / derivative_step * (high - low)
        total += gradient(function, blurred(at)) * change
    return total


def guided_ig(function, x, baseline, n_steps, fraction, max_dist):
    """Algorithm 1 of Kapishnikov et al. with the bounds of its section 3.3, one row and one feature after the other."""
    shape, end, start = x.shape, x.double().flatten().tolist(), baseline.double().flatten().tolist()
    n, point, total = len(end), list(start), [0.0] * len(end)
    length = sum(abs(a - b) for a, b in zip(end, start, strict=True))
    for step in range(1, n_steps + 1):
        if length == 0:
            break
        alpha = step / n_steps
        least, most = max(alpha - max_dist, 0.0), min(alpha + max_dist, 1.0)
        furthest = [s + (e - s) * most for s, e in zip(start, end, strict=True)]
        slope = gradient(function, torch.tensor(point, dtype=torch.float64).reshape(shape)).flatten().tolist()
        before = list(point)
        for i in range(n):
            if end[i] != start[i] and (point[i] - start[i]) / (end[i] - start[i]) < least:
                point[i] = start[i] + (end[i] - start[i]) * least
        while True:
            distance, wanted = sum(abs(p - e) for p, e in zip(point, end, strict=True)), length * (1 - alpha)
            if math.isclose(wanted, distance, rel_tol=1e-9, abs_tol=1e-9):
                break
            size = [math.inf if point[i] == furthest[i] else abs(slope[i]) for i in range(n)]
            threshold = sorted(size)[math.floor(fraction * (n - 1))]
            chosen = [i for i in range(n) if size[i] <= threshold and size[i] < math.inf]
            room = sum(abs(point[i] - furthest[i]) for i in chosen)
            if room == 0:
                break
            share = (distance - wanted) / room
            for i in chosen:
                point[i] = furthest[i] if share > 1 else point[i] + (furthest[i] - point[i]) * share
            if share <= 1:
                break
        for i in range(n):
            total[i] += (point[i] - before[i]) * slope[i]
    return torch.tensor(total, dtype=torch.float64).reshape(shape)


def agi(model, x, target, false_classes, step_size, n_steps, bounds=None, from_input=False):
    """Algorithms 1 and 2 of Pan et al. for one input, one false class and one step after the other.

    With `from_input` every step is taken from the input again, as in the authors' program.
    """

    def probability(point, label):
        return model(point[None]).softmax(1)[0, label]

    total = torch.zeros_like(x)
    for label in false_classes:
        point = x
        for _ in range(n_steps):
            if int(model(point[None]).argmax(1)) == label:
                break
            uphill = gradient(lambda p, label=label: probability(p[0], label)[None], point)
            explained = gradient(lambda p: probability(p[0], target)[None], point)
            begin = x if from_input else point
            end = begin + step_size * uphill.sign()
            end = end if bounds is None else end.clamp(*bounds)
            total -= explained * (end - begin)
            point = end
    return total


def xrai(attribution, masks, min_pixels, area=1.0, fast=False):
    """Algorithm 1 of Kapishnikov et al. with what their program adds, one segment and one pixel after the other."""
    height, width = attribution.shape
    places = [(i, j) for i in range(height) for j in range(width)]
    segments = [{place for place in places if bool(mask[place])} for mask in masks]

    def density(segment):
        return sum(float(attribution[place]) for place in segment) / len(segment) if segment else -math.inf

    covered, open_segments, added = set(), list(range(len(segments))), []
    if fast:
        open_segments.sort(key=lambda k: -density(segments[k]))
    while open_segments and (fast or len(covered) / len(places) <= area):
        open_segments = [k for k in open_segments if len(segments[k] - covered) >= min_pixels]
        if not open_segments:
            break
        best = open_segments[0] if fast else max(open_segments, key=lambda k: density(segments[k] - covered))
        new = segments[best] - covered
        added.append((new, density(new)))
        covered |= new
        open_segments.remove(best)
    added.sort(key=lambda pair: -pair[1])
    if rest := set(places) - covered:
        added.append((rest, density(rest)))
    values, ranks = torch.zeros(height, width, dtype=torch.float64), torch.zeros(height, width, dtype=torch.long)
    for rank, (new, value) in enumerate(added, start=1):
        for place in new:
            values[place], ranks[place] = value, rank
    return values, ranks


def winning_probabilities(layers, x, target, dual=False):
    """Excitation Backprop, unit by unit: the probabilities of all responses, those of x (n,) first.

    A layer is ("affine", weights, bias), ("relu",) or ("max", groups), groups being lists of the units below. Responses
    below an affine layer are not negative. Of the dual unit the weights of the last layer are turned.
    """
    responses = [x]
    for kind, *parts in layers:
        below = responses[-1]
        if kind == "affine":
            assert below.min() >= 0
            responses.append(
                np.array([sum(w * a for w, a in zip(row, below, strict=True)) for row in parts[0]]) + parts[1]
            )
        elif kind == "relu":
            responses.append(np.array([max(a, 0.0) for a in below]))
        else:
            responses.append(np.array([max(below[j] for j in group) for group in parts[0]]))
    probabilities = [np.zeros(len(responses[-1]))]
    probabilities[0][target] = 1.0
    for place, ((kind, *parts), below) in reversed(list(enumerate(zip(layers, responses[:-1], strict=True)))):
        above, won = probabilities[0], np.zeros(len(below))
        for i, probability in enumerate(above):
            if kind == "relu":
                won[i] = probability
            elif kind == "max":
                won[max(parts[0][i], key=lambda j: below[j])] += probability
            else:
                turned = -1 if dual and place == len(layers) - 1 else 1
                excitation = [a * max(turned * w, 0.0) for w, a in zip(parts[0][i], below, strict=True)]
                for j, part in enumerate(excitation):
                    won[j] += probability * part / sum(excitation) if sum(excitation) > 0 else 0.0
        probabilities.insert(0, won)
    return probabilities


def error_of_several_paths(contributions, path, alpha):
    """Standard error (D,) of the sum of contributions (n, D): differences between the points of each path, of which a
    polynomial in alpha is fitted away; Student's quantile over 1.96, with degrees of freedom from the differences."""
    n, rows = len(contributions), []
    for one in dict.fromkeys(path):
        members = [k for k in range(n) if path[k] == one]
        for before, after in itertools.pairwise(members):
            row = np.zeros(n)
            row[after], row[before] = 1, -1
            rows.append(row * math.sqrt(len(members) / (2 * (len(members) - 1))))
    differences = np.array(rows)
    degrees = min(2, (n - len(set(path))) // 4)
    powers = differences @ np.array([[a**k for k in range(1, degrees + 1)] for a in alpha])
    left = np.eye(len(differences)) - (powers @ np.linalg.pinv(powers) if degrees else 0)
    form = differences.T @ left @ differences
    variance = np.einsum("kd,kl,ld->d", contributions, form, contributions) * n / np.trace(form)
    squares = (differences @ contributions) ** 2
    of_equal = np.trace(form) ** 2 / np.trace(form @ form)
    freedom = of_equal * 3 / len(squares) * squares.sum(0) ** 2 / (squares**2).sum(0)
    return np.sqrt(variance) * stats.t.ppf(0.975, np.maximum(freedom, 2)) / stats.norm.ppf(0.975)


def error_of_one_path(contributions, alpha):
    """Standard error (D,) of the sum of contributions (n, D) of one point in each of n strata: pairs across a border,
    weighted as pairs within a stratum."""
    n, total, fourth = len(contributions), 0, 0
    order = sorted(range(n), key=lambda k: alpha[k])
    for before, after in itertools.pairwise(order):
        gap = (alpha[after] - alpha[before]) * n
        square = max(0, 1 - gap) / gap * (contributions[after] - contributions[before]) ** 2 * n / (n - 1)
        total, fourth = total + square, fourth + square**2
    freedom = np.maximum(3 * total**2 / fourth, 2)
    return np.sqrt(total) * stats.t.ppf(0.975, freedom) / stats.norm.ppf(0.975)

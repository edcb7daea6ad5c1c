r"""How far a stratified estimate is from what it estimates, planned as numbers: weights of differences between points.

The points of a row make a Latin hypercube sample: every path gets its share of them, and every stratum of alpha gets
one, which of a path's points being drawn at random. What a point contributes is therefore a sum of three parts,

$$y_k = a_{j(k)} + b(\alpha_k) + e_k,$$

a constant of its path, a function of alpha that all paths share, and what neither explains; and the first two are
integrated (nearly) without error by any such sample, whatever is drawn. The variance of the sum of the points is that
of the $e_k$ (Stein, "Large Sample Properties of Simulations Using Latin Hypercube Sampling", Technometrics 1987,
https://doi.org/10.1080/00401706.1987.10488205). It is estimated by

$$\hat V = s \Big( \sum_j \frac{c_j}{2 (c_j - 1)} \sum_i (y_{j,i+1} - y_{j,i})^2 - \sum_g v_g^2 \Big)$$

with successive differences between the $c_j$ points of a path (von Neumann et al., "The Mean Square Successive
Difference", 1941, https://doi.org/10.1214/aoms/1177731746), in which $a_j$ is not, and from whose squares the $v_g$
take what polynomials in alpha explain, by least squares; s makes up for the directions that this takes away. The
estimate is unbiased where b is such a polynomial, and too large by the square of what is left of it otherwise.

A row with a single path has no e: its points, one in each stratum, are only off by where in it they are. Pairs of
neighbours across the border of two strata stand for pairs within one. At a distance of g strata these have density
2 (1 - g) and those g, so that

$$\hat V = \frac{n}{n - 1} \sum_s \frac{(1 - g_s)_+}{g_s} (y_{s+1} - y_s)^2$$

is unbiased where the mean square of a change over a distance is the same on both sides of a border, be the gradient
smooth or broken.

Few differences decide where few references reach a pixel. What is returned is $s = \sqrt{\hat V} \, t_\nu / 1.96$ with
Student's 97.5 % quantile, so that a band of 1.96 s on both sides covers 95 %, and with degrees of freedom from the
squared differences q themselves (Satterthwaite, "An Approximate Distribution of Estimates of Variance Components",
Biometrics 1946, https://doi.org/10.2307/3002019): $\nu = f \cdot \frac{3}{m} (\sum q)^2 / \sum q^2$ for m differences,
where f is what $\nu$ is if all $e_k$ have the same variance. $\hat V$ is what is unbiased, s squared is larger.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from captum_ext.attr.paths.points import Points
from captum_ext.attr.paths.starts import Starts
from captum_ext.core.devices import CPU
from captum_ext.core.warn import warn_caller

#: The highest degree of the polynomials in alpha that all paths share.
MOST_DEGREES = 2


@dataclass(frozen=True)
class Contrasts:
    r"""What the points of a plan count in estimates of variance; float64 on the CPU, one entry for each of P points.

    Attributes:
        points: the plan, in the order in which each row's differences are taken.
        squares: (P,) what the square of a point's difference from the row's point before it counts; zero where there is
            none.
        shared: (P, G) what the point counts in each of the sums whose squares are subtracted.
        freedom: (N,) times $(\sum q)^2 / \sum q^2$ the degrees of freedom of a row's estimates.
        bounds: (N,) rows of which it can only be said that the error is no larger: paths with less than two points.
    """

    points: Points
    squares: Tensor
    shared: Tensor
    freedom: Tensor
    bounds: Tensor

    def of(self, chosen: Tensor) -> Contrasts:
        """Those of the points `chosen` (p,), in this order."""
        return Contrasts(self.points[chosen], self.squares[chosen], self.shared[chosen], self.freedom, self.bounds)


def contrasts(points: Points, starts: Starts) -> Contrasts:
    """The contrasts of a plan of stratified points, given row by row."""
    orders, squares, shared = [], [], []
    bounds, first = torch.zeros(len(starts.weight), dtype=torch.bool, device=CPU), 0
    freedom = torch.ones(len(bounds), dtype=torch.float64, device=CPU)
    for row, count in enumerate(torch.bincount(points.row, minlength=len(bounds)).tolist()):
        of_row, first = slice(first, first + count), first + count
        n_paths = int((starts.weight[row] > 0).sum())
        if n_paths == 1:
            order, square = _within_strata(points.alpha[of_row])
            sums = _zeros(count, MOST_DEGREES)
            freedom[row] = 3.0
        elif count:
            group = _groups(points.path[of_row], drawn=count < n_paths)
            order, square, sums = _between_paths(points.alpha[of_row], group)
            freedom[row] = _freedom(square, sums)
            counts = torch.bincount(points.path[of_row])
            bounds[row] = count < n_paths or bool((counts == 1).any())
        if count:
            orders.append(order + of_row.start)
            squares.append(square)
            shared.append(sums)
    order = torch.cat([torch.zeros(0, dtype=torch.long, device=CPU), *orders])
    every = (torch.cat([_zeros(0), *squares]), torch.cat([_zeros(0, MOST_DEGREES), *shared]))
    return Contrasts(points[order], *every, freedom, bounds)


def warn_of_bounds(planned: Contrasts, starts: Starts) -> None:
    """Say where standard errors are upper bounds."""
    count = int(planned.bounds.sum())
    if count:
        most = int((starts.weight > 0).sum(1).max())
        warn_caller(
            f"Standard errors of {count} of {len(planned.bounds)} rows are upper bounds: with less than two points on "
            "some of their paths, differences between references count as error. A larger n_steps has two "
            f"({2 * most} where the references of a row, up to {most}, count alike)."
        )


def _within_strata(alpha: Tensor) -> tuple[Tensor, Tensor]:
    """Order (n,) and weights (n,) of squares for one path, from its points' places in n strata."""
    n, order = len(alpha), alpha.argsort()
    squares = _zeros(n)
    if n > 1:
        gap = (alpha[order].diff() * n).clamp(min=torch.finfo(torch.float64).tiny)
        squares[1:] = (1 - gap).clamp(min=0) / gap * n / (n - 1)
    return order, squares


def _groups(path: Tensor, *, drawn: bool) -> Tensor:
    """(n,) which points are compared: those of a path; those of all paths with one point each, whose differences count
    as error; all of them where the paths themselves were `drawn`."""
    if drawn:
        return torch.zeros_like(path)
    counts = torch.bincount(path)
    alone = counts[path] == 1
    group = torch.where(alone, len(counts), path)
    if int(alone.sum()) == 1 and len(path) > 1:  # a point that nothing else is compared with
        largest = counts.argmax()
        group = torch.where(alone, largest, group)
    return group


def _between_paths(alpha: Tensor, group: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Order (n,), weights of squares (n,) and of what all paths share (n, G), for several paths."""
    n, order = len(alpha), group.argsort(stable=True)
    group, alpha = group[order], alpha[order]
    counts = torch.bincount(group)[group].double()
    follows = torch.cat([torch.zeros(1, dtype=torch.bool, device=CPU), group[1:] == group[:-1]])
    squares = torch.where(follows, counts / (2 * (counts - 1).clamp(min=1)), 0.0)
    sums = _zeros(n, MOST_DEGREES)
    n_groups = len(torch.unique(group))
    degrees = min(MOST_DEGREES, (n - n_groups) // 4)
    if degrees == 0:
        return order, squares, sums
    basis = _polynomials(alpha, degrees)
    root = squares[1:, None].sqrt()
    directions = torch.linalg.qr(root * basis.diff(dim=0)).Q * root  # (n - 1, G), of the differences
    sums[1:, :degrees] += directions
    sums[:-1, :degrees] -= directions
    scale = n / (n - float(sums.square().sum()))
    return order, squares * scale, sums * scale**0.5


def _freedom(squares: Tensor, sums: Tensor) -> float:
    r"""Three times the degrees of freedom per difference, of points that all have the same variance.

    They are $\mathrm{tr}(A)^2 / \mathrm{tr}(A^2)$ of the quadratic form A in the points, which has three diagonals but
    for what is shared.
    """
    after = torch.cat([squares[1:], _zeros(1)])
    diagonal, beside = squares + after, -after[:-1]
    applied = diagonal[:, None] * sums
    applied[:-1] += beside[:, None] * sums[1:]
    applied[1:] += beside[:, None] * sums[:-1]
    trace = diagonal.sum() - sums.square().sum()
    square = diagonal.square().sum() + 2 * beside.square().sum()
    square += (sums.T @ sums).square().sum() - 2 * (sums * applied).sum()
    return 3 * float(trace**2 / square) / max(1, int((squares > 0).sum()))


def _polynomials(alpha: Tensor, degrees: int) -> Tensor:
    """Legendre polynomials (n, degrees) of degree 1 and more on [0, 1]."""
    x = 2 * alpha - 1
    values = [torch.ones_like(x), x]
    for k in range(1, degrees):
        values.append(((2 * k + 1) * x * values[k] - k * values[k - 1]) / (k + 1))
    return torch.stack(values[1:], 1)


def _zeros(*shape: int) -> Tensor:
    return torch.zeros(shape, dtype=torch.float64, device=CPU)

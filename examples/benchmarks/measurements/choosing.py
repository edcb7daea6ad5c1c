"""How often `choose` errs, and how many images it needs, on simulated scores of which the truth is known.

    python -m examples.benchmarks.measurements.choosing [--simulations 2000]

Deterministic. Scores are a part of each image that all methods share, plus noise of each method; d is the mean paired
difference between the best method and each other one over its standard deviation. For comparison, the same scores are
decided by e-values, which bet on the sign of each paired difference and need no number of images in advance.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from captum_ext.selection.deciding import looks_of
from captum_ext.selection.elimination import Elimination
from examples.benchmarks.engine.reporting import versions

Numbers = NDArray[np.float64]
GROUP, ALPHA = 5, 0.05
_AT_ONCE = 100  # tables


def _skewed(generator: np.random.Generator, size: tuple[int, ...]) -> Numbers:
    return generator.exponential(size=size) - 1


def _heavy(generator: np.random.Generator, size: tuple[int, ...]) -> Numbers:
    return generator.standard_t(3, size=size) / np.sqrt(3)


def _normal(generator: np.random.Generator, size: tuple[int, ...]) -> Numbers:
    return generator.standard_normal(size)


def _coarse(generator: np.random.Generator, size: tuple[int, ...]) -> Numbers:
    return np.round(2 * generator.standard_normal(size)) / 2  # many ties


NOISES: dict[str, Callable[[np.random.Generator, tuple[int, ...]], Numbers]] = {
    "normal": _normal,
    "heavy tails (t, 3)": _heavy,
    "skewed (exponential)": _skewed,
    "ties": _coarse,
}


@dataclass(frozen=True)
class Scene:
    """Scores that are simulated.

    Attributes:
        methods: how many.
        images: how many there are.
        d: of the best methods against all others.
        best: how many methods are best.
        noise: of each method on each image, of variance one.
        controls: how many controls there are, all as good as the other methods.
        spread: standard deviations of the methods' noise from 1 to this.
    """

    methods: int
    images: int
    d: float = 0.0
    best: int = 1
    noise: str = "normal"
    controls: int = 0
    spread: float = 1.0

    def scores(self, n_tables: int, seed: int) -> tuple[Numbers, Numbers | None]:
        """Scores (S, K, n), and those of controls (S, C, n)."""
        generator = np.random.default_rng([seed, self.methods, self.images, round(100 * self.d), self.controls])
        arms = self.methods + self.controls
        noise = NOISES[self.noise](generator, (n_tables, arms, self.images))
        noise *= np.linspace(1, self.spread, arms)[:, None]
        noise[:, : self.best] += self.d * np.sqrt(2)
        noise += 3 * generator.standard_normal((n_tables, 1, self.images))  # easy and hard images
        return noise[:, : self.methods], noise[:, self.methods :] if self.controls else None


@dataclass(frozen=True)
class Outcome:
    """Shares of the tables, and images on average.

    Attributes:
        used: one method was called the best.
        right: it was, and was the only one.
        lost: a best method was dropped.
        images: that were looked at.
    """

    used: float
    right: float
    lost: float
    images: float


def by_signed_ranks(scene: Scene, n_tables: int, seed: int = 0) -> Outcome:
    """What `choose` does."""
    parts = [_race(scene, *scene.scores(_AT_ONCE, seed + part)) for part in range(-(-n_tables // _AT_ONCE))]
    used, right, lost, images = (np.concatenate(column)[:n_tables].mean() for column in zip(*parts, strict=True))
    return Outcome(float(used), float(right), float(lost), float(images))


def _race(scene: Scene, scores: Numbers, controls: Numbers | None) -> tuple[Numbers, ...]:
    looks = looks_of(scene.images, GROUP)
    race = Elimination(len(scores), scene.methods, looks, scene.images, ALPHA)
    images = np.full(len(scores), float(scene.images))
    for number, n in enumerate(looks):
        race.look(number, scores[..., :n], None if controls is None else controls[..., :n])
        images = np.where(race.decided & (images > n), n, images)
    return *_judged(scene, race.active & race.passed, race.active), images


def _judged(scene: Scene, named: NDArray[np.bool_], active: NDArray[np.bool_]) -> tuple[Numbers, ...]:
    """Whether one method was called the best, rightly, and whether a best one was dropped."""
    used = (active.sum(1) == 1) & named.any(1)
    n_best = scene.best if scene.d else scene.methods
    right = used & named[:, 0] & (n_best == 1)
    lost = ~active[:, :n_best].all(1) if n_best == 1 else ~active[:, :n_best].any(1)
    return used.astype(float), right.astype(float), lost.astype(float)


def by_e_values(scene: Scene, n_tables: int, seed: int = 0) -> Outcome:
    """Bets on the sign of each paired difference, mixed over sizes of bets; e-Bonferroni over the other methods."""
    bets = np.linspace(0.05, 0.95, 19)
    parts = []
    for part in range(-(-n_tables // _AT_ONCE)):
        scores, _ = scene.scores(_AT_ONCE, seed + part)
        signs = np.sign(scores[:, :, None] - scores[:, None])  # (S, K, K, n): row better than column
        logs = np.cumsum(np.log1p(bets[:, None, None, None, None] * signs), axis=-1)
        e_values = np.maximum.accumulate(np.exp(logs).mean(0), axis=-1)
        beaten = (e_values >= 2 * (scene.methods - 1) / ALPHA).any(1)  # (S, K, n): by any, at any image
        active = ~beaten
        alone = active.sum(1) == 1
        images = np.where(alone.any(1), alone.argmax(1) + 1, scene.images).astype(float)
        parts.append((*_judged(scene, active[..., -1], active[..., -1]), images))
    used, right, lost, images = (np.concatenate(column)[:n_tables].mean() for column in zip(*parts, strict=True))
    return Outcome(float(used), float(right), float(lost), float(images))


def tables(n: int) -> Iterator[str]:
    """The tables of docs/choose.md."""
    yield "| no difference | methods | images | false use X |\n| --- | --- | --- | --- |"
    for noise in NOISES:
        for methods, images in ((2, 20), (2, 60), (3, 60), (5, 60), (12, 60)):
            outcome = by_signed_ranks(Scene(methods, images, noise=noise), n)
            yield f"| {noise} | {methods} | {images} | {100 * outcome.used:.1f} % |"
    for methods in (3, 12):
        outcome = by_signed_ranks(Scene(methods, 60, spread=4), n)
        yield f"| normal, of spreads from 1 to 4 | {methods} | 60 | {100 * outcome.used:.1f} % |"
    for methods in (3, 12):
        outcome = by_signed_ranks(Scene(methods, 60, d=0.5, best=2), n)
        what = "two equal methods, better than all others by d = 0.5"
        yield f"| {what} | {methods} | 60 | {100 * outcome.used:.1f} % |"
    for methods in (1, 12):
        outcome = by_signed_ranks(Scene(methods, 60, controls=3), n)
        yield f"| nor from three controls | {methods} | 60 | {100 * outcome.used:.1f} % |"
    yield "\n| one method is better by d | methods | images | right | best dropped | images used | saved of 100 |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for d, images in ((0.5, 60), (0.5, 100), (1.0, 60), (1.0, 100)):
        for methods in (2, 3, 5, 12):
            outcome = by_signed_ranks(Scene(methods, images, d), n)
            saved = f"{100 - outcome.images:.0f} %" if images == 100 else ""
            rates = f"{100 * outcome.right:.1f} % | {100 * outcome.lost:.1f} % | {outcome.images:.1f}"
            yield f"| {d:g} | {methods} | {images} | {rates} | {saved} |"
    yield "\n| e-values instead | methods | images | use X, false at d = 0 | images used |"
    yield "| --- | --- | --- | --- | --- |"
    for d, images in ((0.0, 60), (0.5, 60), (1.0, 100)):
        for methods in (2, 5):
            outcome = by_e_values(Scene(methods, images, d), n)
            rate = outcome.right if d else outcome.used
            yield f"| d = {d:g} | {methods} | {images} | {100 * rate:.1f} % | {outcome.images:.1f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--simulations", type=int, default=2000)
    asked = parser.parse_args()
    print(versions())
    for line in tables(asked.simulations):
        print(line, flush=True)


if __name__ == "__main__":
    main()

"""Which experiments a run consists of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from examples.benchmarks.engine.callers_methods import CallersMethods
from examples.benchmarks.engine.captum_methods import captum_methods
from examples.benchmarks.engine.claims import Claim
from examples.benchmarks.engine.experiment import Experiment, Options
from examples.benchmarks.engine.explanations import controls
from examples.benchmarks.engine.networks import LITE, on_lite
from examples.benchmarks.engine.path_games import PathGames
from examples.benchmarks.engine.rival_methods import paper_agi, rival_methods
from examples.benchmarks.papers.lpi import lpi_claims
from examples.benchmarks.papers.lpi.lpi_methods import lpi_budgets, lpi_methods
from examples.benchmarks.papers.samp import samp_claims
from examples.benchmarks.papers.samp.samp_methods import SENSITIVITY, samp_ablations, samp_methods
from examples.benchmarks.papers.usu.axioms import Axioms
from examples.benchmarks.papers.usu.controlled import Controlled
from examples.benchmarks.papers.usu.faithfulness import Faithfulness
from examples.benchmarks.papers.usu.usu_methods import usu_cams
from examples.benchmarks.papers.wg import wg_claims
from examples.benchmarks.papers.wg.wg_methods import wg_methods
from examples.benchmarks.questions.evidence import Evidence
from examples.benchmarks.questions.evidence_claims import METHODS

#: Builders of the methods that are compared, in the order of the rows: controls, Captum's, rivals, the papers'.
PATH_METHODS = (controls, captum_methods, rival_methods, lpi_methods, wg_methods, samp_methods)
#: Builders of the same methods with other settings, which the papers' ablations have on one network.
ABLATIONS = (lpi_budgets, samp_ablations, paper_agi)


def path_games(
    data: str,
    network: str,
    options: Options,
    *,
    pool: str | None = None,
    limit: int | None,
    batch: int,
) -> PathGames:
    """The path methods of all papers, and the caller's, on one data set and network; see `PathGames`."""
    builders = (*PATH_METHODS, *ABLATIONS, *_callers(options))
    return PathGames(
        data, network, options, builders=builders, sensitivity=SENSITIVITY, pool=pool, limit=limit, batch=batch
    )


def further_network(data: str, network: str, options: Options, *, batch: int) -> PathGames:
    """What the claims compare, on one network more: neither ablations nor methods that stand in tables only."""
    claims = [claim for one in (lpi_claims, samp_claims, wg_claims) for claim in one.claims()]
    experiment = on_lite(f"paths-{data}", network)
    compared = [one for one in claims if isinstance(one, Claim) and one.experiment == experiment]
    names = {name for one in compared for name in (one.method, one.against, *one.controls)}
    names |= set(options.methods)
    builders = (*PATH_METHODS, *_callers(options))
    return PathGames(data, network, options, builders=builders, sensitivity=(), limit=None, batch=batch, names=names)


def _callers(options: Options) -> tuple[CallersMethods, ...]:
    return (CallersMethods(options.methods),) if options.methods else ()


def build(options: Options) -> Sequence[Experiment]:
    """The offline experiments; or those on the user's own images and network."""
    if options.data is not None:
        limit = options.limit
        return [
            path_games(options.data, options.network, options, limit=limit, batch=2),
            Faithfulness(options.data, options, limit=limit),
        ]
    others = () if options.fast else LITE[1:]
    return [
        Controlled("shapes", options),
        Controlled("patterns", options),
        path_games("digits", "five-layers", options, pool="digits-train", limit=200, batch=20),
        path_games("mnist20", "five-layers", options, pool="digits-train", limit=None, batch=20),
        path_games("imagenet20", LITE[0], options, limit=None, batch=2),
        *(further_network("imagenet20", name, options, batch=2) for name in others),
        Faithfulness("imagenet20", options),
        *(Faithfulness("imagenet20", options, cams=("GradCAM",), network=name) for name in others),
        Axioms(options),
        Faithfulness("cifar10-20", options, cams=("GradCAM",)),
        Evidence("imagenet20", options, builders=(*PATH_METHODS, usu_cams), names=METHODS),
    ]


@dataclass(frozen=True)
class Only:
    """The experiments with these names; all without names. Workers load it by its name, hence not in `__main__`."""

    names: tuple[str, ...] = ()

    def __call__(self, options: Options) -> Sequence[Experiment]:
        """The experiments."""
        experiments = build(options)
        unknown = set(self.names) - {one.name for one in experiments}
        if unknown:
            known = ", ".join(one.name for one in experiments)
            raise ValueError(f"Expected experiments among {known}, but got {', '.join(sorted(unknown))}.")
        return [one for one in experiments if not self.names or one.name in self.names]

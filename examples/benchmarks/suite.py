"""Which experiments a run consists of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from examples.benchmarks.core.experiment import Experiment, Options
from examples.benchmarks.core.path_games import PathGames
from examples.benchmarks.usu.axioms import Axioms
from examples.benchmarks.usu.controlled import Controlled
from examples.benchmarks.usu.faithfulness import Faithfulness


def build(options: Options) -> Sequence[Experiment]:
    """The offline experiments; or those on the user's own images and network."""
    if options.data is not None:
        limit = options.limit
        return [
            PathGames(options.data, options.network, options, limit=limit, batch=2),
            Faithfulness(options.data, options, limit=limit),
        ]
    return [
        Controlled("shapes", options),
        Controlled("patterns", options),
        PathGames("digits", "five-layers", options, pool="digits-train", limit=200, batch=20),
        PathGames("mnist20", "five-layers", options, pool="digits-train", limit=None, batch=20),
        PathGames("imagenet20", "efficientnet-lite0", options, limit=None, batch=2),
        Faithfulness("imagenet20", options),
        Axioms(options),
        Faithfulness("cifar10-20", options, cams=("GradCAM",)),
    ]


@dataclass(frozen=True)
class Only:
    """The experiments with these names; all without names. Workers load it by its name, hence not in `__main__`."""

    names: tuple[str, ...] = ()

    def __call__(self, options: Options) -> Sequence[Experiment]:
        """The experiments."""
        found = build(options)
        unknown = set(self.names) - {one.name for one in found}
        if unknown:
            known = ", ".join(one.name for one in found)
            raise ValueError(f"Expected experiments among {known}, but got {', '.join(sorted(unknown))}.")
        return [one for one in found if not self.names or one.name in self.names]

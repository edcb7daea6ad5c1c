"""The seam of path methods: what authors of the next one subclass, and what it stands on.

A method with straight paths subclasses `PathAttribution` (or `ReferencePathAttribution`, which keeps a set of
references) and says in `starts` where the paths of every input begin and how much each of them counts. A method that
sums something else along them overrides `explain`. A method with paths of its own subclasses `PathMethod`.
`docs/extending.md` writes one step by step.
"""

from captum_ext.attr.paths.adaptive import Outcome, integrate_adaptively, integrate_paths_adaptively
from captum_ext.attr.paths.integration import (
    PathProblem,
    integrate,
    integrate_paths,
    path_start_scores,
    starting_scores,
)
from captum_ext.attr.paths.path_attribution import Explanation, PathAttribution
from captum_ext.attr.paths.path_method import InputsT, OnDone, PathMethod, progress
from captum_ext.attr.paths.place import Place, Wanted
from captum_ext.attr.paths.plan import METHODS, Generators, Plan, generators_for
from captum_ext.attr.paths.points import Points, default_points, interpolate, rule_points, stratified_points
from captum_ext.attr.paths.quadrature import quadrature
from captum_ext.attr.paths.reference_sets import (
    ReferencePathAttribution,
    ReferencesOfInputs,
    equal_starts,
    equal_to_input,
    without,
)
from captum_ext.attr.paths.starts import Starts, baseline_starts

__all__ = [
    "METHODS",
    "Explanation",
    "Generators",
    "InputsT",
    "OnDone",
    "Outcome",
    "PathAttribution",
    "PathMethod",
    "PathProblem",
    "Place",
    "Plan",
    "Points",
    "ReferencePathAttribution",
    "ReferencesOfInputs",
    "Starts",
    "Wanted",
    "baseline_starts",
    "default_points",
    "equal_starts",
    "equal_to_input",
    "generators_for",
    "integrate",
    "integrate_adaptively",
    "integrate_paths",
    "integrate_paths_adaptively",
    "interpolate",
    "path_start_scores",
    "progress",
    "quadrature",
    "rule_points",
    "starting_scores",
    "stratified_points",
    "without",
]

"""The measurements of the page, in its order, and those that are no part of it."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

MEASUREMENTS = Path(__file__).parents[1] / "measurements"


@dataclass(frozen=True)
class Program:
    """A program of `measurements` as the page runs it.

    Attributes:
        name: of its module.
        title: of its section.
        arguments: of its command.
        timed: whether it measures seconds, which other work on the machine would change.
    """

    name: str
    title: str
    arguments: tuple[str, ...] = ()
    timed: bool = False

    @property
    def command(self) -> str:
        """As it is typed."""
        quoted = (f'"{one}"' if " " in one or "," in one else one for one in self.arguments)
        return " ".join([f"python -m examples.benchmarks.measurements.{self.name}", *quoted])

    @property
    def about(self) -> str:
        """The explanation in the program's own docstring: what is not its command."""
        source = (MEASUREMENTS / f"{self.name}.py").read_text()
        paragraphs = (ast.get_docstring(ast.parse(source)) or "").split("\n\n")
        return "\n\n".join(one for one in paragraphs if not one.lstrip().startswith("python -m"))


PROGRAMS = (
    Program("speed", "Integrated Gradients against Captum's", ("--runs", "3"), timed=True),
    Program("tolerance", "Gradients for a given completeness", ("--first", "150", "410"), timed=True),
    Program(
        "equal_gap",
        "Gradients, seconds and memory at equal completeness",
        ("--kept", "outputs/equal_gap.json"),
        timed=True,
    ),
    Program(
        "accuracy",
        "Gap and map error against gradients",
        (
            *("--networks", "EfficientNet-Lite1", "--images", "10", "--nodes", "10", "20", "30", "40", "50"),
            *("--rules", "Captum, Gauss", "Captum, middle", "graded"),
        ),
    ),
    Program("adaptive", "Completeness at equal cost"),
    Program("error_bars", "Error bars of maps", ("--cost", "15"), timed=True),
    Program("rounding", "How far maps move by rounding"),
    Program("equal_passes", "Beside the bare passes", ("--runs", "5"), timed=True),
    Program("costs", "What the methods cost beside the model", timed=True),
    Program("rows", "Rows in flight", timed=True),
    Program("fit_memory", "Memory of fitted references", timed=True),
    Program("paths", "Weighted IG and SAMP", ("--runs", "3"), timed=True),
    Program("gaps", "SAMP's sums and the score difference"),
    Program(
        "rise",
        "RISE",
        ("--processor-time", "--masks", "60", "--runs", "2", "--networks", "efficientnet", "resnet18"),
        timed=True,
    ),
    Program("scale", "Maps of many images", ("--part", "memory", "throughput", "--runs", "3"), timed=True),
    Program("metrics", "Metrics", timed=True),
    Program("upsampling", "Upsampling", ("--runs", "3"), timed=True),
    Program("desiderata", "What upsampling keeps"),
    Program("scorers", "Scores of segments, and fewer passes for them"),
)

#: Programs that measure something else than costs and what they buy, with what does.
ELSEWHERE = {
    "neighborhoods": "what LPI's neighbourhoods are worth",
    "blur": "how strong a blur has to be",
    "samp": "what SAMP's momentum is credited with",
    "fills": "how DiffID fills pixels",
    "ranking": "how Weighted IG ranks pixels",
    "saliency_agreement": "agreement with another package",
    "choosing": "which method to choose",
    "viewing": "the page that looks through runs: docs/view.md",
    "differences": "whether explanations changed",
}

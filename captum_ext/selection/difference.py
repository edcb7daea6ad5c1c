"""What `diff` finds: tables, a verdict in words, and whether limits are kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from captum_ext.core.text import in_markdown

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Difference:
    """Whether explanations of the same images differ between two runs.

    Attributes:
        summary: a pandas DataFrame, a row for each measure: mean between the runs; "noise", the mean between repeats of
            the first; "drop", how much less alike the runs are than the repeats; p of the test of that, corrected for
            the three measures (Holm); "differs"; "limit" and "beyond" where one was given.
        images: a DataFrame, a row for each image that counts: index, name where the runs have names, the measures, and
            those of the noise; those that changed most, beyond the noise where there is some, come first.
        differs: whether a measure says so; None without a noise floor.
        left_out: reason -> indices of the images that do not count.
        settings: names of the settings in which the runs differ, as their manifests have them.
        n_images: that count.
        unnamed: whether the runs do not say over which files they are.
    """

    summary: pd.DataFrame
    images: pd.DataFrame
    differs: bool | None
    left_out: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    settings: tuple[str, ...] = ()
    n_images: int = 0
    unnamed: bool = False

    @property
    def beyond(self) -> tuple[str, ...]:
        """Measures that are beyond their limit."""
        return tuple(str(name) for name in self.summary.index[self.summary["beyond"].astype(bool)])

    @property
    def sentence(self) -> str:
        """The verdict in words."""
        means = ", ".join(
            f"{name} {row['mean']:.3f}"
            + (f" (noise alone: {row['noise']:.3f})" if row["noise"] == row["noise"] else "")
            for name, row in self.summary.iterrows()
        )
        if self.differs is None:
            verdict = "How much of it is noise is not known: no repeat of the first run was given"
        elif self.differs:
            names = ", ".join(str(name) for name in self.summary.index[self.summary["differs"].astype(bool)])
            verdict = f"The explanations differ by more than noise does ({names})"
        else:
            verdict = "No difference beyond noise was found"
        beyond = f" Beyond their limits: {', '.join(self.beyond)}." if self.beyond else ""
        return f"{verdict}. On {self.n_images} images: {means}.{beyond}"

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences about what does not count, and what differs between the runs beside the maps."""
        said = [f"{len(rows)} images do not count: {reason}." for reason, rows in self.left_out.items()]
        if self.unnamed:
            said.append("The runs have no names of files: that they are over the same images is taken for granted.")
        if self.settings:
            said.append(f"The runs have other settings: {', '.join(self.settings)}.")
        return tuple(said)

    def to_markdown(self, digits: int = 3) -> str:
        """The summary in markdown.

        Args:
            digits: significant digits of its numbers.
        """
        lines = ["| measure | " + " | ".join(map(str, self.summary.columns)) + " |"]
        lines.append("|" + " --- |" * (len(self.summary.columns) + 1))
        for name, row in self.summary.iterrows():
            cells = [in_markdown(str(name)), *(_cell(value, digits) for value in row)]
            lines.append("| " + " | ".join(cells) + " |")
        return "\n".join(lines)


def _cell(value: object, digits: int) -> str:
    if value is None or value != value:
        return ""
    return f"{value:.{digits}g}" if isinstance(value, float) else str(value)

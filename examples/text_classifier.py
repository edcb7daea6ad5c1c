"""A small text classifier, trained here, explained over its embedding layer: what each word of a sentence did.

    python -m examples.text_classifier [--output outputs/text_classifier.png]

The sentences are real ones that everybody has who can run this: from the documentation of five installed libraries.
The question is from which library a sentence comes. Sentences that name a library, or stand in two of them, are left
out. It is a toy: the classes differ by their subject and by their authors' habits, documentation of other versions
gives other numbers, and words are found among those of the training sentences alone.

Prints the accuracy on sentences that were held out, and a table over 100 of them; writes a figure of a few. Both look
at words alone: with other sentences for references, the padding behind a short sentence gets a share, too, since the
references have words there.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor, nn

from captum_ext import ReferenceDistribution
from captum_ext.attr import LayerEG, LayerIntegratedGradients, LayerLPI
from captum_ext.attr.layers import LayerPathAttribution
from captum_ext.visualize import Caption, save_figure, show_tokens
from examples.benchmarks.engine.reporting import print_table
from examples.benchmarks.engine.timing import measured

LIBRARIES = {
    "NumPy": "numpy numpy.linalg numpy.fft numpy.random numpy.ma numpy.polynomial",
    "SciPy": "scipy.stats scipy.optimize scipy.signal scipy.linalg scipy.sparse scipy.interpolate",
    "scikit-learn": "sklearn.linear_model sklearn.ensemble sklearn.metrics sklearn.preprocessing sklearn.cluster "
    "sklearn.decomposition sklearn.model_selection sklearn.datasets",
    "PyTorch": "torch torch.nn torch.nn.functional torch.optim torch.distributions torch.utils.data",
    "Matplotlib": "matplotlib.pyplot matplotlib.axes matplotlib.figure matplotlib.colors matplotlib.ticker "
    "matplotlib.patches matplotlib.lines",
}
NAMED = re.compile("numpy|scipy|scikit|sklearn|torch|matplotlib|pyplot", re.IGNORECASE)
PROSE = re.compile(r"[A-Z][A-Za-z ,;'()-]+\.")
LONGEST = 20  # words
PADDING, UNKNOWN = 0, 1
N_EXPLAINED, N_REFERENCES, N_STEPS = 100, 20, 50
Explain = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def documentation(module: ModuleType) -> Iterator[str]:
    """The docstrings of a module's public functions and classes, and of their methods."""
    for name, value in sorted(vars(module).items()):
        if name.startswith("_") or not callable(value):
            continue
        yield inspect.getdoc(value) or ""
        if inspect.isclass(value):
            methods = [one for label, one in sorted(vars(value).items()) if not label.startswith("_")]
            yield from (inspect.getdoc(one) or "" for one in methods if callable(one))


def sentences() -> list[tuple[str, int]]:
    """Sentences of plain prose with the number of the library that they are from."""
    found: dict[str, set[int]] = {}
    for number, modules in enumerate(LIBRARIES.values()):
        for module in modules.split():
            for text in documentation(importlib.import_module(module)):
                for paragraph in text.split("\n\n")[:4]:
                    for sentence in re.split(r"(?<=[.])\s+(?=[A-Z])", " ".join(paragraph.split())):
                        if PROSE.fullmatch(sentence) and not NAMED.search(sentence):
                            found.setdefault(sentence, set()).add(number)
    kept = [(sentence, *numbers) for sentence, numbers in found.items() if len(numbers) == 1]
    return sorted((sentence, number) for sentence, number in kept if 5 <= len(words_of(sentence)) <= LONGEST)


def words_of(sentence: str) -> list[str]:
    """The words of a sentence, in lower case."""
    return re.findall(r"[a-z]+(?:'[a-z]+)?", sentence.lower())


class Classifier(nn.Module):
    """Embedded words, features of three neighbours each, the largest of every feature, and a score for each library."""

    def __init__(self, n_words: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(n_words, 32, padding_idx=PADDING)
        self.neighbours, self.dropout = nn.Conv1d(32, 64, 3, padding=1), nn.Dropout(0.5)
        self.head = nn.Linear(64, len(LIBRARIES))

    def forward(self, ids: Tensor) -> Tensor:
        """Scores (N, 5) of sentences (N, 20) of word ids."""
        features = self.neighbours(self.embedding(ids).transpose(1, 2)).relu()
        return self.head(self.dropout(features.amax(2)))


@dataclass(frozen=True)
class Data:
    """Sentences as ids (N, 20) and libraries (N,), of which the first are for training."""

    texts: list[str]
    ids: Tensor
    labels: Tensor
    n_training: int
    n_words: int


def prepared(seed: int = 0) -> Data:
    """The sentences in an order of their own, with the words that at least two training sentences have."""
    found = sentences()
    order = torch.randperm(len(found), generator=torch.Generator().manual_seed(seed)).tolist()
    texts, labels = zip(*(found[place] for place in order), strict=True)
    n_training = int(0.8 * len(texts))
    counts = Counter(word for text in texts[:n_training] for word in set(words_of(text)))
    known = {word: UNKNOWN + 1 + k for k, word in enumerate(sorted(w for w, count in counts.items() if count > 1))}
    ids = torch.full((len(texts), LONGEST), PADDING)
    for row, text in enumerate(texts):
        numbers = [known.get(word, UNKNOWN) for word in words_of(text)]
        ids[row, : len(numbers)] = torch.tensor(numbers)
    return Data(list(texts), ids, torch.tensor(labels), n_training, UNKNOWN + 1 + len(known))


def trained(data: Data, epochs: int = 15, seed: int = 0) -> Classifier:
    """The classifier after a few seconds of training."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Classifier(data.n_words)
        optimizer = torch.optim.Adam(model.parameters(), lr=3e-3, weight_decay=1e-5)
        for _ in range(epochs):
            for batch in torch.randperm(data.n_training).split(64):
                loss = nn.functional.cross_entropy(model(data.ids[batch]), data.labels[batch])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
    return model.eval()


def methods(model: Classifier, training: Tensor) -> dict[str, Explain]:
    """Each method as a function from ids and targets to a number for each word (N, 20) and a delta (N,)."""
    others = training[:N_REFERENCES]
    fitted = ReferenceDistribution.fit(model, training[:1000], n_references=N_REFERENCES, token_ids=True)
    made = {
        "IG from padding": LayerIntegratedGradients(model, model.embedding),
        "EG, 20 sentences": LayerEG(model, model.embedding, references=others),
        "LPI, 20 of 1,000": LayerLPI(model, model.embedding, references=fitted),
    }

    def explain(method: LayerPathAttribution) -> Explain:
        def call(ids: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
            generator = torch.Generator().manual_seed(0)
            maps, delta = method.attribute(
                ids, target=target, n_steps=N_STEPS, generator=generator, return_convergence_delta=True
            )
            return maps.sum(2), delta  # over the 32 numbers of a word

        return call

    return {name: explain(method) for name, method in made.items()}


def probability_left(model: Classifier, ids: Tensor, target: Tensor, order: Tensor, n_words: int = 3) -> float:
    """Mean share of the target's probability that is left without the first words of an order (N, 20)."""
    fewer = ids.scatter(1, order[:, :n_words], UNKNOWN)
    with torch.no_grad():
        before, after = (model(one).softmax(1).gather(1, target[:, None]) for one in (ids, fewer))
    return float((after / before).mean())


def table(model: Classifier, ids: Tensor, explained: dict[str, tuple[Tensor, Tensor, float]]) -> list[list[object]]:
    """Each method's three most important words taken away, beside three words by chance."""
    target, is_word = model(ids).argmax(1), ids != PADDING
    noise = torch.rand(ids.shape, generator=torch.Generator().manual_seed(0))
    by_chance = noise.where(is_word, -torch.inf).argsort(1, descending=True)
    rows: list[list[object]] = [["three words by chance", probability_left(model, ids, target, by_chance), "", ""]]
    for name, (maps, delta, seconds) in explained.items():
        order = maps.where(is_word, -torch.inf).argsort(1, descending=True)
        rows.append([name, probability_left(model, ids, target, order), float(delta.abs().mean()), seconds])
    return rows


def draw(titles: list[str], words: list[list[str]], maps: dict[str, Tensor], path: Path) -> None:
    """Sentences with every word on the colour of its number; one scale for all methods of a sentence."""
    caption = Caption(notes=("Predicted library, its probability, and the library that the sentence is from",))
    save_figure(show_tokens(words, maps, titles=titles, caption=caption, scale="text"), path)


def main() -> None:
    """Train, explain, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("outputs/text_classifier.png"))
    output = parser.parse_args().output
    data = prepared()
    model, names = trained(data), list(LIBRARIES)
    held_out, labels = data.ids[data.n_training :], data.labels[data.n_training :]
    with torch.no_grad():
        probabilities = model(held_out).softmax(1)
    accuracy = float((probabilities.argmax(1) == labels).double().mean())
    most_frequent = float(labels.bincount().max() / len(labels))
    print(
        f"{data.n_training} sentences for training, {data.n_words} words. Of {len(labels)} that were held out "
        f"{accuracy:.0%} are right; {most_frequent:.0%} would be for always the most frequent library."
    )

    ids, explained = held_out[:N_EXPLAINED], {}
    target = probabilities[:N_EXPLAINED].argmax(1)
    for name, explain in methods(model, data.ids[: data.n_training]).items():
        with measured() as used:
            maps, delta = explain(ids, target)
        explained[name] = (maps, delta, used.seconds)
    print_table(
        f"{N_EXPLAINED} held-out sentences, {N_STEPS} gradients each. Probability of the predicted library\n"
        "that is left when three words are replaced by the unknown one: lower is better.",
        ["words with the largest attributions", "probability left", "mean |delta|", "seconds"],
        table(model, ids, explained),
    )

    texts = data.texts[data.n_training :][:N_EXPLAINED]
    short = [row for row in range(N_EXPLAINED) if len(texts[row]) < 80 and bool(ids[row].ne(UNKNOWN).all())]
    chosen = [next(row for row in short if int(target[row]) == number) for number in range(len(names))]
    titles = [
        f"{names[target[row]]} ({float(probabilities[row].max()):.0%}), from {names[labels[row]]}" for row in chosen
    ]
    words = [words_of(texts[row]) for row in chosen]
    draw(titles, words, {name: maps[chosen] for name, (maps, _, _) in explained.items()}, output)
    print(f"\nFigure, the first of each library: {output.resolve()}")


if __name__ == "__main__":
    main()

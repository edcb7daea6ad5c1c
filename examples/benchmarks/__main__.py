"""Run the papers' experiments, or go on with an interrupted run, and write the report.

    python -m examples.benchmarks                  # offline data, full size: an hour or two on two cores
    python -m examples.benchmarks --fast           # that everything works: some minutes
    python -m examples.benchmarks --data imagenet:/data/imagenet --network torchvision:resnet50 --weights resnet50.pth
    python -m examples.benchmarks --method my_module:MyMethod --only paths-digits
    python -m examples.benchmarks --from examples/benchmarks/results --summary docs/results.md   # from kept rows

The exit code is 1 when a method or a part failed, 2 when something was asked for that cannot be done.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import torch

from captum_ext.attr import method_class
from captum_ext.core.text import shown
from examples.benchmarks import report
from examples.benchmarks.engine.environment import cost_of, environment, recorded_cost
from examples.benchmarks.engine.experiment import Options, lines_of, run
from examples.benchmarks.engine.kept_rows import Rows, accuracy_of, commits_of, digest, keep, kept, places_of, rows_of
from examples.benchmarks.suite import Only


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--fast", action="store_true", help="small sizes that show that everything works")
    parser.add_argument("--output", type=Path, help="folder; without: one under outputs/ for these data and settings")
    parser.add_argument("--only", nargs="+", default=(), metavar="EXPERIMENT", help="some of the experiments")
    parser.add_argument("--seed", type=natural, default=0)
    parser.add_argument(
        "--workers", type=positive, default=os.cpu_count(), help="processes; results do not depend on it"
    )
    parser.add_argument(
        "--data", metavar="KIND:FOLDER", help="your images, such as imagenet:/data/imagenet, or cifar100-20, offline"
    )
    parser.add_argument("--network", default="efficientnet-lite0", help="for --data, such as torchvision:resnet50")
    parser.add_argument("--weights", type=Path, help="a local file with the network's weights")
    parser.add_argument("--n-classes", type=positive, default=1000, help="outputs of a torchvision network")
    parser.add_argument(
        "--device", type=device, default="cpu", help="where networks of photographs run, such as cuda; default cpu"
    )
    parser.add_argument("--limit", type=positive, default=100, help="how many images of --data")
    parser.add_argument(
        "--method",
        action="append",
        default=[],
        metavar="MODULE:CLASS",
        help="a class of your own with attribute(inputs, target=...), beside the path methods at their budget; may be "
        "repeated. Its module is imported, which runs its code",
    )
    parser.add_argument("--from", type=Path, dest="kept", metavar="FOLDER", help="report on kept rows, run nothing")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="write the rows, without pictures, to a folder")
    parser.add_argument(
        "--summary", type=Path, help="where to write the markdown summary; default in the output folder"
    )
    parser.add_argument("--retry-failed", action="store_true", help="run parts again in which a method failed")
    options = parser.parse_args(arguments)
    for method in options.method:
        method_class(method)  # before anything is computed
    given = [name for name in ("network", "weights", "n_classes") if getattr(options, name) != parser.get_default(name)]
    if options.data is None and given:
        parser.error("--network, --weights and --n-classes are for images of your own: name them with --data")
    if {"weights", "n_classes"} & set(given) and not options.network.startswith("torchvision:"):
        parser.error(f"--weights and --n-classes are for --network torchvision:NAME, not {options.network}")
    return options


def default_output(arguments: argparse.Namespace) -> Path:
    """A folder for what was asked for, so that other data, networks or seeds do not replace its rows."""
    names = ["benchmark", *(["fast"] if arguments.fast else [])]
    if arguments.data is not None:
        kind, _, folder = arguments.data.partition(":")
        names += [kind, Path(folder).name, arguments.network.rpartition(":")[2], str(arguments.limit)]
    if arguments.seed:
        names.append(f"seed{arguments.seed}")
    names += [method.replace(":", ".") for method in arguments.method]
    return Path("outputs") / "-".join(name for name in names if name)


def positive(text: str) -> int:
    """A positive integer of the command line."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"expected a positive integer, but got {text!r}")
    return int(text)


def natural(text: str) -> int:
    """A non-negative integer of the command line."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a non-negative integer, but got {text!r}")
    return int(text)


def device(text: str) -> str:
    """A device of the command line on which something can be computed here."""
    try:
        torch.zeros(1, device=text)
    except Exception as error:  # PyTorch has its own for each kind of device
        raise argparse.ArgumentTypeError(f"{text!r} cannot be used here: {shown(error)}") from error
    return text


def options_of(arguments: argparse.Namespace) -> Options:
    """What the command line asked for."""
    return Options(
        arguments.output or default_output(arguments),
        arguments.fast,
        arguments.seed,
        arguments.data,
        arguments.network,
        arguments.weights,
        arguments.n_classes,
        arguments.limit,
        arguments.device,
        tuple(arguments.method),
    )


def measured(
    options: Options, names: Sequence[str], workers: int, retry_failed: bool = False
) -> tuple[Rows, dict[str, Any]]:
    """Rows of a run, where they come from, and what failed."""
    build = Only(tuple(names))
    about = environment(options, workers)
    experiments = build(options)
    with recorded_cost(options, experiments):
        failures = run(build, options, workers, retry_failed)
    rows = rows_of(experiments, options)
    about |= {
        "digest": digest(rows),
        "commit": ", ".join(commits_of(experiments, options)) or about["commit"],
        "failures": lines_of(failures),
        "not_run": [[one.name, *pair] for one in experiments for pair in getattr(one, "not_run", {}).items()],
        "experiments": [
            f"{one.name}: n = {rows[one.name]['sample'].nunique()}{accuracy_of(rows[one.name])}; {one.size}; "
            f"{places_of(one, options)}"
            for one in experiments
            if one.name in rows
        ],
        "cost": cost_of(options, experiments),
    }
    return rows, about


def main(given: Sequence[str] | None = None) -> int:
    try:
        arguments = parsed(given)
        if arguments.kept is not None:
            rows, about = kept(arguments.kept)
            written = report.write(rows, about, None, arguments.summary or Path("outputs/results.md"))
        else:
            options = options_of(arguments)
            rows, about = measured(options, arguments.only, arguments.workers, arguments.retry_failed)
            output = options.output
            written = report.write(rows, about, output / "report.html", arguments.summary or output / "results.md")
            if arguments.keep is not None:
                keep(rows, about, arguments.keep)
    except (ValueError, OSError) as error:
        print(f"error: {shown(error)}", file=sys.stderr)
        return 2
    except BrokenProcessPool:
        print(
            "error: a worker was killed (no memory left?). Finished parts are kept: run again to go on.",
            file=sys.stderr,
        )
        return 2
    for failure in about["failures"]:
        print(f"failed: {shown(failure)}", file=sys.stderr)
    print(f"digest of all numbers but seconds: {about['digest']}")
    for path in written:
        print(shown(path))
    return 1 if about["failures"] else 0


if __name__ == "__main__":
    sys.exit(main())

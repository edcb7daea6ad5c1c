"""An experiment of numbers for the tests of the runner, importable by its worker processes."""

from pathlib import Path

from examples.benchmarks.engine.experiment import Options


class Toy:
    """Five parts of two samples; what goes wrong is named in files of the output folder."""

    name, device = "toy", "cpu"

    def __init__(self, options: Options) -> None:
        self.settings, self.size = {"power": 2}, "small"
        self.folder = options.output

    def prepare(self) -> None:
        """Nothing."""

    def parts(self) -> list[str]:
        return [str(k) for k in range(5)]

    def run(self, part: str) -> list[dict]:
        with (self.folder / "log").open("a") as log:
            log.write(part)
        if (self.folder / f"fail-{part}").exists():
            raise RuntimeError(f"part {part} cannot be done")
        rows = [{"method": "square", "sample": 2 * int(part) + k, "score": float(part) ** 2 + k} for k in (0, 1)]
        if (self.folder / f"method-{part}").exists():
            rows[0] = {"method": "square", "sample": 2 * int(part), "error": "ValueError: no square"}
        return rows


def build(options: Options) -> list[Toy]:
    return [Toy(options)]


def marked(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()

"""The command line called in this process."""

from typer.testing import CliRunner

from captum_ext_integrations.cli.app import app

TINY = [
    "--model",
    "tests.integrations.cli.tiny:model",
    "--resize",
    "32",
    "--crop",
    "32",
    "--mean",
    "0.5",
    "--std",
    "0.5",
]
FEW_STEPS = [*TINY, "--n-steps", "4"]


def more_photographs(here, count=6):
    """A folder photos/ with so many, parts of one, in place of what is there."""
    from PIL import Image

    (here / "photos").unlink()
    (here / "photos").mkdir()
    with Image.open(here / "cat.png") as image:
        for place in range(count):
            image.crop((30 * place, 0, 30 * place + 250, 250)).save(here / "photos" / f"{place}.jpg")


def call(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "200"})


def succeed(*arguments):
    result = call(*arguments)
    assert result.exit_code == 0, result.output
    return result.output


def fail(*arguments):
    """What is said when nothing could be done."""
    result = call(*arguments)
    assert result.exit_code == 2, result.output
    assert isinstance(result.exception, SystemExit)  # and no traceback
    errors = [line for line in result.output.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1
    return errors[0]

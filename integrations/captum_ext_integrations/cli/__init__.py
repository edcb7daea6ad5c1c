"""The command line `captum-ext` (extra `cli`): explanations without a script."""

from captum_ext.core.memory import keep_freed_memory
from captum_ext.core.optional import require


def main() -> None:
    """Entry point of the installed command."""
    import sys

    from captum_ext.exceptions import MissingExtraError

    try:
        for module in (
            "typer",
            "rich",
            "PIL",
            "torchvision",
            "matplotlib",
            "pandas",
            "pyarrow",
            "statsmodels",
            "filelock",
        ):
            require(module, "cli")
    except MissingExtraError as error:
        sys.exit(f"captum-ext: {error}")
    from captum_ext_integrations.cli.app import app

    keep_freed_memory()
    app()

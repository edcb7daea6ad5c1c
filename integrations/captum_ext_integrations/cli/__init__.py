"""The command line `captum-ext` (extra `cli`): explanations without a script."""

_NEEDED = ("typer", "rich", "PIL", "torchvision", "matplotlib", "pandas", "pyarrow", "statsmodels", "filelock")


def main() -> None:
    """Entry point of the installed command."""
    import sys
    from importlib.util import find_spec

    needed = _NEEDED if sys.version_info >= (3, 11) else (*_NEEDED, "tomli")
    missing = [module for module in needed if find_spec(module) is None]
    if missing:
        named = f"{missing[0]} is" if len(missing) == 1 else f"{', '.join(missing[:-1])} and {missing[-1]} are"
        them = "it" if len(missing) == 1 else "them"
        sys.exit(f"captum-ext: {named} needed here. Install {them} with: pip install 'captum-ext[cli]'")
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # letters that the terminal's encoding does not have
            stream.reconfigure(errors="backslashreplace")
    from captum_ext_integrations.cli.loading import ended_quietly

    with ended_quietly():
        from captum_ext.core.memory import keep_freed_memory
        from captum_ext_integrations.cli.app import app
    keep_freed_memory()
    app()

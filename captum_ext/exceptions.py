"""Errors that captum_ext raises for a caller's mistake.

Every message names the argument, what was expected and what was received. The classes also inherit from the
built-in that a caller would catch without knowing this package (`ValueError`, `TypeError`, ...).
"""

from __future__ import annotations


class CaptumExtError(Exception):
    """Base class of all errors raised on purpose by this package."""


def _ended(text: str) -> str:
    """A sentence with one full stop, also where it ends with the message of another program, which may have its own."""
    return text if text.endswith(".") else f"{text}."


class _MismatchError(CaptumExtError):
    """An argument that is not what it should be; `args` holds the three parts, so the error survives pickling."""

    def __init__(self, argument: str, expected: str, received: str) -> None:
        super().__init__(argument, expected, received)
        self.argument = argument
        self.expected = expected
        self.received = received

    def __str__(self) -> str:
        return _ended(f"Expected argument `{self.argument}` to be {self.expected}, but got {self.received}")


class ArgumentError(_MismatchError, ValueError):
    """An argument with a value that cannot be used."""


class ArgumentTypeError(_MismatchError, TypeError):
    """An argument of a type that cannot be used."""


class NonFiniteError(ArgumentError):
    """A tensor that holds NaN or an infinity where finite numbers are needed."""


class AdaptError(CaptumExtError, ValueError):
    """A model that could not be adapted: something could not be inferred or proved; the message says what to pass."""


class ModelOutputError(CaptumExtError, ValueError):
    """`forward_func` returned something from which no attribution can be computed."""


class OutputTypeError(ModelOutputError):
    """`forward_func` returned no tensor where one is needed."""


class OutputRowsError(ModelOutputError):
    """`forward_func` returned another number of rows than it was given."""


class ArgumentsConflictError(CaptumExtError, ValueError):
    """Two arguments, each of which could be used, that do not fit each other; `arguments` holds their names."""

    def __init__(self, arguments: tuple[str, ...], reason: str) -> None:
        super().__init__(arguments, reason)
        self.arguments = arguments
        self.reason = reason

    def __str__(self) -> str:
        names = " and ".join(f"`{name}`" for name in self.arguments)
        return _ended(f"The arguments {names} do not fit each other: {self.reason}")


class InferenceModeError(CaptumExtError, RuntimeError):
    """Gradients were asked for under `torch.inference_mode()`, where autograd records nothing."""


class ReferenceFileError(CaptumExtError, ValueError):
    """A file of fitted references that is damaged, incomplete or of an unknown version."""


class OtherModelError(CaptumExtError, ValueError):
    """Fitted references are used with another model, or with other weights, than they were fitted to."""


class MissingExtraError(CaptumExtError, ImportError):
    """An optional dependency is not installed; the message names the extra that brings it."""


class RunFolderError(CaptumExtError, ValueError):
    """A folder of a run over a data set that is damaged, in use, or was made with other settings."""


class ModelLoadError(CaptumExtError, ValueError):
    """A model that does not exist, or weights that are missing or do not fit it."""

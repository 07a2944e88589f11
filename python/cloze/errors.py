"""What goes wrong, as exceptions. Their text is that of the command line: the place, what was
found there, what was expected, and the way out. What the system refuses is an ``OSError`` such
as ``FileNotFoundError``, and a stage that was interrupted a ``KeyboardInterrupt``."""


class Error(Exception):
    """Anything that cloze cannot do."""


class _Finding(Error):
    """An error with a place."""

    place: str
    """File and place in it, or the key of a configuration."""
    found: str
    """What was found there."""
    expected: str
    """What was expected instead."""
    remedy: str
    """What you can do."""


class UsageError(_Finding, ValueError):
    """Wrong use: an unknown key, a value out of range, options that contradict."""


class InputError(_Finding, ValueError):
    """Input that cannot be used: no input, a broken tokenizer, an id out of range."""


class MissingError(_Finding, FileNotFoundError):
    """A file or folder that is not there."""


class MismatchError(_Finding, ValueError):
    """Artefacts that do not belong together."""


class CorruptError(_Finding, OSError):
    """A file whose bytes are not what was written."""


class ResourceError(_Finding, OSError):
    """Memory, disk or another resource does not suffice."""


class DivergedError(_Finding, ArithmeticError):
    """Training left the finite numbers."""

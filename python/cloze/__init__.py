"""Masked language model pre-training: shards, masks and exact resume for PyTorch.

Everything is computed by the Rust library of cloze; this package hands it on as NumPy arrays
and torch tensors. The command ``cloze`` comes with it.
"""

from typing import TYPE_CHECKING, Any

from ._native import VERSION as __version__
from .errors import (
    CorruptError,
    DivergedError,
    Error,
    InputError,
    MismatchError,
    MissingError,
    ResourceError,
    UsageError,
)

if TYPE_CHECKING:
    from .collator import DataCollator
    from .loader import Loader
    from .tensors import Batch, stack

__all__ = [
    "Batch",
    "CorruptError",
    "DataCollator",
    "DivergedError",
    "Error",
    "InputError",
    "Loader",
    "MismatchError",
    "MissingError",
    "ResourceError",
    "UsageError",
    "__version__",
    "stack",
]

# Where they are; these import torch where it is installed, so they are read when asked for.
_LAZY = {"DataCollator": "collator", "Loader": "loader", "Batch": "tensors", "stack": "tensors"}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'cloze' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f".{_LAZY[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})

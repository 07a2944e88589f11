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
    from .artefacts import (
        Artefact,
        Counts,
        Evaluation,
        Finetuning,
        MaskingVocabulary,
        Pipeline,
        Runs,
        Shards,
        Tokens,
        TrainingRun,
        open,
    )
    from .batch import Batch
    from .collator import DataCollator
    from .loader import Loader
    from .stages import (
        count,
        evaluate,
        experiment,
        finetune,
        inspect,
        run,
        shard,
        tokenize,
        train,
        verify,
        vocabulary,
    )
    from .tensors import stack

__all__ = [
    "Artefact",
    "Batch",
    "CorruptError",
    "Counts",
    "DataCollator",
    "DivergedError",
    "Error",
    "Evaluation",
    "Finetuning",
    "InputError",
    "Loader",
    "MaskingVocabulary",
    "MismatchError",
    "MissingError",
    "Pipeline",
    "ResourceError",
    "Runs",
    "Shards",
    "Tokens",
    "TrainingRun",
    "UsageError",
    "__version__",
    "count",
    "evaluate",
    "experiment",
    "finetune",
    "inspect",
    "open",
    "run",
    "shard",
    "stack",
    "tokenize",
    "train",
    "verify",
    "vocabulary",
]

# Where they are; these import torch where it is installed, so they are read when asked for.
_LAZY = {
    "Artefact": "artefacts",
    "Batch": "batch",
    "Counts": "artefacts",
    "DataCollator": "collator",
    "Evaluation": "artefacts",
    "Finetuning": "artefacts",
    "Loader": "loader",
    "MaskingVocabulary": "artefacts",
    "Pipeline": "artefacts",
    "Runs": "artefacts",
    "Shards": "artefacts",
    "Tokens": "artefacts",
    "TrainingRun": "artefacts",
    "count": "stages",
    "evaluate": "stages",
    "experiment": "stages",
    "finetune": "stages",
    "inspect": "stages",
    "open": "artefacts",
    "run": "stages",
    "shard": "stages",
    "stack": "tensors",
    "tokenize": "stages",
    "train": "stages",
    "verify": "stages",
    "vocabulary": "stages",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'cloze' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f".{_LAZY[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})

"""NumPy arrays as tensors of the framework at hand, without a copy."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from .batch import Batch, Source

Format = Literal["pt", "np"]


def format_of(return_tensors: Format | None) -> Format:
    """What was asked for; without a wish, torch's tensors where torch is installed."""
    if return_tensors is None:
        return "np" if importlib.util.find_spec("torch") is None else "pt"
    if return_tensors not in ("pt", "np"):
        raise ValueError(
            f"return_tensors: found {return_tensors!r}, expected 'pt' for torch or 'np' for NumPy"
        )
    return return_tensors


def convert(columns: Mapping[str, Any], to: Format, source: Source) -> Batch:
    """The arrays of ``columns`` as tensors that share their memory, with where their tokenizer is."""
    if to == "np":
        return Batch.of(columns, source)
    import torch

    return Batch.of({name: torch.from_numpy(array) for name, array in columns.items()}, source)


def stack(batches: Sequence[Mapping[str, Any]]) -> Batch:
    """One batch of several, row below row: the ``data_collator`` of a ``Trainer`` whose data set is a
    :class:`cloze.Loader`. Of one batch it is the batch itself.

    >>> import torch
    >>> from cloze import stack
    >>> stack([{"labels": torch.ones(2, 3)}, {"labels": torch.ones(4, 3)}])["labels"].shape
    torch.Size([6, 3])
    """
    first = batches[0]
    if len(batches) == 1:
        return first if isinstance(first, Batch) else Batch(first)
    import torch

    joined = {name: torch.cat([batch[name] for batch in batches]) for name in first}
    if {"cu_seqlens", "masked_positions"} & joined.keys():
        raise ValueError(
            "stack: found several batches with cu_seqlens or masked_positions, whose numbers count "
            "from the beginning of each; expected one batch, or labels as a matrix"
        )
    return Batch.of(joined, first.source if isinstance(first, Batch) else None)

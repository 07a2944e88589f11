"""NumPy arrays as tensors of the framework at hand, without a copy."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import Any, Literal

Batch = dict[str, Any]
"""Columns by name: torch tensors, or NumPy arrays."""

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


def convert(batch: Batch, to: Format) -> Batch:
    """The arrays of ``batch`` as tensors that share their memory."""
    if to == "np":
        return batch
    import torch

    return {name: torch.from_numpy(array) for name, array in batch.items()}


def stack(batches: Sequence[Batch]) -> Batch:
    """One batch of several, row below row: the ``data_collator`` of a ``Trainer`` whose data set is a
    :class:`cloze.Loader`. Of one batch it is the batch itself.

    >>> import torch
    >>> from cloze import stack
    >>> stack([{"labels": torch.ones(2, 3)}, {"labels": torch.ones(4, 3)}])["labels"].shape
    torch.Size([6, 3])
    """
    if len(batches) == 1:
        return batches[0]
    import torch

    joined = {name: torch.cat([batch[name] for batch in batches]) for name in batches[0]}
    if {"cu_seqlens", "masked_positions"} & joined.keys():
        raise ValueError(
            "stack: found several batches with cu_seqlens or masked_positions, whose numbers count "
            "from the beginning of each; expected one batch, or labels as a matrix"
        )
    return joined

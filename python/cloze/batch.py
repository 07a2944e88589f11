"""Batches, which are dictionaries that notebooks show as text."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from . import _native, display

_ROWS = 4
"""Rows that are shown."""


Source = str | dict[str, str] | None
"""Where a tokenizer is: a path, its files as texts by name, or nowhere."""


class Batch(dict[str, Any]):
    """Columns by name, torch tensors or NumPy arrays: a dictionary that a notebook shows as masked
    text in colour, with the rates that were realised.

    Examples
    --------
    >>> import cloze
    >>> loader = cloze.Loader(shards, masking="wettig-40", length=64, batch_size=16, seed=1)
    >>> batch = next(iter(loader))
    >>> sorted(batch)
    ['attention_mask', 'input_ids', 'labels']
    >>> print(batch.shares())
    masked 39.8 %, predicted 39.8 %
    """

    source: Source = None
    """Where the tokenizer of its ids is, for those who want to read them."""

    @classmethod
    def of(cls, columns: Mapping[str, Any], source: Source) -> Batch:
        """``columns`` with where their tokenizer is."""
        batch = cls(columns)
        batch.source = source
        return batch

    def __reduce__(self) -> tuple[Any, ...]:
        # Between processes a path goes along; texts of files would be larger than the batch.
        source = self.source if isinstance(self.source, str) else None
        return Batch.of, (dict(self), source)

    def __copy__(self) -> Batch:
        return Batch.of(self, self.source)

    def shares(self) -> str:
        """What was realised over all rows: the shares of maskable tokens that were replaced by the
        mask token, by random ones, left as they were, and carry a label."""
        shown = self._page(0)
        if shown is None:
            raise ValueError(
                "batch: found no tokenizer, or labels that are not in place, expected a batch of "
                "a Loader or a DataCollator with input_ids and labels of one shape"
            )
        return shown[1]

    def _repr_html_(self) -> str | None:
        shown = self._page(_ROWS)
        return None if shown is None else display.frame(shown[0], 480)

    def _page(self, rows: int) -> tuple[str, str] | None:
        """A page of the first rows, and the shares of all; nothing where it cannot be told."""
        if self.source is None or "input_ids" not in self:
            return None
        import numpy

        ids = numpy.ascontiguousarray(self["input_ids"], dtype=numpy.int64)
        mask = numpy.asarray(self.get("attention_mask", numpy.ones_like(ids)))
        labels: Any = self.get("labels")
        if "masked_positions" in self:
            flat = numpy.full(ids.size, -100, dtype=numpy.int64)
            flat[numpy.asarray(self["masked_positions"])] = self["masked_labels"]
            labels = flat.reshape(ids.shape)
        labels = numpy.full_like(ids, -100) if labels is None else numpy.asarray(labels)
        if ids.ndim != 2 or labels.shape != ids.shape or mask.shape != ids.shape:
            return None
        mask = numpy.ascontiguousarray(mask, dtype=numpy.int64)
        labels = numpy.ascontiguousarray(labels, dtype=numpy.int64)
        return _pages(self.source).batch(ids, mask, labels, rows)


def _pages(source: str | dict[str, str]) -> _native.Pages:
    return _opened(source if isinstance(source, str) else tuple(source.items()))


@lru_cache(maxsize=4)
def _opened(source: str | tuple[tuple[str, str], ...]) -> _native.Pages:
    if isinstance(source, str):
        return _native.Pages(source)
    with tempfile.TemporaryDirectory() as folder:
        for name, text in source:
            with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
                file.write(text)
        return _native.Pages(folder)

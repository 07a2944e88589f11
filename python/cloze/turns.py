"""Which epoch a pass over a loader is, where the workers of a ``DataLoader`` have to agree on it.

Workers are copies in other processes, and each begins its part of a pass by itself. What they
share with the loader that they are copies of is one number: the epoch, and a tag of the pass that
has it. The first worker of a pass finds another pass's tag there and counts on; the others find
their own tag. Two that come at the same time write the same.
"""

from __future__ import annotations

import sys
from typing import Any

_EPOCHS = 1 << 24
_TAGS = 1 << 38


class Turns:
    """The epochs of passes, counted."""

    def __init__(self) -> None:
        self._cell: Any
        try:
            import torch
        except ImportError:
            self._cell = [0]
        else:
            cell: Any = torch.zeros(1, dtype=torch.int64)
            self._cell = cell.share_memory_()
        self._begun = 0
        self._tag = 0

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        # A worker that was spawned was handed the memory itself; a copy has memory of its own.
        if not isinstance(self._cell, list) and not self._cell.is_shared():
            self._cell.share_memory_()

    def _read(self) -> tuple[int, int]:
        tag, epoch = divmod(int(self._cell[0]), _EPOCHS)
        return tag, epoch

    @property
    def epoch(self) -> int:
        """The epoch of the pass at hand, or of the next one where it was set."""
        return self._read()[1]

    @property
    def waiting(self) -> bool:
        """No pass has begun since the epoch was set."""
        return self._read()[0] == 0

    @property
    def elsewhere(self) -> bool:
        """Another process has the pass at hand."""
        return self._read()[0] not in (0, self._tag)

    @property
    def turn(self) -> int:
        """How many passes this copy has begun."""
        return self._begun

    def set(self, epoch: int) -> None:
        """Makes the next pass epoch ``epoch``."""
        if not 0 <= epoch < _EPOCHS:
            raise ValueError(f"epoch: found {epoch}, expected 0 to {_EPOCHS - 1}")
        self._cell[0] = epoch

    def begin(self, again: bool = False) -> int:
        """Begins a pass; its epoch. It may be the pass at hand ``again``, if that is this copy's."""
        again = again and self._read()[0] == self._tag
        self._begun += 1
        self._tag = hash((_seed(), self._begun)) % (_TAGS - 1) + 1
        tag, epoch = self._read()
        if tag != self._tag:
            epoch += tag != 0 and not again
            self._cell[0] = self._tag * _EPOCHS + epoch
        return epoch


def _seed() -> int:
    """A number that the workers of one pass have in common, and no other pass has."""
    info = _info()
    return 0 if info is None else int(info.seed - info.id)


def this_worker() -> tuple[int, int]:
    """This worker of a DataLoader, and how many there are."""
    info = _info()
    return (0, 1) if info is None else (info.id, info.num_workers)


def _info() -> Any:
    """What PyTorch says of this worker; none outside of one, and where there is no PyTorch."""
    data = sys.modules.get("torch.utils.data")
    return None if data is None else data.get_worker_info()

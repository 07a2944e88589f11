"""Shards as masked batches, for a training loop of your own or of a library."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from . import _native
from .batch import Batch
from .errors import MismatchError, UsageError
from .tensors import Format, convert, format_of
from .turns import Turns, this_worker

if TYPE_CHECKING:
    from torch.utils.data import IterableDataset as _Base
else:
    try:
        from torch.utils.data import IterableDataset as _Base
    except ImportError:
        from typing import Generic, TypeVar

        class _Base(Generic[TypeVar("T")]):
            """Without torch, a loader is an iterable and no more."""


Layout = Literal["packed", "document", "best_fit"]
Path = str | os.PathLike[str]


class Loader(_Base[Batch]):
    """Masked batches from shards.

    An iterable of dictionaries. A pass over it is one epoch, and the next pass the next epoch:
    another order of the rows, and other masks. Batches are read and masked ahead on a thread in
    Rust, so a ``DataLoader`` around it needs no workers; with any number of them the batches are
    the same.

    A batch has, of R rows of L tokens (R is ``batch_size``, less at the end of an epoch, and a
    multiple of it with masks that emit a row several times):

    ``input_ids``
        int64, R × L. Ids after corruption.
    ``attention_mask``
        int64, R × L. 1 for a token, 0 for padding.
    ``labels``
        int64, R × L. The id to be predicted, −100 where there is none.
    ``masked_positions``, ``masked_labels``
        int64. In place of ``labels`` with ``sparse_labels``: where there is a label in the
        flattened R × L, ascending, and the id to be predicted there.
    ``position_ids``, ``cu_seqlens``
        Only with ``layout="best_fit"``. int64, R × L: the position of each token in its own
        document (RoBERTa's position tables begin at 2: add that); int32: 0, then the end of each
        document, counted in tokens without padding, as FlashAttention takes it.
    ``label_weights``
        float32, R. Only with masks whose rates are drawn by diffusion: what each label of a row
        weighs in the loss.

    Parameters
    ----------
    shards
        The folder that ``cloze shard`` wrote; or several of them, in a list, or in a dictionary
        with a weight for each, the share of the rows that come from it. Without weights an epoch
        has every row once.
    masking
        A preset (``"wettig-40"``, ``"bert"``, ``"pmi"`` …), or a dictionary with the keys of a
        pipeline's ``[train.masking]``: ``{"strategy": "word", "corruption_rate": 0.3}``, or
        ``{"preset": "bert", "corruption_rate": 0.3}``.
    length
        L, tokens in a row, special tokens included.
    batch_size
        Rows of a batch of one rank, before copies.
    seed
        Of order and masks. A row's mask follows from (seed, epoch, row) alone.
    rank, world_size
        This process, and how many train together: rank r gets the r-th part of each global batch
        of ``world_size * batch_size`` rows. Leave them out where ``accelerate`` or ``Trainer``
        share batches out themselves.
    layout
        ``"packed"``: documents joined and cut to full rows. ``"document"``: no row holds two.
        ``"best_fit"``: whole documents packed, each attending to itself alone.
    drop_last
        Leave out the rows at the end of an epoch that fill no global batch.
    held_out
        Share of the rows that is held out, the last ones of the shards: :meth:`validation` has
        them.
    sparse_labels
        Hand on positions and labels in place of a matrix.
    return_tensors
        ``"pt"`` for torch tensors, ``"np"`` for NumPy arrays; torch if it is there. Neither is
        a copy.
    read
        ``"mmap"``, or ``"pread"`` for network file systems: a file cut short by another program is
        an error then.

    Examples
    --------
    >>> import cloze
    >>> loader = cloze.Loader(shards, masking="wettig-40", length=64, batch_size=16, seed=1)
    >>> batch = next(iter(loader))
    >>> batch["input_ids"].shape
    torch.Size([16, 64])
    >>> masked = batch["labels"] != -100
    >>> bool((batch["input_ids"][masked] == 4).all())  # [MASK]
    True
    >>> round(float(masked.float().mean()), 1)
    0.4
    """

    def __init__(
        self,
        shards: Path | Sequence[Path] | Mapping[Path, float],
        masking: str | Mapping[str, Any] = "wettig-40",
        *,
        length: int = 128,
        batch_size: int = 32,
        seed: int = 1,
        rank: int = 0,
        world_size: int = 1,
        layout: Layout = "packed",
        drop_last: bool = False,
        held_out: float = 0.0,
        sparse_labels: bool = False,
        return_tensors: Format | None = None,
        read: Literal["mmap", "pread"] = "mmap",
    ) -> None:
        weights = None
        if isinstance(shards, Mapping):
            weights = list(shards.values())
            shards = list(shards)
        elif isinstance(shards, (str, os.PathLike)):
            shards = [shards]
        folders = [os.fspath(folder) for folder in shards]
        config = {
            "shards": folders,
            "weights": weights,
            "masking": {"preset": masking} if isinstance(masking, str) else dict(masking),
            "layout": layout,
            "length": length,
            "seed": seed,
            "held_out": held_out,
            "read": read,
        }
        self._config = json.dumps(config, default=os.fspath)
        self._source = folders[0] if folders else None
        self.batch_size = batch_size
        self.rank = rank
        self.world_size = world_size
        self.drop_last = drop_last
        self._sparse = sparse_labels
        self._format: Format = format_of(return_tensors)
        self._turns = Turns()
        self._start = _Place(0, 0)
        self._at = self._start
        self._untouched = False
        self._open()

    def _open(self) -> None:
        self._shards = _native.Shards(self._config)
        ranks = (self.rank, self.world_size)
        self._length = self._shards.steps(self.batch_size, ranks, self.drop_last)

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "_shards"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._open()

    def __len__(self) -> int:
        """Batches of an epoch, those of this rank."""
        return self._length

    @property
    def rows(self) -> int:
        """Rows of an epoch, those of all ranks, before copies."""
        return self._shards.rows

    @property
    def fingerprint(self) -> str:
        """Of the rows, their order and their masks: loaders with the same one have the same
        epochs, whatever their batch sizes, ranks and workers."""
        return self._shards.fingerprint

    @property
    def epoch(self) -> int:
        """The epoch of the pass at hand; before it begins, the epoch that it is going to have."""
        return self._turns.epoch

    def set_epoch(self, epoch: int) -> None:
        """Makes the next pass epoch ``epoch``, from 0. Without it passes count on by themselves."""
        loaded = self._turns.waiting and self._start.row > 0
        if loaded and self._start.epoch == epoch:
            return
        if loaded:
            warnings.warn(
                f"set_epoch({epoch}) after a state of epoch {self._start.epoch} was loaded: "
                f"epoch {epoch} is read from its beginning",
                stacklevel=2,
            )
        self._turns.set(epoch)
        self._untouched = False
        self._start = self._at = _Place(epoch, 0)

    def __iter__(self) -> Iterator[Batch]:
        worker = this_worker()
        # A pass that nothing was asked of is none: Lightning begins one to look at it.
        epoch = self._turns.begin(again=self._untouched)
        self._untouched = True
        if self._start.epoch != epoch:
            self._start = _Place(epoch, 0)
        start = self._start
        if start.of is not None and start.of != worker:
            raise UsageError(
                f"state: found that of worker {start.of[0]} of {start.of[1]}, expected one of "
                f"worker {worker[0]} of {worker[1]}; to go on with another number of workers, "
                "save state_dict(batches=…) of the loader itself"
            )
        self._at = start if worker[1] == 1 else start._replace(of=worker)
        return self._read(start, worker)

    def _read(self, start: _Place, worker: tuple[int, int]) -> Iterator[Batch]:
        turn = self._turns.turn
        self._untouched = False
        batches = self._shards.start(
            self.batch_size,
            (self.rank, self.world_size),
            worker,
            self.drop_last,
            start[:3],
            self._sparse,
        )
        for batch, row, step in batches:
            if turn == self._turns.turn:
                if worker[1] == 1:
                    self._at = _Place(start.epoch, row)
                else:
                    self._at = _Place(start.epoch, start.row, step, worker)
            yield convert(batch, self._format, self._source)

    def state_dict(self, batches: int | None = None) -> dict[str, Any]:
        """Where the loader stands: behind the batch that it handed out last; with ``batches``,
        behind so many batches of this pass. What is left of the epoch is the same, however many
        ranks and workers read it.

        A ``DataLoader`` with workers has copies of the loader read ahead. There, say how many
        batches you have had; or use torchdata's ``StatefulDataLoader``, which asks the copies.
        """
        epoch = self._turns.epoch
        at = self._at if self._at.epoch == epoch else _Place(epoch, 0)
        if batches is not None:
            start = self._start.row if self._start.epoch == epoch else 0
            behind = start + batches * self.batch_size * self.world_size
            at = _Place(epoch, min(self.rows, behind))
        elif self._turns.elsewhere:
            raise UsageError(
                "batches: found none, expected the number of batches that you have had; workers "
                "of a DataLoader read this pass, and they read ahead"
            )
        state: dict[str, Any] = {
            "epoch": epoch,
            "row": at.row,
            "fingerprint": self.fingerprint,
        }
        if at.of is not None:
            state |= {"step": at.step, "worker": list(at.of)}
        return state

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Makes the next pass what is left of the epoch that ``state_dict`` was taken in. One of
        other shards, rows, masks or another seed is refused with :class:`MismatchError`."""
        if state_dict["fingerprint"] != self.fingerprint:
            raise MismatchError(
                f"state: found fingerprint {state_dict['fingerprint']}, expected "
                f"{self.fingerprint}; make the loader with the shards, length, layout, masking, "
                "held_out and seed that it had"
            )
        worker = state_dict.get("worker")
        of = None if worker is None else (worker[0], worker[1])
        place = _Place(state_dict["epoch"], state_dict["row"], state_dict.get("step", 0), of)
        self._turns.set(place.epoch)
        self._untouched = False
        self._start = self._at = place

    def validation(
        self,
        batch_size: int | None = None,
        *,
        rate: float = 0.15,
        max_rows: int = 2048,
        seed: int = 15,
    ) -> list[Batch]:
        """The rows held out, as ``cloze train`` validates on them: masked uniformly at ``rate``, all
        by the mask token, the same whatever the training masks are, in their layout. Of more than
        ``max_rows`` of a source that many are taken, evenly.
        """
        batches = self._shards.validation(
            batch_size or self.batch_size, (rate, max_rows, seed), self._sparse
        )
        return [convert(batch, self._format, self._source) for batch in batches]


class _Place(NamedTuple):
    """Where a pass stands."""

    epoch: int
    row: int
    """Rows of the epoch behind it, those of all ranks."""
    step: int = 0
    """Steps counted from there, where workers share them."""
    of: tuple[int, int] | None = None
    """The worker whose next step it is, and how many there are."""

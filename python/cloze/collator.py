"""Masks for data sets that were tokenised elsewhere."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from . import _native
from .batch import Batch
from .tensors import Format, convert, format_of
from .turns import Turns, this_worker

_DROPPED = ("labels", "special_tokens_mask", "offset_mapping", "word_ids", "overflow_to_sample_mapping")


class DataCollator:
    """Masked batches of examples, in place of ``DataCollatorForLanguageModeling``.

    Takes a list of examples with ``input_ids``, lists, arrays or tensors of ids with the special
    tokens that they begin and end with, and returns a dictionary of R rows of L tokens, L the length
    of the longest: ``input_ids``, ``attention_mask`` and ``labels`` (int64, R × L, −100 where there
    is no label), and ``token_type_ids`` where the examples have them. Where words start follows from
    the ids, for every fast tokenizer; where masking units do, from the ids and ``vocabulary``.

    An example with an ``index``, its number in the data set, is masked by (seed, epoch, index)
    alone: the same in any batch, worker or process. Examples without one are masked anew each
    time; with a ``seed``, in the order in which they come; without, as torch's generator draws,
    which every worker of a ``DataLoader`` has its own of.

    Parameters
    ----------
    tokenizer
        What wrote the ids: a fast tokenizer of transformers, a ``tokenizers.Tokenizer``, or a path
        to a ``tokenizer.json``, a ``vocab.txt``, or a folder with one.
    masking
        A preset, or a dictionary of keys, as for :class:`cloze.Loader`. Rates may follow a schedule
        (``{"corruption_rate": "linear(0.3, 0.15)", "schedule_steps": 10000}``): every call is a
        step, or every ``accumulation`` calls are one.
    vocabulary
        A masking vocabulary that ``cloze vocabulary`` wrote, for ``strategy = "pmi"``.
    overlap
        Which of two overlapping n-grams becomes a unit: ``"random"``, ``"longest"`` or ``"best"``.
    pad_to_multiple_of
        L is rounded up to a multiple of it.
    seed
        Of the masks.
    index
        The key that an example has its number under.
    accumulation
        Calls that belong to one optimiser step.
    sparse_labels, return_tensors
        As for :class:`cloze.Loader`.

    Examples
    --------
    >>> import cloze
    >>> collator = cloze.DataCollator(tokenizer, masking={"strategy": "word"}, seed=1)
    >>> ids = [101, 14477, 20961, 3085, 2833, 102]  # [CLS] una ##fford ##able food [SEP]
    >>> examples = [{"input_ids": ids, "index": number} for number in range(4)]
    >>> batch = collator(examples)
    >>> batch["labels"].shape
    torch.Size([4, 6])
    >>> bool((collator(examples)["labels"] == batch["labels"]).all())
    True
    """

    def __init__(
        self,
        tokenizer: Any,
        masking: str | Mapping[str, Any] = "wettig-40",
        *,
        vocabulary: str | os.PathLike[str] | None = None,
        overlap: Literal["random", "longest", "best"] = "random",
        pad_to_multiple_of: int | None = None,
        seed: int | None = None,
        index: str = "index",
        accumulation: int = 1,
        sparse_labels: bool = False,
        return_tensors: Format | None = None,
    ) -> None:
        self._tokenizer = _files(tokenizer)
        self._config = {
            "masking": {"preset": masking} if isinstance(masking, str) else dict(masking),
            "vocabulary": None if vocabulary is None else os.fspath(vocabulary),
            "overlap": overlap,
            "seed": seed or 0,
        }
        self.pad_to_multiple_of = pad_to_multiple_of
        self.seed = seed
        self.index = index
        self.accumulation = accumulation
        self._sparse = sparse_labels
        self._format: Format = format_of(return_tensors)
        self._turns = Turns()
        self._calls = 0
        self._examples = 0
        self._open()

    def _open(self) -> None:
        if isinstance(self._tokenizer, str):
            self._native = self._opened(self._tokenizer)
            return
        with tempfile.TemporaryDirectory() as folder:
            for name, text in self._tokenizer.items():
                with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
                    file.write(text)
            self._native = self._opened(folder)

    def _opened(self, tokenizer: str) -> _native.Collator:
        config = {**self._config, "tokenizer": tokenizer}
        return _native.Collator(json.dumps(config, default=os.fspath))

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "_native"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._open()

    @property
    def epoch(self) -> int:
        """The epoch of the masks of examples that have an index."""
        return self._turns.epoch

    def set_epoch(self, epoch: int) -> None:
        """Gives examples that have an index the masks of epoch ``epoch``, from 0, in this process and
        in the workers of a ``DataLoader``."""
        self._turns.set(epoch)

    def __call__(self, features: Sequence[Any], return_tensors: Format | None = None) -> Batch:
        """Masks ``features``, a list of examples or of rows of ids."""
        examples = [one if isinstance(one, Mapping) else {"input_ids": one} for one in features]
        rows = [_row(example) for example in examples]
        worker, workers = this_worker()
        step = (self._calls * workers + worker) // self.accumulation
        samples, seed, epoch = self._keys(examples, worker)
        self._calls += 1
        batch = self._native.collate(
            rows, samples, (seed, epoch, step), self.pad_to_multiple_of or 1, self._sparse
        )
        self._carry(examples, batch)
        to = format_of(return_tensors) if return_tensors else self._format
        return convert(batch, to, self._tokenizer)

    def _keys(self, examples: list[Any], worker: int) -> tuple[list[int], int, int]:
        """The sample of each example, the seed and the epoch."""
        if examples and self.index in examples[0]:
            return [int(one[self.index]) for one in examples], self.seed or 0, self._turns.epoch
        count = len(examples)
        if self.seed is not None:
            first = (worker << 48) + self._examples
            self._examples += count
            return list(range(first, first + count)), self.seed, self._turns.epoch
        if self._format == "pt":
            import torch

            return torch.randint(2**63 - 1, (count,)).tolist(), 0, 0
        import numpy

        return numpy.random.randint(2**63 - 1, size=count).tolist(), 0, 0

    def _carry(self, examples: list[Any], batch: dict[str, Any]) -> None:
        """Hands on the columns that are no rows of ids: token types filled up with 0, and what has
        one value or one shape in all examples."""
        import numpy

        known = {"input_ids", "attention_mask", self.index, *_DROPPED}
        length = batch["input_ids"].shape[1]
        copies = len(batch["input_ids"]) // max(len(examples), 1)
        for name in examples[0] if examples else ():
            if name in known:
                continue
            values = [numpy.asarray(one[name]) for one in examples]
            if name == "token_type_ids":
                values = [numpy.pad(one[:length], (0, length - len(one[:length]))) for one in values]
            batch[name] = numpy.repeat(numpy.stack(values), copies, axis=0)


def _row(example: Any) -> Any:
    """Its ids, without padding."""
    ids = example["input_ids"]
    mask = example.get("attention_mask")
    if mask is None or all(mask):
        return ids
    return [int(id) for id, present in zip(ids, mask) if present]


def _files(tokenizer: Any) -> str | dict[str, str]:
    """A tokenizer as a path, or as texts of the files that it would save."""
    if isinstance(tokenizer, (str, os.PathLike)):
        return os.fspath(tokenizer)
    if hasattr(tokenizer, "save_pretrained"):
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is None:
            raise TypeError(
                f"tokenizer: found {type(tokenizer).__name__}, a slow one, expected a fast "
                "tokenizer; load it with use_fast=True"
            )
        tokens = {
            f"{role}_token": str(token)
            for role in ("mask", "cls", "sep", "pad", "unk", "bos", "eos")
            if (token := getattr(tokenizer, f"{role}_token", None)) is not None
        }
        return {"tokenizer.json": backend.to_str(), "tokenizer_config.json": json.dumps(tokens)}
    if hasattr(tokenizer, "to_str"):
        return {"tokenizer.json": tokenizer.to_str()}
    raise TypeError(
        f"tokenizer: found {type(tokenizer).__name__}, expected a fast tokenizer of transformers, a "
        "tokenizers.Tokenizer, or a path"
    )

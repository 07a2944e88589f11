"""What stages write, as objects: tokens, counts, masking vocabularies, shards.

An artefact is a path (``os.fspath`` gives it), so it goes where a path goes: into the next stage,
or into :class:`cloze.Loader`. Those that are tables hand their rows to pyarrow, polars, duckdb
and whatever else speaks the Arrow PyCapsule interface, record batch by record batch and without a
copy; every record batch is checked against its hash.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, TypeVar

from . import _native, display
from .collator import _files
from .errors import InputError

if TYPE_CHECKING:
    from typing_extensions import Self

_T = TypeVar("_T")


class Artefact:
    """What a stage wrote to ``path``, a folder or a file, local or a URL. Opening it reads its
    manifests and no more; anything that is no finished artefact is refused.

    Examples
    --------
    >>> import cloze
    >>> artefact = cloze.Artefact(shards)
    >>> artefact.kind, artefact.totals["documents"]
    ('shards', 1619)
    >>> artefact.configuration["overlap"]
    'random'
    >>> len(artefact) == artefact.totals["documents"]
    True
    """

    _kind: ClassVar[str | None] = None

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        """Where it is."""
        self._native

    @classmethod
    def later(cls, path: str | os.PathLike[str]) -> Self:
        """The artefact at ``path``, opened when it is first asked: of one that is done in parts, all
        have to be there by then."""
        artefact = cls.__new__(cls)
        artefact.path = os.fspath(path)
        return artefact

    @cached_property
    def _native(self) -> _native.Artefact:
        return _native.Artefact(self.path, self._kind)

    def __fspath__(self) -> str:
        return self.path

    def __len__(self) -> int:
        """Rows of all files: documents, or n-grams."""
        return self._native.rows

    def __bool__(self) -> bool:
        return True

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self).later, (self.path,)

    @property
    def kind(self) -> str:
        """``"tokens"``, ``"runs"``, ``"counts"``, ``"vocabulary"``, ``"shards"``, ``"run"`` (a
        training run) or ``"export"``."""
        return self._native.kind

    @cached_property
    def manifests(self) -> list[dict[str, Any]]:
        """The manifest of each part, as ``schemas/manifest.schema.json`` describes it."""
        manifests: list[dict[str, Any]] = json.loads(self._native.manifests())
        return manifests

    @cached_property
    def totals(self) -> dict[str, Any]:
        """What the stage counted, over all parts: documents, tokens, n-grams, coverage …"""
        totals: dict[str, Any] = json.loads(self._native.totals())
        return totals

    @property
    def configuration(self) -> dict[str, Any]:
        """The keys that it was made with."""
        configuration: dict[str, Any] = self.manifests[0]["configuration"]
        return configuration

    @property
    def fingerprint(self) -> str:
        """Of stage, configuration and inputs."""
        return str(self.manifests[0]["fingerprint"])

    @property
    def content_fingerprint(self) -> str:
        """Of the bytes of all files."""
        return self._native.content_fingerprint

    @property
    def inputs(self) -> list[dict[str, Any]]:
        """What it was made from: path, bytes and fingerprint of each."""
        inputs: list[dict[str, Any]] = self.manifests[0]["inputs"]
        return inputs

    @property
    def files(self) -> list[dict[str, Any]]:
        """Its files: name, bytes, hash and rows of each."""
        return [file for manifest in self.manifests for file in manifest["files"]]

    @property
    def tokenizer(self) -> dict[str, Any]:
        """The tokenizer behind the ids: ``file`` (in the folder of the artefact), ``fingerprint``,
        ``vocabulary_size``, ``special_tokens`` by role; empty where there is none."""
        tokenizer: dict[str, Any] = self.manifests[0].get("tokenizer") or {}
        return tokenizer

    def verify(self) -> Verified:
        """Checks every byte; see :func:`cloze.verify`."""
        from .stages import verify

        return verify(self)

    def inspect(self) -> Report:
        """What it is, made from what, sizes, and a sample; see :func:`cloze.inspect`."""
        from .stages import inspect

        return inspect(self)

    def _line(self) -> str:
        size = sum(file["bytes"] for file in self.files)
        count = len(self.files)
        return f"{len(self):,} rows, {size:,} bytes in {count} file{'' if count == 1 else 's'}"

    def __repr__(self) -> str:
        try:
            line = self._line()
        except InputError as missing:
            line = missing.found
        return f"<cloze.{type(self).__name__} {self.path!r}: {line}>"

    def _repr_html_(self) -> str:
        rows = [(name.replace("_", " "), value) for name, value in self.totals.items()]
        with_it = [(key, _shown(value)) for key, value in self.configuration.items()]
        return display.card(
            f"{type(self).__name__} {self.path}",
            self._line(),
            display.table(("total", ""), rows),
            f"<details><summary>made with</summary>{display.table(('key', ''), with_it)}</details>",
        )


def _shown(value: object) -> object:
    return value if isinstance(value, (int, float, str)) else json.dumps(value)


class Table(Artefact):
    """An artefact whose rows are a table: ``pyarrow.table(it)``, ``polars.DataFrame(it)`` and
    ``duckdb.sql("select … from it")`` take it as it is."""

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self._native.stream()

    def select(self, *columns: str) -> Columns:
        """Some columns of the table, as a table. Those left out are never decompressed."""
        return Columns(self, columns)


class Columns:
    """Columns of a :class:`Table`, for whatever takes the Arrow PyCapsule interface."""

    def __init__(self, table: Table, columns: tuple[str, ...]) -> None:
        self._table = table
        self._columns = list(columns)
        # A column that is not there is refused here.
        self._stream()

    def _stream(self) -> object:
        return self._table._native.stream(self._columns)

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self._stream()

    def __repr__(self) -> str:
        return f"<{', '.join(self._columns)} of {self._table!r}>"


class Tokens(Table):
    """Token files: one row a document, with its ids and where words start.

    Examples
    --------
    >>> import cloze, pyarrow
    >>> pyarrow.table(cloze.Tokens(tokens)).schema
    document_id: uint64 not null
    tokens: list<item: uint16 not null> not null
      child 0, item: uint16 not null
    word_start: list<item: bool not null> not null
      child 0, item: bool not null
    """

    _kind = "tokens"


class Shards(Table):
    """Shards: token files in a drawn order, with where masking units start.

    Examples
    --------
    >>> import cloze, polars
    >>> documents = polars.DataFrame(cloze.Shards(shards).select("document_id", "tokens"))
    >>> documents.columns, documents["tokens"].list.len().sum() > 60_000
    (['document_id', 'tokens'], True)
    """

    _kind = "shards"


class Counts(Table):
    """N-gram counts: one row an n-gram, with its text and how often it occurs."""

    _kind = "counts"


class Runs(Artefact):
    """Sorted runs of counted windows, to be joined with ``cloze.count(merge=[…])``."""

    _kind = "runs"


class TrainingRun(Artefact):
    """A training run: checkpoints, metrics, and the model in ``path/export`` as transformers loads
    it."""

    _kind = "run"


class Evaluation(Artefact):
    """What a model was measured to do."""

    _kind = "evaluation"

    @cached_property
    def report(self) -> Any:
        """Its figures, as ``schemas/evaluation.schema.json`` describes them."""
        return json.loads(Path(self.path, "evaluation.json").read_text(encoding="utf-8"))


class Finetuning(Artefact):
    """Models that were fine-tuned on a task."""

    _kind = "finetuning"

    @cached_property
    def report(self) -> Any:
        """The runs of the grid and the chosen one, as ``schemas/finetuning.schema.json`` describes
        them."""
        return json.loads(Path(self.path, "finetuning.json").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class NGram:
    """An n-gram of a masking vocabulary."""

    ngram: str
    """Its words, joined by one space."""
    length: int
    """Number of words."""
    count: int
    """Occurrences in the corpus; 0 where they are not known."""
    score: float
    """What it was ranked by."""
    rank: int
    """Among those of its length, from 1."""


class Unit(NamedTuple):
    """An n-gram of a masking vocabulary where it stands in a text."""

    ngram: NGram
    """Which one."""
    start: int
    """Where it begins, in characters."""
    end: int
    """Where it ends: ``text[start:end]`` is the unit."""


class MaskingVocabulary(Table):
    """A masking vocabulary: n-grams that are masked as one, each with its score.

    A mapping of n-grams to :class:`NGram`, in the order of length and then of rank. An n-gram may be
    written as in a text: its words are normalised as they were when they were counted. It is read
    when it is first asked; before that it costs nothing. Memory: its texts and 40 bytes an n-gram.

    Examples
    --------
    >>> import cloze
    >>> vocabulary = cloze.MaskingVocabulary(vocabulary)
    >>> "Baker  Street" in vocabulary, "street baker" in vocabulary
    (True, False)
    >>> vocabulary["baker street"].length
    2
    >>> [unit.ngram.ngram for unit in vocabulary.find("Sir Henry walked down Baker Street.")]
    ['sir henry', 'baker street']
    """

    _kind = "vocabulary"

    @cached_property
    def _lookup(self) -> _native.Lookup:
        return _native.Lookup(self.path)

    @cached_property
    def provenance(self) -> dict[str, Any]:
        """What it was made from: score, size, shares, thresholds, corpus totals, rules of words."""
        provenance: dict[str, Any] = json.loads(self._lookup.provenance())
        return provenance

    @property
    def ranking(self) -> str:
        """The score that ranks it: ``"pmi"``, ``"npmi"``, ``"frequency"``, ``"list"`` …"""
        return str(self.provenance["score"])

    def __contains__(self, ngram: object) -> bool:
        return isinstance(ngram, str) and self._lookup.index(ngram) is not None

    def __getitem__(self, ngram: str) -> NGram:
        found = self.get(ngram)
        if found is None:
            raise KeyError(ngram)
        return found

    def get(self, ngram: str, default: _T | None = None) -> NGram | _T | None:
        """The n-gram, or ``default`` where the vocabulary does not have it."""
        index = self._lookup.index(ngram)
        return default if index is None else self._at(index)

    def score(self, ngram: str) -> float:
        """What ``ngram`` was ranked by; a ``KeyError`` where the vocabulary does not have it."""
        return self[ngram].score

    def __iter__(self) -> Iterator[str]:
        return (one.ngram for one in self.values())

    def keys(self) -> Iterator[str]:
        """All n-grams, by length and then by rank."""
        return iter(self)

    def values(self) -> Iterator[NGram]:
        """All n-grams with what is known of them, by length and then by rank."""
        return map(self._at, range(len(self)))

    def items(self) -> Iterator[tuple[str, NGram]]:
        """All n-grams, each with what is known of it."""
        return ((one.ngram, one) for one in self.values())

    def best(self, length: int = 2, most: int = 10) -> list[NGram]:
        """The ``most`` best n-grams of ``length`` words, best first."""
        start, end = self._lookup.of_length(length)
        return [self._at(index) for index in range(start, min(end, start + most))]

    def find(
        self,
        text: str,
        tokenizer: Any = None,
        *,
        overlap: Literal["random", "longest", "best"] = "longest",
        seed: int = 1,
    ) -> list[Unit]:
        """The units of several words in ``text``, in order.

        Words are cut by the pre-tokenizer of ``tokenizer`` (a fast tokenizer of transformers, a
        ``tokenizers.Tokenizer`` or a path), or without one at Unicode's word boundaries. ``overlap``
        says which of two overlapping n-grams becomes the unit, as in ``cloze.shard``; ``seed`` is
        for ``"random"``.
        """
        found = self._lookup.find(text, self._cutter(tokenizer), overlap, seed)
        return [Unit(self._at(index), start, end) for index, start, end in found]

    def _cutter(self, tokenizer: Any) -> _native.Cutter:
        known: tuple[Any, _native.Cutter] | None = self.__dict__.get("_known")
        if known is not None and known[0] is tokenizer:
            return known[1]
        cutter = with_files(tokenizer, self._lookup.cutter)
        self.__dict__["_known"] = (tokenizer, cutter)
        return cutter

    def _at(self, index: int) -> NGram:
        return NGram(*self._lookup.entry(index))

    def _repr_html_(self) -> str:
        lengths = []
        for length in range(2, 6):
            start, end = self._lookup.of_length(length)
            if end > start:
                best = ", ".join(one.ngram for one in self.best(length, 5))
                lengths.append((length, end - start, best))
        return display.card(
            f"MaskingVocabulary {self.path}",
            f"{len(self):,} n-grams by {self.ranking}",
            display.table(("words", "n-grams", "best"), lengths),
        )


def with_files(tokenizer: Any, use: Callable[[str | None], _T]) -> _T:
    """``use`` of the path of ``tokenizer``, which is written to files for it if it has none."""
    import tempfile

    if tokenizer is None:
        return use(None)
    files = _files(tokenizer)
    if isinstance(files, str):
        return use(files)
    with tempfile.TemporaryDirectory() as folder:
        for name, text in files.items():
            Path(folder, name).write_text(text, encoding="utf-8")
        return use(folder)


class Verified(NamedTuple):
    """What was verified."""

    files: int
    """Files read."""
    bytes: int
    """Bytes read."""
    rows: int
    """Rows decoded."""


class Report(str):
    """Text that shows itself as it is printed."""

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        from html import escape

        return f"<pre>{escape(self)}</pre>"


class Pipeline:
    """What a pipeline made in the folder ``path``; each artefact is opened when it is first asked."""

    def __init__(self, path: str | os.PathLike[str], summary: str) -> None:
        self.path = os.fspath(path)
        """Where everything is."""
        self.summary = Report(summary)
        """What came out, and what it took."""

    def __fspath__(self) -> str:
        return self.path

    def __repr__(self) -> str:
        return f"<cloze.Pipeline {self.path}>\n{self.summary}"

    def _repr_html_(self) -> str:
        return self.summary._repr_html_()

    @cached_property
    def tokens(self) -> Tokens:
        """What :func:`cloze.tokenize` gives."""
        return Tokens(os.path.join(self.path, "tokens"))

    @cached_property
    def counts(self) -> Counts:
        """What :func:`cloze.count` gives."""
        return Counts(os.path.join(self.path, "counts"))

    @cached_property
    def vocabulary(self) -> MaskingVocabulary:
        """What :func:`cloze.vocabulary` gives."""
        return MaskingVocabulary(os.path.join(self.path, "vocabulary.parquet"))

    @cached_property
    def shards(self) -> Shards:
        """What :func:`cloze.shard` gives."""
        return Shards(os.path.join(self.path, "shards"))

    @cached_property
    def model(self) -> TrainingRun:
        """What :func:`cloze.train` gives."""
        return TrainingRun(os.path.join(self.path, "model"))

    @cached_property
    def evaluation(self) -> Evaluation:
        """What :func:`cloze.evaluate` gives."""
        return Evaluation(os.path.join(self.path, "evaluation"))


_CLASSES: Mapping[str, type[Artefact]] = {
    kind._kind: kind
    for kind in (Tokens, Shards, Counts, Runs, MaskingVocabulary, TrainingRun, Evaluation, Finetuning)
    if kind._kind is not None
}


def open(path: str | os.PathLike[str]) -> Artefact:
    """The artefact at ``path``, as the class of its kind.

    >>> import cloze
    >>> cloze.open(tokens)
    <cloze.Tokens ...: 1,619 rows, ...>
    """
    artefact = Artefact(path)
    return _CLASSES.get(artefact.kind, Artefact)(path)

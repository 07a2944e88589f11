"""Stages as functions: from paths and keys to an artefact.

Each does what the command of its name does, with the same bytes, and takes the same keys as
keyword arguments. What is done already is not done again; what was made otherwise is refused with
the keys that differ, or redone with ``overwrite=True``. Ctrl-C ends a stage at its next safe
place; called again, it goes on. The interpreter's lock is free meanwhile.

Every stage takes the options ``threads``, ``memory``, ``seed``, ``scratch``, ``cache``,
``cache_size``, ``overwrite`` and ``progress``; those that many machines can share also ``part``
and ``of``. Paths may be URLs of an object store.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from . import _native
from .artefacts import (
    Artefact,
    Counts,
    Evaluation,
    Finetuning,
    MaskingVocabulary,
    Pipeline,
    Report,
    Runs,
    Shards,
    Tokens,
    TrainingRun,
    Verified,
)
from .progress import Bars

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .keys import (
        CountKeys,
        EvaluateKeys,
        FinetuneKeys,
        InspectKeys,
        Options,
        PartOptions,
        Path,
        RunKeys,
        ShardKeys,
        TokenizeKeys,
        TrainKeys,
        VocabularyKeys,
    )

_A = TypeVar("_A", bound=Artefact)


def tokenize(
    inputs: Path | Sequence[Path], *, output: Path, **keys: Unpack[TokenizeKeys]
) -> Tokens:
    """Raw text to token files.

    Parameters
    ----------
    inputs
        Files, folders and globs: .txt, .md, .jsonl, Parquet, Arrow, WikiExtractor, MosaicML MDS and
        folders of Hugging Face datasets, plain or compressed (.gz .zst .bz2 .xz).
    output
        The folder that the token files go to. A document that cannot be read is written to its
        ``rejected.jsonl`` with file, place and reason, and the stage goes on.
    keys
        Keys of ``[tokenize]``: ``tokenizer`` (a vocab.txt, a tokenizer.json, or a folder with one),
        ``format``, ``document``, ``text_field``, ``lowercase`` …; and the options of stages.

    Examples
    --------
    >>> import cloze, pathlib
    >>> _ = pathlib.Path("text.txt").write_text("The hound of the Baskervilles\\n\\nA study in scarlet")
    >>> tokens = cloze.tokenize("text.txt", tokenizer=tokenizer, document="paragraph", output="tokens")
    >>> tokens.totals["documents"], tokens.totals["tokens"]
    (2, 12)
    """
    _stage("tokenize", {"inputs": _list(inputs), "output": output}, keys)
    return _of_parts(Tokens, output, keys)


@overload
def count(
    tokens: Path | None = None,
    *,
    output: Path,
    input: Path | Sequence[Path] = (),
    merge: Sequence[Path] = (),
    runs: Literal[False] = False,
    **keys: Unpack[CountKeys],
) -> Counts: ...


@overload
def count(
    tokens: Path | None = None,
    *,
    output: Path,
    input: Path | Sequence[Path] = (),
    merge: Sequence[Path] = (),
    runs: bool,
    **keys: Unpack[CountKeys],
) -> Counts | Runs: ...


def count(
    tokens: Path | None = None,
    *,
    output: Path,
    input: Path | Sequence[Path] = (),
    merge: Sequence[Path] = (),
    runs: bool = False,
    **keys: Unpack[CountKeys],
) -> Counts | Runs:
    """Token files, or raw text, to exact n-gram counts; or runs of parts, joined.

    Parameters
    ----------
    tokens
        Token files; or in place of them
    input
        raw text: files, folders and globs, whose words ``tokenizer`` cuts, or without one Unicode's
        word boundaries; or
    merge
        runs that are joined: all parts of a text, or texts that came later.
    output
        The folder that the counts, or the run, go to.
    runs
        Write a sorted run with nothing left out, to be joined with others; ``part`` and ``of`` do
        so, too.
    keys
        Keys of ``[count]``: ``max_length``, ``min_count``, ``unit``, ``punctuation``, ``unknown``,
        ``cased``; and the options of stages.

    Examples
    --------
    >>> import cloze, polars
    >>> counts = cloze.count(tokens, min_count=5, output="counts")
    >>> table = polars.DataFrame(counts).filter(polars.col("ngram").list.len() == 2)
    >>> table.sort("count", descending=True)["text"][0]
    'of the'
    """
    paths = {
        "source": tokens,
        "inputs": _list(input),
        "merge": _list(merge),
        "runs": runs,
        "output": output,
    }
    _stage("count", paths, keys)
    if runs or (keys.get("part") is not None and not merge):
        return _of_parts(Runs, output, keys)
    return _of_parts(Counts, output, keys)


def vocabulary(
    counts: Path | None = None,
    *,
    output: Path,
    tokens: Path | None = None,
    plot: Path | None = None,
    **keys: Unpack[VocabularyKeys],
) -> MaskingVocabulary:
    """N-gram counts, or a published list, to a masking vocabulary.

    Parameters
    ----------
    counts
        What :func:`count` wrote; nothing with ``import_``.
    output
        The file that the vocabulary goes to, as Parquet.
    tokens
        Token files to report the coverage of.
    plot
        Draw coverage and score against rank into this SVG.
    keys
        Keys of ``[vocabulary]``: ``size``, ``score``, ``shares``, ``import_`` (a list, one n-gram a
        line), ``import_rules``; and the options of stages.

    Examples
    --------
    >>> import cloze
    >>> counts = cloze.count(tokens, min_count=5, output="counts")
    >>> vocabulary = cloze.vocabulary(counts, size=500, output="pmi.parquet")
    >>> "baker street" in vocabulary, vocabulary.ranking
    (True, 'pmi')
    """
    _stage(
        "vocabulary",
        {"source": counts, "tokens": tokens, "plot": plot, "output": output},
        {key.removesuffix("_"): value for key, value in keys.items()},
    )
    return MaskingVocabulary(output)


def shard(
    tokens: Path,
    *,
    output: Path,
    vocabulary: Path | None = None,
    **keys: Unpack[ShardKeys],
) -> Shards:
    """Token files and a masking vocabulary to shards.

    Parameters
    ----------
    tokens
        What :func:`tokenize` wrote.
    output
        The folder that the shards go to.
    vocabulary
        A masking vocabulary; without it shards have words only.
    keys
        Keys of ``[shard]``: ``overlap``, ``shard_tokens``, ``batch_tokens``, ``zstd_level``; and the
        options of stages.

    Examples
    --------
    >>> import cloze
    >>> shards = cloze.shard(tokens, vocabulary=vocabulary, seed=3, output="shards")
    >>> next(iter(cloze.Loader(shards, "pmi", batch_size=2)))["input_ids"].shape
    torch.Size([2, 128])
    """
    _stage("shard", {"source": tokens, "vocabulary": vocabulary, "output": output}, keys)
    return _of_parts(Shards, output, keys)


def train(
    shards: Path, *, output: Path, config: Path | None = None, **keys: Unpack[TrainKeys]
) -> TrainingRun:
    """Shards to a trained model, by the trainer in Rust.

    Parameters
    ----------
    shards
        What :func:`shard` wrote.
    output
        The folder that checkpoints, metrics and the exported model go to. A run that was stopped
        goes on from its last checkpoint.
    config
        TOML with the keys of ``[train]``, or a pipeline's; ``keys`` go on top.
    keys
        Keys of ``[train]``; its inner tables are dictionaries: ``masking={"preset": "bert"}``,
        ``model={"size": "mini"}``, ``optimizer={"learning_rate": 1e-3}``; and the options of stages.

    Examples
    --------
    >>> import cloze, pathlib
    >>> run = cloze.train(
    ...     shards,
    ...     steps=2,
    ...     batch_size=4,
    ...     rows={"length": 16},
    ...     model={"layers": 1, "hidden": 16, "heads": 1, "feed_forward": 16},
    ...     output="run",
    ... )
    >>> pathlib.Path(run, "export", "config.json").exists()
    True
    """
    _stage("train", {"source": shards, "config": config, "output": output}, keys)
    return TrainingRun(output)


def evaluate(
    model: Path, *, output: Path, shards: Path | None = None, **keys: Unpack[EvaluateKeys]
) -> Evaluation:
    """A trained model to figures of what it can do, each with its 95 % interval.

    Parameters
    ----------
    model
        What :func:`train` wrote, or a Hugging Face folder of a masked language model.
    output
        The folder that the figures go to.
    shards
        What :func:`shard` wrote; the last rows are held out, as in the training. Without it there
        are only minimal pairs (``blimp``).
    keys
        Keys of ``[evaluate]``: ``rates``, ``strategies``, ``profile``, ``blimp`` …; and the options
        of stages.

    Examples
    --------
    >>> import cloze
    >>> run = cloze.train(
    ...     shards,
    ...     steps=2,
    ...     batch_size=4,
    ...     rows={"length": 16},
    ...     model={"layers": 1, "hidden": 16, "heads": 1, "feed_forward": 16},
    ...     output="run",
    ... )
    >>> found = cloze.evaluate(run, shards=shards, rates=[0.15], max_rows=8, output="found")
    >>> [masked["rate"] for masked in found.report["masked"]]
    [0.15, 0.4]
    """
    _stage("evaluate", {"source": model, "shards": shards, "output": output}, keys)
    return Evaluation(output)


def finetune(model: Path, *, output: Path, **keys: Unpack[FinetuneKeys]) -> Finetuning:
    """A model to classifiers of sentences or pairs, over a grid of learning rates, batch sizes and
    seeds; the best one's is a Hugging Face folder, ``export/``.

    Parameters
    ----------
    model
        What :func:`train` wrote, or a Hugging Face folder of a masked language model.
    output
        The folder that the report, the predictions and the model go to.
    keys
        Keys of a task: ``train``, ``dev``, ``test`` (.tsv, .jsonl, Parquet, Arrow), ``sentence``,
        ``sentence2``, ``label``, ``learning_rates``, ``batch_sizes``, ``seeds`` …; and the options of
        stages.
    """
    _stage("finetune", {"source": model, "output": output}, keys)
    return Finetuning(output)


def experiment(
    file: Path, *, work: Path, report: bool = False, **options: Unpack[PartOptions]
) -> Any:
    """A grid of trainings over one shard set, measured, with tables and plots in ``work/report``.
    Ended at any time, it goes on where it was.

    Parameters
    ----------
    file
        The experiment's TOML; its paths are relative to it.
    work
        The folder that everything goes to.
    report
        Train and measure nothing: tables and plots of what is done.

    Returns
    -------
    The results, as ``schemas/results.schema.json`` describes them; None where a part of the runs
    (``part``, ``of``) is done and others are not.
    """
    paths = {"source": file, "report": report, "output": work}
    return json.loads(_stage("experiment", paths, options))


def run(
    pipeline: Path, *, work: Path | None = None, only: Sequence[str] = (), **keys: Unpack[RunKeys]
) -> Pipeline:
    """All stages of a pipeline, from raw text to a trained model and its figures, skipping what is
    done.

    Parameters
    ----------
    pipeline
        The pipeline's TOML; its paths are relative to it.
    work
        The folder that everything goes to; without it, ``work`` of the TOML or ``runs/NAME``.
    only
        Stages to run, of ``"tokenize"``, ``"count"``, ``"vocabulary"``, ``"shard"``, ``"mask"``,
        ``"train"`` and ``"evaluate"``.
    keys
        Keys on top of the file's, tables as dictionaries: ``train={"steps": 500}``; and the options
        of stages, those that are given above those of the file.

    Examples
    --------
    >>> import cloze, pathlib
    >>> _ = pathlib.Path("pipeline.toml").write_text(f'''
    ... [tokenize]
    ... inputs = ["{text}"]
    ... tokenizer = "{tokenizer}"
    ... document = "paragraph"
    ... ''')
    >>> made = cloze.run("pipeline.toml", work="work", shard={"shard_tokens": 100_000})
    >>> made.shards.totals["documents"]
    1619
    >>> next(iter(cloze.Loader(made.shards, "bert", batch_size=2)))["input_ids"].shape
    torch.Size([2, 128])
    """
    paths = {"source": pipeline, "output": work, "only": list(only)}
    return Pipeline(*json.loads(_stage("run", paths, keys)))


def verify(artefact: Path, **options: Unpack[Options]) -> Verified:
    """Checks every byte of an artefact against its manifest, and what is in it against its kind. The
    first thing that is wrong is raised, as :class:`cloze.CorruptError` and its like.

    Examples
    --------
    >>> import cloze
    >>> cloze.verify(shards).rows
    1619
    """
    return Verified(*json.loads(_stage("verify", {"source": artefact}, options)))


def inspect(artefact: Path, **keys: Unpack[InspectKeys]) -> Report:
    """What an artefact is, made from what, its sizes and a sample, as text; or answers to questions
    about n-grams: ``ngram`` (look these up: count, rank, score of every segmentation), ``top``,
    ``near``, ``sample``, ``length``, ``score``, ``compare``.

    Examples
    --------
    >>> import cloze
    >>> cloze.inspect(vocabulary, ngram=["baker street"])
    baker street
      count ..., pmi ..., rank ... of ...
    """
    return Report(_stage("inspect", {"source": artefact}, keys))


def _stage(name: str, paths: Mapping[str, Any], keys: Mapping[str, Any]) -> str:
    keys = dict(keys)
    bars = Bars(keys.pop("progress", None))
    return _native.stage(name, _json(paths), _json(keys), bars)


def _json(values: Mapping[str, Any]) -> str:
    given = {key: value for key, value in values.items() if value is not None}
    return json.dumps(given, default=_plain)


def _plain(value: Any) -> Any:
    """What JSON has no form for: paths, and numbers and lists of NumPy."""
    return value.tolist() if hasattr(value, "tolist") else os.fspath(value)


def _list(paths: Path | Sequence[Path]) -> list[str]:
    if isinstance(paths, (str, os.PathLike)):
        paths = [paths]
    return [os.fspath(path) for path in paths]


def _of_parts(kind: type[_A], output: Path, keys: Mapping[str, Any]) -> _A:
    """The artefact; one of which a part was made is opened when it is first asked, since other
    parts may still be missing."""
    return kind(output) if keys.get("part") is None else kind.later(output)

"""The keys of stages, for editors and type checkers: those of a pipeline's tables, which
``cloze STAGE --help`` describes. What a value may be is checked in Rust."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict

Path = str | os.PathLike[str]
Size = int | str
"""Bytes: a number, or for example ``"512MiB"``."""


class Options(TypedDict, total=False):
    """Options of every stage."""

    threads: int
    """0 takes all cores, which is the default."""
    memory: Size
    """Bound on memory, 4 GiB without it."""
    seed: int
    """Of everything random, 1 without it."""
    scratch: Path
    """Folder for temporary files; without it, beside the output."""
    cache: Path
    """Folder for copies of objects (``s3://``, ``gs://``, ``az://``, ``http://``)."""
    cache_size: Size
    """Bound on that folder."""
    overwrite: bool
    """Redo work that was made with another configuration or other inputs."""
    progress: bool | None
    """Whether to show bars; without it, in terminals and notebooks."""


class PartOptions(Options, total=False):
    """Options of stages that many machines share."""

    part: int
    """Do this part only, numbered from 0; with ``of``."""
    of: int
    """How many parts there are; with ``part``."""


class TextKeys(TypedDict, total=False):
    """How text is read and cut."""

    tokenizer: Path
    tokenizer_path: Literal["auto", "library"]
    format: Literal["auto", "text", "jsonl", "parquet", "arrow", "wikiextractor", "mds"]
    document: Literal["file", "line", "paragraph"]
    text_field: str
    lowercase: bool
    max_document: Size
    max_rejected: float
    sentinels: int
    zstd_level: int


class TokenizeKeys(TextKeys, PartOptions, total=False):
    """Keys of ``[tokenize]``."""

    mask_token: str
    cls_token: str
    sep_token: str
    pad_token: str
    unk_token: str
    add_special_tokens: bool
    file_bytes: Size
    batch_tokens: int


class WordRules(TypedDict, total=False):
    """What a word is."""

    unit: Literal["word", "token"]
    punctuation: Literal["barrier", "skip", "word"]
    unknown: Literal["barrier", "word"]
    cased: bool


class CountKeys(WordRules, TextKeys, PartOptions, total=False):
    """Keys of ``[count]``, and those of ``[tokenize]`` that concern the words of raw text."""

    max_length: int
    min_count: int


class VocabularyKeys(Options, total=False):
    """Keys of ``[vocabulary]``. ``import`` is a word of Python: write ``import_``."""

    size: int
    score: Literal["pmi", "pmi2", "naive", "npmi", "frequency"]
    shares: Sequence[float]
    import_: Path
    import_rules: WordRules


class ShardKeys(PartOptions, total=False):
    """Keys of ``[shard]``."""

    overlap: Literal["random", "longest", "best"]
    shard_tokens: int
    batch_tokens: int
    zstd_level: int


class TrainKeys(Options, total=False):
    """Keys of ``[train]``; its inner tables are dictionaries."""

    steps: int
    budget: str | None
    batch_size: int
    batch_tokens: int | None
    batch_counts: Literal["rows", "copies"]
    accumulation: int
    device: str
    precision: Literal["f32", "bf16"]
    checkpoint_every: int
    keep_checkpoints: int
    log_every: int
    tensorboard: bool
    read: Literal["mmap", "pread"]
    rows: Mapping[str, Any]
    masking: Mapping[str, Any]
    model: Mapping[str, Any]
    optimizer: Mapping[str, Any]
    validation: Mapping[str, Any]
    spikes: Mapping[str, Any]


class EvaluateKeys(Options, total=False):
    """Keys of ``[evaluate]``."""

    rates: Sequence[float]
    training_rate: bool
    strategies: Sequence[Literal["uniform", "word", "pmi", "span", "geometric", "ngram"]]
    profile: bool
    share: float | None
    max_rows: int
    length: int | None
    layout: Literal["packed", "document", "best_fit"] | None
    mask_seed: int
    batch_size: int
    device: str
    precision: Literal["f32", "bf16"]
    blimp: Path | None
    blimp_pairs: int | None


class FinetuneKeys(Options, total=False):
    """Keys of ``[finetune.TASK]``."""

    train: Path
    dev: Path | None
    test: Path | None
    dev_share: float | None
    test_share: float | None
    header: bool
    sentence: str
    sentence2: str | None
    label: str
    task: Literal["classification", "regression"]
    metric: Literal["accuracy", "binary_f1", "macro_f1", "matthews", "pearson", "spearman"] | None
    learning_rates: Sequence[float]
    batch_sizes: Sequence[int]
    seeds: Sequence[int]
    epochs: int
    patience: int
    warmup: float
    weight_decay: float
    clip: float
    dropout: float | None
    attention_dropout: float | None
    max_length: int


class RunKeys(Options, total=False):
    """Keys of a pipeline; its tables are dictionaries."""

    name: str
    tokenize: Mapping[str, Any]
    count: Mapping[str, Any]
    vocabulary: Mapping[str, Any]
    shard: Mapping[str, Any]
    preview: Mapping[str, Any]
    train: Mapping[str, Any]
    evaluate: Mapping[str, Any]


class InspectKeys(Options, total=False):
    """Questions to n-gram counts and masking vocabularies."""

    ngram: Sequence[str]
    top: int
    near: int
    sample: int
    length: int
    score: Literal["pmi", "pmi2", "naive", "npmi", "frequency"]
    compare: Path

"""Artefacts as objects, and as tables of other libraries."""

import copy
import os
import pickle
import subprocess
import sys

import duckdb
import polars
import pyarrow
import pyarrow.ipc
import pyarrow.parquet
import pytest
from conftest import TEXT, TOKENIZERS

import cloze

VOCABULARY = TOKENIZERS / "wordpiece-4096/vocab.txt"


@pytest.fixture(scope="module")
def counts(tokens, tmp_path_factory):
    return cloze.count(tokens, output=tmp_path_factory.mktemp("made") / "counts", min_count=5)


def of_files(artefact):
    """The rows as pyarrow reads them from the files."""
    paths = [os.path.join(artefact, file["name"]) for file in artefact.files]
    if artefact.kind == "counts":
        return pyarrow.concat_tables(pyarrow.parquet.read_table(path) for path in sorted(paths))
    return pyarrow.concat_tables(
        pyarrow.ipc.open_file(path).read_all() for path in sorted(paths)
    )


def test_pyarrow_polars_and_duckdb_get_what_the_files_hold(tokens, shards, counts):
    for artefact in (cloze.Tokens(tokens), cloze.Shards(shards), counts):
        expected = of_files(artefact)
        table = pyarrow.table(artefact)
        assert table.equals(expected.cast(table.schema)), artefact
        assert len(artefact) == table.num_rows
        frame = polars.DataFrame(artefact)
        assert frame.equals(polars.from_arrow(expected)), artefact
        rows, total = duckdb.sql(
            f"select count(*), sum({'count' if artefact is counts else 'len(tokens)'}) from artefact"
        ).fetchall()[0]
        column = expected["count" if artefact is counts else "tokens"]
        sums = column if artefact is counts else pyarrow.compute.list_value_length(column)
        assert (rows, int(total)) == (table.num_rows, pyarrow.compute.sum(sums).as_py())


def test_rows_come_record_batch_by_record_batch_and_again(shards):
    artefact = cloze.Shards(shards)
    reader = pyarrow.RecordBatchReader.from_stream(artefact)
    batches = list(reader)
    assert len(batches) > 4
    for _ in range(2):
        assert pyarrow.table(artefact).equals(pyarrow.Table.from_batches(batches))
    # One that is not read to its end is let go.
    pyarrow.RecordBatchReader.from_stream(artefact).read_next_batch()
    artefact.__arrow_c_stream__()


def test_columns_are_selected_by_name(shards, vocabulary):
    artefact = cloze.Shards(shards)
    some = artefact.select("span_start", "document_id")
    assert pyarrow.table(some).equals(pyarrow.table(artefact).select(["document_id", "span_start"]))
    names = cloze.MaskingVocabulary(vocabulary).select("ngram")
    assert polars.DataFrame(names).columns == ["ngram"]
    with pytest.raises(cloze.UsageError, match="'tokenz'|\"tokenz\"") as wrong:
        artefact.select("tokenz")
    assert wrong.value.expected == "some of document_id, tokens, word_start, span_start"


def test_a_flipped_bit_ends_the_stream(shards, counts, tmp_path):
    for artefact in (cloze.Shards(shards), counts):
        folder = tmp_path / artefact.kind
        folder.mkdir()
        for name in os.listdir(artefact):
            (folder / name).write_bytes(open(os.path.join(artefact, name), "rb").read())
        file = folder / artefact.files[0]["name"]
        content = bytearray(file.read_bytes())
        content[len(content) // 3] ^= 1
        file.write_bytes(content)
        with pytest.raises(Exception, match="hash"):
            pyarrow.table(type(artefact)(folder))


MEMORY = """
import resource, sys, pyarrow, cloze
rows = 0
for batch in pyarrow.RecordBatchReader.from_stream(cloze.Shards(sys.argv[1])):
    rows += len(batch)
    if rows == len(batch):
        begun = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(rows, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - begun)
"""


def test_a_stream_takes_the_memory_of_a_record_batch(tmp_path):
    """24 MB of ids and bits, in record batches of 75 KB."""
    text = tmp_path / "text.txt"
    text.write_text(TEXT.read_text(encoding="utf-8") * 100, encoding="utf-8")
    tokens = cloze.tokenize(text, tokenizer=VOCABULARY, output=tmp_path / "tokens", document="line")
    shards = cloze.shard(tokens, output=tmp_path / "shards", batch_tokens=32768)
    command = [sys.executable, "-c", MEMORY, shards.path]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    rows, kilobytes = map(int, ran.stdout.split())
    assert rows == len(shards)
    assert kilobytes < 8_000


def test_an_artefact_says_what_it_is(tokens, shards, vocabulary, counts):
    opened = cloze.open(shards)
    assert isinstance(opened, cloze.Shards) and os.fspath(opened) == str(shards)
    assert opened.totals["documents"] == len(opened) > 1000
    assert opened.totals["tokens"] == cloze.Tokens(tokens).totals["tokens"]
    assert opened.configuration["overlap"] == "random"
    assert opened.tokenizer["special_tokens"]["mask"] == 4
    assert {file["name"] for file in opened.files} <= set(os.listdir(shards))
    assert len(opened.fingerprint) == len(opened.content_fingerprint) == 32
    assert [type(cloze.open(path)) for path in (tokens, vocabulary, counts)] == [
        cloze.Tokens,
        cloze.MaskingVocabulary,
        cloze.Counts,
    ]
    assert repr(opened).startswith(f"<cloze.Shards '{shards}': ")
    for made in (copy.copy(opened), pickle.loads(pickle.dumps(opened))):
        assert made.path == opened.path and made.totals == opened.totals


def test_another_kind_of_artefact_is_refused(tokens, shards):
    with pytest.raises(cloze.MismatchError, match="token files") as wrong:
        cloze.Shards(tokens)
    assert wrong.value.expected == "shards"
    with pytest.raises(FileNotFoundError):
        cloze.Tokens(shards / "missing")


def test_a_loader_takes_shards_as_they_are(shards):
    assert len(cloze.Loader(cloze.Shards(shards))) == len(cloze.Loader(shards))


def test_a_vocabulary_is_a_mapping_in_the_order_of_rank(vocabulary):
    opened = cloze.MaskingVocabulary(vocabulary)
    table = pyarrow.table(opened).to_pylist()
    assert len(opened) == len(table) > 300
    ranks = {}
    for row, (ngram, entry) in zip(table, opened.items(), strict=True):
        ranks[row["length"]] = rank = ranks.get(row["length"], 0) + 1
        assert vars(entry) == row | {"rank": rank}
        assert ngram == row["ngram"] and opened[ngram] == entry and ngram in opened
        assert opened.score(ngram) == row["score"]
    assert list(opened) == list(opened.keys()) == [row["ngram"] for row in table]
    pairs = [row["ngram"] for row in table if row["length"] == 2]
    assert [one.ngram for one in opened.best(2, 7)] == pairs[:7]
    assert opened.best(5, 10**9) == [one for one in opened.values() if one.length == 5]
    assert opened.ranking == "pmi" and opened.provenance["size"] == 500


def test_what_a_vocabulary_does_not_have_is_not_there(vocabulary):
    opened = cloze.MaskingVocabulary(vocabulary)
    assert "moor the" not in opened and 3 not in opened and "" not in opened
    assert opened.get("moor the") is None and opened.get("moor the", 0) == 0
    with pytest.raises(KeyError, match="moor the"):
        opened["moor the"]
    assert "SHERLOCK\n Holmes" in opened


def test_units_of_a_text_are_those_of_the_shards(tokens, vocabulary, tmp_path):
    """Of the vocabulary's words, by the tokenizer that the tokens were made with."""
    shards = cloze.shard(tokens, vocabulary=vocabulary, output=tmp_path / "shards", overlap="longest")
    opened = cloze.MaskingVocabulary(vocabulary)
    text = TEXT.read_text(encoding="utf-8")
    paragraphs = [paragraph for paragraph in text.split("\n\n") if paragraph.strip()]
    units = [opened.find(paragraph, VOCABULARY, overlap="longest") for paragraph in paragraphs]
    rows = pyarrow.table(shards.select("tokens", "word_start", "span_start")).to_pylist()
    words_in_units = sum(
        sum(row["word_start"]) - sum(row["span_start"]) for row in rows
    )
    # A unit of n words takes n − 1 starts away.
    assert sum(unit.ngram.length - 1 for found in units for unit in found) == words_in_units > 500
    for paragraph, found in zip(paragraphs, units):
        for unit in found:
            written = " ".join(paragraph[unit.start : unit.end].split()).lower()
            assert written == unit.ngram.ngram, paragraph
        assert all(a.end <= b.start for a, b in zip(found, found[1:]))


def test_places_of_units_count_characters(vocabulary):
    import transformers

    opened = cloze.MaskingVocabulary(vocabulary)
    text = "“Ünïcödé” — 東京 👍: Sherlock Holmes; baker, street. Baker Street"
    bert = transformers.BertTokenizerFast(vocab=str(VOCABULARY))
    byte_level = str(TOKENIZERS / "byte-level-bpe")
    for tokenizer in (None, VOCABULARY, bert, bert.backend_tokenizer, byte_level):
        found = opened.find(text, tokenizer)
        written = [text[unit.start : unit.end] for unit in found]
        assert written == ["Sherlock Holmes", "Baker Street"], tokenizer
    assert opened.find("") == []
    with pytest.raises(cloze.UsageError, match="overlap"):
        opened.find(text, overlap="any")

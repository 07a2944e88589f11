"""Models that transformers saved, gone on with: `cloze train --model.from FOLDER`.

A run whose learning rate is 0 exports what it read, number for number. One that learns
ends nearer to the text than it began. Our logits are those of transformers to 1e-4, of what
was read and of what was trained from it (`examples/logits.rs` computes ours).
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModel,
    AutoModelForMaskedLM,
    BertConfig,
    BertForMaskedLM,
    ModernBertConfig,
    ModernBertForMaskedLM,
    RobertaConfig,
    RobertaForMaskedLM,
    RobertaPreLayerNormConfig,
    RobertaPreLayerNormForMaskedLM,
)

ROOT = Path(__file__).resolve().parents[2]
CLOZE = os.environ.get("CLOZE_BIN", str(ROOT / "target/release/cloze"))
LOGITS = Path(CLOZE).parent / "examples/logits"
TOKENIZER = ROOT / "tests/data/tokenizers/bert-base-uncased/vocab.txt"
NOVEL = ROOT / "tests/data/quickstart/Doyle_Hound_1902.txt"
VOCABULARY = len(TOKENIZER.read_text(encoding="utf-8").splitlines())
SIZES = {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 48}
BERT = {"vocab_size": VOCABULARY, "pad_token_id": 0, **SIZES}


def random_model(kind):
    torch.manual_seed(3)
    if kind == "bert":
        model = BertForMaskedLM(BertConfig(max_position_embeddings=48, **BERT))
    elif kind == "roberta":
        model = RobertaForMaskedLM(RobertaConfig(max_position_embeddings=49, **BERT))
    elif kind == "roberta-prelayernorm":
        config = RobertaPreLayerNormConfig(max_position_embeddings=49, type_vocab_size=1, **BERT)
        model = RobertaPreLayerNormForMaskedLM(config)
    else:
        config = ModernBertConfig(max_position_embeddings=48, local_attention=16, **BERT)
        model = ModernBertForMaskedLM(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    model.tie_weights()
    return model


def cloze(*arguments, code=0):
    ran = subprocess.run(
        [CLOZE, *map(str, arguments), "--log-format", "silent"], capture_output=True, text=True
    )
    assert ran.returncode == code, ran.stderr
    return ran.stderr


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("import")
    tokens = folder / "tokens"
    cloze("tokenize", NOVEL, "--tokenizer", TOKENIZER, "--document", "paragraph", "-o", tokens)
    cloze("shard", tokens, "-o", folder / "shards")
    return folder / "shards"


def train(shards, model, output, *more, code=0):
    return cloze(
        *("train", shards, "-o", output, "--model.from", model, "--rows.length", 48),
        *("--batch-size", 8, "--optimizer.weight-decay", 0, "--model.dropout", 0),
        *("--model.attention-dropout", 0, *more),
        code=code,
    )


KINDS = ["bert", "roberta", "roberta-prelayernorm", "modernbert"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_read_and_written_is_the_same_number_for_number(kind, shards, tmp_path):
    model = random_model(kind)
    model.save_pretrained(tmp_path / "model")
    train(shards, tmp_path / "model", tmp_path / "run", "--steps", 1, "--optimizer.learning-rate", 0)
    ours = load_file(tmp_path / "run/export/model.safetensors")
    theirs = load_file(tmp_path / "model/model.safetensors")
    assert set(ours) == set(theirs)
    for name, tensor in theirs.items():
        if "position_embeddings" in name and kind.startswith("roberta"):
            # Rows of the padding id and before, which no token has, come out as zeros.
            tensor = tensor[1:]
            assert not ours[name][:1].any()
            ours[name] = ours[name][1:]
        assert torch.equal(ours[name], tensor), name
    again, loading = type(model).from_pretrained(tmp_path / "run/export", output_loading_info=True)
    assert not any(loading.values()), loading
    ids = torch.randint(5, VOCABULARY, (2, 40))
    with torch.no_grad():
        before = model.eval()(input_ids=ids).logits
        after = again.eval()(input_ids=ids).logits
    torch.testing.assert_close(after, before, atol=1e-5, rtol=0)


LEARNING = ("--steps", 60, "--optimizer.learning-rate", 5e-3, "--log-every", 10)


def losses(run):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if "learning_rate" in line]


def assert_logits_are_those_of_transformers(folder):
    torch.manual_seed(5)
    rows = [torch.randint(5, VOCABULARY, (length,)).tolist() for length in (40, 17, 1)]
    ran = subprocess.run(
        [LOGITS, folder], input=json.dumps(rows), capture_output=True, text=True, check=True
    )
    model = AutoModelForMaskedLM.from_pretrained(folder).eval()
    for row, ours in zip(rows, json.loads(ran.stdout), strict=True):
        with torch.no_grad():
            theirs = model(input_ids=torch.tensor([row])).logits[0]
        torch.testing.assert_close(torch.tensor(ours), theirs, atol=1e-4, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_gone_on_with_learns_and_has_the_logits_of_transformers(kind, shards, tmp_path):
    random_model(kind).save_pretrained(tmp_path / "model")
    assert_logits_are_those_of_transformers(tmp_path / "model")
    train(shards, tmp_path / "model", tmp_path / "run", *LEARNING)
    seen = losses(tmp_path / "run")
    assert seen[-1] < seen[0] - 1, seen
    assert_logits_are_those_of_transformers(tmp_path / "run/export")


@pytest.mark.parametrize("kind", KINDS)
def test_an_encoder_gets_a_decoder_and_goes_on_with_it(kind, shards, tmp_path):
    """masking.layout = "removed" behind a model of transformers, and behind that run."""
    model = random_model(kind)
    model.save_pretrained(tmp_path / "model")
    removed = ("--masking.layout", "removed")
    narrow = ("--model.decoder.hidden", 16, "--model.decoder.layers", 1)
    still = ("--steps", 1, "--optimizer.learning-rate", 0)
    train(shards, tmp_path / "model", tmp_path / "still", *removed, *narrow, *still)
    again = AutoModel.from_pretrained(tmp_path / "still/export")
    tensors = dict(again.named_parameters())
    for name, tensor in model.base_model.named_parameters():
        tensor, ours = tensor.detach(), tensors[name].detach()
        if "position_embeddings" in name and kind.startswith("roberta"):
            tensor, ours = tensor[1:], ours[1:]
        assert torch.equal(ours, tensor), name

    train(shards, tmp_path / "model", tmp_path / "run", *removed, *LEARNING)
    seen = losses(tmp_path / "run")
    assert seen[-1] < seen[0] - 1, seen
    first = tmp_path / "run/export"
    train(shards, first, tmp_path / "more", *removed, *still)
    for name in ("model.safetensors", "decoder.safetensors", "decoder.json", "config.json"):
        assert (tmp_path / "more/export" / name).read_bytes() == (first / name).read_bytes(), name

    message = train(shards, first, tmp_path / "other", *still, code=1)
    assert "decoder.json" in message and 'masking.layout = "removed"' in message
    message = train(shards, first, tmp_path / "other", *removed, *narrow, *still, code=2)
    assert "model.decoder" in message


def test_files_of_older_and_smaller_kinds_are_read(shards, tmp_path):
    """gamma and beta for norms, a decoder and buffers beside the words, 16 bits."""
    model = random_model("bert")
    model.save_pretrained(tmp_path / "model")
    file = tmp_path / "model/model.safetensors"
    tensors = load_file(file)
    old = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): t
        for name, t in tensors.items()
    }
    words = tensors["bert.embeddings.word_embeddings.weight"]
    old["cls.predictions.decoder.weight"] = words.clone()
    old["cls.seq_relationship.weight"] = torch.zeros(2, 32)
    old["bert.pooler.dense.weight"] = torch.zeros(32, 32)
    old["bert.embeddings.position_ids"] = torch.arange(48)
    halves = {n: t.to(torch.bfloat16) if t.is_floating_point() else t for n, t in old.items()}
    save_file(halves, file)
    train(shards, tmp_path / "model", tmp_path / "run", "--steps", 1, "--optimizer.learning-rate", 0)
    ours = load_file(tmp_path / "run/export/model.safetensors")
    assert set(ours) == set(tensors)
    for name, tensor in tensors.items():
        assert torch.equal(ours[name], tensor.to(torch.bfloat16).float()), name

    old["cls.predictions.decoder.weight"] = words + 1
    save_file(old, file)
    message = train(shards, tmp_path / "model", tmp_path / "other", "--steps", 1, code=1)
    assert "tie_word_embeddings" in message


def test_tokens_that_were_added_get_rows_and_another_tokenizer_is_refused(shards, tmp_path):
    torch.manual_seed(1)
    smaller = BertForMaskedLM(BertConfig(max_position_embeddings=48, **{**BERT, "vocab_size": VOCABULARY - 3}))
    smaller.save_pretrained(tmp_path / "model")
    train(shards, tmp_path / "model", tmp_path / "run", "--steps", 1, "--optimizer.learning-rate", 0)
    words = load_file(tmp_path / "run/export/model.safetensors")["bert.embeddings.word_embeddings.weight"]
    known = smaller.bert.embeddings.word_embeddings.weight.detach()
    assert words.shape[0] == VOCABULARY and torch.equal(words[:-3], known)
    torch.testing.assert_close(words[-3:], known.mean(0).expand(3, -1), atol=0.03, rtol=0)

    shutil.copy(TOKENIZER, tmp_path / "model/vocab.txt")
    lines = TOKENIZER.read_text(encoding="utf-8").splitlines()
    lines[2000] = "zyzzyva"
    (tmp_path / "model/vocab.txt").write_text("\n".join(lines), encoding="utf-8")
    message = train(shards, tmp_path / "model", tmp_path / "other", "--steps", 1, code=1)
    assert "zyzzyva" in message and "id 2000" in message
    message = train(shards, tmp_path / "model", tmp_path / "other", "--model.layers", 2, code=2)
    assert "model.layers" in message

"""Adapts a BERT checkpoint to a domain: goes on with masked language modelling on the domain's own
text, masking the phrases that belong together there (PMI masking, Levine et al. 2021) by a
vocabulary that is counted from the same text.

    python python/examples/adapt.py --model bert-base-uncased --text papers/*.txt --work adapted

Everything from text to shards is done by cloze with the checkpoint's own tokenizer; started again,
what is done is not done again.
"""

import argparse
from pathlib import Path

import transformers

import cloze


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--model", required=True, help="folder of a checkpoint, or its name")
    parser.add_argument("--text", required=True, nargs="+", help="files, folders and globs")
    parser.add_argument("--work", required=True, type=Path, help="folder for everything made")
    parser.add_argument("--document", default="file", choices=["file", "line", "paragraph"])
    parser.add_argument("--min-count", type=int, default=11, help="of an n-gram")
    parser.add_argument("--size", type=int, default=10_000, help="n-grams of the vocabulary")
    parser.add_argument("--rate", type=float, default=0.15, help="share of tokens masked")
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--learning-rate", type=float, default=1e-4)
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def shards_of(flags: argparse.Namespace, tokenizer: Path) -> cloze.Shards:
    """The domain's text as shards, cut into the units of its own vocabulary."""
    work = flags.work
    tokens = cloze.tokenize(
        flags.text, tokenizer=tokenizer, document=flags.document, output=work / "tokens"
    )
    counts = cloze.count(tokens, min_count=flags.min_count, output=work / "counts")
    vocabulary = cloze.vocabulary(
        counts, tokens=tokens, size=flags.size, output=work / "pmi.parquet"
    )
    print("best of the domain:", ", ".join(ngram.ngram for ngram in vocabulary.best(2, 8)))
    return cloze.shard(tokens, vocabulary=vocabulary, seed=flags.seed, output=work / "shards")


def main() -> None:
    flags = arguments()
    transformers.set_seed(flags.seed)
    tokenizer = transformers.AutoTokenizer.from_pretrained(flags.model)
    tokenizer.save_pretrained(flags.work / "tokenizer")
    shards = shards_of(flags, flags.work / "tokenizer")
    loader = cloze.Loader(
        shards,
        masking={"preset": "pmi", "corruption_rate": flags.rate},
        length=flags.length,
        batch_size=flags.batch_size,
        seed=flags.seed,
        # A document to itself, as the checkpoint was trained.
        layout="document",
        held_out=0.05,
    )
    trainer = transformers.Trainer(
        model=transformers.AutoModelForMaskedLM.from_pretrained(flags.model),
        args=transformers.TrainingArguments(
            output_dir=str(flags.work / "trainer"),
            max_steps=flags.steps,
            per_device_train_batch_size=1,
            per_device_eval_batch_size=1,
            remove_unused_columns=False,
            learning_rate=flags.learning_rate,
            warmup_steps=flags.steps // 10,
            weight_decay=0.01,
            logging_steps=max(1, flags.steps // 10),
            save_strategy="no",
            seed=flags.seed,
            report_to=[],
        ),
        train_dataset=loader,
        eval_dataset=loader.validation(),
        data_collator=cloze.stack,
    )
    before = trainer.evaluate()["eval_loss"]
    trainer.train()
    after = trainer.evaluate()["eval_loss"]
    trainer.save_model(str(flags.work / "model"))
    tokenizer.save_pretrained(flags.work / "model")
    print(f"validation loss on the domain: {before:.4f} before, {after:.4f} after")


if __name__ == "__main__":
    main()

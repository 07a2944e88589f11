"""Pre-trains RobertaPreLayerNormForMaskedLM, the model class of Wettig et al. 2023, from shards in
Hugging Face's Trainer.

    cloze run pipelines/quickstart.toml --work quickstart --only tokenize,count,vocabulary,shard
    python python/examples/pretrain.py quickstart/shards --output quickstart/trainer

Batches come masked from Rust, so the Trainer needs no collator but ``cloze.stack`` and no workers.
Started again, it goes on after its last checkpoint, with the batches that it would have had.
"""

import argparse
import os

import transformers

import cloze


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("shards", help="what `cloze shard` wrote")
    parser.add_argument("--output", required=True, help="checkpoints, and the model in the end")
    parser.add_argument("--masking", default="wettig-40", help="a preset, see `cloze mask --help`")
    parser.add_argument("--length", type=int, default=128, help="tokens in a row")
    parser.add_argument("--batch-size", type=int, default=16, help="rows of a step")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def model_for(shards: cloze.Shards, flags: argparse.Namespace) -> transformers.PreTrainedModel:
    """A fresh model for the tokenizer of the shards."""
    special = shards.tokenizer["special_tokens"]
    config = transformers.RobertaPreLayerNormConfig(
        vocab_size=shards.tokenizer["vocabulary_size"],
        hidden_size=flags.hidden,
        num_hidden_layers=flags.layers,
        num_attention_heads=flags.heads,
        intermediate_size=4 * flags.hidden,
        # RoBERTa counts positions from behind the padding token's id.
        max_position_embeddings=flags.length + special["pad"] + 1,
        type_vocab_size=1,
        pad_token_id=special["pad"],
        bos_token_id=special["cls"],
        eos_token_id=special["sep"],
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    return transformers.RobertaPreLayerNormForMaskedLM(config)


def main() -> None:
    flags = arguments()
    transformers.set_seed(flags.seed)
    shards = cloze.Shards(flags.shards)
    loader = cloze.Loader(
        shards,
        masking=flags.masking,
        length=flags.length,
        batch_size=flags.batch_size,
        seed=flags.seed,
        held_out=0.01,
    )
    training = transformers.TrainingArguments(
        output_dir=flags.output,
        max_steps=flags.steps,
        # The loader makes the batches: one of them is one "example".
        per_device_train_batch_size=1,
        per_device_eval_batch_size=1,
        remove_unused_columns=False,
        learning_rate=flags.learning_rate,
        lr_scheduler_type="linear",
        warmup_steps=int(0.06 * flags.steps),
        adam_beta2=0.98,
        adam_epsilon=1e-6,
        weight_decay=0.01,
        max_grad_norm=0.0,
        logging_steps=max(1, flags.steps // 15),
        save_steps=max(1, flags.steps // 3),
        save_total_limit=2,
        seed=flags.seed,
        report_to=[],
    )
    trainer = transformers.Trainer(
        model=model_for(shards, flags),
        args=training,
        train_dataset=loader,
        eval_dataset=loader.validation(),
        data_collator=cloze.stack,
    )
    before = trainer.evaluate()["eval_loss"]
    stood = transformers.trainer_utils.get_last_checkpoint(flags.output)
    trainer.train(resume_from_checkpoint=stood)
    after = trainer.evaluate()["eval_loss"]
    trainer.save_model(os.path.join(flags.output, "model"))
    print(f"validation loss: {before:.4f} before, {after:.4f} after {flags.steps} steps")


if __name__ == "__main__":
    main()

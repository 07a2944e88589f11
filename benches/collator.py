"""Tokens per second of the collator of transformers, one thread, rows of 128 and 512
tokens at 40 %, 80-10-10: the peer of `cargo bench --bench batches -- decoded`.

python benches/collator.py
"""

import time
from pathlib import Path

import torch
import transformers

VOCABULARY = Path(__file__).parent.parent / "tests/data/tokenizers/bert-base-uncased/vocab.txt"


def best(work, tokens, rounds=7):
    """Tokens per second of the fastest of some rounds of at least 0.5 s."""
    times = []
    for _ in range(rounds):
        start, count = time.perf_counter(), 0
        while time.perf_counter() - start < 0.5:
            work()
            count += 1
        times.append((time.perf_counter() - start) / count)
    return tokens / min(times)


def main():
    torch.set_num_threads(1)
    tokenizer = transformers.BertTokenizer(vocab=str(VOCABULARY))
    collator = transformers.DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.4)
    for length in (128, 512):
        rows = torch.randint(1000, 30000, (256, length))
        rows[:, 0], rows[:, -1] = 101, 102
        examples = [{"input_ids": row.tolist()} for row in rows]
        special = (rows == 101) | (rows == 102)
        share = (collator(examples)["labels"] != -100).float().mean()
        assert abs(share - 0.4 * (length - 2) / length) < 0.01
        whole = best(lambda: collator(examples), rows.numel())
        inner = best(lambda: collator.torch_mask_tokens(rows.clone(), special), rows.numel())
        print(
            f"L {length}: collator {whole / 1e6:.2f}, its masking call alone {inner / 1e6:.1f} "
            "million tokens/s"
        )


if __name__ == "__main__":
    main()

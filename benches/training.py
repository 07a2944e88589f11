"""Training on this machine's cores, cloze and PyTorch in turn: tokens per second and peak
memory of whole processes, f32, on the same number of rows, tokens and labels.

python benches/training.py SHARDS [--cloze target/release/cloze] [--rounds 3]
    [--sizes mini small] [--lengths 128 512] [--dropout 0 0.1]

SHARDS is a folder that `cloze shard` wrote, of documents longer than 512 tokens mostly.
cloze trains from it with the loader, masks and metrics of any run; PyTorch gets its ids
ready made, once. Both are a pre-LN BERT with a tied head over the labels alone, AdamW,
clipping; PyTorch has its fused attention and its fused AdamW. Rates are of the best of
some stretches of steps, the median over rounds.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SIZES = {"mini": (4, 256, 4), "small": (4, 512, 8)}
SHAPES = ((128, 32), (512, 8))
SHARE = 0.15
STEPS = {"mini": 10, "small": 5}
STRETCHES = 4


def torch_run(layers, width, heads, vocabulary, length, rows, dropout, steps):
    """Tokens per second of each stretch, in PyTorch."""
    import torch
    from torch import nn
    from torch.nn import functional

    torch.manual_seed(0)

    class Layer(nn.Module):
        def __init__(self):
            super().__init__()
            self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
            self.projections, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

        def forward(self, hidden):
            batch, tokens, _ = hidden.shape
            split = self.projections(self.before(hidden)).view(batch, tokens, 3, heads, -1)
            query, key, value = split.permute(2, 0, 3, 1, 4)
            rate = dropout if self.training else 0.0
            mixed = functional.scaled_dot_product_attention(query, key, value, dropout_p=rate)
            mixed = self.out(mixed.transpose(1, 2).reshape(batch, tokens, width))
            hidden = hidden + functional.dropout(mixed, dropout, self.training)
            inner = self.down(functional.gelu(self.up(self.between(hidden))))
            return hidden + functional.dropout(inner, dropout, self.training)

    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.tokens = nn.Embedding(vocabulary, width)
            self.positions = nn.Embedding(length, width)
            nn.init.normal_(self.tokens.weight, std=0.02)
            self.first = nn.LayerNorm(width)
            self.layers = nn.ModuleList(Layer() for _ in range(layers))
            self.last, self.head_norm = nn.LayerNorm(width), nn.LayerNorm(width)
            self.dense = nn.Linear(width, width)
            self.bias = nn.Parameter(torch.zeros(vocabulary))

        def forward(self, ids, places):
            hidden = self.tokens(ids) + self.positions(torch.arange(length))
            hidden = functional.dropout(self.first(hidden), dropout, self.training)
            for layer in self.layers:
                hidden = layer(hidden)
            chosen = self.last(hidden).flatten(0, 1)[places]
            chosen = self.head_norm(functional.gelu(self.dense(chosen)))
            return functional.linear(chosen, self.tokens.weight, self.bias)

    model = Encoder()
    adam = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01, fused=True)
    labels = round(SHARE * length)
    ids = torch.randint(1000, vocabulary, (rows, length))
    places = torch.rand(rows, length).argsort(1)[:, :labels]
    places = (places + length * torch.arange(rows)[:, None]).flatten()
    wanted = ids.flatten()[places]
    ids.view(-1)[places] = 103
    rates = []
    for _ in range(STRETCHES):
        start = time.perf_counter()
        for _ in range(steps):
            loss = functional.cross_entropy(model(ids, places), wanted)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            adam.step()
            adam.zero_grad()
        rates.append(steps * rows * length / (time.perf_counter() - start))
    assert loss.item() < 10, loss.item()
    return rates


def cloze_command(arguments, size, length, rows, dropout, output):
    layers, width, heads = SIZES[size]
    steps = STEPS[size]
    output.with_suffix(".toml").write_text(
        f"""
steps = {STRETCHES * steps}
batch_size = {rows}
checkpoint_every = 0
log_every = {steps}
rows = {{ length = {length} }}
masking = {{ strategy = "uniform", corruption_rate = {SHARE} }}
model = {{ layers = {layers}, hidden = {width}, heads = {heads}, feed_forward = {4 * width},
    positions = {length}, dropout = {dropout}, attention_dropout = {dropout} }}
optimizer = {{ learning_rate = 1e-3, clip = 1.0 }}
validation = {{ every = 0, share = 0.0 }}
""".replace(",\n    ", ", ")
    )
    config = output.with_suffix(".toml")
    return [arguments.cloze, "train", arguments.shards, "-o", output, "--config", config,
            "--log-format", "silent"]  # fmt: skip


def measured(command):
    """Standard output and peak memory (MB) of a process."""
    child = subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE)
    text = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    if status:
        sys.exit(f"{command[0]} failed")
    return text, usage.ru_maxrss / 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("shards", type=Path)
    parser.add_argument("--cloze", type=Path, default=Path("target/release/cloze"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--lengths", nargs="+", type=int, default=[n for n, _ in SHAPES])
    parser.add_argument("--dropout", nargs="+", type=float, default=[0.0, 0.1])
    parser.add_argument("--torch", type=json.loads, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.torch:
        print(json.dumps(torch_run(*arguments.torch)))
        return
    tokenizer = json.loads((arguments.shards / "manifest.json").read_text())["tokenizer"]
    vocabulary = tokenizer["vocabulary_size"]
    shapes = [shape for shape in SHAPES if shape[0] in arguments.lengths]
    for size in arguments.sizes:
        for length, rows in shapes:
            for dropout in arguments.dropout:
                ours, theirs, memory = [], [], [0.0, 0.0]
                for _ in range(arguments.rounds):
                    with tempfile.TemporaryDirectory() as folder:
                        output = Path(folder) / "run"
                        command = cloze_command(arguments, size, length, rows, dropout, output)
                        memory[0] = max(memory[0], measured(command)[1])
                        lines = (output / "metrics.jsonl").read_text().splitlines()
                    lines = [json.loads(line) for line in lines]
                    ours.append(max(line.get("tokens_per_second", 0.0) for line in lines))
                    shape = [*SIZES[size], vocabulary, length, rows, dropout, STEPS[size]]
                    text, peak = measured(
                        [sys.executable, __file__, arguments.shards, "--torch", json.dumps(shape)]
                    )
                    theirs.append(max(json.loads(text)))
                    memory[1] = max(memory[1], peak)
                ours, theirs = statistics.median(ours), statistics.median(theirs)
                print(
                    f"{size:5} {rows:2} x {length} dropout {dropout}: cloze {ours:6.0f} tokens/s "
                    f"{memory[0]:5.0f} MB, PyTorch {theirs:6.0f} tokens/s {memory[1]:5.0f} MB, "
                    f"ratio {ours / theirs:.2f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()

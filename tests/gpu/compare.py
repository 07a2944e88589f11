"""Holds training on a device to training on the CPU, and measures it.

    python3 tests/gpu/compare.py CLOZE [--device cuda] [--work DIR] [--peak 989e12]

1. The quickstart's shards are made.
2. Every architecture takes 50 steps on the CPU, and the same 50 on the device: in f32 no
   loss may be further off than 1e-3, in bf16 than 3e-2.
3. Moved: the device goes on from the CPU's checkpoint of step 25, and the CPU from the
   device's; the losses agree as before.
4. Resumed: the device goes on from its own checkpoint of step 25, with dropout.
5. Tokens per second and model FLOP/s utilisation of a model of --size in bf16 and f32.

Exits with 1 where something does not agree. Only the standard library is needed.
"""

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ARCHITECTURES = ["roberta-prelayernorm", "bert", "roberta", "modernbert"]
STEPS, HALF = 50, 25
# The quickstart's vocabulary and row length.
VOCABULARY, LENGTH = 4096, 128
# Layers, hidden, feed-forward, rows a step.
SIZES = {
    "mini": (4, 256, 1024, 1024),
    "small": (4, 512, 2048, 1024),
    "medium": (8, 512, 2048, 1024),
    "base": (12, 768, 3072, 512),
    "large": (24, 1024, 4096, 256),
}
failures = []


def check(ok, what):
    print(f"{'ok  ' if ok else 'FAIL'}  {what}", flush=True)
    if not ok:
        failures.append(what)


class Bench:
    def __init__(self, options):
        self.cloze = str(Path(options.cloze).resolve())
        self.work = options.work.resolve()
        self.shards = self.work / "quickstart" / "shards"

    def call(self, *arguments):
        command = [self.cloze, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"{' '.join(command)} exited with {done.returncode}:\n{done.stderr}")

    def make_shards(self):
        stages = "tokenize,count,vocabulary,shard"
        pipeline = ROOT / "pipelines" / "quickstart.toml"
        self.call("run", pipeline, "--work", self.work / "quickstart", "--only", stages)

    def train(self, name, device, *flags, start=None):
        """Losses by step. `start` is a run whose checkpoint of step 25 is gone on from."""
        folder = self.work / name
        shutil.rmtree(folder, ignore_errors=True)
        if start is not None:
            step = f"checkpoints/step-{HALF:09}"
            shutil.copytree(self.work / start / step, folder / step)
            shutil.copy(self.work / start / "metrics.jsonl", folder)
        self.call("train", self.shards, "-o", folder, "--device", device, "--log-every", 1,
                  "--seed", 3, "--rows.length", LENGTH, "--validation.max-rows", 64, *flags)
        lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
        return [line for line in lines if line["kind"] == "train"]


def furthest(ours, theirs):
    assert len(ours) == len(theirs) == STEPS, (len(ours), len(theirs))
    return max(abs(a["loss"] - b["loss"]) for a, b in zip(ours, theirs))


def small(architecture, dropout=0.0):
    return ["--steps", STEPS, "--batch-size", 16, "--accumulation", 2,
            "--checkpoint-every", HALF, "--optimizer.clip", 1,
            "--optimizer.learning-rate", 1e-3, "--model.architecture", architecture,
            "--model.layers", 3, "--model.hidden", 64, "--model.heads", 4,
            "--model.feed-forward", 128, "--model.positions", LENGTH,
            "--model.dropout", dropout, "--model.attention-dropout", dropout]


def compare(bench, device):
    for architecture in ARCHITECTURES:
        flags = small(architecture)
        cpu = bench.train(f"{architecture}-cpu", "cpu", *flags)
        check(cpu[-1]["loss"] < cpu[0]["loss"] - 0.5,
              f"{architecture}: the CPU learns, {cpu[0]['loss']:.3f} to {cpu[-1]['loss']:.3f}")
        single = bench.train(f"{architecture}-f32", device, *flags)
        apart = furthest(single, cpu)
        check(apart < 1e-3, f"{architecture}: f32 on {device} at most {apart:.1e} from the CPU")
        half = bench.train(f"{architecture}-bf16", device, *flags, "--precision", "bf16")
        apart = furthest(half, cpu)
        check(0 < apart < 3e-2, f"{architecture}: bf16 on {device} at most {apart:.1e}")
    name = ARCHITECTURES[0]
    cpu = bench.train(f"{name}-cpu", "cpu", *small(name))
    for to, start in [(device, f"{name}-cpu"), ("cpu", f"{name}-f32")]:
        moved = bench.train(f"moved-to-{to.replace(':', '-')}", to, *small(name), start=start)
        apart = furthest(moved, cpu)
        check(apart < 1e-3, f"{name}: moved to {to} at step {HALF}, at most {apart:.1e}")
    whole = bench.train("dropout", device, *small(name, 0.1))
    resumed = bench.train("resumed", device, *small(name, 0.1), start="dropout")
    apart = furthest(resumed, whole)
    check(apart < 1e-6, f"{name}: resumed at step {HALF} with dropout, at most {apart:.1e}")


def measure(bench, device, size, steps, peak):
    layers, hidden, wide, rows = SIZES[size]
    for precision in ["bf16", "f32"]:
        lines = bench.train(
            f"speed-{precision}", device, "--steps", steps, "--precision", precision,
            "--batch-size", rows, "--model.size", size, "--model.positions", LENGTH,
            "--masking.corruption-rate", 0.15, "--validation.every", 0)
        late = lines[len(lines) // 2:]
        # Steps take equal time, so their mean time is that of the mean of 1 / speed.
        speed = len(late) / sum(1 / line["tokens_per_second"] for line in late)
        labels = sum(line["labels"] for line in late) / (len(late) * rows * LENGTH)
        body = layers * (4 * hidden * hidden + 2 * hidden * wide)
        head = hidden * hidden + VOCABULARY * hidden
        # 6 a weight that a token goes through; attention weights and context, 4 L hidden
        # forward and twice that back.
        flops = 6 * body + 6 * labels * head + 12 * layers * hidden * LENGTH
        share = f"{100 * speed * flops / peak:.2f} % of {peak:.3g} FLOP/s" if peak else "no peak"
        print(f"      {size}, {rows} x {LENGTH}, {precision}: {speed:,.0f} tokens/s, "
              f"{speed * flops / 1e12:.2f} TFLOP/s, {share}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("cloze", help="the binary, built with --features cuda")
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1, or reference")
    parser.add_argument("--work", type=Path, default=Path("target/gpu"), help="scratch folder")
    parser.add_argument("--size", default="base", choices=SIZES, help="of the model measured")
    parser.add_argument("--steps", type=int, default=20, help="of the model measured; 0: none")
    # NVIDIA's datasheet of the H200: 1979 TFLOP/s with sparsity, half of it dense.
    parser.add_argument("--peak", type=float, default=989e12, help="dense bf16 FLOP/s; 0: none")
    options = parser.parse_args()
    bench = Bench(options)
    bench.make_shards()
    compare(bench, options.device)
    if options.steps:
        measure(bench, options.device, options.size, options.steps, options.peak)
    print(f"{len(failures)} failed" if failures else "all agree")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())

"""A model for rows that lost their masked tokens, in PyTorch: the encoder is that of
transformers, and the decoder is written out below from what docs/training.md says of it.
"""

import json
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from transformers import AutoModel


class RemovedModel(torch.nn.Module):
    """What `cloze train` exports of a run with masking.layout = "removed"."""

    def __init__(self, folder):
        super().__init__()
        folder = Path(folder)
        self.encoder = AutoModel.from_pretrained(folder)
        if hasattr(self.encoder, "pooler"):
            self.encoder.pooler = None
        self.sizes = json.loads((folder / "decoder.json").read_text())
        # A name of PyTorch's holds no dots.
        self.names = {
            name.replace(".", "/"): name for name in load_file(folder / "decoder.safetensors")
        }
        tensors = load_file(folder / "decoder.safetensors")
        self.rest = torch.nn.ParameterDict(
            {key: torch.nn.Parameter(tensors[name]) for key, name in self.names.items()}
        )

    def named(self):
        """Every parameter under the name that it has in its file, with that file's name."""
        for name, parameter in self.encoder.named_parameters():
            yield "model.safetensors", name, parameter
        for key, parameter in self.rest.items():
            yield "decoder.safetensors", self.names[key], parameter

    def get(self, name):
        key = name.replace(".", "/")
        return self.rest[key] if key in self.rest else None

    def linear(self, name, x):
        return F.linear(x, self.get(f"{name}.weight"), self.get(f"{name}.bias"))

    def norm(self, name, x):
        config = self.encoder.config
        epsilon = config.norm_eps if self.is_modern() else config.layer_norm_eps
        weight = self.get(f"{name}.weight")
        return x if weight is None else F.layer_norm(
            x, weight.shape, weight, self.get(f"{name}.bias"), epsilon
        )

    def is_modern(self):
        return self.encoder.config.model_type == "modernbert"

    def forward(self, batch):
        """Logits at the predicted places, `labels × vocabulary`."""
        kept, whole = standing_of_kept(batch), standing_of_whole(batch)
        hidden = self.encode(torch.tensor(batch["input"]).reshape(kept["place"].shape), kept)
        if self.get("decoder.entry.weight") is not None:
            hidden = self.linear("decoder.entry", hidden)
        rows, length = whole["place"].shape
        x = self.get("decoder.mask").expand(rows * length, -1)
        if self.get("decoder.positions") is not None:
            x = x + self.get("decoder.positions")[whole["place"].flatten()]
        row = torch.arange(rows)[:, None].expand_as(kept["place"])
        there = kept["run"] >= 0
        x = x.index_put(
            ((row * length + kept["place_in_row"])[there],), hidden[there]
        ).reshape(rows, length, -1)
        for layer in range(self.sizes["layers"]):
            x = self.layer(layer, x, whole)
        x = self.norm("decoder.final_norm", x).reshape(rows * length, -1)
        x = x[torch.tensor(batch["predicted"])]
        x = self.norm("head_norm", F.gelu(self.linear("head", x)))
        return F.linear(x, self.encoder.get_input_embeddings().weight, self.get("head_bias").flatten())

    def encode(self, ids, kept):
        config = self.encoder.config
        positions = kept["place"]
        if config.model_type.startswith("roberta"):
            positions = positions + config.pad_token_id + 1
        mask = self.visible(kept, None)
        if self.is_modern():
            mask = {
                "full_attention": mask,
                "sliding_attention": self.visible(kept, config.local_attention // 2),
            }
        out = self.encoder(input_ids=ids, attention_mask=mask, position_ids=positions)
        return out.last_hidden_state

    def visible(self, standing, reach):
        """0 where a query sees a key, else −∞; padding sees padding."""
        run, place = standing["run"], standing["place"]
        seen = run[:, :, None] == run[:, None, :]
        if reach is not None:
            near = (place[:, :, None] - place[:, None, :]).abs() <= reach
            seen = seen & (near | (run[:, :, None] < 0))
        return torch.zeros(seen.shape).masked_fill(~seen, -torch.inf)[:, None]

    def layer(self, layer, x, whole):
        name = f"decoder.layers.{layer}"
        pre = self.is_modern() or self.encoder.config.model_type == "roberta-prelayernorm"

        def attend(x):
            return self.linear(f"{name}.attention_out", self.attention(layer, x, whole))

        def feed_forward(x):
            up = self.linear(f"{name}.up", x)
            if self.is_modern():
                activated, gate = up.chunk(2, -1)
                return self.linear(f"{name}.down", F.gelu(activated) * gate)
            return self.linear(f"{name}.down", F.gelu(up))

        if pre:
            x = x + attend(self.norm(f"{name}.attention_norm", x))
            return x + feed_forward(self.norm(f"{name}.feed_forward_norm", x))
        x = self.norm(f"{name}.attention_norm", x + attend(x))
        return self.norm(f"{name}.feed_forward_norm", x + feed_forward(x))

    def attention(self, layer, x, whole):
        config = self.encoder.config
        rows, length, hidden = x.shape
        qkv = self.linear(f"decoder.layers.{layer}.qkv", x)
        heads = qkv.reshape(rows, length, 3, self.sizes["heads"], -1).permute(2, 0, 3, 1, 4)
        queries, keys, values = heads
        reach = None
        if self.is_modern():
            local = layer % config.global_attn_every_n_layers > 0
            reach = config.local_attention // 2 if local else None
            kind = "sliding_attention" if local else "full_attention"
            theta = config.rope_parameters[kind]["rope_theta"]
            queries, keys = (turned(x, whole["place"], theta) for x in (queries, keys))
        mask = self.visible(whole, reach)
        out = F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)
        return out.transpose(1, 2).reshape(rows, length, hidden)


def turned(x, places, theta):
    """Pairs of numbers i and i + width / 2 turned by place · theta^(−2i / width)."""
    half = x.shape[-1] // 2
    angle = places[:, None, :, None] * theta ** (-torch.arange(half) / half)
    a, b = x[..., :half], x[..., half:]
    cos, sin = angle.cos(), angle.sin()
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


def standing_of_kept(batch):
    """Run (−1 where there is padding), place in the run and place in the row of each
    token of the encoder."""
    rows, length = len(batch["lengths"]), batch["length"]
    ends, starts = batch["cu_seqlens"][1:], batch["run_starts"]
    run, token = 0, 0
    out = torch.zeros(3, rows, length, dtype=torch.long)
    out[0] = -1
    for row, kept in enumerate(batch["lengths"]):
        for column in range(kept):
            while token == ends[run]:
                run += 1
            place = batch["places"][row * length + column]
            out[:, row, column] = torch.tensor([run, place - starts[run], place])
            token += 1
    return dict(zip(("run", "place", "place_in_row"), out))


def standing_of_whole(batch):
    """The same of each token of the decoder."""
    rows, length = len(batch["row_lengths"]), batch["row_length"]
    starts = list(batch["run_starts"])
    out = torch.zeros(3, rows, length, dtype=torch.long)
    out[0] = -1
    run = -1
    for row, tokens in enumerate(batch["row_lengths"]):
        run += 1
        for place in range(tokens):
            if place > 0 and run + 1 < len(starts) and starts[run + 1] == place:
                run += 1
            out[:, row, place] = torch.tensor([run, place - starts[run], place])
    return dict(zip(("run", "place", "place_in_row"), out))

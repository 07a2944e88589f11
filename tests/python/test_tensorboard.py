"""The events of a run that was stopped and killed, read by TensorBoard itself: every point of
metrics.jsonl once, from what `cargo test --test training` left."""

import json
import os
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

ROOT = Path(__file__).resolve().parents[2]
RUN = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "tmp" / "tensorboard"


def test_every_line_of_the_metrics_is_a_point():
    assert RUN.exists(), f"{RUN} is written by `cargo test --test training`"
    lines = [json.loads(line) for line in (RUN / "metrics.jsonl").read_text().splitlines()]
    events = EventAccumulator(str(RUN)).Reload()
    tags = set(events.Tags()["scalars"])
    rates = {f"rates/{name}" for name in ("corrupted", "masked", "random", "same", "predicted")}
    assert rates < tags
    for kind in ("train", "validation"):
        of_kind = [line for line in lines if line["kind"] == kind]
        assert len(of_kind) > 3
        for name in ("loss", "accuracy"):
            points = events.Scalars(f"{kind}/{name}")
            assert [point.step for point in points] == [line["step"] for line in of_kind]
            values = [line[name] for line in of_kind]
            assert [point.value for point in points] == pytest.approx(values, rel=1e-6)
            times = [point.wall_time for point in points]
            assert times == sorted(times)

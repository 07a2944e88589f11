"""A loader's batches: the same bits from any number of ranks and workers, stopped anywhere and
resumed, directly and in torch's DataLoader."""

import gc
import json
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import cloze as command
from torch.utils.data import DataLoader

import cloze

ARGUMENTS = {"length": 32, "batch_size": 8, "seed": 5}


def loader(shards, **arguments):
    return cloze.Loader(shards, **{**ARGUMENTS, **arguments})


def same(a, b):
    """Whether two batches, or lists of them, are the same, bit for bit."""
    if isinstance(a, list):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b))
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


def rows(batches):
    """Each row of some batches as the bytes of its ids and labels, sorted."""
    columns = [(np.asarray(b["input_ids"]), np.asarray(b["labels"])) for b in batches]
    return sorted(
        ids.tobytes() + labels.tobytes() for batch in columns for ids, labels in zip(*batch)
    )


def test_tensors_and_arrays_share_the_memory_that_rust_wrote(shards):
    arrays = list(loader(shards, return_tensors="np"))
    tensors = list(loader(shards))
    assert same(arrays, tensors)
    first = tensors[0]
    assert {name: (column.dtype, column.shape) for name, column in first.items()} == {
        name: (torch.int64, (8, 32)) for name in ("input_ids", "attention_mask", "labels")
    }
    array = arrays[0]["input_ids"]
    assert array.flags.writeable and array.flags.c_contiguous
    base = array.base if array.base is not None else array
    assert torch.from_numpy(array).data_ptr() == base.__array_interface__["data"][0]


def test_labels_are_the_ids_that_the_mask_took(shards):
    unmasked = loader(shards, masking={"corruption_rate": 0.0})
    for batch, original in zip(loader(shards), unmasked):
        labels, ids = batch["labels"], batch["input_ids"]
        masked = labels != -100
        assert torch.equal(torch.where(masked, labels, ids), original["input_ids"])
        assert (ids[masked] == 4).all()
        assert (original["labels"] == -100).all()
        # [CLS], [SEP] and padding are never masked; padding is told.
        assert not (original["input_ids"][masked] < 5).any()
        assert torch.equal(batch["attention_mask"] == 0, original["input_ids"] == 0)


@pytest.mark.parametrize("masking", ["wettig-40", "bert", "pmi"])
def test_the_rows_are_those_of_the_command_bit_for_bit(shards, masking):
    one = loader(shards, masking=masking)
    one.set_epoch(1)
    flags = ["--rows", str(one.rows), "--first-row", "0", "--length", "32", "--seed", "5"]
    flags += ["--epoch", "1", "--preset", masking, "--format", "json"]
    shown = json.loads(command("mask", shards, *flags).stdout)
    expected = []
    for row in shown["rows"]:
        (copy,) = row["masks"][0]["copies"]
        labels = np.full(32, -100)
        labels[copy["predicted"]] = copy["labels"]
        ids = np.zeros(32, np.int64)
        ids[: len(copy["input"])] = copy["input"]
        expected.append(ids.tobytes() + labels.tobytes())
    assert rows(one) == sorted(expected)


def test_sparse_labels_are_the_same_labels(shards):
    for dense, sparse in zip(loader(shards), loader(shards, sparse_labels=True)):
        assert "labels" not in sparse
        labels = torch.full_like(dense["labels"], -100)
        labels.view(-1)[sparse["masked_positions"]] = sparse["masked_labels"]
        assert torch.equal(labels, dense["labels"])


def test_a_pass_is_an_epoch_and_the_next_pass_the_next_one(shards):
    one = loader(shards)
    assert one.epoch == 0
    epochs = [list(one) for _ in range(3)]
    assert one.epoch == 2
    assert all(len(epoch) == len(one) for epoch in epochs)
    unmasked = [list(loader(shards, masking={"corruption_rate": 0}, seed=5)) for _ in range(2)]
    assert same(*unmasked)
    assert rows(epochs[0]) != rows(epochs[1]) != rows(epochs[2])
    one.set_epoch(1)
    assert same(list(one), epochs[1])
    # A pass that is begun and not read is none.
    iter(one)
    assert one.epoch == 2
    assert same(list(one), epochs[2])
    assert sum(len(batch["input_ids"]) for batch in epochs[0]) == one.rows


def test_documents_packed_by_best_fit_say_where_each_ends(shards):
    several = 0
    for batch in loader(shards, layout="best_fit"):
        ends = batch["cu_seqlens"]
        assert ends.dtype == torch.int32 and ends[0] == 0
        assert ends[-1] == batch["attention_mask"].sum()
        lengths = ends.diff()
        expected = torch.cat([torch.arange(length) for length in lengths])
        present = batch["attention_mask"].bool()
        assert torch.equal(batch["position_ids"][present], expected)
        assert not batch["position_ids"][~present].any()
        several += len(lengths) > len(present)
        starts = batch["input_ids"][present][ends[:-1].long()]
        assert (starts == 2).all()
    assert several


def test_masks_that_emit_rows_twice_and_layouts_that_move_tokens(shards):
    batch = next(iter(loader(shards, masking="wettig-20-40")))
    assert batch["input_ids"].shape == (16, 32)
    batch = next(iter(loader(shards, masking={"layout": "removed"})))
    removed = batch["input_ids"].shape[1]
    assert removed < 32 and batch["labels"].shape == (8, 32)
    kept = batch["attention_mask"].bool()
    places = batch["position_ids"]
    assert (batch["labels"].gather(1, places)[kept] == -100).all()
    batch = next(iter(loader(shards, masking="mdlm")))
    assert batch["label_weights"].shape == (8,) and batch["label_weights"].dtype == torch.float32
    assert (batch["label_weights"] >= 1).all()


def test_rows_held_out_are_in_no_training_batch(shards):
    everything = loader(shards, masking={"corruption_rate": 0})
    training = loader(shards, masking={"corruption_rate": 0}, held_out=0.1)
    held_out = training.validation(rate=0.0, max_rows=10_000)
    assert training.rows + sum(len(b["input_ids"]) for b in held_out) == everything.rows
    assert sorted(rows(training) + rows(held_out)) == rows(everything)
    validation = training.validation()
    share = torch.cat([(b["labels"] != -100).float() for b in validation]).mean()
    assert 0.12 < share < 0.15
    assert same(validation, training.validation())
    assert not everything.validation()


@pytest.mark.parametrize("masking", ["wettig-40", "pmi", "wettig-20-40"])
def test_ranks_share_out_the_same_rows(shards, masking):
    whole = rows(loader(shards, masking=masking, batch_size=16))
    for world_size in (2, 4):
        parts = [
            loader(shards, masking=masking, batch_size=16 // world_size, rank=rank,
                   world_size=world_size)
            for rank in range(world_size)
        ]
        assert len({len(part) for part in parts}) == 1
        batches = [list(part) for part in parts]
        for step in zip(*batches):
            assert len({len(batch["input_ids"]) for batch in step[:-1]}) <= 2
        union = sorted(row for part in batches for row in rows(part))
        # A rest that is smaller than the number of ranks is left out.
        assert len(whole) - len(union) < world_size * len(batches[0][0]["input_ids"])
        missing = list(whole)
        for row in union:
            missing.remove(row)


def test_the_rows_of_a_global_batch_do_not_depend_on_ranks(shards):
    whole = list(loader(shards, batch_size=12, drop_last=True))
    parts = [
        list(loader(shards, batch_size=4, rank=rank, world_size=3, drop_last=True))
        for rank in range(3)
    ]
    assert len(whole) == len(parts[0])
    for batch, step in zip(whole, zip(*parts)):
        joined = {name: torch.cat([part[name] for part in step]) for name in batch}
        assert same(joined, batch)


@pytest.mark.parametrize("context", ["fork", "spawn"])
@pytest.mark.parametrize("workers", [1, 3])
def test_workers_of_a_data_loader_change_nothing(shards, workers, context):
    alone = loader(shards)
    expected = [list(alone) for _ in range(2)]
    shared = loader(shards)
    data = DataLoader(
        shared, batch_size=None, num_workers=workers, multiprocessing_context=context
    )
    assert len(data) == len(expected[0])
    for epoch in range(2 if context == "fork" else 1):
        assert same(list(data), expected[epoch]), epoch
        assert shared.epoch == epoch


def test_workers_that_persist_count_their_epochs(shards):
    alone = loader(shards)
    expected = [list(alone) for _ in range(3)]
    shared = loader(shards)
    data = DataLoader(shared, batch_size=None, num_workers=2, persistent_workers=True)
    assert [same(list(data), epoch) for epoch in expected] == [True] * 3
    shared.set_epoch(1)
    assert same(list(data), expected[1])


def test_without_workers_a_data_loader_hands_the_batches_on(shards):
    data = DataLoader(loader(shards), batch_size=None)
    assert same(list(data), list(loader(shards)))


def test_stopped_anywhere_the_rest_is_the_same(shards):
    for stop in (0, 1, 5, len(loader(shards))):
        first = loader(shards)
        first.set_epoch(2)
        expected = list(first)
        first.set_epoch(2)
        batches = iter(first)
        head = [next(batches) for _ in range(stop)]
        state = pickle.loads(pickle.dumps(first.state_dict()))
        second = loader(shards)
        second.load_state_dict(state)
        assert second.epoch == 2
        assert same(head + list(second), expected)
        # And then the next epoch, from its beginning.
        first.set_epoch(3)
        assert same(list(second), list(first))


@pytest.mark.parametrize("before, after", [(1, 2), (2, 1), (2, 4), (4, 1)])
def test_resumed_with_another_number_of_ranks_the_rest_is_the_same(shards, before, after):
    """The global batch stays, or changes: rows are what is counted."""
    stop, size = 3, 8
    heads = []
    for rank in range(before):
        one = loader(shards, batch_size=size // before, rank=rank, world_size=before)
        batches = iter(one)
        heads += [next(batches) for _ in range(stop)]
        state = one.state_dict()
    tails = []
    for rank in range(after):
        one = loader(shards, batch_size=size // after, rank=rank, world_size=after)
        one.load_state_dict(state)
        tails += list(one)
    whole = rows(loader(shards))
    union = sorted(rows(heads) + rows(tails))
    assert len(whole) - len(union) < max(before, after)
    assert set(union) <= set(whole) and len(set(union)) == len(set(whole)) - len(whole) + len(union)


def test_resumed_with_another_number_of_workers_the_rest_is_the_same(shards):
    expected = list(loader(shards))
    first = loader(shards)
    data = iter(DataLoader(first, batch_size=None, num_workers=3))
    head = [next(data) for _ in range(4)]
    with pytest.raises(cloze.UsageError, match="batches: found none"):
        first.state_dict()
    state = first.state_dict(batches=4)
    del data
    for workers in (0, 2):
        second = loader(shards)
        second.load_state_dict(state)
        tail = list(DataLoader(second, batch_size=None, num_workers=workers))
        assert same(head + tail, expected)


STOPPED = """
import sys, cloze, json, torch
shards, state, after = sys.argv[1:]
loader = cloze.Loader(shards, length=32, batch_size=8, seed=5)
try:
    loader.load_state_dict(json.load(open(state)))
except FileNotFoundError:
    pass
for batch in loader:
    print(batch["input_ids"].tolist(), batch["labels"].tolist(), flush=True)
    json.dump(loader.state_dict(), open(state + ".new", "w"))
    import os; os.replace(state + ".new", state)
    after = int(after) - 1
    if after == 0:
        os.kill(os.getpid(), 9)
"""


def test_killed_and_started_again_the_batches_are_the_same(shards, tmp_path):
    state = tmp_path / "state.json"
    lines = []
    for after in (2, 3, 1000):
        command = [sys.executable, "-c", STOPPED, str(shards), str(state), str(after)]
        ran = subprocess.run(command, capture_output=True, text=True)
        assert ran.returncode == (0 if after == 1000 else -signal.SIGKILL), ran.stderr
        lines += ran.stdout.splitlines()
    expected = [f"{b['input_ids'].tolist()} {b['labels'].tolist()}" for b in loader(shards)]
    assert lines == expected


def test_a_state_of_other_rows_or_masks_is_refused(shards):
    state = loader(shards).state_dict()
    for other in ({"length": 64}, {"seed": 6}, {"masking": "bert"}, {"held_out": 0.1}):
        with pytest.raises(cloze.MismatchError, match="fingerprint"):
            loader(shards, **other).load_state_dict(state)
    loader(shards, batch_size=4, rank=1, world_size=2, return_tensors="np").load_state_dict(state)


def test_an_epoch_set_after_another_ones_state_is_warned_of(shards):
    one = loader(shards)
    batches = iter(one)
    next(batches)
    state = one.state_dict()
    two = loader(shards)
    two.load_state_dict(state)
    two.set_epoch(0)
    assert len(list(two)) == len(one) - 1
    two.load_state_dict(state)
    with pytest.warns(UserWarning, match="from its beginning"):
        two.set_epoch(1)
    assert len(list(two)) == len(one)


def test_sources_come_in_shares_and_small_ones_again(shards, tmp_path):
    both = {shards: 3.0, os.fspath(shards) + "/": 1.0}
    mixed = loader(both, batch_size=16, return_tensors="np")
    assert mixed.rows == 2 * loader(shards).rows
    epoch = list(mixed)
    assert sum(len(batch["input_ids"]) for batch in epoch) == mixed.rows
    listed = loader([shards, shards])
    assert listed.rows == mixed.rows and listed.fingerprint != mixed.fingerprint
    # Every row of either source once.
    plain = {"corruption_rate": 0}
    assert rows(loader([shards, shards], masking=plain)) == sorted(
        2 * rows(loader(shards, masking=plain))
    )
    parts = [
        list(loader(both, batch_size=8, rank=rank, world_size=2, return_tensors="np"))
        for rank in range(2)
    ]
    assert sorted(rows(parts[0]) + rows(parts[1])) == rows(epoch)
    with pytest.raises(cloze.UsageError, match=r"weights\[1\]: found 0"):
        loader({shards: 1, str(shards) + "/": 0})


def test_arguments_that_cannot_work_are_refused_before_the_first_batch(shards):
    for arguments, found in [
        ({"batch_size": 0}, "batch_size: found 0"),
        ({"rank": 2, "world_size": 2}, "rank: found 2, expected a rank below world_size = 2"),
        ({"length": 2}, "rows.length: found 2"),
        ({"layout": "stacked"}, "unknown variant `stacked`"),
        ({"held_out": 2.0}, "held_out: found 2"),
        ({"masking": {"corruption_rate": 1.5}}, "masking.corruption_rate: found 1.5"),
        ({"return_tensors": "tf"}, "return_tensors: found 'tf'"),
    ]:
        with pytest.raises(ValueError, match=r".*".join(found.split("`"))):
            loader(shards, **arguments)
    with pytest.raises(cloze.UsageError, match="shards: found no folder"):
        loader([])


def test_units_are_asked_of_shards_that_have_them(shards, tokens):
    assert next(iter(loader(shards, masking="pmi")))
    with pytest.raises(cloze.MismatchError, match="without masking units"):
        loader(tokens, masking="pmi")


def threads_and_files():
    return len(os.listdir("/proc/self/task")), len(os.listdir("/proc/self/fd"))


def test_after_del_no_thread_and_no_file_is_left(shards):
    next(iter(loader(shards)))
    gc.collect()
    before = threads_and_files()
    held = [loader(shards, read=read) for read in ("mmap", "pread")]
    batches = [iter(one) for one in held]
    assert all(next(one) for one in batches)
    threads, files = threads_and_files()
    assert threads == before[0] + 2 and files > before[1]
    del held, batches
    gc.collect()
    assert threads_and_files() == before
    maps = Path("/proc/self/maps").read_text()
    assert str(shards) not in maps


def test_ten_epochs_leave_the_memory_as_it_is(shards):
    def resident():
        gc.collect()
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    one = loader(shards, length=128, batch_size=64)
    for _ in range(10):
        for _ in one:
            pass
    after_ten = resident()
    for _ in range(50):
        for _ in one:
            pass
    assert resident() - after_ten < 8 << 20


def test_a_fork_in_the_middle_of_a_pass_harms_neither_process(shards):
    expected = list(loader(shards))
    one = loader(shards)
    batches = iter(one)
    head = [next(batches) for _ in range(2)]

    def child(queue):
        nonlocal batches
        batches = None
        gc.collect()
        queue.put(len(list(loader(shards))))

    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    process = context.Process(target=child, args=(queue,))
    process.start()
    assert queue.get(timeout=60) == len(expected)
    process.join(timeout=60)
    assert process.exitcode == 0
    assert same(head + list(batches), expected)


def test_a_second_thread_runs_while_the_first_waits(shards):
    """The interpreter's lock is let go of."""
    counted = 0
    done = threading.Event()

    def count():
        nonlocal counted
        while not done.is_set():
            counted += 1

    thread = threading.Thread(target=count)
    thread.start()
    for _ in loader(shards):
        pass
    done.set()
    thread.join()
    assert counted > 0


def test_ctrl_c_ends_a_loop_with_keyboard_interrupt(shards):
    code = (
        "import signal, sys, cloze\n"
        # Started in the background of a shell, a test run ignores it, and so would this.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "loader = cloze.Loader(sys.argv[1], length=32, batch_size=8)\n"
        "print('ready', flush=True)\n"
        "while True:\n"
        "    for batch in loader: pass\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(shards)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert "KeyboardInterrupt" in errors
    assert process.returncode in (-signal.SIGINT, 130, 1)

"""Stages over an object store: an S3 server on loopback (moto), with faults in between.

Between cloze and the server stands a proxy that answers every third request with 500,
cuts answers in the middle of their body, or is slow; the bytes that come out are those
of a run on files. `http://` is a plain web server with ranged reads. CLOZE_BIN names the
binary; without it, target/release/cloze.
"""

import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
CLOZE = os.environ.get("CLOZE_BIN", str(TARGET / "release" / "cloze"))
TOKENIZER = ROOT / "tests" / "data" / "tokenizers" / "bert-base-uncased"

boto3 = pytest.importorskip("boto3")
moto = pytest.importorskip("moto.server")


class Proxy:
    """Hands requests on to the server, and spoils some of the answers."""

    def __init__(self, server):
        self.server, self.fault, self.number, self.requests = server, None, 0, []
        self.lock = threading.Lock()
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def accept(self):
        while True:
            client, _ = self.socket.accept()
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        """One request a connection: the answer says `Connection: close`."""
        with client:
            try:
                head, body = self.read(client)
                with self.lock:
                    self.number += 1
                    number, fault = self.number, self.fault
                    self.requests.append(head.split(b"\r\n")[0].decode())
                if fault == "500" and number % 3 == 0:
                    client.sendall(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                    return
                head = re.sub(rb"(?i)\r\nconnection:[^\r]*", b"", head)
                head = head.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
                with socket.create_connection(self.server) as server:
                    server.sendall(head + body)
                    answer = b""
                    while piece := server.recv(1 << 16):
                        answer += piece
                self.answer(client, answer, number, fault)
            except OSError:
                pass

    @staticmethod
    def read(client):
        data = b""
        while b"\r\n\r\n" not in data:
            piece = client.recv(1 << 16)
            if not piece:
                raise OSError
            data += piece
        head, body = data.split(b"\r\n\r\n", 1)
        head += b"\r\n\r\n"
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        length = int(length[1]) if length else 0
        if b"100-continue" in head.lower():
            client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        while len(body) < length:
            body += client.recv(1 << 16)
        return head, body

    def answer(self, client, answer, number, fault):
        begin = answer.find(b"\r\n\r\n") + 4
        body = len(answer) - begin
        if fault == "cut" and body > 2000 and number % 2:
            client.sendall(answer[: begin + body // 2])
        elif fault == "slow":
            for at in range(0, len(answer), 1 << 14):
                client.sendall(answer[at : at + (1 << 14)])
                time.sleep(0.004)
        elif fault == "down":
            return
        else:
            client.sendall(answer)


@pytest.fixture(scope="module")
def server():
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield server.get_host_and_port()
    server.stop()


@pytest.fixture
def store(server, tmp_path, monkeypatch):
    proxy = Proxy(server)
    for name, value in {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": proxy.url,
        "CLOZE_CACHE": str(tmp_path / "cache"),
    }.items():
        monkeypatch.setenv(name, value)
    host, port = server
    client = boto3.client("s3", endpoint_url=f"http://{host}:{port}", region_name="us-east-1")
    bucket = f"bucket-{os.urandom(6).hex()}"
    client.create_bucket(Bucket=bucket)
    proxy.client, proxy.bucket = client, bucket
    return proxy


def cloze(*arguments, code=0, **options):
    command = [CLOZE, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, **options)
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


def text(folder, documents=6000):
    """A corpus of some megabytes, compressed badly on purpose, in two files."""
    folder.mkdir(exist_ok=True)
    lines = [
        json.dumps({"text": f"Document {n} tells of ship {n * 7919} and whale {n * 104729}. " * 9})
        for n in range(documents)
    ]
    (folder / "a.jsonl").write_text("\n".join(lines[: documents // 2]) + "\n")
    (folder / "b.jsonl").write_text("\n".join(lines[documents // 2 :]) + "\n")
    return folder


def put(store, folder, prefix):
    for file in folder.iterdir():
        store.client.upload_file(str(file), store.bucket, f"{prefix}/{file.name}")


def objects(store, prefix):
    pages = store.client.get_paginator("list_objects_v2")
    found = {}
    for page in pages.paginate(Bucket=store.bucket, Prefix=prefix + "/"):
        for entry in page.get("Contents", []):
            body = store.client.get_object(Bucket=store.bucket, Key=entry["Key"])["Body"]
            found[entry["Key"].split("/", 1)[1]] = body.read()
    return found


def files(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def without_paths(files):
    """Manifests name their inputs by path, which differ between a folder and a bucket."""
    out = {}
    for name, content in files.items():
        if name.startswith("manifest"):
            content = json.loads(content)
            for entry in content["inputs"]:
                entry["path"] = entry["path"].rsplit("/", 1)[-1]
        out[name] = content
    return out


SMALL = ["--file-bytes", "512KiB"]


def tokenize(inputs, output, *more, **options):
    arguments = ["--tokenizer", TOKENIZER, "--output", output, "--log-format", "silent"]
    return cloze("tokenize", *inputs, *arguments, *SMALL, *more, **options)


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """What comes out of a run on files."""
    root = tmp_path_factory.mktemp("files")
    text(root / "text")
    tokenize([root / "text"], root / "tokens")
    shards = ["--output", root / "shards", "--shard-tokens", "200000", "--log-format", "silent"]
    cloze("shard", root / "tokens", *shards)
    return root


def shard(store, *more, **options):
    url = f"s3://{store.bucket}"
    arguments = ["--shard-tokens", "200000", "--log-format", "silent"]
    return cloze("shard", f"{url}/tokens", "--output", f"{url}/shards", *arguments, *more, **options)


@pytest.mark.parametrize("fault", [None, "500", "cut", "slow"])
def test_text_tokens_and_shards_in_a_store_are_those_of_files(store, expected, fault, tmp_path):
    put(store, expected / "text", "text")
    url = f"s3://{store.bucket}"
    store.fault = fault
    tokenize([f"{url}/text"], f"{url}/tokens")
    shard(store)
    shown = cloze("mask", f"{url}/shards", "--strategy", "word")
    verified = cloze("verify", f"{url}/shards")
    inspected = cloze("inspect", f"{url}/tokens")
    store.fault = None
    for name in ("tokens", "shards"):
        found = without_paths(objects(store, name))
        assert found.keys() == files(expected / name).keys()
        assert len([name for name in found if name.endswith(".arrow")]) > 2
        if name == "tokens":
            assert found == without_paths(files(expected / name))
        for file, content in files(expected / name).items():
            if not file.startswith("manifest"):
                assert found[file] == content, file
    assert shown == cloze("mask", expected / "shards", "--strategy", "word")
    assert "token files" in inspected and verified
    # Nothing is left behind of what went out.
    assert not list((tmp_path / "cache" / "outgoing").iterdir())


@pytest.mark.parametrize("fault", [None, "500", "cut"])
def test_objects_of_many_parts_go_out_and_come_in_whole(store, tmp_path, fault):
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet

    drawn = np.random.default_rng(1).integers(1000, 30000, (1500, 6000)).tolist()
    pa.parquet.write_table(pa.table({"tokens": drawn}), tmp_path / "ids.parquet")
    store.client.upload_file(str(tmp_path / "ids.parquet"), store.bucket, "ids.parquet")
    arguments = ["--tokenizer", TOKENIZER, "--log-format", "silent"]
    url = f"s3://{store.bucket}"
    store.fault = fault
    cloze("import", f"{url}/ids.parquet", *arguments, "--output", f"{url}/tokens")
    cloze("verify", f"{url}/tokens")
    store.fault = None
    assert [line for line in store.requests if "partNumber=2" in line]
    cloze("import", tmp_path / "ids.parquet", *arguments, "--output", tmp_path / "tokens")
    here = files(tmp_path / "tokens")
    assert len(here["tokens-00000.arrow"]) > 16 << 20
    assert without_paths(objects(store, "tokens")) == without_paths(here)


def test_all_stages_up_to_training_work_on_urls(store, expected, tmp_path):
    put(store, expected / "text", "text")
    store.client.upload_file(str(TOKENIZER / "vocab.txt"), store.bucket, "bert/vocab.txt")
    quiet = ["--log-format", "silent"]

    def stages(root, text, tokenizer):
        cloze("tokenize", f"{text}/a.jsonl", "--tokenizer", tokenizer, "-o", f"{root}/tokens", *quiet)
        for part in range(2):
            parts = ["--part", part, "--of", 2, "--min-count", 5, "--max-length", 3]
            cloze("count", f"{root}/tokens", "-o", f"{root}/runs", *parts, *quiet)
        arguments = ["--max-length", 3, "--min-count", 5]
        cloze("count", f"{root}/tokens", "-o", f"{root}/counts", *arguments, *quiet)
        size = ["--size", 200, "-o", f"{root}/vocabulary.parquet"]
        cloze("vocabulary", f"{root}/counts", *size, *quiet)
        units = ["--vocabulary", f"{root}/vocabulary.parquet"]
        cloze("shard", f"{root}/tokens", *units, "-o", f"{root}/shards", *quiet)
        for name in ("tokens", "runs", "counts", "vocabulary.parquet", "shards"):
            cloze("verify", f"{root}/{name}")
            cloze("inspect", f"{root}/{name}")
        cloze("export", f"{root}/shards", "-o", f"{root}/parquet", *quiet)

    url = f"s3://{store.bucket}"
    stages(url, f"{url}/text", f"{url}/bert")
    stages(tmp_path, expected / "text", TOKENIZER)
    for name in ("counts", "runs", "shards", "parquet"):
        found, here = objects(store, name), files(tmp_path / name)
        assert found.keys() == here.keys()
        for file, content in here.items():
            assert file.startswith("manifest") or found[file] == content, (name, file)
    message = cloze("train", f"{url}/shards", "-o", f"{url}/model", code=2)
    assert "a folder of this machine" in message, message


def test_globs_prefixes_and_compressed_objects(store, expected, tmp_path):
    import gzip

    store.client.put_object(
        Bucket=store.bucket,
        Key="in/deep/a.jsonl.gz",
        Body=gzip.compress((expected / "text" / "a.jsonl").read_bytes()),
    )
    store.client.upload_file(str(expected / "text/b.jsonl"), store.bucket, "in/deep/b.jsonl")
    store.client.put_object(Bucket=store.bucket, Key="in/deep/.hidden", Body=b"x")
    store.client.put_object(Bucket=store.bucket, Key="in/other.txt", Body=b"x")
    url = f"s3://{store.bucket}/in"
    for number, pattern in enumerate([f"{url}/deep", f"{url}/deep/*.jsonl*", f"{url}/*/?.jsonl*"]):
        out = tmp_path / f"t{number}"
        tokenize([pattern], out)
        manifest = json.loads((out / "manifest.json").read_text())
        named = [entry["path"] for entry in manifest["inputs"]]
        assert named == [f"{url}/deep/a.jsonl.gz", f"{url}/deep/b.jsonl"]
        assert manifest["totals"]["documents"] == 6000
    assert "none.txt" in tokenize([f"{url}/none.txt"], tmp_path / "x", code=2)


def test_a_run_that_was_killed_goes_on_to_the_same_bytes(store, expected):
    put(store, expected / "text", "text")
    url = f"s3://{store.bucket}"
    arguments = ["--tokenizer", TOKENIZER, "-o", f"{url}/tokens", "--log-format", "silent"]
    command = [CLOZE, "tokenize", f"{url}/text", *arguments, *SMALL, "--threads", "1"]
    killed = 0
    for _ in range(20):
        before = len(objects(store, "tokens"))
        process = subprocess.Popen(list(map(str, command)), stderr=subprocess.DEVNULL)
        while process.poll() is None and len(objects(store, "tokens")) < before + 1:
            time.sleep(0.02)
        if process.poll() is not None:
            break
        process.send_signal(signal.SIGKILL)
        process.wait()
        killed += 1
    assert killed > 1
    before = len(store.requests)
    tokenize([f"{url}/text"], f"{url}/tokens")
    found = objects(store, "tokens")
    assert without_paths(found) == without_paths(files(expected / "tokens"))
    # Done is done: another run writes nothing and reads no token file.
    before = len(store.requests)
    tokenize([f"{url}/text"], f"{url}/tokens")
    again = store.requests[before:]
    assert not [line for line in again if line.startswith(("PUT", "POST", "DELETE"))]
    assert not [line for line in again if line.startswith("GET") and ".arrow" in line]


def test_shards_are_fetched_once_and_the_cache_keeps_its_bound(store, expected, tmp_path):
    put(store, expected / "shards", "shards")
    url = f"s3://{store.bucket}/shards"
    cloze("mask", url, "--strategy", "word")
    copies = tmp_path / "cache" / "copies"
    held = sum(file.stat().st_size for file in copies.iterdir())
    before = len(store.requests)
    cloze("mask", url, "--strategy", "word")
    assert not [line for line in store.requests[before:] if ".arrow" in line]
    # Two processes at once, into an empty cache: each object is fetched by one of them.
    before = len(store.requests)
    other = {**os.environ, "CLOZE_CACHE": str(tmp_path / "other")}
    command = [CLOZE, "mask", url, "--strategy", "word"]
    running = [subprocess.Popen(command, env=other, stdout=subprocess.PIPE) for _ in range(3)]
    shown = {process.communicate()[0] for process in running}
    assert len(shown) == 1 and all(process.returncode == 0 for process in running)
    fetched = [line for line in store.requests[before:] if ".arrow" in line]
    assert len(fetched) == len(list((expected / "shards").glob("*.arrow")))
    # A bound that does not hold all shards is said; one that does evicts what is old.
    message = cloze("mask", url, "--cache-size", held - 1, "--cache", tmp_path / "x", code=1)
    assert "--cache-size" in message and url in message, message
    (copies / "old").write_bytes(b"x" * 1000)
    os.utime(copies / "old", (1, 1))
    for file in list(copies.iterdir())[:1]:
        if file.name != "old":
            file.unlink()
    for file in copies.glob("*"):
        if file.name != "old":
            file.unlink()
            break
    cloze("mask", url, "--cache-size", held)
    assert sum(file.stat().st_size for file in copies.iterdir()) <= held


def test_a_copy_that_is_not_what_the_manifest_says_is_refused(store, expected):
    put(store, expected / "shards", "shards")
    name = sorted((expected / "shards").glob("*.arrow"))[0].name
    damaged = bytearray((expected / "shards" / name).read_bytes())
    damaged[len(damaged) // 2] ^= 1
    store.client.put_object(Bucket=store.bucket, Key=f"shards/{name}", Body=bytes(damaged))
    message = cloze("mask", f"s3://{store.bucket}/shards", code=1)
    assert name in message and "as its manifest says" in message, message


def test_what_is_missing_or_forbidden_is_said_at_once(store, tmp_path):
    begin = time.time()
    message = tokenize(["s3://no-such-bucket/x.txt"], tmp_path / "t", code=1)
    assert "no such bucket" in message and "s3://no-such-bucket/x.txt" in message, message
    message = tokenize([TOKENIZER / "vocab.txt"], "s3://no-such-bucket/t", code=1)
    assert "no-such-bucket" in message, message
    assert time.time() - begin < 10


def test_a_denied_request_names_the_credentials(tmp_path, monkeypatch):
    class Denied(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_response(403)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_HEAD

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Denied)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    begin = time.time()
    message = tokenize(["s3://bucket/x.txt"], tmp_path / "t", code=1)
    assert "access denied" in message and "403" in message, message
    assert "AWS_ACCESS_KEY_ID" in message and "s3://bucket/x.txt" in message
    assert time.time() - begin < 5
    server.shutdown()


def test_a_store_that_is_gone_ends_the_stage_and_names_its_attempts(store, expected):
    put(store, expected / "text", "text")
    url = f"s3://{store.bucket}"
    timer = threading.Timer(0.4, lambda: setattr(store, "fault", "down"))
    timer.start()
    begin = time.time()
    message = tokenize([f"{url}/text"], f"{url}/tokens", "--threads", "1", code=1)
    assert url in message and "retries" in message and "run the same command again" in message
    assert time.time() - begin < 120
    store.fault = None
    tokenize([f"{url}/text"], f"{url}/tokens")
    assert without_paths(objects(store, "tokens")) == without_paths(files(expected / "tokens"))


def test_a_web_server_with_ranges_serves_text_and_shards(expected, tmp_path, monkeypatch):
    monkeypatch.setenv("CLOZE_CACHE", str(tmp_path / "cache"))
    ranged = []

    class Files(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            path = expected / self.path.lstrip("/")
            if not path.is_file():
                self.send_response(404)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            content = path.read_bytes()
            span = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
            if span:
                first, last = int(span[1]), min(int(span[2]), len(content) - 1)
                ranged.append(self.path)
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
                content = content[first : last + 1]
            else:
                self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Last-Modified", "Wed, 21 Oct 2026 07:28:00 GMT")
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

        do_HEAD = do_GET

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Files)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    tokenize([f"{url}/text/a.jsonl", f"{url}/text/b.jsonl"], tmp_path / "t")
    assert without_paths(files(tmp_path / "t")) == without_paths(files(expected / "tokens"))
    assert ranged
    shown = cloze("mask", f"{url}/shards", "--strategy", "word")
    assert shown == cloze("mask", expected / "shards", "--strategy", "word")
    message = tokenize([f"{url}/text/none.jsonl"], tmp_path / "x", code=1)
    assert f"{url}/text/none.jsonl" in message
    message = tokenize([expected / "text"], f"{url}/t", code=2)
    assert "read only" in message, message
    server.shutdown()

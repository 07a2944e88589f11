"""The command that the wheel brings, and errors as exceptions."""

import importlib.metadata
import subprocess
import sys

import pytest
from conftest import cloze

import cloze as package


def test_the_version_is_that_of_the_package_and_of_the_command():
    assert package.__version__ == importlib.metadata.version("cloze")
    assert cloze("--version").stdout == f"cloze {package.__version__}\n"


def test_the_command_tells_done_from_failed_from_wrong_use(shards):
    assert cloze("verify", shards).returncode == 0
    failed = cloze("verify", shards / "missing", check=False)
    assert failed.returncode == 1
    assert failed.stderr.startswith("cloze: ")
    assert cloze("shard", check=False).returncode == 2
    assert "Usage: cloze" in cloze("--help").stdout


def test_the_package_is_quick_to_import_and_imports_no_framework():
    code = "import sys, cloze; print(*[m for m in ('torch', 'numpy') if m in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert ran.stdout.split() in ([], ["numpy"])


def test_errors_have_the_text_of_the_command_line_and_their_parts(shards):
    with pytest.raises(package.UsageError) as usage:
        package.Loader(shards, masking={"coruption_rate": 0.4})
    assert isinstance(usage.value, ValueError)
    assert usage.value.place == "Loader, key masking.coruption_rate"
    assert usage.value.remedy == "did you mean corruption_rate?"
    assert str(usage.value).startswith("Loader, key masking.coruption_rate: found an unknown key")
    with pytest.raises(package.UsageError, match="unknown variant `wetig`"):
        package.Loader(shards, masking="wetig")


def test_what_is_not_there_is_not_found(shards):
    with pytest.raises(FileNotFoundError, match="missing") as missing:
        package.Loader(shards / "missing")
    assert missing.value.place == str(shards / "missing")


def test_a_flipped_bit_is_a_corrupt_file(shards, tmp_path):
    for file in shards.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    shard = sorted(tmp_path.glob("*.arrow"))[0]
    content = bytearray(shard.read_bytes())
    content[len(content) // 3] ^= 1
    shard.write_bytes(content)
    loader = package.Loader(tmp_path, length=64)
    with pytest.raises(package.CorruptError, match=shard.name):
        list(loader)

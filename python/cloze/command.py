"""The command ``cloze``, as the Rust binary has it."""

import sys

from ._native import run


def main() -> int:
    """Runs the command line that the process was started with; its exit code."""
    return run(["cloze", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())

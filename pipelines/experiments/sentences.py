"""Two sentence sets as tab-separated files for `cloze finetune`.

    python3 pipelines/experiments/sentences.py sentence_polarity.zip subjectivity.zip -o data

takes the NLTK data packages of these names (Pang and Lee 2004 and 2005; NLTK publishes them,
and `nltk.download("sentence_polarity")` leaves the archive in `nltk_data/corpora`), and writes
`data/sentence_polarity.tsv` and `data/subjectivity.tsv`: a header, then a sentence and its
label a line, the classes by turns, in the order of the archives.
"""

import argparse
import zipfile
from pathlib import Path

# File in the archive, and the label of its lines.
SETS = {
    "sentence_polarity": {"rt-polarity.neg": "negative", "rt-polarity.pos": "positive"},
    "subjectivity": {"plot.tok.gt9.5000": "objective", "quote.tok.gt9.5000": "subjective"},
}


def sentences(archive, name):
    """The sentences of a set with their labels, by class."""
    with zipfile.ZipFile(archive) as files:
        for member, label in SETS[name].items():
            text = files.read(f"{name}/{member}").decode("utf-8")
            lines = [" ".join(line.split()) for line in text.split("\n")]
            yield [(line, label) for line in lines if line]


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("archives", nargs="+", type=Path, help="sentence_polarity.zip, subjectivity.zip")
    parser.add_argument("-o", "--output", required=True, type=Path, help="folder for the files")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    for archive in arguments.archives:
        name = archive.stem
        if name not in SETS:
            parser.error(f"{archive}: expected {' or '.join(f'{name}.zip' for name in SETS)}")
        classes = list(sentences(archive, name))
        path = arguments.output / f"{name}.tsv"
        with path.open("w", encoding="utf-8", newline="\n") as file:
            file.write("sentence\tlabel\n")
            for turn in range(max(map(len, classes))):
                for lines in classes:
                    if turn < len(lines):
                        file.write("\t".join(lines[turn]) + "\n")
        counts = ", ".join(f"{len(lines)} {lines[0][1]}" for lines in classes)
        print(f"{path}: {counts}")


if __name__ == "__main__":
    main()

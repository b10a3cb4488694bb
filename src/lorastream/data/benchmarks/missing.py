"""What to say, and to type, where a split is not on disk."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from lorastream.data.benchmarks.catalogue import Benchmark
from lorastream.data.benchmarks.manifest import OUR_FOLDER, place, splits_there
from lorastream.errors import DataError

SEEDED_NAME = re.compile(r"seed(\d{1,9})")


def prepare_command(benchmark: Benchmark, root: Path, split: str) -> str:
    """Return the line that puts a split on disk."""
    words = ["lorastream", "data", "prepare", benchmark.name, "--root", str(root)]
    return shlex.join(words if split == benchmark.default_split else [*words, "--split", split])


def needs_no_options(benchmark: Benchmark, split: str) -> bool:
    """Whether a split's name alone says what it is."""
    return split in benchmark.split_names() or (benchmark.class_folders and SEEDED_NAME.fullmatch(split) is not None)


def no_manifest(benchmark: Benchmark, root: Path, split: str) -> DataError:
    """Return the error for a split that is not on disk, with the command that makes it as the next step."""
    there = splits_there(root, benchmark.name)
    command = prepare_command(benchmark, root, split)
    if not needs_no_options(benchmark, split):
        command += " --train-list FILE --test-list FILE"
    if not root.is_dir():
        got = "the root is a file" if root.exists() else "no such root"
    elif there:
        got = f"no such file; splits that are there: {', '.join(there)}"
    else:
        got = f"no such file: nothing of {benchmark.name} is prepared in this root"
        nested = next((up for up in (root.parent, root.parent.parent) if splits_there(up, benchmark.name)), None)
        if nested is not None:
            got += f", but in {nested}"
            command = f"the root is {nested}; or {command}"
    return DataError(
        str(place(root, benchmark.name, split)),
        expected=f"the split {split} of {benchmark.name} below the root, in {OUR_FOLDER}/",
        got=got,
        next_step=command,
    )

"""Which split is wanted: a name, or options that say how it comes about."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lorastream.data.benchmarks.catalogue import OFFICIAL, Benchmark
from lorastream.data.benchmarks.missing import SEEDED_NAME, needs_no_options
from lorastream.data.benchmarks.splits import TEST_FRACTION
from lorastream.errors import DataError, Fault


@dataclass(frozen=True, kw_only=True)
class Request:
    """The split that a user asks for; of the options, those of one kind alone.

    Attributes:
        split: its name; None for the name that goes with the options, or the benchmark's default.
        seed: draw the split from this seed, 0 to 2**32 - 1.
        test_fraction: the part of each class that a drawn split holds out; None for a fifth.
        train_folder: folder of class folders with training images; relative ones are below the root.
        test_folder: the same for test images.
        train_lists: files that list training images.
        test_lists: the same for test images.
    """

    split: str | None = None
    seed: int | None = None
    test_fraction: float | None = None
    train_folder: Path | None = None
    test_folder: Path | None = None
    train_lists: tuple[Path, ...] = ()
    test_lists: tuple[Path, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """Drawn from a seed, stratified by class."""

    seed: int
    test_fraction: float


@dataclass(frozen=True, kw_only=True)
class Folders:
    """Given as two folders of class folders."""

    train: Path
    test: Path


@dataclass(frozen=True, kw_only=True)
class Lists:
    """Given as lists of files."""

    train: tuple[Path, ...]
    test: tuple[Path, ...]


@dataclass(frozen=True, kw_only=True)
class Published:
    """Shipped by the benchmark's makers, or published by others as lists."""

    name: str


Rule = Drawn | Folders | Lists | Published


def settle_rule(benchmark: Benchmark, request: Request) -> tuple[str, Rule]:
    """Return the split's name and how it comes about.

    Raises:
        DataError: options of two kinds, half of a pair, or a name that says nothing without options.
    """
    _check_options(benchmark, request)
    if request.train_folder and request.test_folder:
        return request.split or "folders", Folders(train=request.train_folder, test=request.test_folder)
    if request.train_lists:
        return request.split or "lists", Lists(train=request.train_lists, test=request.test_lists)
    if request.seed is not None or request.test_fraction is not None:
        seed, fraction = request.seed or 0, request.test_fraction or TEST_FRACTION
        suffix = "" if fraction == TEST_FRACTION else f"-test{fraction:g}"
        return request.split or f"seed{seed}{suffix}", Drawn(seed=seed, test_fraction=fraction)
    name = request.split or benchmark.default_split
    if not needs_no_options(benchmark, name):
        raise DataError(
            f"--split {name}",
            expected=f"for {benchmark.name} without further options: {', '.join(benchmark.split_names())}"
            f"{', or seed<number>' if benchmark.class_folders else ''}",
            got=repr(name),
            next_step="say what it is with --seed, --train-folder and --test-folder, or --train-list and --test-list",
        )
    if (seeded := SEEDED_NAME.fullmatch(name)) is not None:
        return name, Drawn(seed=int(seeded[1]), test_fraction=TEST_FRACTION)
    return name, Published(name=name)


def _check_options(benchmark: Benchmark, request: Request) -> None:
    pairs = (
        ("--train-folder", "--test-folder", request.train_folder, request.test_folder),
        ("--train-list", "--test-list", request.train_lists, request.test_lists),
    )
    faults = [
        Fault(f"{a}, {b}", "both of them", f"only {a if x else b}", "give the other one too")
        for a, b, x, y in pairs
        if bool(x) != bool(y)
    ]
    drawn = request.seed is not None or request.test_fraction is not None
    kinds = [name for name, given in (("--seed or --test-fraction", drawn), *((a, x) for a, _, x, _ in pairs)) if given]
    if len(kinds) > 1:
        faults.append(Fault("the split", "options of one kind", " and ".join(kinds), "leave the others out"))
    if drawn and not benchmark.class_folders:
        step = f"leave the option out: the split is {OFFICIAL}"
        faults.append(Fault(kinds[0], f"a split that {benchmark.name} has", "a drawn one", step))
    fraction = request.test_fraction
    if fraction is not None and not 0 < fraction < 1:
        faults.append(Fault("--test-fraction", "above 0 and below 1", str(fraction), "--test-fraction 0.2"))
    if request.split in benchmark.split_names() and kinds and request.split != f"seed{request.seed}":
        step = "choose another name for your own split"
        faults.append(Fault(f"--split {request.split}", "a name that has no meaning yet", f"it and {kinds[0]}", step))
    if faults:
        raise DataError.of(faults)

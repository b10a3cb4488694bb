"""From a suite's file to the runs that it asks for, with every fault of the file and of its recipes at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import ValidationError

from lorastream.errors import Fault, RecipeError, unknown_name
from lorastream.recipes import build
from lorastream.recipes.catalogue import read_toml
from lorastream.recipes.faults import Origin, faults_of
from lorastream.recipes.load import method_names, parse_overrides
from lorastream.recipes.schema import Recipe
from lorastream.suites.schema import RecipeOfSuite, SuiteFile

_NAMED_BY_THE_SUITE: dict[tuple[str, ...], str] = {
    ("seed",): "seeds",
    ("method", "name"): "methods",
    ("name",): "the name of the table",
}


@dataclass(frozen=True, kw_only=True)
class PlannedRun:
    """One run of a suite.

    Attributes:
        name: of the recipe within the suite.
        recipe: of the library, or a file.
        overrides: `key=value`, those of the suite before those of the recipe and those of the call.
        settings: the recipe resolved for the method and the seed.
        folder: of the run.
    """

    name: str
    recipe: str
    overrides: tuple[str, ...]
    settings: Recipe
    folder: Path

    @property
    def method(self) -> str:
        """Name of the method."""
        return self.settings.method.name

    @property
    def seed(self) -> int:
        """The run's one seed."""
        return self.settings.seed

    @property
    def label(self) -> str:
        """What the run is called on screens: recipe, method, seed."""
        return f"{self.name}/{self.method}/{self.seed}"

    def arguments(self, *, resume: bool = False) -> list[str]:
        """Return what stands behind `lorastream` where one starts this run by hand."""
        chosen = [f"seed={self.seed}", "--methods", self.method, "--out", str(self.folder)]
        return ["run", self.recipe, *self.overrides, *chosen, *(["--resume"] if resume else [])]


@dataclass(frozen=True, kw_only=True)
class Suite:
    """The runs of a suite's file.

    Attributes:
        name: of the file.
        root: folder of all runs.
        retries: how often a run that failed is tried again.
        runs: in the order in which they are started: the first seed of every method before the second of any.
    """

    name: str
    root: Path
    retries: int
    runs: tuple[PlannedRun, ...]


def read(file: Path, overrides: Sequence[str] = ()) -> Suite:
    """Read a suite and check every recipe of it for every method.

    Args:
        file: of the suite.
        overrides: `key=value`, laid over those of the suite and of its recipes.

    Raises:
        RecipeError: all faults at once, of the file, of the recipes and of the methods.
    """
    document = read_toml(file)
    try:
        written = SuiteFile.model_validate(document)
    except ValidationError as error:
        origin = Origin(file=file.name, model=SuiteFile, noun="suite")
        raise RecipeError.of(faults_of(error, origin)) from error
    root = Path(written.root) if written.root else Path("runs") / file.stem
    rounds: list[tuple[int, PlannedRun]] = []
    faults: list[Fault] = []
    for name, entry in written.recipes.items():
        found, wrong = _runs_of(name, entry, written, root, tuple(overrides), where=f"{file.name}: recipes.{name}")
        rounds += found
        faults += wrong
    faults += [] if faults else _never_run(written.once, rounds, where=f"{file.name}: once")
    if faults:
        raise RecipeError.of(list(dict.fromkeys(faults)))
    runs = tuple(run for _, run in sorted(rounds, key=lambda pair: (pair[0], pair[1].method in written.once)))
    return Suite(name=file.stem, root=root, retries=written.retries, runs=runs)


def _runs_of(
    name: str, entry: RecipeOfSuite, suite: SuiteFile, root: Path, given: tuple[str, ...], *, where: str
) -> tuple[list[tuple[int, PlannedRun]], list[Fault]]:
    """Return the runs of one recipe, each with the place of its seed in the list, and what is wrong with it."""
    recipe, overrides = entry.recipe or name, (*suite.overrides, *entry.overrides, *given)
    seeds = entry.seeds or suite.seeds
    runs: list[tuple[int, PlannedRun]] = []
    faults = _not_for_overrides(overrides)
    try:
        names = entry.methods or suite.methods or method_names(recipe, overrides) or (None,)
    except RecipeError as error:
        names, faults = (), [*faults, *error.faults]
    for method in dict.fromkeys(names):
        try:
            plan = build.load(recipe, overrides, method=method)
        except RecipeError as error:
            faults += error.faults
            continue
        chosen = list(dict.fromkeys(seeds or (plan.seed,)))
        for place, seed in enumerate(chosen[: 1 if method in suite.once else None]):
            settings = plan.model_copy(update={"seed": seed})
            folder = root / name / plan.method.name / str(seed)
            run = PlannedRun(name=name, recipe=recipe, overrides=overrides, settings=settings, folder=folder)
            runs.append((place, run))
    return runs, [replace(fault, where=f"{where}: {fault.where}") for fault in faults]


def _not_for_overrides(overrides: Sequence[str]) -> list[Fault]:
    """Return a fault for every override of what a suite lists itself."""
    changes, _ = parse_overrides(overrides)
    return [
        Fault(f"override {'.'.join(path)}", "a key that the suite does not give itself", repr(value), f"write {key}")
        for path, value in changes
        for key in [_NAMED_BY_THE_SUITE.get(path)]
        if key
    ]


def _never_run(once: Sequence[str], rounds: Sequence[tuple[int, PlannedRun]], *, where: str) -> list[Fault]:
    known = {run.method for _, run in rounds}
    return [
        unknown_name(where, kind="method of this suite", got=name, choices=known) for name in once if name not in known
    ]

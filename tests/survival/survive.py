"""Kill runs at random instants, for every method, and see that they end with the same bytes each time.

    make survive                                    # the digits, 25 instants for every method
    python tests/survival/survive.py sd_lora --instants 3 --recipe training.epochs=1 --json survival.json

For each method one run is left alone. Then runs are started and sent SIGKILL at random instants, gone on with by
`--resume` and killed again, until as many kills were made as asked for. Every run that gets to its end is compared: the
hash of every file of the model, and the figures of the record. Each run is a process of its own: a copy of this one,
which has loaded what it needs and nothing else, so that no instant is spent on starting Python; `--start spawn` starts
Python anew for each.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import shlex
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from conftest import outcome

LAST_LINES = 20


@dataclass(kw_only=True)
class Tally:
    """What came of one method's runs.

    Attributes:
        length: of a run that is left alone, in seconds.
        instants: the kills: in words, where the run stood then.
        ended: runs that were killed at least once and got to their end.
        equal: how many of them ended with the same bytes as the run that was left alone.
    """

    length: float
    instants: list[str]
    ended: int = 0
    equal: int = 0


def main() -> None:
    """Kill, go on, compare; exit with 1 where a run ended otherwise."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("methods", nargs="*", help="all by default")
    parser.add_argument("--instants", type=int, default=25, help="kills for each method")
    parser.add_argument("--recipe", nargs="*", default=[], metavar="KEY=VALUE", help="changes to the digits recipe")
    parser.add_argument("--seed", type=int, default=0, help="of the instants")
    parser.add_argument("--start", choices=["fork", "spawn"], default="fork", help="copy this process, or start Python")
    parser.add_argument("--json", type=Path, metavar="FILE", help="what came of it, written after each method")
    arguments = parser.parse_args()
    os.environ |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}  # before torch is loaded
    from lorastream import experiment, methods  # noqa: F401 (loaded here, so that copies of this process have it)

    chosen = arguments.methods or methods.names()
    tallies: dict[str, Tally] = {}
    for number, method in enumerate(chosen, start=1):
        _tell(f"{method} ({number} of {len(chosen)}): a run that is left alone")
        with tempfile.TemporaryDirectory() as folder:
            instants = random.Random(f"{arguments.seed} {method}")
            survivor = Survivor(Path(folder), method, arguments.recipe, instants, start=arguments.start)
            tallies[method] = survivor.survive(arguments.instants)
        if arguments.json:
            _write(arguments.json, arguments.recipe, tallies)
    kills, ended, equal = _sums(tallies)
    _tell(f"{len(tallies)} methods, {kills} kills, {ended} runs gone on with to their end, {equal} with the same bytes")
    sys.exit(equal != ended)


class Survivor:
    """A method's run that is killed again and again."""

    def __init__(self, folder: Path, method: str, recipe: list[str], instants: random.Random, *, start: str) -> None:
        self.folder, self.method, self.instants = folder, method, instants
        self.processes = multiprocessing.get_context(start)
        self.arguments = ["run", "digits", *recipe, "--methods", method]

    def survive(self, instants: int) -> Tally:
        """Make so many kills, and go on until the run that was killed last has ended."""
        begun = time.monotonic()
        whole = self._start("whole")
        whole.join()
        self._check(whole)
        self.expected = outcome(self.folder / "whole")
        self.tally = Tally(length=round(time.monotonic() - begun, 1), instants=[])
        _tell(f"{self.method}: took {self.tally.length} s; {instants} kills")
        killed = 0
        while len(self.tally.instants) < instants or killed:
            run = self._start("cut")
            if len(self.tally.instants) < instants and self._kill(run):
                killed += 1
                continue
            run.join()
            self._check(run)
            self._compare(killed)
            killed = 0
        return self.tally

    def _kill(self, run: BaseProcess) -> bool:
        """Kill a run after a random time; False where it has ended before."""
        after = self.instants.uniform(0, self.tally.length)
        run.join(after)
        if run.exitcode is not None:
            return False
        run.kill()
        run.join()
        if run.exitcode != -signal.SIGKILL:
            return False
        where = self._where()
        self.tally.instants.append(where)
        _tell(f"{self.method}: kill {len(self.tally.instants)}, {after:.1f} s after its start: {where}")
        return True

    def _where(self) -> str:
        from lorastream.runs import unfinished

        folder = self.folder / "cut"
        written = unfinished.state_files(folder / unfinished.RESUME)
        torn = any(path.name.endswith(".tmp") for path in folder.rglob("*"))
        where = unfinished.where_stopped(folder) if written else "before its first state"
        return f"{where}, a file half written" if torn else where

    def _compare(self, killed: int) -> None:
        """Compare a run that ended, if it was ever killed."""
        if killed:
            found = outcome(self.folder / "cut")
            differing = [key for key in self.expected if found.get(key) != self.expected[key]]
            self.tally.ended += 1
            self.tally.equal += found == self.expected
            told = f"other {', '.join(differing[:5])}" if found != self.expected else "the same bytes"
            _tell(f"{self.method}: ended, after {killed} kills: {told}")
        shutil.rmtree(self.folder / "cut")

    def _start(self, name: str) -> BaseProcess:
        arguments = [*self.arguments, "--out", str(self.folder / name), "--resume"]
        run = self.processes.Process(target=_go, args=(arguments, self.folder / "said.txt"))
        run.start()
        return run

    def _check(self, run: BaseProcess) -> None:
        if run.exitcode:
            said = (self.folder / "said.txt").read_text("utf-8").splitlines()[-LAST_LINES:]
            raise SystemExit("\n".join([*said, f"lorastream {shlex.join(self.arguments)}: exit code {run.exitcode}"]))


def _go(arguments: list[str], said: Path) -> None:
    """Be `lorastream` with such arguments, what it says in a file."""
    with said.open("ab") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    sys.argv = ["lorastream", *arguments]
    from lorastream.cli.main import main as lorastream

    lorastream()


def _sums(tallies: dict[str, Tally]) -> tuple[int, int, int]:
    each = tallies.values()
    return sum(len(t.instants) for t in each), sum(t.ended for t in each), sum(t.equal for t in each)


def _write(path: Path, recipe: list[str], tallies: dict[str, Tally]) -> None:
    from lorastream.files import write_atomically
    from lorastream.runs import environment
    from lorastream.runs.record import now

    kills, ended, equal = _sums(tallies)
    document: dict[str, Any] = {
        "command": shlex.join(["python", "tests/survival/survive.py", *sys.argv[1:]]),
        "recipe": ["digits", *recipe],
        "finished": str(now()),
        "processor": environment.processor(),
        "versions": environment.versions(),
        "kills": kills,
        "ended": ended,
        "equal": equal,
        "methods": {name: asdict(tally) for name, tally in tallies.items()},
    }
    write_atomically(path, json.dumps(document, indent=1, default=str) + "\n")


def _tell(text: str) -> None:
    print(text, flush=True)  # noqa: T201 (a script)


if __name__ == "__main__":
    main()

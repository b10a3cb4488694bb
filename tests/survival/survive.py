"""Kill the digits run at random instants, for every method, and see that it ends with the same bytes each time.

    make survive                                    # 25 instants for every method
    python tests/survival/survive.py sd_lora --instants 3 --recipe training.epochs=1

For each method one run is left alone. Then runs are started and sent SIGKILL at random instants, gone on with by
`--resume` and killed again, until as many kills were made as asked for; each run that gets to its end is compared: the
hash of every file of the model, and the figures of the record.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from conftest import outcome
from lorastream import methods


def main() -> None:
    """Kill, go on, compare; exit with 1 where a run ended otherwise."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("methods", nargs="*", help="all by default")
    parser.add_argument("--instants", type=int, default=25, help="kills for each method")
    parser.add_argument("--recipe", nargs="*", default=[], help="changes to the digits recipe")
    parser.add_argument("--seed", type=int, default=0, help="of the instants")
    arguments = parser.parse_args()
    failed = 0
    for method in arguments.methods or methods.names():
        with tempfile.TemporaryDirectory() as folder:
            survivor = Survivor(Path(folder), method, arguments.recipe, random.Random(f"{arguments.seed} {method}"))
            kills, ends, unequal = survivor.survive(arguments.instants)
        failed += unequal
        print(f"{method}: {kills} kills, {ends} runs ended, {unequal} of them otherwise", flush=True)  # noqa: T201 (a script)
    sys.exit(bool(failed))


class Survivor:
    """A method's run that is killed again and again."""

    def __init__(self, folder: Path, method: str, recipe: list[str], instants: random.Random) -> None:
        self.folder, self.instants = folder, instants
        self.command = [sys.executable, "-m", "lorastream", "run", "digits", *recipe, "--methods", method, "--quiet"]
        self.environment = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}

    def survive(self, instants: int) -> tuple[int, int, int]:
        """Return how many kills were made, how many runs got to their end, and how many of them ended otherwise."""
        begun = time.monotonic()
        self._run("whole").wait()
        length = time.monotonic() - begun
        expected = outcome(self.folder / "whole")
        kills = ends = unequal = 0
        while kills < instants or (self.folder / "cut").exists():
            run = self._run("cut")
            if kills < instants:
                try:
                    run.wait(timeout=self.instants.uniform(0, length))
                except subprocess.TimeoutExpired:
                    run.send_signal(signal.SIGKILL)
                    kills += 1
            if run.wait() == 0:
                ends += 1
                unequal += outcome(self.folder / "cut") != expected
                shutil.rmtree(self.folder / "cut")
            elif run.returncode != -signal.SIGKILL:
                raise SystemExit(f"{' '.join(self.command)}: exit code {run.returncode}")
            elif kills >= instants and not (self.folder / "cut").exists():
                break
        return kills, ends, unequal

    def _run(self, name: str) -> subprocess.Popen[bytes]:
        out = ["--out", str(self.folder / name), "--resume"]
        return subprocess.Popen([*self.command, *out], env=self.environment, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()

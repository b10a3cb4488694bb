"""Which versions a run ran with. Imports nothing heavy: versions are read from the installed metadata."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = (
    "lorastream",
    "torch",
    "torchvision",
    "timm",
    "accelerate",
    "safetensors",
    "numpy",
    "scikit-learn",
    "transformers",
    "datasets",
)


def versions() -> dict[str, str | None]:
    """Return the versions of Python and of the packages that decide a run; None where one is not installed."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    found["commit"] = commit()
    return found


def commit() -> str | None:
    """Return the git commit of the checkout that this package is run from, with `+` where it is changed; else None."""
    here = Path(__file__).parents[1]
    try:
        inside = _git(here, "ls-files", "--error-unmatch", __file__)
        head = _git(here, "rev-parse", "--short=12", "HEAD") if inside else None
        return None if head is None else head + ("+" if _git(here, "status", "--porcelain", "--", ".") else "")
    except (OSError, subprocess.CalledProcessError, subprocess.TimeoutExpired):
        return None


def processor() -> str:
    """Return the processor's name as the system tells it."""
    return _processor_fact("model name") or platform.processor() or platform.machine()


def has_bf16_units() -> bool | None:
    """Whether the processor multiplies bfloat16 itself; without that it is many times slower than float32.

    None where the system does not tell.
    """
    flags = _processor_fact("flags")
    return None if flags is None else bool({"amx_bf16", "avx512_bf16"} & set(flags.split()))


def _processor_fact(name: str) -> str | None:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return None
    return next((line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == name), None)


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(  # noqa: S603 (our own arguments)
        ["git", "-C", str(folder), *arguments],  # noqa: S607 (git from the path, as everywhere)
        capture_output=True,
        text=True,
        check=True,
        timeout=5,
    )
    return done.stdout.strip()

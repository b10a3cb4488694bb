"""Write the installed release of every package in constraints.txt back into it; run by `make constraints`."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

FILE = Path(__file__).parent.parent / "constraints.txt"


def main() -> None:
    """Replace every pinned release by the one installed here."""
    lines = FILE.read_text("utf-8").splitlines()
    pinned = [name.partition("==")[0] for name in lines]
    fresh = [
        line if line.startswith("#") else f"{name}=={version(name)}" for name, line in zip(pinned, lines, strict=True)
    ]
    FILE.write_text("\n".join(fresh) + "\n", "utf-8")


if __name__ == "__main__":
    main()

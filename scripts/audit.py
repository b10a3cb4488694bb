"""Look every installed package up among known vulnerabilities, by pip-audit; run by `make check`.

Ends with 1 where there is one. Packages that could not be looked up are counted, and where the service cannot be
reached at all nothing fails: what was not checked is said, and is no fault of the code.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

COMMAND = ["--skip-editable", "--progress-spinner", "off", "--timeout", "10", "--format", "json"]


def verdict(said: str) -> tuple[str, int]:
    """Return what pip-audit's JSON comes to, in words, and the exit code; text that is no JSON is no answer."""
    try:
        packages: list[dict[str, Any]] = json.loads(said)["dependencies"]
    except json.JSONDecodeError:
        return "pip-audit: no answer from its service; nothing was looked up", 0
    known = [package for package in packages if "vulns" in package]
    faults = [
        f"{package['name']} {package['version']}: {fault['id']}, mended in {', '.join(fault['fix_versions']) or 'none'}"
        for package in known
        for fault in package["vulns"]
    ]
    counted = f"pip-audit: {len(known)} of {len(packages)} packages looked up, {len(faults)} known vulnerabilities"
    return "\n".join([counted, *faults]), 1 if faults else 0


def main() -> None:
    """Ask, tell and exit."""
    ask = [str(Path(sys.executable).with_name("pip-audit")), *COMMAND]
    told, code = verdict(subprocess.run(ask, capture_output=True, text=True, check=False).stdout)
    print(told)
    sys.exit(code)


if __name__ == "__main__":
    main()

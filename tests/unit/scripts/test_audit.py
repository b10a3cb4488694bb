"""A known vulnerability fails the check; what could not be looked up is counted, and told."""

from __future__ import annotations

import json

from audit import verdict

UNKNOWN = {"name": "ours", "skip_reason": "not found"}
WELL = {"name": "well", "version": "1.0", "vulns": []}
ILL = {"name": "ill", "version": "2.0", "vulns": [{"id": "CVE-1", "fix_versions": ["2.1", "3.0"]}]}


def test_a_known_vulnerability_fails() -> None:
    told, code = verdict(json.dumps({"dependencies": [UNKNOWN, WELL, ILL]}))
    assert code == 1
    assert told.splitlines() == [
        "pip-audit: 2 of 3 packages looked up, 1 known vulnerabilities",
        "ill 2.0: CVE-1, mended in 2.1, 3.0",
    ]


def test_what_could_not_be_looked_up_is_told_and_fails_nothing() -> None:
    assert verdict(json.dumps({"dependencies": [UNKNOWN, WELL]})) == (
        "pip-audit: 1 of 2 packages looked up, 0 known vulnerabilities",
        0,
    )
    assert verdict("")[1] == 0
    assert "nothing was looked up" in verdict("")[0]

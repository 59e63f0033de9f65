"""Ask the vulnerability service about every locked package.

Ends with 0 when it knows nothing against any, with 1 when it does, and with 3 when it could not
be asked about all of them, which is no clean bill: pip-audit itself ends with 0 then. With
--offline-ok as the first argument the last of these is said and forgiven.
"""

import json
import subprocess
import sys
from typing import Any

OFFLINE_OK = "--offline-ok"
CLEAN, VULNERABLE, NOT_ASKED = 0, 1, 3
SECONDS = 300


def ask(lock: str) -> list[dict[str, Any]] | None:
    """Return what the service says of each package in *lock*, None when it does not answer."""
    command = [sys.executable, "-m", "pip_audit", "--requirement", lock, "--disable-pip"]
    try:
        done = subprocess.run(  # noqa: S603  # our own arguments
            [*command, "--require-hashes", "--format", "json", "--progress-spinner", "off"],
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        found: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except (subprocess.TimeoutExpired, json.JSONDecodeError, KeyError):
        return None
    return found


def audit(lock: str) -> int:
    """Say what is known against the packages of *lock*; return the exit code."""
    answers = ask(lock)
    if answers is None:
        print(f"{lock}: NOT AUDITED, the vulnerability service does not answer.")
        return NOT_ASKED
    bad = {
        f"{each['name']} {each['version']}": each["vulns"] for each in answers if each.get("vulns")
    }
    for package, known in bad.items():
        for each in known:
            fixed = ", ".join(each["fix_versions"]) or "none yet"
            print(f"{lock}: {package} has {each['id']}, fixed in: {fixed}.")
    skipped = [each["name"] for each in answers if "skip_reason" in each]
    if skipped:
        print(
            f"{lock}: NOT AUDITED, the service does not know {len(skipped)} of {len(answers)} ",
            f"packages, such as {skipped[0]}.",
            sep="",
        )
    elif not bad:
        print(f"{lock}: nothing is known against any of {len(answers)} packages.")
    return VULNERABLE if bad else NOT_ASKED if skipped else CLEAN


def main(arguments: list[str]) -> int:
    """Audit the locks that *arguments* name."""
    forgiving = arguments[:1] == [OFFLINE_OK]
    codes = {audit(lock) for lock in arguments[forgiving:]}
    if VULNERABLE in codes:
        return VULNERABLE
    return NOT_ASKED if NOT_ASKED in codes and not forgiving else CLEAN


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

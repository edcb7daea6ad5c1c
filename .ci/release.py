"""Write the files of a release: the version, its date in CITATION.cff, and the changelog from its fragments.

    python .ci/release.py 0.2.0

Nothing is committed, tagged or sent: what to type next is printed, and stands in CONTRIBUTING.md.
"""

from __future__ import annotations

import datetime
import re
import subprocess
import sys
from pathlib import Path

from packaging.version import InvalidVersion, Version

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "captum_ext" / "__init__.py"
CITATION = ROOT / "CITATION.cff"
NEXT = """
Look at it (git diff HEAD), then:

    git commit --all --message "build: version {version}"
    make package
    git tag --annotate v{version} --message "captum-ext {version}"
    git push origin main v{version}
"""


def replaced(text: str, pattern: str, line: str) -> str:
    """The one line that fits."""
    changed, times = re.subn(pattern, line, text, flags=re.MULTILINE)
    if times != 1:
        raise SystemExit(f"{times} lines fit {pattern}, not 1")
    return changed


def checked(version: str) -> str:
    """The version, if it is one and a newer one, and the folder has nothing else in it."""
    current = re.search(r'^__version__ = "(.+)"$', PACKAGE.read_text(), flags=re.MULTILINE)
    try:
        newer = current is not None and Version(version) > Version(current[1])
    except InvalidVersion as error:
        raise SystemExit(f"{error}. Such as: make release VERSION=0.2.0") from error
    if not newer or str(Version(version)) != version or len(Version(version).release) != 3:
        raise SystemExit(f"{version} is not a version of three numbers after {current and current[1]}")
    if not list((ROOT / "changelog.d").glob("*.*.md")):
        raise SystemExit("changelog.d has nothing that changed for a user")
    changes = subprocess.run(["git", "status", "--porcelain"], cwd=ROOT, capture_output=True, text=True, check=True)
    if changes.stdout:
        raise SystemExit(f"Commit or put away first:\n{changes.stdout}")
    return version


def main(version: str) -> None:
    PACKAGE.write_text(replaced(PACKAGE.read_text(), r"^__version__ = .*$", f'__version__ = "{version}"'))
    cited = re.sub(r"^date-released: .*\n", "", CITATION.read_text(), flags=re.MULTILINE)
    today = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
    CITATION.write_text(replaced(cited, r"^version: .*$", f"version: {version}\ndate-released: {today}"))
    towncrier = [sys.executable, "-m", "towncrier", "build", "--yes", "--version", version, "--date", today]
    subprocess.run(towncrier, cwd=ROOT, check=True)
    print(NEXT.format(version=version))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("make release VERSION=0.2.0")
    main(checked(sys.argv[1]))

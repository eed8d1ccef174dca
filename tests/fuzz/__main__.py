"""`python -m tests.fuzz --count 2000 --seed 1`: damaged videos through probing, detection and sampling."""

import argparse
import sys
import tempfile
from pathlib import Path

from tests.fuzz.fuzzing import fuzz


def main() -> int:
    parser = argparse.ArgumentParser("python -m tests.fuzz", description=__doc__)
    parser.add_argument("--count", type=int, default=2000, help="files to make")
    parser.add_argument("--seed", type=int, default=1, help="the same seed makes the same files")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where everything lies; default: a temporary folder")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="fuzz-"))
    report = fuzz(options.count, options.seed, folder.absolute(), options.workers, print)
    print(report)
    if report.problems:
        print(f"the files are in {folder / 'found'}")
    return 1 if report.problems else 0


if __name__ == "__main__":
    sys.exit(main())

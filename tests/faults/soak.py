"""`make soak`: the demo's job under random faults for a given time.

Prints a table by kind: faults tried and survived, the largest loss of work in items, and the seeds that failed.
"""

import argparse
import shutil
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random

from tests.faults.bench import Tried, open_bench
from tests.faults.demo_job import DEMO
from tests.faults.faults import KINDS, OF_CHAT


def soak(seconds: float, seed: int, folder: Path) -> list[Tried]:
    """Try one random fault after another until the time is over; each has a seed of its own."""
    random = Random(seed)
    deadline = time.monotonic() + seconds
    tried: list[Tried] = []
    with open_bench(folder / "demo", DEMO) as demo, open_bench(folder / "small") as small:
        while time.monotonic() < deadline:
            kind = random.choice(list(KINDS.values()))
            bench = small if kind in OF_CHAT else demo  # which has no chat server
            tried.append(bench.attempt(kind, random.randrange(2**31), by_dagster=random.choice([True, False])))
            print(tried[-1], flush=True)
    return tried


def table(tried: Sequence[Tried]) -> str:
    by_kind: Mapping[str, list[Tried]] = defaultdict(list)
    for one in tried:
        by_kind[one.kind].append(one)
    lines = [f"{'fault':28} {'tried':>6} {'survived':>9} {'lost items':>11}  seeds that failed"]
    for kind, ones in sorted(by_kind.items()):
        failed = [str(one.seed) for one in ones if one.problems]
        lost = max(one.lost for one in ones)
        lines.append(f"{kind:28} {len(ones):6} {len(ones) - len(failed):9} {lost:11}  {' '.join(failed)}")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="reelhouse-soak-"))
    tried = soak(options.seconds, options.seed, folder)
    print(table(tried))
    if any(one.problems for one in tried):
        print(f"what failed lies in {folder}")
        return 1
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())

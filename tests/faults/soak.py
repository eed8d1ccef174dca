"""`make soak`: the demo's job, and the small one where a fault needs its servers, under random faults for a given time.

Prints a table by kind: faults tried and survived, the largest loss of work in items, and the seeds that failed.
"""

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random
from unittest.mock import patch

from tests.faults.bench import Bucket, Tried, open_bench
from tests.faults.demo_job import DEMO
from tests.faults.faults import KINDS, OF_CHAT
from tests.faults.store_faults import OF_STORE
from tests.object_store.faulty_proxy import faulty_proxy
from tests.object_store.store import environment, object_store


@contextmanager
def bucket_on_a_store() -> Iterator[Bucket]:
    with (
        object_store() as store,
        faulty_proxy(store.url) as proxy,
        patch.dict(os.environ, environment(proxy.url)),
    ):
        yield Bucket(store.make_bucket("faults"), proxy)


def soak(seconds: float, seed: int, folder: Path) -> list[Tried]:
    """Try one random fault after another until the time is over; each has a seed of its own."""
    random = Random(seed)
    deadline = time.monotonic() + seconds
    tried: list[Tried] = []
    with (
        bucket_on_a_store() as bucket,
        open_bench(folder / "demo", DEMO) as demo,
        open_bench(folder / "small") as small,
        open_bench(folder / "on-a-store", bucket=bucket) as on_a_store,
    ):
        while time.monotonic() < deadline:
            kind = random.choice(list(KINDS.values()))
            bench = on_a_store if kind in OF_STORE else small if kind in OF_CHAT else demo
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

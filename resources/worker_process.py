"""What a worker process runs: read a pickled (function, item), answer with the pickled (result or exception, Spent)."""

import os
import pickle
import resource
import signal
import struct
import sys
import threading
import time
import traceback

from resources.errors import EngineUnavailable, InputError, TransientError
from resources.spent import Spent, spent
from resources.text import one_line

_HEADER = struct.Struct("!Q")
_SAID_CHARACTERS = 300


def _answer(payload: bytes) -> bytes:
    seconds = Spent()
    try:
        with seconds.collected():
            with spent("starting"):  # imports the function's module
                function, item = pickle.loads(payload)
            result = function(item)
        return pickle.dumps((result, seconds))
    except Exception as failure:
        return pickle.dumps((_failure(failure), seconds))


def _failure(failure: Exception) -> Exception:
    """What the parent gets to see; it may not know the class of `failure`."""
    if isinstance(failure, (InputError, TransientError, EngineUnavailable)):
        return failure
    if isinstance(failure, MemoryError):
        return TransientError("needed more memory than execution.item_memory_bytes allows; raise it, or lower workers")
    if isinstance(failure, OSError):
        place = f"{failure.filename}: " if failure.filename else ""
        return TransientError(f"{place}{failure.strerror or failure}; make room or give access, then run again")
    where = traceback.extract_tb(failure.__traceback__)[-1]
    place = f"{os.path.basename(where.filename)}:{where.lineno}"
    said = one_line(str(failure), _SAID_CHARACTERS)
    return TransientError(
        f"unexpected {type(failure).__name__} at {place}: {said}; report it, with the file if you can"
    )


def _end_with(parent: int) -> None:
    """Stop in the middle of an item when the parent is gone; its death signal would go by thread, not by process."""
    while os.getppid() == parent:
        time.sleep(1)
    os.killpg(os.getpid(), signal.SIGKILL)  # with the programs it has started


def main() -> None:
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    limit = int(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # programs it starts must not read the requests
    os.dup2(2, 1)  # prints of libraries must not get between the answers
    while header := requests.read(_HEADER.size):
        (length,) = _HEADER.unpack(header)
        answer = _answer(requests.read(length))
        answers.write(_HEADER.pack(len(answer)) + answer)
        answers.flush()


if __name__ == "__main__":
    main()

"""Where networks run and in which precision, by the names that settings use."""

import os
import sys
from typing import Any

from resources.errors import EngineUnavailable
from resources.packages import package_version
from resources.workers import available_cores

_DATA_TYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
_BATCH_ON_GPU = 64


def require_device(name: str, setting: str) -> None:
    """Raises EngineUnavailable where the device that `name` means isn't there; torch is imported for a GPU alone."""
    package_version("torch")
    if name.startswith("cuda"):
        import torch

        if int(name.partition(":")[2] or 0) >= torch.cuda.device_count():
            raise _not_there(name, setting)


def open_device(name: str, setting: str) -> Any:
    """The `torch.device` that `name` means: `auto` is the first GPU where there is one, else the CPU, on all cores.

    Raises EngineUnavailable, naming `setting`, for a device that isn't there.
    """
    # Threads that spin between two layers take the cores from the workers that prepare the next batch.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    import torch

    torch.set_num_threads(available_cores())
    # TF32, cuDNN's default, keeps 10 bits of mantissa, so fp32's figures would move; no engine has the flags alone
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError):
        raise _not_there(name, setting) from None
    return device


def _not_there(name: str, setting: str) -> EngineUnavailable:
    import torch

    there = ["cpu", *(f"cuda:{n}" for n in range(torch.cuda.device_count()))]
    return EngineUnavailable(
        f"{setting}.device: {name} can't be used; this torch sees {', '.join(there)}: use one of them or auto"
    )


def moved(network: Any, device: Any, setting: str) -> Any:
    """The network with its weights on the device. Raises EngineUnavailable where they don't fit in its memory."""
    import torch

    try:
        return network.to(device)
    except torch.OutOfMemoryError:
        raise EngineUnavailable(
            f"{setting}.device: {device} has no room for the weights; free it, or use another device or cpu"
        ) from None


def data_type(precision: str) -> Any:
    """The `torch.dtype` of fp32, bf16 or fp16."""
    import torch

    return getattr(torch, _DATA_TYPES[precision])


def at_precision(revision: str, precision: str) -> str:
    """A revision of weights as rows hold it: with the precision they run in, where it isn't their own."""
    return revision if precision == "fp32" else f"{revision} {precision}"


def batch_size(asked: int, device: Any) -> int:
    """Frames a forward pass: as `asked`, or for 0 what suits the device.

    On a CPU that is one: more gains little there, and figures then don't depend on what else is in the batch.
    """
    return asked or (1 if device.type == "cpu" else _BATCH_ON_GPU)


def release_memory() -> None:
    """Give back to the machine what networks that nobody holds any more took of a GPU."""
    torch = sys.modules.get("torch")
    if torch and torch.cuda.is_initialized():
        torch.cuda.empty_cache()

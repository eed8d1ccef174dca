"""For a torchvision built for another torch: declares the operators whose absence makes its import fail.

PyPI has torchvision for CUDA only; beside a CPU build of torch its compiled part doesn't load. What a processor of
pictures needs of it is Python. Installed with a .pth file, which imports this module at the start of every process.
"""

import sys
from importlib.abc import MetaPathFinder
from typing import Any

_declared: list[Any] = []  # the declarations live as long as the library object


class _BeforeTorchvision(MetaPathFinder):
    def find_spec(self, name: str, path: Any, target: Any = None) -> None:
        if name == "torchvision" and not _declared:
            import torch

            library = torch.library.Library("torchvision", "FRAGMENT")
            for operator in ("nms", "qnms"):
                library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
            _declared.append(library)


sys.meta_path.insert(0, _BeforeTorchvision())

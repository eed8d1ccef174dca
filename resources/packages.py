"""Model weights and data files that ship inside installed packages; found without importing them."""

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from resources.errors import EngineUnavailable


def package_version(package: str) -> str:
    """The version of an installed package. Raises EngineUnavailable when it isn't installed."""
    try:
        return distribution(package).version
    except PackageNotFoundError:
        raise EngineUnavailable(f"the package {package} isn't installed; run `make setup`") from None


def package_file(package: str, name: str) -> Path:
    """The file called `name` of an installed package.

    Raises EngineUnavailable when the package isn't installed or its file is missing.
    """
    version = package_version(package)
    for file in distribution(package).files or ():
        path = Path(str(file.locate()))
        if path.name == name and path.is_file():
            return path
    raise EngineUnavailable(f"the package {package} {version} has no file {name}; run `make setup` to install it again")

"""One local object store for all tests, reached through a proxy that can fail; a bucket of its own for each test."""

from collections.abc import Iterator
from itertools import count

import pytest

from tests.object_store.faulty_proxy import Fault, Proxy, faulty_proxy
from tests.object_store.store import ObjectStore, environment, object_store

_numbers = count()


@pytest.fixture(scope="session")
def store() -> Iterator[ObjectStore]:
    with object_store() as started:
        yield started


@pytest.fixture(scope="session")
def one_proxy(store: ObjectStore) -> Iterator[Proxy]:
    """One for the whole session, since clients and worker processes keep the address they have started with."""
    with faulty_proxy(store.url) as started:
        yield started


@pytest.fixture(scope="session")
def elsewhere() -> Iterator[Proxy]:
    """Where requests to any other host end up, and are refused: clients are told that it is the way out."""
    with faulty_proxy("http://127.0.0.1:9") as started:
        started.fault = lambda method, path: Fault(refuse=True)
        yield started


@pytest.fixture
def proxy(one_proxy: Proxy, elsewhere: Proxy, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """The environment leads to the store, without faults at first."""
    one_proxy.fault = None
    one_proxy.requests.clear()
    for name, value in environment(one_proxy.url, elsewhere.url).items():
        monkeypatch.setenv(name, value)
    yield one_proxy
    one_proxy.fault = None


@pytest.fixture
def bucket(store: ObjectStore, proxy: Proxy) -> str:
    """Its URL."""
    return store.make_bucket(f"bucket-{next(_numbers)}")

"""What holds for every test and doctest: no cache of the user's is touched, no data set of the user's is found."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

os.environ["LIKELIER_CACHE"] = tempfile.mkdtemp(prefix="likelier-tests-")
os.environ["KERAS_HOME"] = str(Path(os.environ["LIKELIER_CACHE"]) / "keras")
DATA_ROOT = os.environ.pop("LIKELIER_DATA", os.environ.get("LIKELIER_TESTED_DATA"))
if DATA_ROOT is not None:
    os.environ["LIKELIER_TESTED_DATA"] = DATA_ROOT  # for the processes that pytest-xdist starts from this one


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder with the real mnist/ and fashion-mnist/, for the few tests that need them."""
    if DATA_ROOT is None:
        pytest.skip("LIKELIER_DATA is not set: it names the folder that holds mnist/ and fashion-mnist/")
    return Path(DATA_ROOT)


def pytest_unconfigure() -> None:
    """The cache goes with the session."""
    shutil.rmtree(os.environ["LIKELIER_CACHE"], ignore_errors=True)

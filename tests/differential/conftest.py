"""Fixtures of the differential tests: the same file read by Compose, or by supervisord, and by cohabit.

Without root, or without a root file system for Compose, they are skipped with the reason; with CI=true they fail.
"""

import os

import pytest

from differential.oracle import Compose, NoOracleError, found_or_made


@pytest.hookimpl(tryfirst=True)  # pytest-xdist reads the group in the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test against Compose with `compose`; one test process runs all of them, with one root."""
    here = os.path.dirname(os.path.abspath(__file__))
    for item in items:
        if str(item.path).startswith(here + os.sep) and not item.path.name.startswith("test_supervisord"):
            item.add_marker(pytest.mark.compose)
            item.add_marker(pytest.mark.xdist_group("compose"))


@pytest.fixture(scope="session")
def compose() -> Compose:
    """Give Compose."""
    try:
        return found_or_made()
    except NoOracleError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI=true and Compose cannot run: {error}", pytrace=False)
        pytest.skip(f"differential tests skipped: {error}")

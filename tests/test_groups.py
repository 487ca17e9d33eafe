"""Groups of tests: `make test` runs those of a group in one process, one after another."""

import pytest


@pytest.mark.xdist_group("group")
def test_groups_are_kept(request: pytest.FixtureRequest) -> None:
    """pytest 9.2 with xdist 3.8 passes over groups without a word."""
    if not getattr(request.config.option, "loadgroup", False):
        pytest.skip("one process, or another way to share the tests out")
    assert request.node.nodeid.endswith("@group")

"""Host B inside the embedded host, shared by the tests of a file."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kvmlab import Lab, open_lab
from kvmlab.hosts import Host
from tests.migration.host_state import state_of


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Yield an embedded host of this file's own: a VM that has migrated is another process."""
    with open_lab("embedded", out=tmp_path_factory.mktemp("results")) as opened:
        yield opened


@pytest.fixture(scope="module")
def there(lab: Lab) -> Iterator[Host]:
    """Host B for the tests of a file; the lab's host is then as it was."""
    _ = lab.vm
    before = state_of(lab.host)
    with lab.second_host(with_vfs=True) as host:
        yield host
    assert state_of(lab.host) == before

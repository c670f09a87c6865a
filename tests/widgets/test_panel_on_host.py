"""The panel when its host dies under it: a sentence in the panel, and what was measured stays."""

from __future__ import annotations

import os
import signal

import pytest

from kvmlab import open_lab

pytestmark = pytest.mark.host


def test_a_host_that_died_is_told_in_the_panel_and_results_stay() -> None:
    with open_lab(progress=lambda text: None) as lab:
        panel = lab.path_panel(model="virtio-vhost")
        pid = lab.host.emulator_pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        for _ in range(2):
            panel.button.click()
            assert "embedded host" in panel.said
            assert "Traceback" not in panel.said
            assert not panel.button.disabled
        assert [result.scheme for result in panel.results] == ["virtio-vhost"]

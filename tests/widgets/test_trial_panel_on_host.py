"""The trial panel when its host dies: a sentence in the panel, and the results stay."""

from __future__ import annotations

import os
import signal

import pytest

from kvmlab import open_lab

pytestmark = pytest.mark.host


def test_a_host_that_died_is_shown_in_the_panel_and_results_stay() -> None:
    with open_lab(progress=lambda text: None) as lab:
        panel = lab.path_panel(model="virtio-vhost")
        pid = lab.host.emulator_pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        for _ in range(2):
            panel.button.click()
            assert "embedded host" in panel.message
            assert "Traceback" not in panel.message
            assert not panel.button.disabled
        assert [result.scheme for result in panel.results] == ["virtio-vhost"]

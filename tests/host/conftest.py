"""Fixtures of the host's stages: their workers' work in this process, where it needs no half second to start."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace

import pytest

from yolact_ascend import workers

STAGES = ("yolact_ascend.host.preprocess.open_workers", "yolact_ascend.host.postprocess.open_workers")


@pytest.fixture
def opened(monkeypatch):
    """Do the workers' work in this process; the numbers of workers that were asked for."""
    opened = []

    @contextlib.contextmanager
    def open_none(count, start=None, *arguments):
        opened.append(count)
        if start is not None:
            start(*arguments)
        yield SimpleNamespace(map=lambda work, items, together: map(work, items))

    for name in STAGES:
        monkeypatch.setattr(name, open_none)
    return opened


@pytest.fixture
def real_workers(opened, monkeypatch):
    for name in STAGES:
        monkeypatch.setattr(name, workers.open_workers)

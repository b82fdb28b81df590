"""Scores of a table's models, each computed once: an interrupted search resumes with the scores that it has."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, Protocol

import onnx

from yolact_ascend.compression.qdq import qdq_model
from yolact_ascend.compression.table import Table
from yolact_ascend.errors import ArtifactError
from yolact_ascend.files import digest, path_in_memory, read_json, write_json


class Score(Protocol):
    """Gives the mAP, in percent, of a model file on the held-out images; `key` identifies these."""

    key: str

    def __call__(self, path: Path) -> float: ...


class Trials:
    """Scores models of a table; `progress` is the file that keeps scores, `key` what they depend on beside images."""

    def __init__(self, table: Table, score: Score, float_model: Path, progress: Path, key: str) -> None:
        self._table, self._score, self._float_model = table, score, float_model
        self._progress, self._key = progress, digest([key, score.key])
        self._scores = _read_scores(progress, self._key)

    def score_float(self) -> float:
        """Return the score of the float model."""
        return self._once("float32", lambda: self._score(self._float_model))

    def score(self, method: str, kept: Collection[str]) -> float:
        """Return the score of the model with these layers in float32."""
        return self._once(digest([method, sorted(kept)]), lambda: self._score_quantized(method, kept))

    def _score_quantized(self, method: str, kept: Collection[str]) -> float:
        with path_in_memory("trial.onnx") as path:
            onnx.save(qdq_model(self._table.model, self._table.quantized(method, kept)), path)
            return self._score(path)

    def _once(self, name: str, compute: Callable[[], float]) -> float:
        if name not in self._scores:
            self._scores[name] = compute()
            write_json(self._progress, {"key": self._key, "scores": self._scores})
        return self._scores[name]


def _read_scores(progress: Path, key: str) -> dict[str, float]:
    try:
        found: Any = read_json(progress, "scores of an interrupted quantisation")
        return dict(found["scores"]) if found["key"] == key else {}
    except (ArtifactError, TypeError, KeyError, ValueError):
        return {}

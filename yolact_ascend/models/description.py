"""What a model states about itself: all that running it needs, as one value that export writes into the ONNX.

Side-cars and OpenVINO's rt_info carry the same JSON. The config is in it as a value, so that a model of a config that
this version does not list runs, too.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from yolact_ascend.errors import ArtifactError, show_value
from yolact_ascend.files import as_json, parse_json
from yolact_ascend.models.config_json import config_to_json, read_config_value
from yolact_ascend.models.description_fields import BadField, Fields
from yolact_ascend.models.families import cut_outputs, family_of
from yolact_ascend.models.values import ModelConfig

SCHEMA = 1
KEY = "yolact_ascend"  # of the ONNX metadata
EXPORT_AGAIN = "Export the model again (export, pth2onnx.py)."


@dataclass(frozen=True)
class HostPart:
    """The part of the network that the host runs behind a cut, an ONNX file beside the model."""

    file: str  # its name, without a folder
    sha256: str


@dataclass(frozen=True)
class Description:
    """What running a model needs, and what it was made from."""

    config: ModelConfig  # with the classes of the weights
    cut: str
    weights_sha256: str  # of the .pth
    network: str  # "yolact_ascend", or which upstream checkout
    producer: str  # the program that exported it, and its version
    host_part: HostPart | None  # None: the device runs the whole network


def to_json(description: Description) -> dict[str, Any]:
    """Return a description as JSON has it; `from_json` reads it."""
    part = description.host_part
    value = {
        "schema": SCHEMA,
        "config": config_to_json(description.config),
        "cut": description.cut,
        "weights_sha256": description.weights_sha256,
        "network": description.network,
        "producer": description.producer,
        "host_part": None if part is None else dataclasses.asdict(part),
    }
    return as_json(value)  # lists in place of tuples


def parse_description(text: str, source: str, remedy: str = EXPORT_AGAIN) -> Description:
    """Return the description that a JSON text holds; raises ArtifactError like `from_json`."""
    try:
        value = parse_json(text)
    except ValueError as error:
        raise ArtifactError(f"The description in {source} is damaged: {error}. {remedy}") from error
    return from_json(value, source, remedy)


def from_json(value: Any, source: str, remedy: str = EXPORT_AGAIN) -> Description:
    """Return the description that a JSON value holds; `source` names the file for messages, `remedy` what to do.

    Raises ArtifactError when it is of another schema, or a field is not what `to_json` writes.
    """
    schema = value.get("schema") if isinstance(value, dict) else None
    if type(schema) is int and schema > SCHEMA:
        raise ArtifactError(
            f"The description in {source} has schema {schema}, expected {SCHEMA}: a newer yolact-ascend made this "
            f"model ({show_value(value.get('producer'))}). Install that version, or export the model again with this "
            "one (export, pth2onnx.py)."
        )
    try:
        return _read(value)
    except BadField as error:
        raise ArtifactError(f"The description in {source} is damaged: {error}. {remedy}") from error


def _read(value: Any) -> Description:
    fields = Fields(value, "the description")
    schema = fields.whole("schema")
    if schema != SCHEMA:
        raise BadField(f'"schema" is {schema}, expected {SCHEMA}')
    config = read_config_value(fields.inner("config"))
    cut = fields.word("cut", family_of(config).cuts)
    try:
        cut_outputs(config, cut)
    except ValueError as error:  # an input that the family does not have
        raise BadField(str(error)) from error
    weights, network, producer = fields.sha256("weights_sha256"), fields.text("network"), fields.text("producer")
    part = fields.inner("host_part") if fields.raw("host_part") is not None else None
    if (part is not None) != family_of(config).has_host_part(cut):
        expected = "a file and its sha256" if part is None else "null"
        raise BadField(f'"host_part" is {show_value(fields.raw("host_part"))}, expected {expected} for cut {cut}')
    host_part = None if part is None else HostPart(part.file_name("file"), part.sha256("sha256"))
    for each in (fields, part):
        if each is not None:
            each.require_no_others()
    return Description(config, cut, weights, network, producer, host_part)

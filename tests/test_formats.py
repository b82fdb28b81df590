"""Published formats: schemas and page agree with the code, spoiled files are refused, and older files are understood.

What the verbs write is held to the schemas wherever the tests read it: `formats.require_valid`. The files in captured/
were written by the last version before side-cars had schema 6 (commit 1b5c532), in a run of the demo.
"""

import copy
import importlib.util
import json

import pytest
from factories import CHECKOUT
from formats import SCHEMAS, require_valid, validator
from jsonschema import Draft202012Validator

from yolact_ascend.analysis import verdict
from yolact_ascend.compression import quantized
from yolact_ascend.errors import ArtifactError, NotDescribedError
from yolact_ascend.files import write_json
from yolact_ascend.host import pack, predict
from yolact_ascend.models import description
from yolact_ascend.models.config import CONFIGS, DEMO_CONFIG
from yolact_ascend.models.description import Description, HostPart, to_json
from yolact_ascend.models.families import default_cut, family_of
from yolact_ascend.pipeline.records import Records
from yolact_ascend.report import report
from yolact_ascend.targets import compiled
from yolact_ascend.targets.compiled import read_sidecar
from yolact_ascend.targets.folder import WorkFolder, sidecar_file

CAPTURED = CHECKOUT / "tests" / "captured"
SHA256 = "0" * 64
VERSIONS = {
    "report": ("schema_version", report.SCHEMA_VERSION),
    "detections": ("schema_version", predict.SCHEMA_VERSION),
    "video": ("schema_version", predict.SCHEMA_VERSION),
    "live": ("schema_version", predict.SCHEMA_VERSION),
    "verify": ("schema_version", verdict.SCHEMA_VERSION),
    "plan": ("schema", 1),  # of scale/plan.py, which needs pyarrow: tests/scale holds it to that
    "pack": ("schema", pack.SCHEMA),
    "sidecar": ("schema", compiled.SCHEMA),
    "description": ("schema", description.SCHEMA),
    "int8": ("schema", quantized.SCHEMA),
}


def load_tables():
    spec = importlib.util.spec_from_file_location("format_tables", CHECKOUT / "scripts" / "format_tables.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def captured(name):
    return json.loads((CAPTURED / name).read_text())


def described():
    """A description as the export writes it, for each config."""
    part = HostPart("m_heads.onnx", SHA256)
    described = []
    for config in CONFIGS.values():
        cut = default_cut(config)
        host_part = part if family_of(config).has_host_part(cut) else None
        described.append(to_json(Description(config, cut, SHA256, "yolact_ascend", "yolact-ascend 0", host_part)))
    return described


def sidecar():
    """The captured side-car with what schema 6 added."""
    demo = Description(
        CONFIGS[DEMO_CONFIG], "fpn", SHA256, "yolact_ascend", "yolact-ascend 0", HostPart("h.onnx", SHA256)
    )
    return {**captured("sidecar_schema_5.json"), "schema": 6, "description": to_json(demo)}


def test_every_schema_has_the_version_that_the_code_writes():
    stated = {}
    for name, schema in SCHEMAS.items():
        Draft202012Validator.check_schema(schema)
        key = VERSIONS[name][0]
        stated[name] = (key, schema["properties"][key]["const"])
        assert schema["$id"] == f"urn:yolact-ascend:{name}:{stated[name][1]}"
    assert stated == VERSIONS


def test_the_page_has_every_key_of_the_schemas():
    """If this fails: .venv/bin/python scripts/format_tables.py"""
    tables = load_tables()
    assert set(tables.ORDER) == set(SCHEMAS)
    assert tables.page() == tables.PAGE.read_text()


@pytest.mark.parametrize("value", described(), ids=list(CONFIGS))
def test_a_description_of_every_config_fits(value):
    require_valid(value, "description")


def set_to(*path, value):
    def spoil(file):
        for key in path[:-1]:
            file = file[key]
        file[path[-1]] = value

    return spoil


def without(*path):
    def spoil(file):
        for key in path[:-1]:
            file = file[key]
        del file[path[-1]]

    return spoil


@pytest.mark.parametrize(
    ("name", "spoil", "said"),
    [
        ("report", set_to("schema_version", value=2), r"\$\.schema_version: 1 was expected"),
        ("report", without("results", 0, "batches"), r"\$\.results\[0\]: 'batches' is a required property"),
        ("report", set_to("results", value=[]), r"\$\.results: \[\] should be non-empty"),
        ("report", set_to("results", 0, "mask", "all", value=-1), r"\$\.results\[0\]\.mask\.all: -1 is less than"),
        ("report", set_to("results", 0, "mask", "all", value="64.4"), r"mask\.all: '64\.4' is not of type"),
        (
            "report",
            set_to("results", 0, "mAP", value=1),
            r"\$\.results\[0\]: Additional properties .*'mAP'",
        ),
        ("report", set_to("mode", value="fast"), r"\$\.mode: 'fast' is not one of \['full', 'perf'\]"),
        ("report", set_to("model", "weights_sha256", value="5ef"), r"\$\.model\.weights_sha256: '5ef' does not match"),
        ("sidecar", set_to("schema", value=5), r"\$\.schema: 6 was expected"),
        ("sidecar", set_to("batch_size", value=0), r"\$\.batch_size: 0 is less than"),
        ("sidecar", without("description", "cut"), r"\$\.description: 'cut' is a required property"),
        (
            "sidecar",
            set_to("description", "config", "classes", value=8),
            r"\$\.description\.config: Additional prop",
        ),
    ],
)
def test_a_spoiled_file_does_not_fit(name, spoil, said):
    value = {"report": captured("report_version_1.json"), "sidecar": sidecar()}[name]
    require_valid(value, name)
    spoiled = copy.deepcopy(value)
    spoil(spoiled)
    with pytest.raises(AssertionError, match=said):
        require_valid(spoiled, name)


def test_a_reader_of_today_takes_the_keys_of_tomorrow():
    """In a report, keys may be added; in a description, which running depends on, unknown ones are refused."""
    value = captured("report_version_1.json")
    value["results"][0]["energy_j"] = 1.5
    validator("report", is_closed=False).validate(value)
    value = sidecar()
    value["description"]["tiling"] = 2
    assert not validator("sidecar", is_closed=False).is_valid(value)


@pytest.mark.parametrize(
    ("schema", "error", "said"),
    [
        (5, NotDescribedError, "has schema 5, expected 6. Compile it again: from=compile force=compile."),
        (7, ArtifactError, "has schema 7, expected 6: a newer yolact-ascend compiled this model. Install that version"),
    ],
)
def test_a_side_car_of_another_version_is_named_with_the_remedy(tmp_path, schema, error, said):
    model = tmp_path / "yolact_edge_bs8.om"
    write_json(sidecar_file(model), {**captured("sidecar_schema_5.json"), "schema": schema})
    with pytest.raises(ArtifactError) as caught:
        read_sidecar(model)
    assert type(caught.value) is error and said in str(caught.value)


def test_a_model_compiled_by_an_older_version_is_compiled_again(tmp_path):
    """By its record: of all that the step depended on, only the side-car's schema is another."""
    records = Records(WorkFolder(tmp_path))
    (tmp_path / ".stages").mkdir()
    write_json(tmp_path / ".stages" / "compile_bs8.json", captured("record_of_compile_schema_5.json"))
    inputs = captured("record_of_compile_schema_5.json")["inputs"]
    now = {**inputs, "sidecar_schema": compiled.SCHEMA}
    assert records.why_stale("compile bs8", now) == "changed: sidecar_schema"
    assert records.why_stale("compile bs8", inputs) == "yolact_edge_bs8.om is missing"  # the record itself is read

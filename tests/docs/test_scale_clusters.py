"""The manifests of docs/scale.md, against what Kubernetes, KubeRay and the Ascend device plugin take."""

import json
import re
import shlex

import pytest
import yaml
from factories import CHECKOUT

from yolact_ascend.cli.main import parse_arguments

TEXT = (CHECKOUT / "docs" / "scale.md").read_text()
MANIFESTS = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)]
CONTAINER = {"name": str, "image": str, "command": list, "args": list, "resources": dict}
# Fields with their types, as far as they are used here, by path; [] is an entry of a list. Of a RayCluster and of pods:
# ray-project/kuberay @ feeaf72, ray-operator/config/crd/bases/ray.io_rayclusters.yaml, version v1, where minReplicas
# and maxReplicas have defaults. Of a Job: kubernetes/website, examples/application/job/indexed-job-vol.yaml (1.30).
POD = {"": {"spec": dict}, ".spec": {"containers": list, "restartPolicy": str}, ".spec.containers[]": CONTAINER}
GROUP = {"rayStartParams": dict, "template": dict}
FIELDS = {
    "Job": {
        "": {"apiVersion": str, "kind": str, "metadata": dict, "spec": dict},
        ".spec": {"completions": int, "parallelism": int, "completionMode": str, "template": dict},
        **{f".spec.template{path}": fields for path, fields in POD.items()},
    },
    "RayCluster": {
        "": {"apiVersion": str, "kind": str, "metadata": dict, "spec": dict},
        ".spec": {"rayVersion": str, "headGroupSpec": dict, "workerGroupSpecs": list},
        ".spec.headGroupSpec": GROUP,
        ".spec.workerGroupSpecs[]": {"groupName": str, "replicas": int, **GROUP},
        **{
            f".spec.{group}.template{path}": f
            for path, f in POD.items()
            for group in ("headGroupSpec", "workerGroupSpecs[]")
        },
    },
}
VERSIONS = {"Job": "batch/v1", "RayCluster": "ray.io/v1"}
# Names of chips on servers whose cards are all alike: MindCluster 7.3.0, "Preparation of Job YAML Files", table 2.
CHIPS = {"huawei.com/Ascend310", "huawei.com/Ascend310P", "huawei.com/Ascend910"}


def values_of(value, path=""):
    """Each object of a manifest, with its path."""
    if isinstance(value, dict):
        yield path, value
        for key, below in value.items():
            yield from values_of(below, f"{path}.{key}")
    elif isinstance(value, list):
        for below in value:
            yield from values_of(below, f"{path}[]")


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda manifest: manifest["kind"])
def test_each_field_is_known_and_of_its_type(manifest):
    known = FIELDS[manifest["kind"]]
    assert manifest["apiVersion"] == VERSIONS[manifest["kind"]]
    objects = dict(values_of(manifest))
    assert set(known) <= set(objects)
    for path, fields in known.items():
        assert {key: type(value) for key, value in objects[path].items()}.items() <= fields.items(), path


def test_each_pod_of_a_job_does_its_share():
    """JOB_COMPLETION_INDEX counts from 0: kubernetes.io/docs/concepts/workloads/controllers/job, "Completion mode"."""
    spec = MANIFESTS[0]["spec"]
    (container,) = spec["template"]["spec"]["containers"]
    (line,) = container["args"]
    index = spec["completions"] - 1
    words = shlex.split(line.replace("$JOB_COMPLETION_INDEX", str(index)))
    assert words[:3] == ["python", "-m", "yolact_ascend"] and spec["completionMode"] == "Indexed"
    assert parse_arguments(words[3:]).shard == (index, spec["completions"])
    assert spec["parallelism"] <= spec["completions"] and spec["template"]["spec"]["restartPolicy"] == "OnFailure"
    assert set(container["resources"]["limits"]) <= CHIPS


def test_ray_gets_as_many_cards_as_the_pod():
    """KubeRay writes ` --KEY=VALUE ` into a command of bash: ray-operator/controllers/ray/common/pod.go @ feeaf72."""
    spec = MANIFESTS[1]["spec"]
    (workers,) = spec["workerGroupSpecs"]
    limits = workers["template"]["spec"]["containers"][0]["resources"]["limits"]
    (chip,) = CHIPS & set(limits)
    (flag,) = shlex.split(f" --resources={workers['rayStartParams']['resources']} ")
    assert json.loads(flag.partition("=")[2]) == {"NPU": limits[chip]}
    assert shlex.split(spec["headGroupSpec"]["rayStartParams"]["num-cpus"]) == ["0"]
    assert f"ray=={spec['rayVersion']};" in (CHECKOUT / "requirements-cluster.txt").read_text()

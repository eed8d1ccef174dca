"""The Jobs that dagster-k8s makes of our definitions: for every step and for a run, with CPUs and with GPUs."""

import base64
import json
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import kubernetes_validate
import pytest
from dagster import DagsterInstance
from dagster._core.launcher import LaunchRunContext
from kubernetes.utils.quantity import parse_quantity

from curation_assets.definitions import build_definitions
from curation_assets.engines import GPU
from curation_assets.orchestration.kubernetes import SHARD_LABEL, label_value
from curation_assets.settings import Pod, Settings, SettingsError, Steps, load_settings, parse_settings
from tests.kubernetes import chart
from tests.kubernetes.admission import invalid_fields, undecodable
from tests.kubernetes.run_pod import CPU_IMAGE, SHARD, Object, Server, instance_of, run_pod

GPU_IMAGE = "reelhouse-gpu:test"
SECRET = "hidden-from-every-job"
SECRETS = ("DAGSTER_PG_PASSWORD", "AWS_SECRET_ACCESS_KEY", "VLLM_API_KEY", "OPENAI_API_KEY")
SERVERS = ("1.33", "1.37")
WAIT_FOR_A_NODE_S = 30 * 60
TTL_S = range(10 * 60, 24 * 3600)  # longer than a slow exit takes; a day's Jobs don't pile up
ON_TWO_GPUS = {
    "cpu": 2.5,
    "memory": "80Gi",
    "gpus": 2,
    "gpu_kind": "NVIDIA-H100-80GB-HBM3",
    "node_selector": {"reelhouse/pool": "gpu"},
    "tolerations": [{"key": "spot", "value": "true", "effect": "NoSchedule"}, {"key": "dedicated"}],
    "runtime_class": "nvidia",
    "shared_memory": "16Gi",
    "time_limit_s": 7200,
}
SETTINGS = {
    "cpu": Settings(),
    "gpu": load_settings(str(chart.FOLDER / "curation.yaml")),
    "everything": parse_settings(
        {
            "duplicates": {"kinds": ["exact", "perceptual"]},
            "captions": {"engine": "chat", "chat": {"base_url": f"http://user:{SECRET}@vllm/v1", "model": "m"}},
            "kubernetes": {
                "gpu_image": GPU_IMAGE,
                "service_account": "without-rights",
                "steps": {"captions": ON_TWO_GPUS},
            },
        },
        "everything.yaml",
    ),
}


@dataclass(frozen=True)
class Jobs:
    """Of a run and of each step, whose pool is known."""

    settings: Settings
    run: Object
    steps: Mapping[str, Object]
    pools: Mapping[str, str | None]

    def all(self) -> list[Object]:
        return [self.run, *self.steps.values()]


@pytest.fixture(scope="module", params=SETTINGS)
def jobs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jobs]:
    folder = tmp_path_factory.mktemp("instance")
    secrets = {**dict.fromkeys(SECRETS, SECRET), "RECORDS": str(folder / SECRET)}
    with instance_of(folder, secrets) as instance:
        yield built(SETTINGS[request.param], instance)


def built(settings: Settings, instance: DagsterInstance) -> Jobs:
    repository = build_definitions(settings, "/home").get_repository_def()
    steps: dict[str, Object] = {}
    pools: dict[str, str | None] = {}
    for job in (repository.get_implicit_global_asset_job_def(), repository.get_job("maintenance")):
        server = Server()
        pod = run_pod(job, instance, server)
        for step in pod.steps:
            list(pod.handler.launch_step(step))
        steps |= {sent["metadata"]["labels"]["dagster/op"]: sent for sent in server.jobs}
        pools |= {node.name: node.definition.pool for node in job.nodes}
    server = Server()
    instance.run_launcher._api_client = server.client()  # type: ignore[attr-defined]
    instance.run_launcher.launch_run(LaunchRunContext(pod.run, workspace=None))
    (of_run,) = server.jobs
    return Jobs(settings, of_run, steps, pools)


def pod_of(job: Object) -> Object:
    return dict(job["spec"]["template"]["spec"])


def container_of(job: Object) -> Object:
    (container,) = pod_of(job)["containers"]
    return dict(container)


def resources_of(job: Object) -> Object:
    return dict(container_of(job)["resources"])


def test_every_step_has_its_settings(jobs: Jobs) -> None:
    off = set() if jobs.settings.duplicates.kinds else {"clip_hashes", "clip_neighbours", "duplicates"}
    off |= set() if jobs.settings.crop.is_on else {"clip_crops"}
    off |= {f"{slot}_scores" for slot in ("safety", "watermark") if not getattr(jobs.settings, slot).engines}
    assert jobs.steps.keys() == Steps.model_fields.keys() - off


@pytest.mark.parametrize("version", SERVERS)
def test_servers_take_them(jobs: Jobs, version: str) -> None:
    for job in jobs.all():
        kubernetes_validate.validate(job, version, strict=True)
        assert not undecodable(job)
        assert not invalid_fields(job)


def test_none_is_started_again_by_kubernetes_or_stays_for_good(jobs: Jobs) -> None:
    for job in jobs.all():
        assert pod_of(job)["restartPolicy"] == "Never"
        assert job["spec"]["backoffLimit"] == 0
        assert job["spec"]["ttlSecondsAfterFinished"] in TTL_S


def test_a_step_ends_some_time_but_may_wait_for_a_node_and_a_run_may_wait_for_its_steps(jobs: Jobs) -> None:
    for job in jobs.steps.values():
        assert job["spec"]["activeDeadlineSeconds"] >= 2 * WAIT_FOR_A_NODE_S
    assert "activeDeadlineSeconds" not in jobs.run["spec"]


def test_the_pods_of_a_shard_can_be_found(jobs: Jobs) -> None:
    for job in jobs.all():
        for labels in (job["metadata"]["labels"], job["spec"]["template"]["metadata"]["labels"]):
            assert labels[SHARD_LABEL] == SHARD


def test_a_step_gets_what_its_settings_say_and_nothing_of_the_runs(jobs: Jobs) -> None:
    for step, job in jobs.steps.items():
        pod: Pod = getattr(jobs.settings.kubernetes.steps, step)
        resources = resources_of(job)
        assert resources["requests"] == resources["limits"]
        figures = {name: parse_quantity(amount) for name, amount in resources["limits"].items()}
        assert figures.pop("nvidia.com/gpu", 0) == (jobs.pools[step] == GPU if pod.gpus is None else pod.gpus)
        expected = {"cpu": pod.cpu, "memory": parse_quantity(pod.memory), "ephemeral-storage": parse_quantity(pod.disk)}
        assert figures == expected


def test_steps_with_a_gpu_go_where_one_is_with_the_image_for_it(jobs: Jobs) -> None:
    for step, job in jobs.steps.items():
        gpus = resources_of(job)["limits"].get("nvidia.com/gpu", "0")
        tolerated = [toleration["key"] for toleration in pod_of(job).get("tolerations", [])]
        assert gpus.isdecimal()
        assert ("nvidia.com/gpu" in tolerated) == (gpus != "0")
        image = jobs.settings.kubernetes.gpu_image if gpus != "0" else None
        assert container_of(job)["image"] == (image or CPU_IMAGE), step


def test_no_secret_is_in_a_job(jobs: Jobs) -> None:
    for job in jobs.all():
        compressed = [v["value"] for v in container_of(job)["env"] if v["name"].startswith("DAGSTER_COMPRESSED_")]
        texts = [json.dumps(job), *(zlib.decompress(base64.b64decode(value)).decode() for value in compressed)]
        assert len(compressed) == (job is not jobs.run)
        assert any("env: RECORDS" in text for text in texts), "the instance goes along, by the name of its secret"
        assert not any(SECRET in text for text in texts)


@pytest.mark.parametrize("jobs", ["everything"], indirect=True)
def test_all_that_can_be_set_of_a_pod_is_in_its_job(jobs: Jobs) -> None:
    captions = jobs.steps["captions"]
    pod, container = pod_of(captions), container_of(captions)

    assert resources_of(captions)["limits"] == {
        "cpu": "2.5",
        "memory": "80Gi",
        "ephemeral-storage": "10Gi",
        "nvidia.com/gpu": "2",
    }
    assert pod["nodeSelector"] == {"reelhouse/pool": "gpu", "nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"}
    assert pod["tolerations"] == [
        {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"},
        {"key": "spot", "operator": "Equal", "value": "true", "effect": "NoSchedule"},
        {"key": "dedicated", "operator": "Exists"},
    ]
    assert pod["runtimeClassName"] == "nvidia"
    assert pod["serviceAccountName"] == "without-rights" != pod_of(jobs.run)["serviceAccountName"]
    assert {"name": "shared-memory", "emptyDir": {"medium": "Memory", "sizeLimit": "16Gi"}} in pod["volumes"]
    assert {"name": "shared-memory", "mountPath": "/dev/shm"} in container["volumeMounts"]
    assert container["volumeMounts"][:-1] == container_of(jobs.run)["volumeMounts"], "the code location's stay"
    assert captions["spec"]["activeDeadlineSeconds"] == 7200


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"memory": "8GB"}, "memory: "),
        ({"memory": "0Gi"}, "memory: "),
        ({"cpu": 0}, "cpu: "),
        ({"gpus": 1.5}, "gpus: "),
        ({"gpu_resource": "gpu"}, "gpu_resource: "),
        ({"gpu_kind": "NVIDIA L4"}, "gpu_kind: "),
        ({"node_selector": {"pool": "a b"}}, "node_selector.pool: "),
        ({"tolerations": [{"key": "spot", "effect": "Never"}]}, "tolerations.0.effect: "),
        ({"runtime_class": "Nvidia"}, "runtime_class: "),
        ({"time_limit_s": 0}, "time_limit_s: "),
        ({"limits": {}}, "limits: unknown key"),
    ],
)
def test_what_no_server_would_take_is_refused_by_the_settings(given: Object, named: str) -> None:
    with pytest.raises(SettingsError, match=rf"^f\.yaml: kubernetes\.steps\.scenes\.{re.escape(named)}"):
        parse_settings({"kubernetes": {"steps": {"scenes": given}}}, "f.yaml")


def test_a_pod_keeps_what_a_file_leaves_out() -> None:
    defaults = Settings().kubernetes.steps.scenes
    scenes = parse_settings({"kubernetes": {"steps": {"scenes": {"cpu": 3}}}}, "f.yaml").kubernetes.steps.scenes

    assert scenes == defaults.model_copy(update={"cpu": 3.0}) != Pod(cpu=3)


@pytest.mark.parametrize("key", [SHARD, "Zürich/a b", "-_a-_", "x" * 62 + "-y", "日本", "a" * 200])
def test_any_partition_makes_a_label(key: str) -> None:
    assert "metadata.labels" not in invalid_fields(
        {"metadata": {"labels": {SHARD_LABEL: label_value(key)}}, "spec": {}}
    )
    assert label_value(SHARD) == SHARD

"""`values.yaml`: what Dagster, dagster-k8s and our settings make of it, and that they refuse what is misspelt."""

import copy
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from dagster import DagsterInvalidConfigError
from dagster._config import process_config
from dagster._core.instance.config import dagster_instance_config
from dagster._serdes import class_from_code_pointer
from dagster_k8s.container_context import K8sContainerContext
from dagster_k8s.job import DagsterK8sJobConfig, UserDefinedDagsterK8sConfig, construct_dagster_k8s_job
from kubernetes.client import ApiClient

from curation_assets.definitions import build_definitions
from curation_assets.settings import home_path, load_settings
from tests.kubernetes import chart
from tests.kubernetes.chart import FOLDER, Values
from tests.kubernetes.manifests import faults, pod_of

LAUNCHER = ("runLauncher", "config", "customRunLauncher", "config")


@pytest.fixture(autouse=True)
def database_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_PG_PASSWORD", "secret")


def dagster_yaml(values: Values) -> Values:
    """The whole of it; `chart.instance_settings` leaves records and logs to its callers."""
    postgresql, logs, retention = values["postgresql"], values["computeLogManager"], dict(values["retention"])
    assert retention.pop("enabled")
    database = {
        "username": postgresql["postgresqlUsername"],
        "password": {"env": "DAGSTER_PG_PASSWORD"},
        "hostname": postgresql["postgresqlHost"],
        "db_name": postgresql["postgresqlDatabase"],
        "port": postgresql["service"]["port"],
        "params": postgresql["postgresqlParams"],
        "scheme": postgresql["postgresqlScheme"],
    }
    return {
        **chart.instance_settings(values),
        "storage": {"postgres": {"postgres_db": database}},
        "compute_logs": {
            "module": "dagster_aws.s3.compute_log_manager",
            "class": logs["type"],
            "config": chart.snake(logs["config"]["s3ComputeLogManager"]),
        },
        "retention": chart.snake(retention),
        **values["additionalInstanceConfig"],
    }


def read_by_dagster(values: Values, folder: Path) -> dict[str, Any]:
    """What Dagster makes of it. Raises DagsterInvalidConfigError."""
    (folder / "dagster.yaml").write_text(yaml.safe_dump(dagster_yaml(values)))
    settings = dict(dagster_instance_config(str(folder))[0])
    for part in settings.values():
        if isinstance(part, dict) and "class" in part:
            module = part["module"].replace("dagster.core", "dagster._core")  # the chart has the old name
            outcome = process_config(class_from_code_pointer(module, part["class"]).config_type(), part["config"])
            if not outcome.success:
                raise DagsterInvalidConfigError(part["class"], outcome.errors, part["config"])
    return settings


def test_dagster_reads_them(tmp_path: Path) -> None:
    settings = read_by_dagster(chart.values(), tmp_path)
    assert settings["run_monitoring"]["start_timeout_seconds"] >= 1800  # a node may have to be added first
    assert settings["run_monitoring"]["free_slots_after_run_end_seconds"] > 0
    assert settings["run_retries"] == {"enabled": True, "max_retries": 1, "retry_on_asset_or_op_failure": False}
    assert settings["concurrency"]["pools"]["granularity"] == "op"
    assert settings["telemetry"] == settings["nux"] == {"enabled": False}


def misspelt(tree: Any, path: tuple[str | int, ...]) -> Any:
    """A copy whose key at `path` has an X at its end."""
    result = copy.deepcopy(tree)
    *above, key = path
    place = reduce(getitem, above, result)
    place[f"{key}X"] = place.pop(key)
    return result


@pytest.mark.parametrize(
    "path",
    [
        (*LAUNCHER, "image_pull_policy"),
        (*LAUNCHER, "run_k8s_config", "pod_spec_config"),
        ("dagsterDaemon", "runCoordinator", "config", "queuedRunCoordinator", "dequeueNumWorkers"),
        ("dagsterDaemon", "runMonitoring", "startTimeoutSeconds"),
        ("dagsterDaemon", "runRetries", "maxRetries"),
        ("concurrency", "pools", "granularity"),
        ("concurrency", "runs", "tagConcurrencyLimits"),
        ("computeLogManager", "config", "s3ComputeLogManager", "uploadInterval"),
        ("retention", "autoMaterialize", "purgeAfterDays"),
        ("additionalInstanceConfig", "nux"),
    ],
    ids=lambda path: path[-1],
)
def test_a_misspelt_key_is_an_error(path: tuple[str, ...], tmp_path: Path) -> None:
    with pytest.raises(DagsterInvalidConfigError, match=r"_x|X"):
        read_by_dagster(misspelt(chart.values(), path), tmp_path)


def test_run_pods_and_step_pods_begin_as_a_restricted_pod() -> None:
    launcher = chart.instance_settings(chart.values())["run_launcher"]["config"]
    of_launcher = K8sContainerContext(run_k8s_config=UserDefinedDagsterK8sConfig.from_dict(launcher["run_k8s_config"]))
    of_location = K8sContainerContext.create_from_config(chart.container_context(chart.values(), "reelhouse"))
    image = DagsterK8sJobConfig(job_image="reelhouse-cpu:0.1.0")
    made = construct_dagster_k8s_job(image, [], "run", of_launcher.merge(of_location).run_k8s_config)
    job = ApiClient().sanitize_for_serialization(made)
    kubernetes_validate.validate(job, kubernetes_validate.latest_version(), strict=True)
    assert faults(pod_of(job)) == []
    assert {volume["name"] for volume in pod_of(job)["volumes"]} == {"settings", "weights"}
    assert pod_of(job)["serviceAccountName"] == launcher["service_account_name"]


@pytest.mark.parametrize(
    "path", [("k8s", "volume_mounts"), ("k8s", "volumes", 1, "persistentVolumeClaim", "claimName")]
)
def test_a_misspelt_key_of_the_code_location_is_an_error(path: tuple[str | int, ...]) -> None:
    context = chart.container_context(chart.values(), "reelhouse")
    with pytest.raises(Exception, match=f"{path[-1]}X"):
        K8sContainerContext.create_from_config(misspelt(context, path))


def test_the_code_location_loads_with_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    (deployment,) = chart.values()["dagster-user-deployments"]["deployments"]
    environment = {variable["name"]: variable["value"] for variable in deployment["env"]}
    mounted = {mount["name"]: mount["mountPath"] for mount in deployment["volumeMounts"]}
    assert environment["CURATION_SETTINGS"] == f"{mounted['settings']}/curation.yaml"
    for name in ("CURATION_EXECUTOR", "CURATION_HOME"):
        monkeypatch.setenv(name, environment[name])
    assert home_path().startswith("s3://")
    definitions = build_definitions(load_settings(str(FOLDER / "curation.yaml")), home_path())
    assert definitions.executor.name == environment["CURATION_EXECUTOR"]
    assert deployment["dagsterApiGrpcArgs"] == ["-m", "curation_assets.definitions"]

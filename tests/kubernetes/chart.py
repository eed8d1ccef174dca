"""What Dagster's chart makes of `values.yaml`, as far as runs and steps depend on it.

The chart itself is in no package registry; its templates copy most of these values, with their names in snake case.
"""

import re
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parents[2] / "deployments" / "kubernetes"
Values = dict[str, Any]


def values() -> Values:
    return dict(yaml.safe_load((FOLDER / "values.yaml").read_text(encoding="utf-8")))


def instance_settings(values: Values) -> Values:
    """The instance's `dagster.yaml`, without its storage and its store of logs."""
    daemon, launcher = values["dagsterDaemon"], values["runLauncher"]
    return {
        "telemetry": values["telemetry"],
        "run_launcher": dict(launcher["config"][_first_lower(launcher["type"])]),
        "run_coordinator": {
            "module": "dagster.core.run_coordinator",
            "class": daemon["runCoordinator"]["type"],
            "config": snake(daemon["runCoordinator"]["config"][_first_lower(daemon["runCoordinator"]["type"])]),
        },
        "run_monitoring": snake(daemon["runMonitoring"]),
        "run_retries": snake(daemon["runRetries"]),
        "concurrency": {part: snake(limits) for part, limits in values["concurrency"].items() if part != "enabled"},
    }


def container_context(values: Values, namespace: str) -> Values:
    """What the code location hands on to run pods: DAGSTER_CONTAINER_CONTEXT of its server."""
    (deployment,) = values["dagster-user-deployments"]["deployments"]
    assert deployment["includeConfigInLaunchedRuns"]["enabled"]
    context = {
        "image_pull_policy": deployment["image"]["pullPolicy"],
        "env": deployment["env"],
        "env_secrets": [secret["name"] for secret in deployment["envSecrets"]],
        "volumes": deployment["volumes"],
        "volume_mounts": deployment["volumeMounts"],
        "labels": deployment["labels"],
        "resources": deployment["resources"],
        "namespace": namespace,
        "service_account_name": values["global"]["serviceAccountName"],
    }
    return {"k8s": context}


def snake(item: Any) -> Any:
    """With the keys in snake case; the chart copies lists as they are."""
    if not isinstance(item, dict):
        return item
    return {re.sub("[A-Z]", lambda letter: f"_{letter[0].lower()}", key): snake(value) for key, value in item.items()}


def _first_lower(name: str) -> str:
    return name[0].lower() + name[1:]

"""What Kubernetes is asked for each step's pod, as the op tag from which dagster-k8s makes the step's Job."""

from typing import Any

from curation_assets.settings import Kubernetes, Pod

TAG = "dagster-k8s/config"
TTL_S = 3600
"""A finished Job stays this long: an executor that lost touch still finds it, and no more pile up than an hour's."""

_GPU_KIND = "nvidia.com/gpu.product"  # the label that NVIDIA's feature discovery gives a node
_SHARED_MEMORY = "shared-memory"


def pod_tags(step: str, settings: Kubernetes, needs_gpu: bool = False) -> dict[str, Any]:
    """The tags of the op `step`, whose entry in the settings says what its pod gets.

    Run pods' own resources are merged into step pods where these leave one out, so every one is given here.
    """
    pod: Pod = getattr(settings.steps, step)
    gpus = int(needs_gpu) if pod.gpus is None else pod.gpus
    container: dict[str, Any] = {"resources": _resources(pod, gpus)}
    spec: dict[str, Any] = {}
    if gpus and settings.gpu_image:
        container["image"] = settings.gpu_image
    if selector := pod.node_selector | ({_GPU_KIND: pod.gpu_kind} if gpus and pod.gpu_kind else {}):
        spec["node_selector"] = selector
    if tolerations := _tolerations(pod, gpus):
        spec["tolerations"] = tolerations
    if pod.runtime_class:
        spec["runtime_class_name"] = pod.runtime_class
    if settings.service_account:
        spec["service_account_name"] = settings.service_account
    if pod.shared_memory:
        volume = {"medium": "Memory", "size_limit": pod.shared_memory}
        spec["volumes"] = [{"name": _SHARED_MEMORY, "empty_dir": volume}]
        container["volume_mounts"] = [{"name": _SHARED_MEMORY, "mount_path": "/dev/shm"}]
    job = {"active_deadline_seconds": pod.time_limit_s, "ttl_seconds_after_finished": TTL_S, "backoff_limit": 0}
    return {TAG: {"container_config": container, "pod_spec_config": spec, "job_spec_config": job}}


def _resources(pod: Pod, gpus: int) -> dict[str, dict[str, str]]:
    asked = {"cpu": f"{round(pod.cpu, 3):g}", "memory": pod.memory, "ephemeral-storage": pod.disk}
    if gpus:
        asked[pod.gpu_resource] = str(gpus)
    return {"requests": asked, "limits": asked}


def _tolerations(pod: Pod, gpus: int) -> list[dict[str, str]]:
    """Nodes with a GPU are tainted with its resource's name, so that only pods that ask for one come to them."""
    of_gpu = [{"key": pod.gpu_resource, "operator": "Exists", "effect": "NoSchedule"}] if gpus else []
    given = [
        {"key": taint.key, "operator": "Exists"}
        | ({"operator": "Equal", "value": taint.value} if taint.value is not None else {})
        | ({"effect": taint.effect} if taint.effect else {})
        for taint in pod.tolerations
    ]
    return [*of_gpu, *given]

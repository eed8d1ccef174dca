"""Runs and steps as Kubernetes Jobs: dagster-k8s with the shard as a label on every Job and pod.

Imported only where `CURATION_EXECUTOR` is `k8s` or an instance names the launcher: it needs the extra `k8s`.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import dagster as dg
from dagster import DagsterEvent, DagsterRun
from dagster._core.definitions.executor_definition import multiple_process_executor_requirements
from dagster._core.execution.context.system import PlanOrchestrationContext
from dagster._core.execution.plan.plan import ExecutionPlan
from dagster._core.execution.retries import RetryMode
from dagster._core.executor.base import Executor
from dagster._core.executor.init import InitExecutorContext
from dagster._core.executor.step_delegating import CheckStepHealthResult, StepDelegatingExecutor, StepHandlerContext
from dagster._core.storage.tags import PARTITION_NAME_TAG
from dagster_k8s import K8sRunLauncher
from dagster_k8s.client import WHITELISTED_TRANSIENT_K8S_STATUS_CODES
from dagster_k8s.container_context import K8sContainerContext
from dagster_k8s.executor import K8sStepHandler
from kubernetes.client import ApiException, V1Pod

SHARD_LABEL = "reelhouse/shard"
TOO_MANY_REQUESTS = 429

if TOO_MANY_REQUESTS not in WHITELISTED_TRANSIENT_K8S_STATUS_CODES:  # else a busy API server fails the run at once
    WHITELISTED_TRANSIENT_K8S_STATUS_CODES.append(TOO_MANY_REQUESTS)


class ShardRunLauncher(K8sRunLauncher):
    """A Job a run."""

    def get_container_context_for_run(self, dagster_run: DagsterRun) -> K8sContainerContext:
        return super().get_container_context_for_run(dagster_run).merge(_labels(dagster_run))

    def terminate(self, run_id: str) -> bool:
        """End the run and its steps, to which its own pod passes nothing on where it could be resumed."""
        ended = bool(super().terminate(run_id))  # type: ignore[no-untyped-call]
        run = self._instance.get_run_by_id(run_id)
        if ended and run:
            namespace = self.get_container_context_for_run(run).namespace
            steps = f"dagster/run-id={run_id},app.kubernetes.io/component=step_worker"
            for job in self._api_client.batch_api.list_namespaced_job(namespace, label_selector=steps).items:
                if job.status.active:
                    self._api_client.delete_job(job.metadata.name, namespace)
        return ended


class ShardStepHandler(K8sStepHandler):
    """A Job a step."""

    def _get_container_context(self, step_handler_context: StepHandlerContext) -> K8sContainerContext:
        context = super()._get_container_context(step_handler_context)
        return context.merge(_labels(step_handler_context.dagster_run))

    def check_step_health(self, step_handler_context: StepHandlerContext) -> CheckStepHealthResult:
        """Dagster's answer with the cause; a Job that failed before it had a pod, as over a quota, failed too."""
        job = self._get_k8s_step_job_name(step_handler_context)
        namespace = self._get_container_context(step_handler_context).namespace
        status = self._api_client.get_job_status(namespace=namespace, job_name=job)
        failures = [found for found in (status and status.conditions) or () if found.type == "Failed"]
        if status and not status.failed and not failures:
            return CheckStepHealthResult.healthy()
        said = super().check_step_health(step_handler_context).unhealthy_reason
        causes = [f"{failure.reason}: {failure.message}" for failure in failures]
        with suppress(ApiException):  # the step has failed, whether or not its pods may be looked at
            causes += [cause for pod in self._api_client.get_pods_in_job(job, namespace) for cause in _causes(pod)]
        return CheckStepHealthResult.unhealthy("; ".join([said or f"{job} failed", *causes]))


class PodExecutor(StepDelegatingExecutor):
    """A pod a step; gives a pool's slot back when its step ends, whoever claimed it.

    Dagster's gives back what the same process claimed. A resumed run would keep the slots of steps that began before,
    and could wait for them itself.
    """

    def execute(self, plan_context: PlanOrchestrationContext, execution_plan: ExecutionPlan) -> Iterator[DagsterEvent]:
        slots = plan_context.instance.event_log_storage
        for event in super().execute(plan_context, execution_plan):
            if event.is_step_success or event.is_step_failure:
                slots.free_concurrency_slot_for_step(plan_context.run_id, event.step_key)
            yield event


@dg.executor(
    name="k8s",
    config_schema={
        "max_concurrent": dg.Field(dg.Noneable(int), default_value=None, description="step pods of a run at once"),
        "health_check_s": dg.Field(int, default_value=20, description="between two looks at each running step's Job"),
    },
    requirements=multiple_process_executor_requirements(),
)
def k8s_executor(context: InitExecutorContext) -> Executor:
    """Pods like the run's own, but for what the settings give each step; needs a launcher of pods.

    Steps aren't tried again here: a failed one is requested again by the automation policy.
    """
    launcher = context.instance.run_launcher
    if not isinstance(launcher, K8sRunLauncher):
        raise dg.DagsterInvariantViolationError(
            "CURATION_EXECUTOR is k8s, but the instance's run_launcher is none of dagster-k8s: name "
            f"{__name__}.{ShardRunLauncher.__name__} in dagster.yaml, or unset CURATION_EXECUTOR"
        )
    config: Mapping[str, Any] = context.executor_config
    handler = ShardStepHandler(
        image=None,  # the code location's own
        container_context=K8sContainerContext(),
        load_incluster_config=launcher.load_incluster_config,
        kubeconfig_file=launcher.kubeconfig_file,
    )
    return PodExecutor(
        handler,
        retries=RetryMode.DISABLED,
        max_concurrent=config["max_concurrent"],
        check_step_health_interval_seconds=config["health_check_s"],
        should_verify_step=True,
    )


def _causes(pod: V1Pod) -> Iterator[str]:
    """Why a pod's process is no more, e.g. OOMKilled."""
    if pod.status.reason:
        yield f"{pod.metadata.name}: {pod.status.reason}: {pod.status.message}"
    for container in pod.status.container_statuses or ():
        if ended := container.state.terminated:
            yield f"{pod.metadata.name}: {ended.reason}, exit status {ended.exit_code}"


def label_value(partition: str) -> str:
    """The partition's key as a label's value: at most 63 of letters, digits and `-_.`, none of which is at an end."""
    return re.sub(r"[^A-Za-z0-9_.-]", "-", partition).strip("-_.")[:63].strip("-_.")


def _labels(run: DagsterRun) -> K8sContainerContext:
    partition = run.tags.get(PARTITION_NAME_TAG)
    return K8sContainerContext(labels={SHARD_LABEL: label_value(partition)} if partition else {})

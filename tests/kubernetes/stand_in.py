"""A stand-in of the Kubernetes API server with its Job and garbage collector controllers, over HTTP.

It keeps namespaces, Jobs, pods, config maps and secrets, and refuses the Jobs that a real server refuses
(`admission.py`); in both it follows version 1.20, which the tests were run against too. It has no scheduler, no kubelet
and no authentication, and knows no watch, field manager or version conflict: `kubelet.py` runs the pods, as beside a
real server that has no nodes.
"""

import datetime as dt
import json
import re
import threading
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.http_server import JsonHandler, serving
from tests.kubernetes.admission import invalid_fields, undecodable

CONTROLLER_EVERY_S = 0.05
ENDED = ("Succeeded", "Failed")
_PATH = re.compile(r"/(?:api/v1|apis/batch/v1)/namespaces(?:/([^/]+)(?:/([^/]+)(?:/([^/]+)(?:/([^/]+))?)?)?)?")
_REASONS = {
    400: "BadRequest",
    404: "NotFound",
    409: "AlreadyExists",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
}

Object = dict[str, Any]


class Refused(Exception):
    """An answer that is no success."""

    def __init__(self, code: int, message: str, fields: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.code, self.fields = code, fields

    @property
    def body(self) -> bytes:
        causes = [{"field": field, "reason": "FieldValueInvalid"} for field in self.fields]
        status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": self.code, "message": str(self)}
        return json.dumps({**status, "reason": _REASONS[self.code], "details": {"causes": causes}}).encode()


@dataclass
class Trouble:
    """The next `left` requests whose method and path match get `status` instead of their answer."""

    status: int
    left: int
    request: re.Pattern[str]


@dataclass
class StandIn:
    url: str = ""
    objects: dict[tuple[str, str, str], Object] = field(default_factory=dict)
    troubles: list[Trouble] = field(default_factory=list)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def fail(self, status: int, times: int, request: str) -> Trouble:
        """Answer `status` to the next requests that match, as `POST .*/jobs/NAME` does; tells how many are left."""
        trouble = Trouble(status, times, re.compile(request))
        with self.lock:
            self.troubles.append(trouble)
        return trouble

    def refuse_if_told(self, request: str) -> None:
        for trouble in self.troubles:
            if trouble.left and trouble.request.fullmatch(request):
                trouble.left -= 1
                raise Refused(trouble.status, "as it was told")

    def of_kind(self, kind: str, namespace: str) -> list[Object]:
        return [found for (k, n, _), found in sorted(self.objects.items()) if (k, n) == (kind, namespace)]

    def get(self, kind: str, namespace: str, name: str) -> Object:
        if (kind, namespace, name) not in self.objects:
            raise Refused(404, f'{kind} "{name}" not found')
        return self.objects[kind, namespace, name]

    def create(self, kind: str, namespace: str, made: Object, keep: bool = True) -> Object:
        metadata = made.setdefault("metadata", {})
        name = metadata.get("name", "")
        if kind != "namespaces":
            self.get("namespaces", "", namespace)
            metadata["namespace"] = namespace
        if kind == "jobs" and undecodable(made):
            raise Refused(400, "Job in version v1 cannot be handled as a Job: a field of another type")
        if kind == "jobs" and (fields := invalid_fields(made)):
            raise Refused(422, f'Job.batch "{name}" is invalid: {", ".join(fields)}', fields)
        if (kind, namespace, name) in self.objects:
            raise Refused(409, f'{kind} "{name}" already exists')
        metadata.update(uid=str(uuid.uuid4()), creationTimestamp=_now(), resourceVersion="1")
        if kind == "jobs":
            _complete_job(made)
        if keep:
            self.objects[kind, namespace, name] = made
        return made

    def delete(self, kind: str, namespace: str, name: str, options: Object) -> Object:
        """A batch/v1 Job orphans its pods unless told otherwise; a pod that no scheduler has placed goes at once."""
        found = self.get(kind, namespace, name)
        if kind == "namespaces":
            self.objects = {key: value for key, value in self.objects.items() if key[1] != name}
        if kind == "jobs":
            for pod in self._pods_of(found):
                if options.get("propagationPolicy", "Orphan") == "Orphan":
                    pod["metadata"]["ownerReferences"] = []
                else:
                    self.delete("pods", namespace, pod["metadata"]["name"], {})
        return self.objects.pop((kind, namespace, name))

    def patch(self, kind: str, namespace: str, name: str, part: str | None, patch: Object) -> Object:
        found = self.get(kind, namespace, name)
        _merge(found, {"status": patch.get("status", {})} if part == "status" else patch)
        return found

    def control(self) -> None:
        """One round of the Job controller, the TTL controller and the garbage collector."""
        with self.lock:
            for (kind, namespace, name), job in list(self.objects.items()):
                if kind == "jobs":
                    self._sync(job, namespace)
                    ttl_s = job["spec"].get("ttlSecondsAfterFinished")
                    for condition in job["status"].get("conditions", []):
                        if ttl_s is not None and _age_s(condition["lastTransitionTime"]) >= ttl_s:
                            self.delete("jobs", namespace, name, {"propagationPolicy": "Background"})

    def _sync(self, job: Object, namespace: str) -> None:
        status, spec = job["status"], job["spec"]
        if status.get("conditions"):
            return
        status.setdefault("startTime", _now())
        pods = self._pods_of(job)
        phases = [pod["status"]["phase"] for pod in pods]
        status["active"] = sum(phase not in ENDED for phase in phases)
        status["succeeded"], status["failed"] = phases.count("Succeeded"), phases.count("Failed")
        deadline_s = spec.get("activeDeadlineSeconds")
        if status["succeeded"]:
            _end(job, "Complete", "", "")
            status["completionTime"] = _now()
        elif status["failed"] > spec["backoffLimit"]:
            _end(job, "Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit")
        elif deadline_s is not None and _age_s(status["startTime"]) >= deadline_s:
            status["failed"] += status.pop("active")
            for pod in pods:
                self.delete("pods", namespace, pod["metadata"]["name"], {})
            _end(job, "Failed", "DeadlineExceeded", "Job was active longer than specified deadline")
        elif not status["active"]:
            self._make_pod(job, namespace)
            status["active"] = 1

    def _make_pod(self, job: Object, namespace: str) -> None:
        pod = deepcopy(job["spec"]["template"])
        metadata = job["metadata"]
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": metadata["name"], "uid": metadata["uid"]}
        pod["metadata"]["name"] = f"{metadata['name']}-{uuid.uuid4().hex[:5]}"
        pod["metadata"]["ownerReferences"] = [owner | {"controller": True, "blockOwnerDeletion": True}]
        pod["status"] = {"phase": "Pending"}
        self.create("pods", namespace, pod)

    def _pods_of(self, job: Object) -> list[Object]:
        uid = job["metadata"]["uid"]
        pods = self.of_kind("pods", job["metadata"]["namespace"])
        return [pod for pod in pods if any(o["uid"] == uid for o in pod["metadata"].get("ownerReferences", []))]


def _complete_job(job: Object) -> None:
    """What the server adds to a Job: defaults, the selector, the labels by which its pods are found."""
    job["spec"] = {"parallelism": 1, "completions": 1, "backoffLimit": 6, **job["spec"]}
    job["status"] = {}
    labels = {"controller-uid": job["metadata"]["uid"], "job-name": job["metadata"]["name"]}
    template = job["spec"]["template"].setdefault("metadata", {})
    template["labels"] = {**template.get("labels", {}), **labels}
    job["spec"]["selector"] = {"matchLabels": {"controller-uid": labels["controller-uid"]}}


def _end(job: Object, kind: str, reason: str, message: str) -> None:
    at = _now()
    condition = {"type": kind, "status": "True", "lastProbeTime": at, "lastTransitionTime": at}
    job["status"]["conditions"] = [condition | ({"reason": reason, "message": message} if reason else {})]


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat().replace("+00:00", "Z")


def _age_s(at: str) -> float:
    return (dt.datetime.now(dt.UTC) - dt.datetime.fromisoformat(at)).total_seconds()


def _merge(into: Object, patch: Object) -> None:
    """RFC 7386: lists are replaced."""
    for key, value in patch.items():
        if value is None:
            into.pop(key, None)
        elif isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value


def _selected(found: list[Object], query: dict[str, str]) -> list[Object]:
    """By the field and label selectors that test equality."""
    for term in filter(None, query.get("fieldSelector", "").split(",")):
        path, _, wanted = term.replace("==", "=").partition("=")
        found = [item for item in found if _at(item, path) == wanted]
    for term in filter(None, query.get("labelSelector", "").split(",")):
        label, _, wanted = term.replace("==", "=").partition("=")
        found = [item for item in found if item["metadata"].get("labels", {}).get(label) == wanted]
    return found


def _at(item: Any, path: str) -> Any:
    for key in path.split("."):
        item = item.get(key, {})
    return item or ""


@contextmanager
def stand_in() -> Iterator[StandIn]:
    server = StandIn()

    class Handler(JsonHandler):
        protocol_version = "HTTP/1.1"

        def _any(self) -> None:
            address = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(address.query).items()}
            body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
            try:
                with server.lock:
                    code, answer = _answer(server, self.command, address.path, query, body)
                    sent = json.dumps(answer).encode()
            except Refused as refused:
                code, sent = refused.code, refused.body
            self.reply(code, sent, {"Retry-After": "1"} if code == 429 else {})

        do_GET = do_POST = do_PATCH = do_DELETE = _any  # noqa: N815

    stopped = threading.Event()

    def control() -> None:
        while not stopped.wait(CONTROLLER_EVERY_S):
            server.control()

    controller = threading.Thread(target=control)
    with serving(Handler) as server.url:
        controller.start()
        try:
            yield server
        finally:
            stopped.set()
            controller.join()


def _answer(server: StandIn, method: str, path: str, query: dict[str, str], body: Object) -> tuple[int, Object]:
    match = _PATH.fullmatch(path)
    if match is None:
        raise Refused(404, f"the server could not find the requested resource: {path}")
    namespace, kind, name, part = match.groups()
    if kind is None:
        namespace, kind, name = "", "namespaces", namespace
    made = body["metadata"].get("name") if method == "POST" else None
    server.refuse_if_told(f"{method} {path}/{made}" if made else f"{method} {path}")
    if method == "POST":
        return 201, server.create(kind, namespace, body, keep="dryRun" not in query)
    if method == "PATCH":
        return 200, server.patch(kind, namespace, name, part, body)
    if method == "DELETE":
        return 200, server.delete(kind, namespace, name, {**query, **body})
    if part in (None, "status") and name:
        return 200, server.get(kind, namespace, name)
    if name:
        raise Refused(404, f"the server could not find the requested resource: {path}")
    return 200, {"items": _selected(server.of_kind(kind, namespace), query)}

"""What a real API server refuses of a Job, as far as dagster-k8s and our settings could get there.

`test_cases.py` holds it to the recorded answers of a real one.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any

import kubernetes.client

_QUANTITY = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))(n|u|m|k|[KMGTPE]i?|[eE][+-]?\d+)?")
_FACTORS = {"n": 1e-9, "u": 1e-6, "m": 1e-3, "": 1.0, "k": 1e3}
_FACTORS |= {f"{letter}i": 1024.0**power for power, letter in enumerate("KMGTPE", 1)}
_FACTORS |= {letter: 1000.0**power for power, letter in enumerate("KMGTPE", 1)}
_QUANTITIES = ("limits", "requests", "sizeLimit")
_PLAIN = {"str": str, "datetime": str, "int": int, "bool": bool, "float": (int, float), "object": object}

_DNS_LABEL = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_DNS_SUBDOMAIN = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
_LABEL_VALUE = r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?"
_LABEL_NAME = r"([a-z0-9.-]{1,253}/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_ENV_NAME = r"[-._a-zA-Z][-._a-zA-Z0-9]*"
_STANDARD = r"cpu|memory|ephemeral-storage|hugepages-.+|[a-z0-9.-]+/.+"

Object = dict[str, Any]


def undecodable(value: Any, kind: str = "V1Job", name: str = "") -> bool:
    """Whether a field holds another type than its own, by the types of the client's models; unknown fields may."""
    if value is None:
        return False
    if kind.startswith("list["):
        return not isinstance(value, list) or any(undecodable(item, kind[5:-1]) for item in value)
    if kind.startswith("dict["):
        inner = kind[5:-1].partition(", ")[2]
        return not isinstance(value, dict) or any(undecodable(item, inner, name) for item in value.values())
    if name in _QUANTITIES and kind == "str":
        return _number(value) is None
    if kind in _PLAIN:
        return not isinstance(value, _PLAIN[kind]) or (kind == "int" and isinstance(value, bool))  # type: ignore[arg-type]
    model = getattr(kubernetes.client, kind)
    fields = {model.attribute_map[attribute]: of for attribute, of in model.openapi_types.items()}
    return not isinstance(value, dict) or any(undecodable(value.get(key), of, key) for key, of in fields.items())


def invalid_fields(job: Object) -> list[str]:
    """The fields for which a Job that can be decoded is refused."""
    metadata, spec = job["metadata"], job["spec"]
    template = spec.get("template", {})
    labels = {**template.get("metadata", {}).get("labels", {}), "job-name": metadata.get("name", "")}
    return [
        *_unless(_DNS_SUBDOMAIN, metadata.get("name"), "metadata.name"),
        *_labels(metadata.get("labels", {}), "metadata.labels"),
        *(
            field
            for key in metadata.get("annotations", {})
            for field in _unless(_LABEL_NAME, key, "metadata.annotations")
        ),
        *_negative(spec, "spec", "backoffLimit", "activeDeadlineSeconds", "ttlSecondsAfterFinished"),
        *_negative(spec, "spec", "parallelism", "completions"),
        *(("spec.selector", "spec.template.metadata.labels") if "selector" in spec else ()),
        *_labels(labels, "spec.template.labels"),
        *_pod(template.get("spec", {}), "spec.template.spec"),
    ]


def _pod(pod: Object, at: str) -> Iterator[str]:
    yield from _unless("OnFailure|Never", pod.get("restartPolicy"), f"{at}.restartPolicy")
    yield from _labels(pod.get("nodeSelector", {}), f"{at}.nodeSelector")
    for name in ("runtimeClassName", "serviceAccountName"):
        yield from _unless(_DNS_SUBDOMAIN, pod.get(name, "none"), f"{at}.{name}")
    if pod.get("activeDeadlineSeconds", 1) < 1:
        yield f"{at}.activeDeadlineSeconds"
    security = pod.get("securityContext", {})
    yield from _negative(security, f"{at}.securityContext", "runAsUser", "runAsGroup", "fsGroup")
    profile = security.get("seccompProfile", {"type": "Unconfined"})
    yield from _unless(
        "Localhost|RuntimeDefault|Unconfined", profile["type"], f"{at}.securityContext.seccompProfile.type"
    )
    for number, toleration in enumerate(pod.get("tolerations", [])):
        yield from _toleration(toleration, f"{at}.tolerations[{number}]")
    volumes: set[str] = set()
    for number, volume in enumerate(pod.get("volumes", [])):
        wrong = list(_volume(volume, volumes, f"{at}.volumes[{number}]"))
        yield from wrong
        if not wrong:
            volumes.add(volume["name"])
    if not pod.get("containers"):
        yield f"{at}.containers"
    for number, container in enumerate(pod.get("containers", [])):
        yield from _container(container, volumes, f"{at}.containers[{number}]")


def _toleration(toleration: Object, at: str) -> Iterator[str]:
    operator = toleration.get("operator", "Equal")
    if operator not in ("Exists", "Equal") or (operator == "Exists" and toleration.get("value")):
        yield f"{at}.operator"
    effect = toleration.get("effect", "NoExecute")
    if effect not in ("NoSchedule", "PreferNoSchedule", "NoExecute") or (
        effect != "NoExecute" and "tolerationSeconds" in toleration
    ):
        yield f"{at}.effect"


def _volume(volume: Object, others: set[str], at: str) -> Iterator[str]:
    yield from _unless(_DNS_LABEL, volume["name"], f"{at}.name")
    if volume["name"] in others:
        yield f"{at}.name"
    kinds = [kind for kind in ("emptyDir", "secret", "persistentVolumeClaim", "configMap") if kind in volume]
    yield from (f"{at}.{kind}" for kind in kinds[1:])
    for kind, name in (("configMap", "name"), ("persistentVolumeClaim", "claimName"), ("secret", "secretName")):
        if kind in kinds[:1] and not volume[kind].get(name):
            yield f"{at}.{kind}.{name}"
    if (_number(volume.get("emptyDir", {}).get("sizeLimit", 0)) or 0) < 0:
        yield f"{at}.emptyDir.sizeLimit"


def _container(container: Object, volumes: set[str], at: str) -> Iterator[str]:
    yield from _unless(_DNS_LABEL, container.get("name"), f"{at}.name")
    yield from _unless(".+", container.get("image"), f"{at}.image")
    yield from _unless("Always|IfNotPresent|Never", container.get("imagePullPolicy", "Always"), f"{at}.imagePullPolicy")
    if container.get("securityContext", {}).get("privileged"):
        yield f"{at}.securityContext.privileged"
    for number, variable in enumerate(container.get("env", [])):
        yield from _variable(variable, f"{at}.env[{number}]")
    if any(not source for source in container.get("envFrom", [])):
        yield f"{at}.envFrom"
    paths: set[str] = set()
    for number, mount in enumerate(container.get("volumeMounts", [])):
        path = mount.get("mountPath", "")
        if mount["name"] not in volumes:
            yield f"{at}.volumeMounts[{number}].name"
        if not path or path in paths:
            yield f"{at}.volumeMounts[{number}].mountPath"
        if ".." in mount.get("subPath", "").split("/"):
            yield f"{at}.volumeMounts.subPath"
        paths.add(path)
    yield from _resources(container.get("resources", {}), f"{at}.resources")


def _variable(variable: Object, at: str) -> Iterator[str]:
    yield from _unless(_ENV_NAME, variable.get("name"), f"{at}.name")
    source = variable.get("valueFrom", {})
    if source and variable.get("value"):
        yield f"{at}.valueFrom"
    for kind in ("secretKeyRef", "configMapKeyRef"):
        if kind in source and not source[kind].get("key"):
            yield f"{at}.valueFrom.{kind}.key"


def _resources(resources: Object, at: str) -> Iterator[str]:
    """Of what has a domain, as GPUs have, only whole ones can be had, and as many as is the limit."""
    amounts = {kind: {name: _number(n) or 0 for name, n in resources.get(kind, {}).items()} for kind in _QUANTITIES[:2]}
    for kind, of_kind in amounts.items():
        for name, amount in of_kind.items():
            if not re.fullmatch(_STANDARD, name) or amount < 0 or ("/" in name and amount % 1):
                yield f"{at}.{kind}[{name}]"
    limits, requests = amounts["limits"], amounts["requests"]
    if any("/" in name and name not in limits for name in requests):
        yield f"{at}.limits"
    shared = requests.keys() & limits.keys()
    if any(requests[name] > limits[name] or ("/" in name and requests[name] != limits[name]) for name in shared):
        yield f"{at}.requests"


def _number(quantity: Any) -> float | None:
    match = _QUANTITY.fullmatch(str(quantity))
    if match is None:
        return None
    suffix = match[2] or ""
    return float(match[1]) * (_FACTORS[suffix] if suffix in _FACTORS else float(f"1{suffix}"))


def _labels(labels: Object, at: str) -> Iterable[str]:
    fine = all(re.fullmatch(_LABEL_NAME, n) and re.fullmatch(_LABEL_VALUE, v) for n, v in labels.items())
    return () if fine else (at,)


def _unless(pattern: str, value: str | None, at: str) -> Iterable[str]:
    return () if re.fullmatch(pattern, value or "") else (at,)


def _negative(values: Object, at: str, *names: str) -> Iterable[str]:
    return (f"{at}.{name}" for name in names if (values.get(name) or 0) < 0)

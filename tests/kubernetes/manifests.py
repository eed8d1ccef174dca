"""The manifests of `deployments/kubernetes`, and what no schema says of a pod."""

import copy
import re
from collections.abc import Iterator
from functools import reduce
from operator import getitem
from typing import Any

import yaml

from tests.kubernetes.chart import FOLDER

Object = dict[str, Any]

_OTHERS = {"values.yaml", "curation.yaml", "kustomization.yaml"}
_PROBES = ("startupProbe", "readinessProbe", "livenessProbe")


def read(name: str) -> list[Object]:
    return list(yaml.safe_load_all((FOLDER / name).read_text(encoding="utf-8")))


MANIFESTS = [each for file in sorted(FOLDER.glob("*.yaml")) if file.name not in _OTHERS for each in read(file.name)]
(KUSTOMIZATION,) = read("kustomization.yaml")


def name_of(manifest: Object) -> str:
    return f"{manifest['kind']}-{manifest['metadata']['name']}"


def of_kind(*kinds: str) -> list[Object]:
    return [each for each in MANIFESTS if each["kind"] in kinds]


def named(kind: str, name: str) -> Object:
    (found,) = (each for each in of_kind(kind) if each["metadata"]["name"] == name)
    return found


def pod_of(workload: Object) -> Object:
    """The pod of a Deployment or a Job."""
    return dict(workload["spec"]["template"]["spec"])


def below(tree: Any) -> Iterator[Object]:
    """Every mapping in it."""
    if isinstance(tree, dict):
        yield tree
        tree = list(tree.values())
    for part in tree if isinstance(tree, list) else []:
        yield from below(part)


def changed(tree: Any, path: tuple[str | int, ...], value: Any) -> Any:
    """A copy in which another value is at `path`, or with None nothing."""
    result = copy.deepcopy(tree)
    *above, key = path
    place = reduce(getitem, above, result)
    if value is None:
        del place[key]
    else:
        place[key] = value
    return result


def faults(pod: Object, serves: bool = False) -> list[str]:
    """Our rules that a pod breaks: pinned images, what it may take, few rights, and probes where it serves."""
    rights = pod.get("securityContext", {})
    found = ["account"] * (not pod.get("serviceAccountName"))
    found += ["root"] * (not rights.get("runAsNonRoot") or not rights.get("runAsUser"))
    found += ["seccomp"] * (rights.get("seccompProfile") != {"type": "RuntimeDefault"})
    for container in pod["containers"]:
        asked, allowed = (container.get("resources", {}).get(kind, {}) for kind in ("requests", "limits"))
        rights = container.get("securityContext", {})
        found += ["tag"] * (not re.search(r":v?\d[\w.-]*$", container["image"]))
        found += ["requests"] * (not asked.keys() >= {"cpu", "memory"})
        found += ["limits"] * ("memory" not in allowed)
        found += ["devices"] * any(asked.get(name) != allowed.get(name) for name in asked | allowed if "/" in name)
        found += ["escalation"] * (rights.get("allowPrivilegeEscalation") is not False)
        found += ["capabilities"] * (rights.get("capabilities") != {"drop": ["ALL"]})
        found += [probe for probe in _PROBES if serves and probe not in container]
    return found

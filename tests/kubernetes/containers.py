"""A pod's container as a process of this machine, without an image and without isolation.

It has the environment that its pod declares, on top of `image`, which stands for the image's own. It starts in a folder
of its own, which has its mounts: a variable or argument that is a path inside a mount, or above one, points there
instead. Paths within longer values stay as they are.
"""

import base64
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from operator import attrgetter
from pathlib import Path, PurePosixPath
from signal import SIGKILL
from typing import Any

from kubernetes.client import ApiException, CoreV1Api, V1Container, V1EnvVarSource, V1Pod, V1Volume

from resources.process_group import ENDED, members, start, stop
from tests.processes import wait_until

GRACE_S = 5.0
START_ERROR = 128  # exit code of what can't be started; what a signal kills has the signal's number added
REASONS = {0: "Completed", START_ERROR: "StartError", START_ERROR + SIGKILL: "OOMKilled"}


class Process:
    """A container's program and what it starts; ended with it, and with this process."""

    def __init__(self, command: list[str], environment: dict[str, str], working_folder: Path, log: Path) -> None:
        self.log, self.started_at = log, now()
        with log.open("wb") as output:
            self._watcher = start(command, GRACE_S, env=environment, cwd=working_folder, stdout=output, stderr=output)

    def state(self) -> dict[str, Any]:
        """The container's state as its pod's status gives it."""
        if self._watcher.poll() is None:
            return {"running": {"startedAt": self.started_at}}
        code = self._exit_code()
        times = {"startedAt": self.started_at, "finishedAt": now()}
        return {"terminated": {"exitCode": code, "reason": REASONS.get(code, "Error"), **times}}

    def kill(self) -> None:
        """Kill its processes, as the kernel does where memory has run out."""
        wait_until(lambda: bool(self._programs()), "the container has a process")
        for process in self._programs():
            with suppress(ProcessLookupError):
                os.kill(process, SIGKILL)

    def _programs(self) -> list[int]:
        return [process for process in members(self._watcher.pid) if process != self._watcher.pid]

    def stop(self) -> None:
        stop(self._watcher, GRACE_S)

    def _exit_code(self) -> int:
        _, ended, code = self.log.read_text(errors="replace").rpartition(ENDED)
        if not ended:
            return START_ERROR
        return int(code) if int(code) >= 0 else START_ERROR - int(code)


class Preparation:
    """What the containers of a pod need to be started: config maps, secrets and volumes, as files and variables."""

    def __init__(self, api: CoreV1Api, pod: V1Pod, folder: Path) -> None:
        self.api, self.pod = api, pod
        self.folder, self.claims = folder / pod.metadata.name, folder / "claims"
        self.volumes = {volume.name: volume for volume in pod.spec.volumes or []}
        shutil.rmtree(self.folder, ignore_errors=True)

    def process(self, container: V1Container, image: Mapping[str, str]) -> tuple[list[str], dict[str, str], Path, Path]:
        """Arguments of a `Process`. Raises ApiException where the server doesn't give what the container refers to."""
        root = self.folder / container.name
        root.mkdir(parents=True)
        mounts = self._mount(container, root)

        def local(text: str) -> str:
            path = PurePosixPath(text)
            near = any(path.is_relative_to(mount) or mount.is_relative_to(path) for mount in mounts)
            return f"{root}{text}" if near and text != "/" else text

        declared = {name: local(value) for name, value in self._environment(container).items()}
        environment = {"HOME": str(root), "HOSTNAME": self.pod.metadata.name, **image, **declared}
        command = [local(text) for text in [*(container.command or []), *(container.args or [])]]
        return command, environment, root, self.folder / f"{container.name}.log"

    def _environment(self, container: V1Container) -> dict[str, str]:
        variables = {}
        for source in container.env_from or []:
            data = self._secret(source.secret_ref) if source.secret_ref else self._config_map(source.config_map_ref)
            variables |= {f"{source.prefix or ''}{key}": value for key, value in data.items()}
        for variable in container.env or []:
            source = variable.value_from
            variables[variable.name] = self._value(source) if source else variable.value or ""
        return variables

    def _value(self, source: V1EnvVarSource) -> str:
        if source.field_ref:
            return str(attrgetter(source.field_ref.field_path)(self.pod))
        if source.secret_key_ref:
            return self._secret(source.secret_key_ref)[source.secret_key_ref.key]
        return self._config_map(source.config_map_key_ref)[source.config_map_key_ref.key]

    def _mount(self, container: V1Container, root: Path) -> list[PurePosixPath]:
        """Lay the container's mounts under `root`; returns where it sees them."""
        mounts = sorted(
            container.volume_mounts or [], key=lambda mount: mount.mount_path
        )  # a mount within one is later
        for mount in mounts:
            place = Path(f"{root}{mount.mount_path}")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(self._volume(self.volumes[mount.name]) / (mount.sub_path or ""))
        return [PurePosixPath(mount.mount_path) for mount in mounts]

    def _volume(self, volume: V1Volume) -> Path:
        """The volume's folder; one of a kind that has no files here is empty."""
        if volume.host_path:
            return Path(volume.host_path.path)
        claim = volume.persistent_volume_claim
        folder = self.claims / claim.claim_name if claim else self.folder / "volumes" / volume.name
        folder.mkdir(parents=True, exist_ok=True)
        files = self._config_map(volume.config_map) if volume.config_map else {}
        if volume.secret:
            files = self._secret(volume.secret)
        for name, text in files.items():
            (folder / name).write_text(text)
        return folder

    def _config_map(self, reference: Any) -> dict[str, str]:
        return self._data(self.api.read_namespaced_config_map, reference)

    def _secret(self, reference: Any) -> dict[str, str]:
        data = self._data(self.api.read_namespaced_secret, reference)
        return {key: base64.b64decode(value).decode() for key, value in data.items()}

    def _data(self, read: Any, reference: Any) -> dict[str, str]:
        name = reference.secret_name if hasattr(reference, "secret_name") else reference.name
        try:
            return read(name, self.pod.metadata.namespace).data or {}
        except ApiException as error:
            if error.status == 404 and reference.optional:
                return {}
            raise


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

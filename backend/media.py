"""The drives that tasks name, opened from wherever their files may come: lazily, bounded, and from nowhere else."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from backend.disk_cache import DiskCache
from backend.errors import MediaError
from backend.label_studio_files import LabelStudioFiles
from backend.local_folder import LocalFolder, relative_path
from backend.sequence_address import BucketFolder, WebFolder, parse_sequence_address
from backend.settings import Settings
from backend.web_files import WebFiles
from converters.sequences import read_sequence
from converters.sequences.sequence_folder import SEQUENCE_FILE
from sam4d.structures import Clip


@dataclass(frozen=True)
class RemoteFolder:
    """A folder whose files are fetched one by one.

    What is fetched is kept on disk under the description's digest, so that a sequence imported anew is fetched anew.

    fetch: a file's bytes, by its name below the folder. source: what tells this folder from all others.
    """

    fetch: Callable[[str], bytes]
    cache: DiskCache
    source: str

    def open_clip(self, where: str) -> Clip:
        description = self.fetch(SEQUENCE_FILE)
        version = hashlib.sha256(description).hexdigest()

        def read(name: str) -> bytes:
            if name == SEQUENCE_FILE:
                return description
            path = str(relative_path(name, f"file of {where}"))
            key = hashlib.sha256(f"{self.source}\n{path}\n{version}".encode()).hexdigest()
            return self.cache.get(key, lambda: self.fetch(path))

        return read_sequence(read, where)


class MediaReader:
    """Opens the sequences that tasks name. Safe to use from many threads.

    web: fetches over HTTP; tests give one whose network they know.
    """

    def __init__(self, settings: Settings, web: WebFiles | None = None) -> None:
        self._settings = settings
        if settings.model_dir:
            self._cache = DiskCache(settings.model_dir / "downloads", settings.cache_bytes)
        else:
            self._cache = DiskCache(Path(tempfile.mkdtemp(prefix="sam4d-")), settings.cache_bytes)
            # Clips may be read longer than this reader lives.
            weakref.finalize(self._cache, shutil.rmtree, self._cache.folder, ignore_errors=True)
        self._web = web or WebFiles(settings.allowed_hosts, settings.file_bytes)
        self._label_studio = None
        if settings.label_studio_url and settings.label_studio_api_key:
            self._label_studio = LabelStudioFiles(settings.label_studio_url, settings.label_studio_api_key, self._web)

    def open_clip(self, address: str, project_id: int | None = None) -> Clip:
        """The whole sequence at a task's address; sweeps and images are read when they are asked for.

        Args:
            project_id: the task's project, whose cloud storages an address with s3:// means.

        Raises:
            InputError: another kind of address, a host that may not be asked, a path that leaves the root, a sequence that is not right.
            MediaError: the files cannot be had.
        """
        source = parse_sequence_address(address, self._settings.label_studio_url)
        if isinstance(source, WebFolder):
            return self._open_web_folder(source)
        if isinstance(source, BucketFolder):
            return self._open_bucket_folder(source, project_id)
        return self._open_local_files(source.folder)

    def _open_web_folder(self, source: WebFolder) -> Clip:
        folder, web = source.address, self._web
        return RemoteFolder(lambda name: web.read(folder.file(name)), self._cache, str(folder)).open_clip(str(folder).rstrip("/"))

    def _open_bucket_folder(self, source: BucketFolder, project_id: int | None) -> Clip:
        client = self._label_studio
        if client is None:
            raise MediaError(str(source), "LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY, to ask Label Studio for it", "none")
        if project_id is None:
            raise MediaError(str(source), "the number of a project, whose storage has it", "none")

        def fetch(name: str) -> bytes:
            return client.read_from_storage(source.uri(name), project_id)

        return RemoteFolder(fetch, self._cache, f"{client.url}, project {project_id}, {source}").open_clip(str(source))

    def _open_local_files(self, folder: PurePosixPath) -> Clip:
        root = self._settings.data_root
        if root is not None:
            local = LocalFolder(root.resolve(), folder, self._settings.file_bytes)
            if local.has(SEQUENCE_FILE):
                return read_sequence(local.read, str(folder))
        client = self._label_studio
        if client is None:
            missing = "SAM4D_DATA_ROOT" if root is None else "LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY"
            found = f"no {SEQUENCE_FILE} there and no {missing} to look elsewhere"
            raise MediaError(str(folder), "a sequence below the data root, or an address and token of Label Studio", found)
        where = f"{client.url}, {folder}"
        return RemoteFolder(lambda name: client.read(str(folder / name)), self._cache, where).open_clip(where)

"""The files a task names: below the shared data root, or from Label Studio itself, lazily, bounded, and from nowhere else."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import weakref
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from backend.disk_cache import DiskCache
from backend.errors import MediaError
from backend.label_studio_files import LabelStudioFiles, local_files_path
from backend.local_folder import LocalFolder, relative_path
from backend.settings import Settings
from converters.sequences import read_sequence
from converters.sequences.sequence_folder import SEQUENCE_FILE
from sam4d.structures import Clip


@dataclass(frozen=True)
class RemoteFolder:
    """A folder of Label Studio's local files, fetched file by file.

    What is fetched is kept on disk under the description's digest, so that a sequence imported anew is fetched anew.
    """

    client: LabelStudioFiles
    cache: DiskCache
    folder: PurePosixPath
    version: str

    def read(self, name: str) -> bytes:
        path = str(self.folder / relative_path(name, f"file of {self.folder}"))
        key = hashlib.sha256(f"{self.client.url}\n{path}\n{self.version}".encode()).hexdigest()
        return self.cache.get(key, lambda: self.client.read(path))


class MediaReader:
    """Opens the sequences that tasks name. Safe to use from many threads."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        if settings.model_dir:
            self._cache = DiskCache(settings.model_dir / "downloads", settings.cache_bytes)
        else:
            self._cache = DiskCache(Path(tempfile.mkdtemp(prefix="sam4d-")), settings.cache_bytes)
            # Clips may be read longer than this reader lives.
            weakref.finalize(self._cache, shutil.rmtree, self._cache.folder, ignore_errors=True)
        self._client = None
        if settings.label_studio_url and settings.label_studio_api_key:
            self._client = LabelStudioFiles(settings.label_studio_url, settings.label_studio_api_key, settings.file_bytes)

    def open_clip(self, address: str) -> Clip:
        """The whole sequence at a task's address; sweeps and images are read when they are asked for.

        Raises:
            InputError: another kind of address, a path that leaves the root, a sequence that is not right.
            MediaError: the files cannot be had.
        """
        folder = local_files_path(address, self._settings.label_studio_url)
        root = self._settings.data_root
        if root is not None:
            local = LocalFolder(root.resolve(), folder, self._settings.file_bytes)
            if local.has(SEQUENCE_FILE):
                return read_sequence(local.read, str(folder))
        if self._client is None:
            missing = "SAM4D_DATA_ROOT" if root is None else "LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY"
            found = f"no {SEQUENCE_FILE} there and no {missing} to look elsewhere"
            raise MediaError(str(folder), "a sequence below the data root, or an address and token of Label Studio", found)
        description = self._client.read(str(folder / SEQUENCE_FILE))
        remote = RemoteFolder(self._client, self._cache, folder, hashlib.sha256(description).hexdigest())
        return read_sequence(lambda name: description if name == SEQUENCE_FILE else remote.read(name), f"{self._client.url}, {folder}")

"""Where a task's address of a sequence leads: a folder of local files, of a web server, or of a cloud storage."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TypeAlias
from urllib.parse import parse_qs, urlsplit

from backend.label_studio_files import LOCAL_FILES_PATH
from backend.local_folder import relative_path
from backend.web_address import WebAddress, shown
from converters.sequences.sequence_folder import SEQUENCE_FILE
from sam4d.structures import InputError

WHERE = "sequence address of the task"
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")


@dataclass(frozen=True)
class LocalFiles:
    """A folder below the root of Label Studio's local files."""

    folder: PurePosixPath


@dataclass(frozen=True)
class WebFolder:
    """A folder of a web server."""

    address: WebAddress


@dataclass(frozen=True)
class BucketFolder:
    """A folder of a bucket in one of Label Studio's cloud storages (S3, MinIO)."""

    bucket: str
    folder: PurePosixPath

    def __str__(self) -> str:
        return self.uri("")

    def uri(self, name: str) -> str:
        """Of a file in the folder, as Label Studio knows it."""
        return f"s3://{self.bucket}/{self.folder / name}"


SequenceAddress: TypeAlias = LocalFiles | WebFolder | BucketFolder


def parse_sequence_address(address: str, label_studio_url: str | None) -> SequenceAddress:
    """The folder that an address means; also where it names the folder's sequence.json.

    Raises:
        InputError: another kind of address, a path that leaves its root, a query where none belongs.
    """
    if is_bucket_address(address):
        return parse_bucket_folder(address)
    is_web = address.lower().startswith(("http:", "https:"))
    if is_web and not (label_studio_url and address.startswith(f"{label_studio_url}{LOCAL_FILES_PATH.rstrip('/')}")):
        return _web_folder(address)
    return LocalFiles(_local_files_path(address.removeprefix(label_studio_url or "") if is_web else address))


def is_bucket_address(address: str | Path) -> bool:
    return str(address).startswith("s3://")


def _local_files_path(address: str) -> PurePosixPath:
    expected = f"an address such as {LOCAL_FILES_PATH}?d=drives/0001, https://host/drives/0001/ or s3://bucket/drives/0001"
    try:
        parts = urlsplit(address)
        names = parse_qs(parts.query).get("d", [])
    except ValueError:
        raise InputError(WHERE, expected, repr(shown(address))) from None
    if parts.scheme or parts.netloc or parts.path.rstrip("/") != LOCAL_FILES_PATH.rstrip("/") or len(names) != 1 or not names[0]:
        raise InputError(WHERE, expected, repr(shown(address)))
    return _without_file(relative_path(names[0], WHERE))


def _web_folder(text: str) -> WebFolder:
    address = WebAddress.parse(text, WHERE)
    if address.query:
        raise InputError(WHERE, "an address without a query: files are asked for below it", f"{str(address)!r} with one")
    return WebFolder(replace(address, path=address.path.removesuffix(f"/{SEQUENCE_FILE}").rstrip("/") or "/"))


def parse_bucket_folder(address: str) -> BucketFolder:
    """Raises InputError where it is no address such as s3://bucket/drives/0001."""
    bucket, _, key = address.removeprefix("s3://").partition("/")
    # Label Studio takes what follows a question mark for no part of the key.
    if not _BUCKET.fullmatch(bucket) or not key.strip("/") or "?" in key or "#" in key or len(address) > 2048:
        raise InputError(WHERE, "an address such as s3://bucket/drives/0001", repr(shown(address)))
    return BucketFolder(bucket, _without_file(relative_path(key, WHERE)))


def _without_file(path: PurePosixPath) -> PurePosixPath:
    return path.parent if path.name == SEQUENCE_FILE else path

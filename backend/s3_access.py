"""How Label Studio gets at the buckets of drives that are imported."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class S3Access:
    """What a project's S3 storage is told; what is None here, Label Studio takes from its own environment or its machine's role.

    endpoint_url: of MinIO and others, as Label Studio reaches it; None is Amazon's.
    """

    endpoint_url: str | None = None
    region: str | None = None
    access_key_id: str | None = None
    secret_access_key: str | None = field(default=None, repr=False)

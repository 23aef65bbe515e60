"""checkpoint: a look at a file before a server is pointed at it; and what the engine has learnt, version by version."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import Any

from backend.commands.connection import settings_at
from backend.commands.output import say, say_json
from backend.engine import engine_kind, version_store_of
from backend.errors import one_line
from backend.settings import Settings
from backend.versions import BASE, Standing, Version, VersionStore
from sam4d.structures import InputError


def run_inspect(arguments: argparse.Namespace, settings: Settings) -> int:
    # Here, so that no other word waits for PyTorch.
    import torch

    from sam4d.checkpoint import check_fits, read_checkpoint
    from sam4d.modeling.configuration import RELEASED
    from sam4d.modeling.sam4d import Sam4D

    checkpoint = read_checkpoint(arguments.checkpoint)
    with torch.device("meta"):
        network = Sam4D(checkpoint.configuration)
    check_fits(checkpoint, network)
    dtypes = sorted({str(tensor.dtype).removeprefix("torch.") for tensor in checkpoint.tensors.values()})
    say(f"{checkpoint.path}: fits the SAM4D network")
    say(f"{len(checkpoint.tensors)} tensors, {checkpoint.value_count / 1e6:.1f} million values ({', '.join(dtypes)})")
    if checkpoint.configuration != RELEASED:
        say(f"sizes {checkpoint.configuration.to_json()}")
    for name, value in sorted(checkpoint.about.items()):
        say(one_line(f"{name}: {value}"))
    say(f"digest {checkpoint.digest} (SHA-256 {checkpoint.sha256})")
    return 0


def run_list(arguments: argparse.Namespace, settings: Settings) -> int:
    settings = settings_at(settings, arguments.directory)
    store = _store(settings)
    standing, versions = store.standing(), store.versions()
    if arguments.json:
        say_json(_document(standing, versions))
        return 0
    base = str(settings.checkpoint or "no checkpoint") if engine_kind(settings) == "sam4d" else "the geometric engine as it is"
    say(_marked(BASE, standing, f"what the settings name: {base}"))
    for version in versions:
        say(_marked(version.name, standing, _described(version)))
    return 0


def run_use(arguments: argparse.Namespace, settings: Settings) -> int:
    store = _store(settings_at(settings, arguments.directory))
    return _changed(store, store.use(arguments.version), as_json=arguments.json)


def run_roll_back(arguments: argparse.Namespace, settings: Settings) -> int:
    store = _store(settings_at(settings, arguments.directory))
    return _changed(store, store.roll_back(), as_json=arguments.json)


def _store(settings: Settings) -> VersionStore:
    store = version_store_of(settings)
    if store is None:
        raise InputError("MODEL_DIR", "the folder that the backend has as its MODEL_DIR, with the versions in it", "nothing")
    return store


def _changed(store: VersionStore, standing: Standing, *, as_json: bool) -> int:
    if as_json:
        say_json(_document(standing, store.versions()))
    else:
        say(f"{standing.current} answers from now on; tasks that are open go on with what they were opened with")
    return 0


def _document(standing: Standing, versions: list[Version]) -> dict[str, Any]:
    return {
        "current": standing.current,
        "history": list(standing.history),
        "versions": [
            {"name": version.name, **(asdict(version.about) if version.about is not None else {"trouble": version.trouble})}
            for version in versions
        ],
    }


def _marked(name: str, standing: Standing, says: str) -> str:
    return f"{'*' if name == standing.current else ' '} {name:<5} {says}"


def _described(version: Version) -> str:
    about = version.about
    if about is None:
        return f"DAMAGED: {version.trouble}"
    parts = [about.model_version, about.made, f"from {about.parent}"]
    if about.project_id is not None:
        parts.append(f"project {about.project_id}, {len(about.training)} tasks learnt from, {len(about.held_out)} held out")
    if about.old_score is not None and about.new_score is not None:
        parts.append(f"held out {about.old_score:.3f} -> {about.new_score:.3f}")
    return ", ".join([*parts, about.note] if about.note else parts)

"""label-studio-ml's own server around our class, as its examples start it; run by test_model.py in a process of its own."""

from __future__ import annotations

import os
from typing import Any

from label_studio_ml.api import init_app

from backend.model import Sam4DBackend


def create_app() -> Any:
    return init_app(model_class=Sam4DBackend, model_dir=os.environ["STOCK_MODEL_DIR"])

"""The model as Label Studio's ML backends know it. It holds nothing: servers construct it anew on every request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from label_studio_ml.model import LabelStudioMLBase

from backend.training_desk import ANNOTATION_EVENTS, START_TRAINING, TrainingDesk, desk_without_keeper, event_of, project_number

if TYPE_CHECKING:
    from backend.service import LabellingService

Prediction = dict[str, Any]


class Sam4DBackend(LabelStudioMLBase):  # type: ignore[misc]  # label-studio-ml is not typed
    """One class for label-studio-ml 1.0.9 and 2.x, under their stock servers and under ours.

    The two are told apart by `setup`, which only 2.x has. Construction is cheap; the predictor and the open tasks live in the service.

    Args:
        project_id: "<id>.<timestamp>" or "<id>"; 1.0.9 does not say it.
        label_config: the project's labelling configuration.
        service: what answers; None takes this process's own, built from the environment when first asked.
    """

    TRAIN_EVENTS = (*sorted(ANNOTATION_EVENTS), START_TRAINING)
    """1.0.9 hands on these alone, and not START_TRAINING by itself."""

    def __init__(
        self, project_id: str | None = None, label_config: str | None = None, *, service: LabellingService | None = None, **kwargs: Any
    ) -> None:
        if hasattr(LabelStudioMLBase, "setup"):
            super().__init__(project_id=project_id, label_config=label_config)
        else:
            # Its own parser fails on what ours explains, and resolves entities.
            super().__init__(label_config=None, **kwargs)
            self.label_config = label_config
        self._service = service
        self._sam4d_project = project_id
        self._sam4d_label_config = label_config

    def setup(self) -> None:
        """Called by 2.x on construction; there is nothing to load."""

    def predict(self, tasks: Sequence[Mapping[str, Any]], context: Mapping[str, Any] | None = None, **kwargs: Any) -> list[Prediction]:
        """One prediction per task, in order: {"result": regions, "score": float, "model_version": text}.

        Args:
            tasks: as Label Studio serialises them.
            context: the click, box or brush {"result": [...]} of interactive labelling, or None.
            seconds: what is left for the answer; only our own server knows.

        Raises:
            InputError: what a click asks cannot be answered. Without a click, a task that cannot be answered has an empty result.
        """
        # 1.0.9 leaves out the project: tasks carry its id themselves.
        seconds: float | None = kwargs.get("seconds")
        return self._answering().predict(tasks, self._sam4d_project, self._sam4d_label_config or "", context, seconds)

    def fit(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Called with every change in the project, and to start training: `fit(event, data)` on 2.x, `fit((), event=, data=)` on 1.0.9.

        Nothing is learnt here: a job is started, and the answer says which.

        Raises:
            InputError: training cannot start, and why.
        """
        event = kwargs.get("event") or next((given for given in args if isinstance(given, str)), "")
        data = kwargs.get("data") or next((given for given in args if isinstance(given, Mapping)), {})
        _, project_id = event_of(data)
        return self._desk().take_in(str(event), project_id or project_number(self._sam4d_project))

    def _desk(self) -> TrainingDesk:
        if self._service is not None:
            return self._service.training
        # A stock server calls `fit` in a process of its own, which needs no engine.
        from backend.settings import Settings

        return desk_without_keeper(Settings.from_environment())

    def _answering(self) -> LabellingService:
        if self._service is None:
            # The stock servers construct this class themselves and can hand it nothing.
            from backend.asgi import process_service

            self._service = process_service()
        return self._service

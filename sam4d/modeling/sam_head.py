"""From features and encoded prompts to masks and object pointers of both sensors: the promptable head (arXiv 2506.21547)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sam4d.modeling.attention import Perceptron
from sam4d.modeling.configuration import RELEASED, NetworkConfiguration
from sam4d.modeling.encoded_frame import ConditionedFeatures, Decoded, EncodedFrame
from sam4d.modeling.mask_decoder import MaskDecoder
from sam4d.modeling.mask_selection import MaskCandidates, SelectedMask, select_mask
from sam4d.modeling.prompt_encoder import CameraPromptEncoder, EncodedPrompts, LidarPromptEncoder


class SamHead(nn.Module):
    """Prompt encoders, mask decoder, and the projections of object pointers."""

    def __init__(self, configuration: NetworkConfiguration = RELEASED) -> None:
        super().__init__()
        width = configuration.width
        self.no_obj_ptr = nn.Parameter(torch.zeros(1, width))
        self.sam_prompt_encoder = CameraPromptEncoder(width)
        self.psam_prompt_encoder = LidarPromptEncoder(width)
        self.sam_mask_decoder = MaskDecoder(configuration)
        self.obj_ptr_proj = Perceptron((width, width, width, width))
        self.obj_ptr_tpos_proj = nn.Linear(width, width)

    def candidates(
        self, frame: EncodedFrame, features: ConditionedFeatures, prompts: EncodedPrompts
    ) -> tuple[MaskCandidates, MaskCandidates]:
        """All masks of B objects on one frame, in the camera and in the LiDAR.

        Features and prompts with a batch of 1 serve every object.
        """
        batch = max(len(features.camera), len(prompts.camera_tokens), len(prompts.camera_dense))
        rows, columns = frame.camera.stride16.shape[2:]
        camera_features = features.camera.transpose(1, 2).reshape(len(features.camera), -1, rows, columns) + prompts.camera_dense
        camera = self.sam_mask_decoder.decode_camera(
            camera_features.expand(batch, -1, -1, -1),
            frame.camera.positions,
            prompts.camera_tokens.expand(batch, -1, -1),
            frame.camera.stride8,
            frame.camera.stride4,
        )
        lidar = self.sam_mask_decoder.decode_lidar(
            (features.lidar + prompts.lidar_dense).expand(batch, -1, -1),
            frame.lidar.positions,
            prompts.lidar_tokens.expand(batch, -1, -1),
            frame.lidar.stride16.cells,
            frame.lidar.stride8,
            frame.lidar.stride4,
        )
        return camera, lidar

    def decoded(self, frame: EncodedFrame, camera: MaskCandidates, lidar: MaskCandidates, *, ambiguous: bool) -> Decoded:
        """The answer that the candidates of both sensors give: a mask, a pointer and a score each; `ambiguous` as in `select_mask`."""
        camera_mask, lidar_mask = select_mask(camera, ambiguous=ambiguous), select_mask(lidar, ambiguous=ambiguous)
        height, width = frame.camera.stride4.shape[2:]
        return Decoded(
            camera_low_res_logits=camera_mask.logits.view(-1, height, width),
            lidar_low_res_logits=lidar_mask.logits,
            lidar_logits=frame.lidar.mixing(lidar_mask.logits),
            camera_pointer=self._pointer(camera, camera_mask),
            lidar_pointer=self._pointer(lidar, lidar_mask),
            object_score=torch.stack([camera.object_score, lidar.object_score], dim=1),
            predicted_iou=torch.stack([camera_mask.predicted_iou, lidar_mask.predicted_iou], dim=1),
        )

    def _pointer(self, candidates: MaskCandidates, mask: SelectedMask) -> Tensor:
        """(B, C): the projected mask token, or the pointer that says that nothing is there."""
        present = candidates.object_score > 0
        return torch.where(present[:, None], self.obj_ptr_proj(mask.token), self.no_obj_ptr)

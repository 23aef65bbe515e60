"""SAM4D as a whole (arXiv 2506.21547): every box, by the name that it has in the released checkpoint.

A frame is encoded once (`encode_frame`) and decoded for every prompt and every object (`decode`), its features as they are where an
object begins (`begin`), else as the objects' memories let them be seen (`condition`); then it is remembered (`remember`).
One camera and one sweep; B objects at a time.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sam4d.geometry import SE3, BoolArray
from sam4d.modeling.configuration import RELEASED, NetworkConfiguration
from sam4d.modeling.encoded_frame import CameraFeatures, CameraGrid, ConditionedFeatures, Decoded, EncodedFrame, Levels, LidarFeatures
from sam4d.modeling.image_encoder import Hiera, ImageEncoder, prepare_image
from sam4d.modeling.lidar_encoder import LidarPyramid, MinkUNet, voxelise
from sam4d.modeling.mask_prompt import given_logits, low_res_camera_logits, low_res_lidar_logits, network_mask
from sam4d.modeling.memory import FrameMemory, FramePlace, Memories
from sam4d.modeling.memory_attention import MemoryAttention, Remembered
from sam4d.modeling.memory_encoder import ImageMemoryEncoder, LidarMemoryEncoder
from sam4d.modeling.memory_recall import RECENT_FRAMES, Recall
from sam4d.modeling.point_logits import point_mixing
from sam4d.modeling.positional_encoding import EgoPoseEncoder, Rays, UnionPositionalEncoding, distance_sine, motion_vector
from sam4d.modeling.prompt_encoder import EncodedPrompts, PromptPoints, encode_points
from sam4d.modeling.recomputation import where_it_learns
from sam4d.modeling.sam_head import SamHead
from sam4d.modeling.sparse_conv import DownConv, SparseTensor
from sam4d.structures import Camera, UInt8Array

EARLIER_LOGIT_LIMIT = 32.0
"""An earlier answer's logits are clamped to this magnitude before they serve as a prompt."""


class Sam4D(nn.Module):
    """In the released size, all 904 tensors of the released checkpoint, under their names there; in other sizes, the same names."""

    def __init__(self, configuration: NetworkConfiguration = RELEASED) -> None:
        super().__init__()
        width = configuration.width
        self.configuration = configuration
        self.pure_model = _PureModel(configuration)
        self.union_pe_func = UnionPositionalEncoding(configuration)
        self.ego_pose_encoder = EgoPoseEncoder(width)
        self.mask_downsample_img = nn.Conv2d(1, 1, kernel_size=4, stride=4)
        self.mask_downsample_pts = DownConv(1, 1, 4, bias=True)
        self.maskmem_tpos_enc = nn.Parameter(torch.zeros(RECENT_FRAMES + 1, 1, 1, width))
        self.no_mem_embed = nn.Parameter(torch.zeros(1, 1, width))
        self.no_mem_pos_enc = nn.Parameter(torch.zeros(1, 1, width))  # in the released file, and never read
        self.no_obj_embed_spatial = nn.Parameter(torch.zeros(1, width))

    @property
    def head(self) -> SamHead:
        return self.pure_model.head.sam

    @property
    def device(self) -> torch.device:
        return self.no_mem_embed.device

    @property
    def checkpointed(self) -> bool:
        """Whether training keeps only what goes into the image encoder's blocks, the LiDAR encoder's stages and the memory attention's
        layers, and computes what is in them again for the gradients: much less memory for a third more work, and the same gradients."""
        return self._parts_computed_again[0].checkpointed

    @checkpointed.setter
    def checkpointed(self, checkpointed: bool) -> None:
        for part in self._parts_computed_again:
            part.checkpointed = checkpointed

    @property
    def _parts_computed_again(self) -> tuple[Hiera, MinkUNet, MemoryAttention]:
        backbone = self.pure_model.backbone
        return backbone.image.trunk, backbone.point.encoder, self.pure_model.fusion.memory_attention

    def encode_camera(self, image: UInt8Array, camera: Camera) -> CameraFeatures:
        """Everything about an image that depends on no object.

        Args:
            image: uint8 (H, W, 3), RGB, of the camera's own size.
            camera: its calibration.
        """
        return CameraFeatures(*self.look_at(image), self.camera_grid(camera), camera)

    def look_at(self, image: UInt8Array) -> Levels:
        """The part of `encode_camera` which no calibration goes into: the features at strides 4, 8 and 16."""
        decoder = self.head.sam_mask_decoder
        encoder = self.pure_model.backbone.image
        prepared = prepare_image(image, self.configuration.image_size_px)[None].to(self.device)
        with where_it_learns(encoder):
            seen = encoder(prepared)
        return decoder.conv_s0(seen.stride4), decoder.conv_s1(seen.stride8), seen.stride16

    def camera_grid(self, camera: Camera) -> CameraGrid:
        """The part of `encode_camera` which no image goes into."""
        encoding, rays = self.union_pe_func, Rays.of_grid(camera, self.configuration.image_size_px)
        return CameraGrid(encoding.grid_sine()[None], encoding.shared_of_rays(rays)[None], rays)

    def encode_sweep(self, points_m: NDArray[np.floating]) -> LidarFeatures:
        """Everything about a sweep that depends on no object; the passes of several cameras share it.

        Args:
            points_m: (N, 3), metres, LiDAR frame, all finite. Masks come back in this order.
        """
        decoder = self.head.sam_mask_decoder
        sweep = voxelise(points_m, self.device)
        encoder = self.pure_model.backbone.point.encoder
        with where_it_learns(encoder):
            pyramid: LidarPyramid = encoder(sweep)
        return LidarFeatures(
            stride4=decoder.conv_s0_pts(pyramid.stride4),
            stride8=decoder.conv_s1_pts(pyramid.stride8),
            stride16=pyramid.stride16,
            positions_m=pyramid.positions_m,
            positions=self.union_pe_func.positions(pyramid.positions_m)[None],
            sweep=sweep,
            mixing=point_mixing(sweep.positions, pyramid.stride4.cells),
        )

    def encode_frame(self, image: UInt8Array, camera: Camera, points_m: NDArray[np.floating], world_SE3_lidar: SE3) -> EncodedFrame:
        """One image and one sweep, as `encode_camera` and `encode_sweep` take them, and the ego pose."""
        return EncodedFrame(self.encode_camera(image, camera), self.encode_sweep(points_m), world_SE3_lidar)

    def begin(self, frame: EncodedFrame) -> ConditionedFeatures:
        """The features of a frame on which an object begins, which has no memories yet."""
        return ConditionedFeatures(frame.camera.tokens + self.no_mem_embed, frame.lidar.tokens + self.no_mem_embed)

    def condition(self, frame: EncodedFrame, recall: Recall, memories: Memories) -> ConditionedFeatures:
        """The features of a frame as B objects' memories let them be seen.

        Args:
            frame: the frame to be decoded.
            recall: which frames to look at.
            memories: at least the frames that `recall` names.
        """
        attention = self.pure_model.fusion.memory_attention
        seen = self._in_sight(frame, recall, memories)
        camera_count, lidar_count, count = frame.camera.tokens.shape[1], frame.lidar.tokens.shape[1], seen.keys.shape[1]
        return ConditionedFeatures(
            attention(frame.camera.tokens, frame.camera.positions, seen.part(0, count - camera_count)),
            attention(frame.lidar.tokens, frame.lidar.positions, seen.part(lidar_count, count)),
        )

    def encode_prompts(
        self,
        frame: EncodedFrame,
        points: PromptPoints,
        earlier_camera_logits: Tensor | None = None,
        earlier_lidar_logits: Tensor | None = None,
    ) -> EncodedPrompts:
        """One object's points on a frame, and where there is one, the earlier answer on that frame that they correct.

        Without points and without an earlier answer, what is encoded serves any number of objects that are only followed.

        Args:
            earlier_camera_logits: float32 (1, 4 G, 4 G), or None. earlier_lidar_logits: (1, M4), per stride-4 voxel, or None.
        """
        camera_encoder, lidar_encoder = self.head.sam_prompt_encoder, self.head.psam_prompt_encoder
        camera_tokens, lidar_tokens = encode_points(points, frame.camera.calibration, self.union_pe_func, camera_encoder, lidar_encoder)
        camera_dense = camera_encoder.embed_mask(_limited(earlier_camera_logits))
        lidar_dense = lidar_encoder.embed_mask(frame.lidar.stride4.cells, _limited(earlier_lidar_logits))
        return EncodedPrompts(camera_tokens, lidar_tokens, camera_dense, lidar_dense)

    def decode(self, frame: EncodedFrame, features: ConditionedFeatures, prompts: EncodedPrompts, *, ambiguous: bool) -> Decoded:
        """The answer for B objects. `ambiguous`: one point or none was given, see `PromptPoints.is_ambiguous`."""
        return self.head.decoded(frame, *self.head.candidates(frame, features, prompts), ambiguous=ambiguous)

    def decode_mask(self, frame: EncodedFrame, camera_mask: BoolArray, lidar_mask: BoolArray) -> Decoded:
        """A mask of one object given in both sensors, as an answer: the mask itself, with the pointers that the decoder finds for it.

        Args:
            frame: where it is given. Its memories, if there are any, do not count.
            camera_mask: bool (H, W). lidar_mask: bool (N,), over the frame's points.
        """
        camera = network_mask(camera_mask, self.configuration.image_size_px, self.device)
        lidar = torch.tensor(lidar_mask, dtype=torch.float32, device=self.device)[None]
        prompts = self.encode_prompts(frame, PromptPoints())
        point_cells, cells = frame.lidar.sweep.point_cells, frame.lidar.stride4.cells
        coarse = self.mask_downsample_pts(SparseTensor(point_cells, lidar.T))
        rows = coarse.cells.find(cells.coordinates)
        lidar_prompt = torch.where(rows >= 0, coarse.features[rows.clamp(min=0), 0], 0)[None]
        prompts = replace(
            prompts,
            camera_dense=self.head.sam_prompt_encoder.embed_mask(self.mask_downsample_img(camera)[:, 0]),
            lidar_dense=self.head.psam_prompt_encoder.embed_mask(cells, lidar_prompt),
        )
        raw = ConditionedFeatures(frame.camera.tokens, frame.lidar.tokens)
        decoded = self.decode(frame, raw, prompts, ambiguous=False)
        given, lidar_logits = given_logits(camera), given_logits(lidar)
        present = torch.stack([camera.any(), lidar.any()])[None]
        return Decoded(
            camera_low_res_logits=low_res_camera_logits(given),
            lidar_low_res_logits=low_res_lidar_logits(frame.lidar, lidar_logits),
            lidar_logits=lidar_logits,
            camera_pointer=torch.where(present[:, :1], decoded.camera_pointer, self.head.no_obj_ptr),
            lidar_pointer=torch.where(present[:, 1:], decoded.lidar_pointer, self.head.no_obj_ptr),
            object_score=given_logits(present.float()),
            predicted_iou=torch.ones_like(decoded.predicted_iou),
            camera_given_logits=given[:, 0],
        )

    def remember(self, frame: EncodedFrame, decoded: Decoded) -> FrameMemory:
        """What stays of a frame for B objects."""
        encoder = self.pure_model.fusion.memory_encoder
        camera_logits = decoded.camera_low_res_logits if decoded.camera_given_logits is None else decoded.camera_given_logits
        camera = encoder.image(frame.camera.stride16, camera_logits[:, None]).flatten(2).transpose(1, 2)
        lidar = encoder.point(frame.lidar.stride16, decoded.lidar_logits, frame.lidar.sweep.point_cells)
        absent = (decoded.object_score <= 0)[:, :, None, None] * self.no_obj_embed_spatial
        return FrameMemory(
            FramePlace.of(frame),
            (camera + absent[:, 0]).bfloat16(),
            (lidar + absent[:, 1]).bfloat16(),
            decoded.camera_pointer,
            decoded.lidar_pointer,
        )

    def _in_sight(self, frame: EncodedFrame, recall: Recall, memories: Memories) -> Remembered:
        """What both sensors look at, once: the LiDAR's present raw features, all that is remembered, the camera's present raw features.

        Each sensor also looks at the other one's present features, which are the same for every object, and not at its own.
        """
        parts = [Remembered.placed(frame.lidar.tokens, frame.lidar.positions)]
        parts += [self._remembered(frame, memories[index], t_pos) for index, t_pos in recall.memories]
        parts += [self._pointers(frame, memories[index], distance / recall.pointer_span) for index, distance in recall.pointers]
        parts += [Remembered.placed(frame.camera.tokens, frame.camera.positions)]
        return Remembered.join(parts)

    def _remembered(self, frame: EncodedFrame, memory: FrameMemory, t_pos: int) -> Remembered:
        """Both sensors' memories of a frame, placed where they are now: B objects, L + M of them; rounded as the released model does."""
        encoding, place = self.union_pe_func, memory.place
        current_SE3_past = frame.world_SE3_lidar.inverse() @ place.world_SE3_lidar
        rotation = torch.tensor(current_SE3_past.rotation).to(place.lidar_positions_m)
        translation_m = torch.tensor(current_SE3_past.translation_m).to(place.lidar_positions_m)
        lidar_m = place.lidar_positions_m @ rotation.T + translation_m
        camera_positions = frame.camera.grid.sine.bfloat16().float() + encoding.shared_of_rays(place.rays.moved(current_SE3_past))
        lidar_positions = encoding.lidar_sine(lidar_m).bfloat16().float() + encoding.shared_of_positions(lidar_m)
        positions = torch.cat([camera_positions, lidar_positions[None]], dim=1) + self.maskmem_tpos_enc[RECENT_FRAMES - t_pos]
        return Remembered.placed(torch.cat([memory.camera, memory.lidar], dim=1).float(), positions)

    def _pointers(self, frame: EncodedFrame, memory: FrameMemory, distance: float) -> Remembered:
        """Both sensors' pointers of a frame, at a distance in time of 0 to 1: B objects, 2 of them."""
        motion = motion_vector(frame.world_SE3_lidar.inverse() @ memory.place.world_SE3_lidar).to(self.device)
        position = self.head.obj_ptr_tpos_proj(distance_sine(torch.tensor([distance], device=self.device), self.configuration.width))
        position = position + self.ego_pose_encoder(motion[None])
        return Remembered.placed(torch.stack([memory.camera_pointer, memory.lidar_pointer], dim=1), position[None].expand(-1, 2, -1))


def _limited(logits: Tensor | None) -> Tensor | None:
    return None if logits is None else logits.clamp(-EARLIER_LOGIT_LIMIT, EARLIER_LOGIT_LIMIT)


class _PureModel(nn.Module):
    """The network proper; what the released model keeps beside it are encodings and small projections."""

    def __init__(self, configuration: NetworkConfiguration) -> None:
        super().__init__()
        self.backbone = _Backbone(configuration)
        self.fusion = _Fusion(configuration)
        self.head = _Head(configuration)


class _Backbone(nn.Module):
    def __init__(self, configuration: NetworkConfiguration) -> None:
        super().__init__()
        self.image = ImageEncoder(configuration)
        self.point = _LidarBackbone(configuration)


class _LidarBackbone(nn.Module):
    def __init__(self, configuration: NetworkConfiguration) -> None:
        super().__init__()
        self.sparse_3d = nn.Sequential(MinkUNet(configuration))

    @property
    def encoder(self) -> MinkUNet:
        encoder = self.sparse_3d[0]
        assert isinstance(encoder, MinkUNet)
        return encoder


class _Fusion(nn.Module):
    def __init__(self, configuration: NetworkConfiguration) -> None:
        super().__init__()
        self.memory_attention = MemoryAttention(configuration.width, configuration.memory_hidden_width, configuration.memory_layers)
        self.memory_encoder = _MemoryEncoders(configuration)


class _MemoryEncoders(nn.Module):
    def __init__(self, configuration: NetworkConfiguration) -> None:
        super().__init__()
        self.image = ImageMemoryEncoder(configuration)
        self.point = LidarMemoryEncoder(configuration)


class _Head(nn.Module):
    def __init__(self, configuration: NetworkConfiguration) -> None:
        super().__init__()
        self.sam = SamHead(configuration)

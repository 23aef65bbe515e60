"""Unified multi-modal positional encoding: camera pixels and LiDAR points in one 3D space (arXiv 2506.21547, UMPE).

An encoding is the sum of a sensor's own sine term and of a term that both sensors share: a pixel is the points along its ray, a
LiDAR position is itself, and one perceptron reads either. Also here: the encoding of an ego motion for object pointers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from sam4d.geometry import SE3, Float64Array, unproject_pinhole
from sam4d.modeling.attention import by_rows
from sam4d.modeling.configuration import GRID_STRIDE_PX, RELEASED, NetworkConfiguration
from sam4d.modeling.products import Linear
from sam4d.structures import Camera

DEPTH_COUNT = 128
_NEAREST_DEPTH_M = 1.0
_DEPTH_STEP_M = 0.6
_POINTER_WAVELENGTH = 10000.0


@dataclass(frozen=True, eq=False)
class Rays:
    """Rays of one camera's pixels, in some LiDAR frame, metres.

    origin_m: float64 (3,). directions: float64 (N, 3), of length such that `origin_m + depth_m * direction` lies `depth_m` in front of
    the camera's image plane.
    """

    origin_m: Float64Array
    directions: Float64Array

    @classmethod
    def of_pixels(cls, camera: Camera, network_pixels: Float64Array, image_size_px: int) -> Rays:
        """Rays of pixels (u, v), float64 (N, 2), in the square image that the network sees, in the camera's LiDAR frame."""
        pixels = network_pixels * (np.array([camera.width_px, camera.height_px]) / image_size_px)
        in_camera = unproject_pinhole(pixels, camera.fx_px, camera.fy_px, camera.cx_px, camera.cy_px, camera.distortion)
        return cls(camera.lidar_SE3_cam.translation_m, in_camera @ camera.lidar_SE3_cam.rotation.T)

    @classmethod
    def of_grid(cls, camera: Camera, image_size_px: int) -> Rays:
        """Rays of the centres of the positions of the top-level features, row by row: L of them, one for 16 x 16 pixels."""
        centres = (np.arange(image_size_px // GRID_STRIDE_PX, dtype=np.float64) + 0.5) * GRID_STRIDE_PX
        u, v = np.meshgrid(centres, centres)
        return cls.of_pixels(camera, np.stack([u.ravel(), v.ravel()], axis=1), image_size_px)

    def moved(self, current_SE3_past: SE3) -> Rays:
        """The same rays in another frame's LiDAR coordinates."""
        return Rays(current_SE3_past.apply(self.origin_m), self.directions @ current_SE3_past.rotation.T)


class UnionPositionalEncoding(nn.Module):
    """Positional encodings of both sensors, each (N, C): a sine term of its own plus the shared term."""

    def __init__(self, configuration: NetworkConfiguration = RELEASED) -> None:
        super().__init__()
        self.image_size_px = configuration.image_size_px
        self.grid_size = configuration.grid_size
        self.width = configuration.width
        self.pts_pe_layer = GaussianSine(configuration.width)
        self.union_pe_layer = SharedTerm(configuration)

    def camera_sine(self, network_pixels: Tensor) -> Tensor:
        """The camera's own term for pixels (u, v), float (N, 2), in the network's image -> float32 (N, C)."""
        return _camera_sine(network_pixels / self.image_size_px, self.width)

    def grid_sine(self) -> Tensor:
        """The camera's own term for the L positions of the top-level features, float32 (L, C), row by row."""
        device = self.pts_pe_layer.positional_encoding_gaussian_matrix.device
        centres = (torch.arange(self.grid_size, device=device) + 0.5) / (self.grid_size + 1e-6)
        v, u = torch.meshgrid(centres, centres, indexing="ij")
        return _camera_sine(torch.stack([u.flatten(), v.flatten()], dim=1), self.width)

    def lidar_sine(self, positions_m: Tensor) -> Tensor:
        """The LiDAR's own term for positions float32 (N, 3), metres -> float32 (N, C)."""
        encoded: Tensor = self.pts_pe_layer(positions_m)
        return encoded

    def shared_of_rays(self, rays: Rays) -> Tensor:
        """The shared term of pixels -> float32 (N, C)."""
        return self.union_pe_layer.of_rays(rays)

    def shared_of_positions(self, positions_m: Tensor) -> Tensor:
        """The shared term of LiDAR positions float32 (N, 3), metres -> float32 (N, C)."""
        return self.union_pe_layer.of_positions(positions_m)

    def pixels(self, camera: Camera, network_pixels: Float64Array) -> Tensor:
        """The whole encoding of pixels (u, v), float64 (N, 2), in the network's image -> float32 (N, C)."""
        shared = self.shared_of_rays(Rays.of_pixels(camera, network_pixels, self.image_size_px))
        return self.camera_sine(torch.from_numpy(network_pixels).to(shared)) + shared

    def positions(self, positions_m: Tensor) -> Tensor:
        """The whole encoding of LiDAR positions float32 (N, 3), metres -> float32 (N, C)."""
        return self.lidar_sine(positions_m) + self.shared_of_positions(positions_m)


class GaussianSine(nn.Module):
    """Sines and cosines of random projections of a position."""

    positional_encoding_gaussian_matrix: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("positional_encoding_gaussian_matrix", torch.randn(3, width // 2))

    def forward(self, positions_m: Tensor) -> Tensor:
        """float32 (N, 3) -> (N, C)."""
        phases = positions_m @ self.positional_encoding_gaussian_matrix
        return torch.cat([phases.sin(), phases.cos()], dim=-1)


class SharedTerm(nn.Module):
    """A perceptron over 128 points: those along a pixel's ray at depths 1.0, 1.6, ..., 77.2 m, or a LiDAR position 128 times.

    Either way its input is linear in one or two vectors, so the first layer's weights are summed over the depths beforehand: the same
    result as feeding all 384 numbers, for a 64th of the work, and exact to the last digits because the sums are in float64.
    """

    frustum: Tensor

    def __init__(self, configuration: NetworkConfiguration = RELEASED) -> None:
        super().__init__()
        # The released file holds the grid's geometry, (x, y, depth, 1) in pixels of the 768 x 768 image and metres; only its depths are
        # needed here.
        self.register_buffer("frustum", _frustum(configuration.grid_size))
        hidden_width = configuration.shared_hidden_width
        self.mlp_embedding = nn.Sequential(Linear(3 * DEPTH_COUNT, hidden_width), nn.ReLU(), Linear(hidden_width, configuration.width))

    def of_rays(self, rays: Rays) -> Tensor:
        """Rays -> float32 (N, C)."""
        by_depth = self._first_weights()
        depths_m = self.frustum[0, 0, :, 2].double()
        directions = torch.tensor(rays.directions, device=by_depth.device)
        origin_m = torch.tensor(rays.origin_m, device=by_depth.device)
        along, start = torch.einsum("hdc,d->hc", by_depth, depths_m), by_depth.sum(dim=1)
        return self._perceptron(directions, along, start @ origin_m)

    def of_positions(self, positions_m: Tensor) -> Tensor:
        """Positions (N, 3), metres -> float32 (N, C)."""
        weights = self._first_weights().sum(dim=1)
        return self._perceptron(positions_m.double(), weights, weights.new_zeros(len(weights)))

    def _first_weights(self) -> Tensor:
        """The first layer's weights, float64 (hidden, 128, 3): depth by depth, x, y, z."""
        return self._first_layer.weight.double().view(-1, DEPTH_COUNT, 3)

    @property
    def _first_layer(self) -> nn.Linear:
        layer = self.mlp_embedding[0]
        assert isinstance(layer, nn.Linear)
        return layer

    def _perceptron(self, vectors: Tensor, weights: Tensor, constant: Tensor) -> Tensor:
        """Vectors float64 (N, 3), the summed weights float64 (hidden, 3) and what every vector adds (hidden,) -> float32 (N, C)."""
        constant = constant + self._first_layer.bias.double()

        def encoded(rows: Tensor) -> Tensor:
            hidden = torch.addmm(constant, rows, weights.T).to(self._first_layer.weight.dtype)
            finished: Tensor = self.mlp_embedding[2](hidden.relu_())
            return finished

        return by_rows(encoded, vectors)


class EgoPoseEncoder(nn.Module):
    """The vehicle's motion since a frame, for the object pointers of that frame."""

    d_max: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("d_max", torch.ones(()))
        self.fc = nn.Sequential(nn.Linear(6, width), nn.ReLU(), nn.Linear(width, width))

    def forward(self, motion: Tensor) -> Tensor:
        """float32 (N, 6), see `motion_vector` -> (N, C)."""
        scaled = torch.cat([motion[:, :3] / math.pi, motion[:, 3:] / (self.d_max.abs() + 1e-6)], dim=1)
        encoded: Tensor = self.fc(scaled)
        return encoded


def motion_vector(current_SE3_past: SE3) -> Tensor:
    """float32 (6,): the rotation's axis times its angle in radians, then the translation in metres."""
    w, *xyz = current_SE3_past.rotation_wxyz
    length = float(np.linalg.norm(xyz))
    axis_angle = np.array(xyz) * (2 * math.atan2(length, w) / length if length > 0 else 2.0)
    return torch.from_numpy(np.concatenate([axis_angle, current_SE3_past.translation_m]).astype(np.float32))


def distance_sine(distances: Tensor, width: int) -> Tensor:
    """Distances in time as shares of the longest, float32 (N,) -> (N, width): sines, then as many cosines, of falling frequency."""
    half = width // 2
    pairs = torch.div(torch.arange(half, device=distances.device), 2, rounding_mode="floor")
    phases = distances[:, None] / _POINTER_WAVELENGTH ** (2 * pairs / half)
    return torch.cat([phases.sin(), phases.cos()], dim=1)


def _camera_sine(shares: Tensor, width: int) -> Tensor:
    """(u, v) as shares of the image's sides, (N, 2) -> (N, width): v, then u, each as width / 4 times its sine and cosine.

    That all frequencies are the same is how the released model was trained.
    """
    phases = 2 * math.pi * shares
    pairs = torch.stack([phases.sin(), phases.cos()], dim=2)
    return torch.cat([pairs[:, 1].tile(1, width // 4), pairs[:, 0].tile(1, width // 4)], dim=1)


def _frustum(grid_size: int) -> Tensor:
    """float32 (grid_size, grid_size, 128, 4): row, column and depth of the grid to (x, y, depth, 1)."""
    centres = (torch.arange(grid_size) + 0.5) * GRID_STRIDE_PX
    depths_m = _NEAREST_DEPTH_M + _DEPTH_STEP_M * torch.arange(DEPTH_COUNT)
    y, x, depth_m = torch.meshgrid(centres, centres, depths_m, indexing="ij")
    return torch.stack([x, y, depth_m, torch.ones_like(x)], dim=3)

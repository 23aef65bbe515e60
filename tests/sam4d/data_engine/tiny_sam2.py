"""SAM 2 for videos in small, with random weights: every part of the network is there, and none of them knows anything."""

from __future__ import annotations

from pathlib import Path

import torch

IMAGE_SIZE_PX = 128
WIDTH, MEMORY_WIDTH = 128, 64


def write_tiny_sam2(folder: Path) -> None:
    """The folder that `save_pretrained` writes: 5 MB."""
    from transformers import Sam2VideoConfig, Sam2VideoModel
    from transformers.utils import logging

    logging.disable_progress_bar()
    side = IMAGE_SIZE_PX // 16
    backbone = {
        "model_type": "sam2_hiera_det_model",
        "hidden_size": 12,
        "image_size": [IMAGE_SIZE_PX, IMAGE_SIZE_PX],
        "blocks_per_stage": [1, 1, 2, 1],
        "embed_dim_per_stage": [12, 24, 48, 96],
        "num_attention_heads_per_stage": [1, 1, 2, 4],
        "global_attention_blocks": [3],
        "window_positional_embedding_background_size": [7, 7],
    }
    vision = {
        "model_type": "sam2_vision_model",
        "backbone_config": backbone,
        "backbone_channel_list": [96, 48, 24, 12],
        "backbone_feature_sizes": [[4 * side, 4 * side], [2 * side, 2 * side], [side, side]],
        "fpn_hidden_size": WIDTH,
    }
    config = Sam2VideoConfig(
        vision_config=vision,
        prompt_encoder_config={"hidden_size": WIDTH, "image_size": IMAGE_SIZE_PX, "patch_size": 16},
        mask_decoder_config={"hidden_size": WIDTH, "mlp_dim": 64, "num_attention_heads": 2, "iou_head_hidden_dim": 64},
        image_size=IMAGE_SIZE_PX,
        num_maskmem=3,
        max_object_pointers_in_encoder=4,
        memory_attention_hidden_size=WIDTH,
        memory_attention_num_layers=1,
        memory_attention_feed_forward_hidden_size=64,
        memory_attention_rope_feat_sizes=[side, side],
        memory_encoder_hidden_size=WIDTH,
        memory_encoder_output_channels=MEMORY_WIDTH,
        mask_downsampler_embed_dim=WIDTH,
        memory_fuser_num_layers=1,
        memory_fuser_embed_dim=WIDTH,
        memory_fuser_intermediate_dim=64,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Sam2VideoModel(config)
        for parameter in model.parameters():
            if parameter.dim() > 1:
                # As it starts, all masks are near 0 and alike.
                torch.nn.init.xavier_uniform_(parameter)
        # Of what it looks at it is sure that there is something.
        torch.nn.init.constant_(model.mask_decoder.pred_obj_score_head.proj_out.bias, 5.0)
    model.save_pretrained(folder)

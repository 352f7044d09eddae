"""A small Sam for real photos: EfficientNet-Lite0 sees, and the decoder draws at half the size.

Everything the decoder needs of a picture travels in one embedding, its finer levels folded into
channels, and everything it needs of the prompts in one dense prompt: so `SamPredictor` and
`SamAutomaticMaskGenerator` use this model as they use any other Sam.
"""

from __future__ import annotations

from typing import Any

import timm
import torch
from segment_anything.modeling import MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
from segment_anything.modeling.image_encoder import Block
from segment_anything.modeling.mask_decoder import MLP
from torch import nn
from torch.nn import functional as F  # noqa: N812 (torch's own name for it)
from torch.nn.utils.fusion import fuse_conv_bn_weights

CELL = 16  # pixels a side of one token of the embedding
FINE = (32, 16, 8)  # channels of the embedding's finer levels, at 1/8, 1/4 and 1/2 of the size
BACKBONE = "tf_efficientnet_lite0"
CLICK = 4.0  # pixels: standard deviation of the spot that a click makes in the dense prompt


class LiteEncoder(nn.Module):
    """EfficientNet-Lite0 under a feature pyramid; one packed embedding comes out."""

    def __init__(self, image_size: int, width: int, blocks: int, heads: int) -> None:
        """Args: input side (a multiple of 32); channels, attention blocks and heads at 1/16."""
        super().__init__()
        self.img_size = image_size
        self.backbone = folded(timm.create_model(BACKBONE, features_only=True, pretrained=False))
        c2, c4, c8, c16, c32 = self.backbone.feature_info.channels()
        side = image_size // CELL
        self.from32, self.from16 = nn.Conv2d(c32, width, 1), nn.Conv2d(c16, width, 1)
        self.place = nn.Parameter(torch.zeros(1, side, side, width))
        self.blocks = nn.Sequential(*(Block(width, heads, 2.0) for _ in range(blocks)))
        self.norm = nn.LayerNorm(width)
        self.down8, self.from8, self.mix8 = nn.Conv2d(width, 64, 1), nn.Conv2d(c8, 64, 1), Mix(64)
        self.down4, self.from4, self.mix4 = nn.Conv2d(64, 32, 1), nn.Conv2d(c4, 32, 1), Mix(32)
        self.down2, self.from2, self.mix2 = nn.Conv2d(32, 16, 1), nn.Conv2d(c2, 16, 1), Mix(16, 3)
        self.out8, self.out4, self.out2 = (
            nn.Conv2d(n, out, 1) for n, out in zip((64, 32, 16), FINE, strict=True)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 3, S, S) normalized pixels to (B, C, S/16, S/16), as `pack` makes it."""
        x = x.contiguous(memory_format=torch.channels_last)
        return self.fuse(self.backbone(x))

    def fuse(self, levels: list[torch.Tensor]) -> torch.Tensor:
        """The backbone's features at 1/2 to 1/32 as one embedding."""
        x2, x4, x8, x16, x32 = levels
        coarse = self.from16(x16) + _double(self.from32(x32))
        tokens = self.blocks(coarse.permute(0, 2, 3, 1) + self.place)
        coarse = self.norm(tokens).permute(0, 3, 1, 2)
        y8 = self.mix8(self.from8(x8) + _double(self.down8(coarse)))
        y4 = self.mix4(self.from4(x4) + _double(self.down4(y8)))
        y2 = self.mix2(self.from2(x2) + _double(self.down2(y4)))
        return pack(coarse, self.out8(y8), self.out4(y4), self.out2(y2))


class Mix(nn.Module):
    """Looks around (depthwise), then mixes channels; adds the result to what came in.

    **Source**: Liu et al. 2022, "A ConvNet for the 2020s", the ConvNeXt block.
    """

    def __init__(self, channels: int, side: int = 5) -> None:
        """Args: channels; side of the window."""
        super().__init__()
        self.look = nn.Conv2d(channels, channels, side, padding=side // 2, groups=channels)
        self.norm = nn.LayerNorm(channels)
        self.grow = nn.Linear(channels, 2 * channels)
        self.shrink = nn.Linear(2 * channels, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to the same."""
        y = self.norm(self.look(x).permute(0, 2, 3, 1))
        return x + self.shrink(F.relu(self.grow(y))).permute(0, 3, 1, 2)


class LitePrompts(PromptEncoder):
    """Sam's prompt encoder whose dense prompt shows clicks and box as pictures, like the mask."""

    def __init__(self, image_size: int, width: int) -> None:
        """Args: input side in pixels; channels of a sparse prompt."""
        side = image_size // CELL
        super().__init__(width, (side, side), (image_size, image_size), mask_in_chans=4)
        self.mask_input_size = (image_size // 2, image_size // 2)
        self.mask_downscaling = nn.Identity()  # masks go to the decoder as they are

    def forward(
        self,
        points: tuple[torch.Tensor, torch.Tensor] | None,
        boxes: torch.Tensor | None,
        masks: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Prompts as `PromptEncoder` takes them, masks as logits (N, 1, S/2, S/2).

        Returns:
            Sparse prompts (N, T, width), and dense ones (N, 112, S/16, S/16): the mask and, at a
            quarter of the size, spots of clicks on and off the object and the box, packed.
        """
        count, device = self._get_batch_size(points, boxes, masks), self._get_device()
        if points is None and boxes is None:
            sparse = torch.empty(count, 0, self.embed_dim, device=device)
        else:
            sparse, _ = super().forward(points, boxes, None)
        quarter = self.input_image_size[0] // 4
        at = torch.arange(quarter, device=device) * 4 + 2.0  # pixel centres
        hints = torch.zeros(count, 3, quarter, quarter, device=device)
        if points is not None:
            xy, labels = points
            near = (xy[..., None] - at) ** 2 / (-2 * CLICK**2)  # (N, T, 2, quarter)
            spots = torch.exp(near[:, :, 1, :, None] + near[:, :, 0, None, :])
            for channel, label in enumerate((1, 0)):
                hints[:, channel] = (spots * (labels == label)[..., None, None]).amax(1)
        if boxes is not None:
            low, high = boxes.view(-1, 2, 2).unbind(1)  # (N, 2) x, y
            within = (at >= low[..., None]) & (at <= high[..., None])  # (N, 2, quarter)
            hints[:, 2] = (within[:, 1, :, None] & within[:, 0, None, :]).float()
        side = self.mask_input_size[0]
        mask = torch.zeros(count, 1, side, side, device=device)
        if masks is not None:
            mask = torch.tanh(masks.float() / 2)
        return sparse, torch.cat([F.pixel_unshuffle(mask, 8), F.pixel_unshuffle(hints, 4)], 1)


class LiteDecoder(MaskDecoder):
    """Sam's mask decoder, whose upscaling sees the picture's finer levels and the prompts.

    How alike each place is to the clicked ones enters at every level. The predicted IoU looks at
    what lies under each mask.
    """

    def __init__(self, width: int, depth: int, heads: int, mlp_dim: int) -> None:
        """Args: channels of a token; layers, heads and hidden channels of the transformer."""
        super().__init__(
            transformer_dim=width,
            transformer=TwoWayTransformer(depth, width, heads, mlp_dim),
            num_multimask_outputs=3,
        )
        fine8, fine4, fine2 = FINE
        wide8, wide4 = 48, 24
        self.width = width
        self.embed = nn.Conv2d(112 + 2, width, 1)
        self.up8, self.up4 = (
            nn.ConvTranspose2d(width, wide8, 2, 2),
            nn.ConvTranspose2d(wide8, wide4, 2, 2),
        )
        self.see8, self.see4 = nn.Conv2d(fine8, wide8, 1), nn.Conv2d(fine4, wide4, 1)
        self.hint8, self.hint4 = nn.Conv2d(6, wide8, 3, 1, 1), nn.Conv2d(6, wide4, 3, 1, 1)
        self.mix8, self.mix4 = Mix(wide8), Mix(wide4, 3)
        self.output_upscaling = nn.ConvTranspose2d(wide4, fine2, 2, 2)
        self.hint2 = nn.Conv2d(1, fine2, 3, 1, 1)
        self.output_hypernetworks_mlps = nn.ModuleList(
            MLP(width, width, wide8 + fine2, 3) for _ in range(self.num_mask_tokens)
        )
        self.iou_prediction_head = MLP(2 * width + 2 * wide8 + 3, 128, 1, 3)
        self._wide8 = wide8

    def predict_masks(
        self,
        image_embeddings: torch.Tensor,
        image_pe: torch.Tensor,
        sparse_prompt_embeddings: torch.Tensor,
        dense_prompt_embeddings: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Masks and their predicted IoU for N/B prompts on each of B images, in one batch.

        Returns:
            Logits (N, 4, S/2, S/2), token 0 the single-mask output, and IoU (N, 4).
        """
        dense, n = dense_prompt_embeddings, len(sparse_prompt_embeddings)
        each = n // len(image_embeddings)
        levels = unpack(image_embeddings, self.width)
        mask = F.pixel_shuffle(dense[:, :64], 8)  # (N, 1, S/2, S/2)
        hints = F.pixel_shuffle(dense[:, 64:], 4)  # (N, 3, S/4, S/4)
        hints8, mask4 = F.avg_pool2d(hints, 2), F.avg_pool2d(mask, 2)
        alike = [
            _alike(level, F.avg_pool2d(hints[:, :2], step)) if step > 1
            else _alike(level, hints[:, :2])
            for level, step in zip(levels[:3], (4, 2, 1), strict=True)
        ]  # fmt: skip

        tokens = torch.cat([self.iou_token.weight, self.mask_tokens.weight])
        tokens = torch.cat([tokens.expand(n, -1, -1), sparse_prompt_embeddings], 1)
        source = levels[0].repeat_interleave(each, 0) + self.embed(torch.cat([dense, alike[0]], 1))
        side = source.shape[2:]
        hidden, source = self.transformer(source, image_pe.expand(n, -1, -1, -1), tokens)
        source = source.transpose(1, 2).unflatten(2, side)
        asked = hidden[:, 1 : 1 + self.num_mask_tokens]

        x8 = self.up8(source) + self.see8(levels[1]).repeat_interleave(each, 0)
        x8 = x8 + self.hint8(torch.cat([F.avg_pool2d(mask4, 2), hints8, alike[1]], 1))
        x8 = self.mix8(x8)
        x4 = self.up4(x8) + self.see4(levels[2]).repeat_interleave(each, 0)
        x4 = self.mix4(x4 + self.hint4(torch.cat([mask4, hints, alike[2]], 1)))
        x2 = self.output_upscaling(x4) + levels[3].repeat_interleave(each, 0)
        x2 = F.relu(x2 + self.hint2(mask))

        weights = torch.stack(
            [mlp(asked[:, i]) for i, mlp in enumerate(self.output_hypernetworks_mlps)], 1
        )
        coarse = torch.einsum("nkc,nchw->nkhw", weights[..., : self._wide8], x8)
        fine = torch.einsum("nkc,nchw->nkhw", weights[..., self._wide8 :], x2)
        coarse = F.interpolate(coarse, scale_factor=4, mode="bilinear")
        masks = (fine + coarse).float()
        return masks, self._judge(masks.detach(), hidden, x8)

    def _judge(self, masks: torch.Tensor, hidden: torch.Tensor, x8: torch.Tensor) -> torch.Tensor:
        """Predicted IoU (N, 4): from the tokens, what each mask covers, and how sure it is."""
        inside = torch.sigmoid(F.avg_pool2d(masks, 4)).flatten(2)  # (N, 4, P)
        seen, area = x8.float().flatten(2), inside.sum(2, keepdim=True)
        under = torch.einsum("nkp,ncp->nkc", inside, seen)
        beside = (seen.sum(2)[:, None] - under) / (inside.shape[2] - area + 1)
        sure = (inside * inside).sum(2, keepdim=True) / (area + 1)
        plain = (2 * inside - 1).abs().mean(2, keepdim=True)
        asked = hidden[:, 1 : 1 + self.num_mask_tokens].float()
        first = hidden[:, :1].float().expand_as(asked)
        size = (area / inside.shape[2]).sqrt()
        seen = torch.cat([first, asked, under / (area + 1), beside, sure, plain, size], 2)
        return self.iou_prediction_head(seen)[..., 0].float()


def folded(backbone: nn.Module) -> nn.Module:
    """Folds a backbone's batch norms into the convolutions before them, in place.

    Their statistics are ImageNet's and stay, so folded they are the same function, faster.
    """
    for module in list(backbone.modules()):
        conv = None
        for name, part in list(module.named_children()):
            if isinstance(part, nn.Conv2d):
                conv = part
            elif isinstance(part, nn.BatchNorm2d):
                conv.weight, conv.bias = fuse_conv_bn_weights(
                    conv.weight, conv.bias, part.running_mean, part.running_var, part.eps,
                    part.weight, part.bias,
                )  # fmt: skip
                setattr(module, name, part.act)
    return backbone


def pack(*levels: torch.Tensor) -> torch.Tensor:
    """Levels (B, C, h, w), each twice as fine as the one before, as one of the first's size."""
    return torch.cat([F.pixel_unshuffle(x, 2**i) if i else x for i, x in enumerate(levels)], 1)


def unpack(embedding: torch.Tensor, width: int) -> list[torch.Tensor]:
    """The levels that `pack` put together: at 1/16, 1/8, 1/4 and 1/2 of the picture's size."""
    folded = [n * 4**i for i, n in enumerate(FINE, 1)]
    first, *rest = embedding.split([width, *folded], 1)
    return [first, *(F.pixel_shuffle(x, 2**i) for i, x in enumerate(rest, 1))]


def _double(x: torch.Tensor) -> torch.Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear")


def _alike(level: torch.Tensor, spots: torch.Tensor) -> torch.Tensor:
    """Cosine of each place's features with those under the clicks.

    Args:
        level: (B, C, h, w).
        spots: (N, K, h, w) weights of places, N/B prompts on each image; all 0 gives 0.

    Returns:
        (N, K, h, w).
    """
    where = spots.flatten(2).unflatten(0, (len(level), -1))  # (B, E, K, P)
    where = where / (where.sum(-1, keepdim=True) + 1e-4)
    unit = F.normalize(level.flatten(2).float(), dim=1)
    asked = torch.einsum("bekp,bcp->bekc", where, unit)
    return torch.einsum("bekc,bcp->bekp", asked, unit).flatten(0, 1).view_as(spots)


def build_lite(config: dict[str, Any]) -> Sam:
    """Builds the model with fresh weights, in eval mode.

    Args:
        config: `image_size` (pixels, a multiple of 32), `embed_dim`, `depth` and `num_heads` (of
            the encoder's attention at 1/16), `decoder_depth`, `decoder_heads`, `decoder_mlp_dim`.

    Returns:
        The model; its masks are at half of `image_size`.
    """
    size, width = config["image_size"], config["embed_dim"]
    sam = Sam(
        image_encoder=LiteEncoder(size, width, config["depth"], config["num_heads"]),
        prompt_encoder=LitePrompts(size, width),
        mask_decoder=LiteDecoder(
            width, config["decoder_depth"], config["decoder_heads"], config["decoder_mlp_dim"]
        ),
        pixel_mean=[127.0] * 3,  # as the backbone's pretraining had them
        pixel_std=[128.0] * 3,
    )
    return sam.eval()

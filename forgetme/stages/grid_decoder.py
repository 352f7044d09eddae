"""Segment Anything's decoder for many clicks on one image, a few times faster than its own forward.

A click brings 7 tokens, the image 4096: whatever its own forward projects of the image, tokens
stand on the other side of. So the tokens are projected instead (q Wᵀ x = (q Wᵀ) x), what the first
layer sees of the image is computed once for all clicks, pixels stay rows of one matrix to the end,
and only masks whose predicted IoU is good enough are drawn at all.

Source: `segment_anything.modeling.MaskDecoder` and `TwoWayTransformer`, the same weights and
function; numbers differ by rounding.
"""

from __future__ import annotations

import torch
from segment_anything.modeling import Sam
from segment_anything.modeling.transformer import Attention
from torch.nn import functional

MASKS = slice(1, 4)  # of the four that the decoder makes: whole, part, subpart


def decode_clicks(
    sam: Sam, features: torch.Tensor, sparse: torch.Tensor, dense: torch.Tensor, least_iou: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Decodes clicks on one image, three masks each.

    Args:
        sam: the model.
        features: (1, C, h, w), the image's embedding.
        sparse: (N, T, C), of the prompt encoder.
        dense: (N, C, h, w), of the prompt encoder; the same for all, as where no mask is given.
        least_iou: masks whose predicted IoU is not above it are not drawn.

    Returns:
        Logits (M, 4h, 4w) and predicted IoU (M,) of those above it, click by click.
    """
    decoder, (height, width) = sam.mask_decoder, features.shape[2:]
    own = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])
    tokens = torch.cat([own.expand(len(sparse), -1, -1), sparse], 1)  # (N, 5 + T, C)
    image = (features + dense[:1]).flatten(2).transpose(1, 2).contiguous()  # (1, P, C)
    place = sam.prompt_encoder.get_dense_pe().flatten(2).transpose(1, 2)  # (1, P, C)
    tokens, image = _transformer(decoder.transformer, tokens, image, place)
    iou = decoder.iou_prediction_head(tokens[:, 0])[:, MASKS]  # (N, 3)
    heads = decoder.output_hypernetworks_mlps[MASKS]
    hyper = torch.stack([head(tokens[:, 2 + i]) for i, head in enumerate(heads)], 1)  # (N, 3, c)
    good = iou > least_iou
    wanted = good.any(1)
    pixels = _enlarged(decoder.output_upscaling, image[wanted])  # (n, P, 16, c)
    low = torch.einsum("npqc,nmc->nmpq", pixels, hyper[wanted])[good[wanted]]  # (M, P, 16)
    low = low.view(-1, height, width, 2, 2, 2, 2).permute(0, 1, 3, 5, 2, 4, 6)
    return low.reshape(-1, 4 * height, 4 * width), iou[good]


def _transformer(
    net: torch.nn.Module, tokens: torch.Tensor, image: torch.Tensor, place: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    begin = tokens  # its own position encoding
    for layer in net.layers:
        if layer.skip_first_layer_pe:
            tokens = layer.self_attn(q=tokens, k=tokens, v=tokens)
        else:
            at = tokens + begin
            tokens = tokens + layer.self_attn(q=at, k=at, v=tokens)
        tokens = layer.norm1(tokens)
        seen = _look(layer.cross_attn_token_to_image, tokens + begin, image, place)
        tokens = layer.norm2(tokens + seen)
        tokens = layer.norm3(tokens + layer.mlp(tokens))
        attention = layer.cross_attn_image_to_token
        image = layer.norm4(_tell(attention, tokens + begin, tokens, image, place))
    seen = _look(net.final_attn_token_to_image, tokens + begin, image, place)
    return net.norm_final_attn(tokens + seen), image


def _look(
    attention: Attention, tokens: torch.Tensor, image: torch.Tensor, place: torch.Tensor
) -> torch.Tensor:
    """Tokens (N, T, C) attend to the image (N or 1, P, C), which is not projected."""
    (count, size, _), heads = tokens.shape, attention.num_heads
    query = attention.q_proj(tokens).view(count, size, heads, -1)
    query = query / query.shape[-1] ** 0.5
    key, value = (_by_head(one.weight, heads) for one in (attention.k_proj, attention.v_proj))
    # the bias of the keys adds the same to all pixels, which the softmax takes away
    asked = torch.einsum("nthd,hdc->nhtc", query, key).flatten(1, 2)  # (N, heads T, C)
    weight = torch.softmax(_dots(asked, image, place), -1)  # (N, heads T, P)
    found = (weight @ image).view(count, heads, size, -1)
    found = torch.einsum("nhtc,hdc->nthd", found, value).flatten(2) + attention.v_proj.bias
    return attention.out_proj(found)


def _tell(
    attention: Attention,
    keys: torch.Tensor,
    tokens: torch.Tensor,
    image: torch.Tensor,
    place: torch.Tensor,
) -> torch.Tensor:
    """The image (N or 1, P, C) plus what its pixels, not projected, take from tokens (N, T, C)."""
    (count, size, _), heads = tokens.shape, attention.num_heads
    key = attention.k_proj(keys).view(count, size, heads, -1)
    key = key / key.shape[-1] ** 0.5
    query = _by_head(attention.q_proj.weight, heads)
    asked = torch.einsum("nthd,hdc->nhtc", key, query).flatten(1, 2)  # (N, heads T, C)
    bias = torch.einsum("nthd,hd->nht", key, attention.q_proj.bias.view(heads, -1)).flatten(1)
    dots = (_dots(asked, image, place) + bias[:, :, None]).view(count, heads, size, -1)
    weight = torch.softmax(dots, 2).flatten(1, 2).transpose(1, 2)  # (N, P, heads T)
    value = attention.v_proj(tokens).view(count, size, heads, -1)
    out = attention.out_proj.weight.view(attention.embedding_dim, heads, -1)
    told = torch.einsum("nthd,chd->nhtc", value, out)
    told = told + attention.out_proj.bias / heads  # each head's weights are 1 in sum
    return torch.baddbmm(image.expand(count, -1, -1), weight, told.flatten(1, 2))


def _by_head(weight: torch.Tensor, heads: int) -> torch.Tensor:
    return weight.view(heads, -1, weight.shape[1])  # (heads, d, C)


def _dots(asked: torch.Tensor, image: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
    """Products of asked (N, K, C) with image + place: (N, K, P); one image of all only once."""
    if len(image) == 1:
        return asked @ (image + place)[0].T
    return torch.baddbmm(asked @ place[0].T, asked, image.transpose(1, 2))


def _enlarged(net: torch.nn.Sequential, image: torch.Tensor) -> torch.Tensor:
    """The decoder's two steps to four times the size, of pixels (n, P, C): (n, P, 16, c).

    A transposed convolution of 2x2 with stride 2 is a product of each pixel with a matrix.
    """
    first, norm, act, second, last = net
    rows = _four(first, image)  # (n, P, 4, c)
    rows = functional.layer_norm(rows, rows.shape[-1:], norm.weight, norm.bias, norm.eps)
    rows = last(_four(second, act(rows)))  # (n, P, 4, 4, c)
    return rows.flatten(2, 3)


def _four(net: torch.nn.ConvTranspose2d, rows: torch.Tensor) -> torch.Tensor:
    weight = net.weight.permute(0, 2, 3, 1).flatten(1)  # (C, 2 2 c)
    return (rows @ weight).unflatten(-1, (4, -1)) + net.bias

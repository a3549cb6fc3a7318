"""open_clip's text tower, computed only where it is looked at: each distinct beginning once, in the last block the ends."""

from __future__ import annotations

import open_clip
import torch
from jaxtyping import Float, Int
from open_clip.transformer import ResidualAttentionBlock, text_global_pool
from torch import Tensor, nn
from torch.nn.functional import linear, scaled_dot_product_attention

from immunize.models.beginnings import Beginnings, beginnings
from immunize.models.prompt import inserted


def causal_text(
    net: open_clip.CLIP,
    tokens: Int[Tensor, "c l"],
    embedded: Float[Tensor, "c l w"] | None = None,
    context: Float[Tensor, "m w"] | None = None,
) -> Float[Tensor, "c d"]:
    """g(t) before it is made a unit vector; no token past the end of text, and no beginning of two texts, is computed twice.

    embedded: stands in for the tokens' own vectors, and then no two texts share anything. A caption and its edits share
    half their tokens; where the tower is not causal or pools elsewhere than at the end it runs as it is. context: vectors
    that stand after the first token of every text, and so are a beginning of all of them.
    """
    blocks = net.transformer.resblocks
    whole = net.attn_mask is None or net.text_pool_type != "argmax" or not all(map(_plain, blocks))
    if context is not None:
        embedded = net.token_embedding(tokens) if whole and embedded is None else embedded
        tokens, embedded = inserted(tokens, embedded, context)
    if whole:
        x = _vectors(net, tokens, embedded)
        mask = None if net.attn_mask is None else net.attn_mask[: x.shape[1], : x.shape[1]]
        x = net.ln_final(net.transformer(x, attn_mask=mask))
        x = text_global_pool(x, tokens, net.text_pool_type, eos_token_id=net.text_eos_id)
    else:
        tree = beginnings(tokens, shared=embedded is None)
        place = tree.first % tokens.shape[1]
        vectors = net.token_embedding(tokens.flatten()[tree.first]) if embedded is None else _rows(embedded, tree.first)
        if context is not None and embedded is None:
            at = (place - 1).clamp(0, len(context) - 1)
            vectors = torch.where((place - 1 == at)[:, None], context[at], vectors)
        x = vectors + net.positional_embedding[place]
        for block in blocks[:-1]:
            x = _block(block, x, tree)
        x = net.ln_final(_last(blocks[-1], x, tree, tokens.argmax(dim=1)))
    projection = net.text_projection
    return projection(x) if isinstance(projection, nn.Linear) else x if projection is None else x @ projection


def _plain(block: nn.Module) -> bool:
    return type(block) is ResidualAttentionBlock and isinstance(block.attn, nn.MultiheadAttention)


def _vectors(
    net: open_clip.CLIP, tokens: Int[Tensor, "c l"], embedded: Float[Tensor, "c l w"] | None
) -> Float[Tensor, "c l w"]:
    embedded = net.token_embedding(tokens) if embedded is None else embedded
    return embedded + net.positional_embedding[: tokens.shape[1]]


def _rows(values: Float[Tensor, "c l w"], rows: Int[Tensor, " n"]) -> Float[Tensor, "n w"]:
    return values.flatten(0, 1).index_select(0, rows)


def _block(block: ResidualAttentionBlock, x: Float[Tensor, "n w"], tree: Beginnings) -> Float[Tensor, "n w"]:
    """The block for each beginning, which attends to those on its own path."""
    attn, path = block.attn, tree.path
    packed = linear(block.ln_1(x), attn.in_proj_weight, attn.in_proj_bias)
    whole = packed.index_select(0, path.flatten()).view(*path.shape, 3, attn.num_heads, -1)
    query, key, value = whole.permute(2, 0, 3, 1, 4)
    attended = scaled_dot_product_attention(query, key, value, is_causal=True)
    return _after(block, x, _rows(attended.transpose(1, 2).flatten(2), tree.first))


def _last(
    block: ResidualAttentionBlock, x: Float[Tensor, "n w"], tree: Beginnings, end: Int[Tensor, " c"]
) -> Float[Tensor, "c w"]:
    """The block for the whole texts alone: one query each, all keys up to it."""
    attn, path, width = block.attn, tree.path, x.shape[1]
    seen = block.ln_1(x)
    weight, bias = attn.in_proj_weight, attn.in_proj_bias
    packed = linear(seen, weight[width:], bias[width:]).index_select(0, path.flatten())
    key, value = packed.view(*path.shape, 2, attn.num_heads, -1).permute(2, 0, 3, 1, 4)
    query = linear(seen.index_select(0, tree.end), weight[:width], bias[:width]).view(len(end), attn.num_heads, 1, -1)
    visible = torch.arange(path.shape[1], device=end.device) <= end[:, None]
    attended = scaled_dot_product_attention(query, key, value, attn_mask=visible[:, None, None])
    return _after(block, x.index_select(0, tree.end), attended.flatten(1))


def _after(
    block: ResidualAttentionBlock, x: Float[Tensor, "n w"], attended: Float[Tensor, "n w"]
) -> Float[Tensor, "n w"]:
    """The block's residual sums around what was attended to."""
    x = x + block.ls_1(block.attn.out_proj(attended))
    return x + block.ls_2(block.mlp(block.ln_2(x)))

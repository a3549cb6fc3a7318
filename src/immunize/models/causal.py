"""open_clip's text tower, computed only where it is looked at: up to the end of text, and in the last block nowhere else."""

from __future__ import annotations

import open_clip
import torch
from jaxtyping import Float, Int
from open_clip.transformer import ResidualAttentionBlock, text_global_pool
from torch import Tensor, nn


def causal_text(
    net: open_clip.CLIP, tokens: Int[Tensor, "c l"], embedded: Float[Tensor, "c l w"]
) -> Float[Tensor, "c d"]:
    """g(t) before it is made a unit vector, from `l` positions: causal, so what would follow the end of text changes nothing.

    Where the end of text is pooled the last block is computed there alone, half the work of a tower of two blocks.
    """
    length = tokens.shape[1]
    x = embedded + net.positional_embedding[:length]
    mask = None if net.attn_mask is None else net.attn_mask[:length, :length]
    *blocks, last = net.transformer.resblocks
    if mask is None or net.text_pool_type != "argmax" or type(last) is not ResidualAttentionBlock:
        x = net.ln_final(net.transformer(x, attn_mask=mask))
        x = text_global_pool(x, tokens, net.text_pool_type, eos_token_id=net.text_eos_id)
    else:
        for block in blocks:
            x = block(x, attn_mask=mask)
        x = net.ln_final(_at(tokens.argmax(dim=1), last, x, mask))
    projection = net.text_projection
    return projection(x) if isinstance(projection, nn.Linear) else x if projection is None else x @ projection


def _at(
    end: Int[Tensor, " c"], block: ResidualAttentionBlock, x: Float[Tensor, "c l w"], mask: Float[Tensor, "l l"]
) -> Float[Tensor, "c w"]:
    """What the block gives at position `end` of each text: one query, all keys that the mask lets it see."""
    row = torch.arange(len(x), device=x.device)
    seen = block.ln_1(x)
    visible = mask[end][:, None].repeat_interleave(block.attn.num_heads, dim=0)
    attended = block.attention(seen[row, end][:, None], seen, seen, attn_mask=visible)
    here = x[row, end] + block.ls_1(attended)[:, 0]
    return here + block.ls_2(block.mlp(block.ln_2(here)))

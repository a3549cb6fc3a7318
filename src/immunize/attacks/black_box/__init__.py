"""Attacks on the image by queries alone, or by what is known of the model in part."""

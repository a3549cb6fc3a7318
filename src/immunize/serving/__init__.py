"""Defenses that act when a model is asked, its weights as they are."""

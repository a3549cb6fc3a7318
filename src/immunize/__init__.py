"""Cross-modal adversarial immunization: joint image-text attacks, defenses, and an evaluation that distrusts itself."""

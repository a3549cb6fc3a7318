"""What DVC's graph says, whether a change may pass, and whether this machine can run it; light: never imports torch."""

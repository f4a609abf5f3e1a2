"""Uses of a trained run: tags for new pictures."""

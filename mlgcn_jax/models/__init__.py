"""Backbones and heads: image and label graph -> one logit per label."""

"""Scores of a split -> the metrics of the field, and tables of them."""

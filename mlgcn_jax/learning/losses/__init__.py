"""Losses over logits and multi-hot labels, one file each; `registry` names them."""

"""Modules of others, Flax NNX or Linen, as backbone or head.

They are named in a config as `package.module:Class`. Such a class knows nothing of our
contract: it is made with what its constructor takes of what there is (`construction`),
and called on normalised images, or as a head on feature maps. All that it holds are
parameters and running statistics, under the names that it gives them; its randomness
comes from the key of each step, so that a run that goes on draws what it would have.
"""

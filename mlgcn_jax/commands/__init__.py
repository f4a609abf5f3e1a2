"""The stages of `mlgcn`, one module each: absl flags, and `main(argv)`."""

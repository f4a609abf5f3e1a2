"""What may be wrong with a machine, found before it spoils a run (`mlgcn doctor`)."""

"""Labels of a dataset -> statistics -> sparse label graph with label embeddings."""

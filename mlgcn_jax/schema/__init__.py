"""What a config consists of: one row a key, and what follows from the rows."""

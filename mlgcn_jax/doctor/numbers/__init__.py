"""The numbers of every building block of a model against NumPy in float64."""

"""A run -> a model for others -> predictions of their slides."""

"""Stores and labels -> folds -> packed batches of bags."""

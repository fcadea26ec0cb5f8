"""Feature stores and labels -> folds -> packed batches of bags."""

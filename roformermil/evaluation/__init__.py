"""Every published number, computed from the folds' predictions.csv alone."""

"""Where a model looked on a slide, and what it found there."""

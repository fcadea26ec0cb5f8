"""Heat maps: which tiles a model attended to on a slide, and what each added to its prediction."""

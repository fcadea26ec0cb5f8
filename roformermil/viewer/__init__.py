"""Slides of a run or of predictions in the browser, with what a model saw on them."""

"""Revisions of what each stage computes: raised when a stage's result changes for equal settings.

They are part of the results' fingerprints and of the rules' params, so raising one recomputes what depends on it.
"""

SEGMENT = 2
TILE = 2
CONTACT = 1
EMBED = 2
IMPORT = 1
SPLIT = 1
TRAIN = 2
EVALUATE = 1
ABLATION = 1
MEASURE = 1

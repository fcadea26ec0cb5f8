"""The slides of a data set: the sheet a user writes, the table of what became of each, and where slides come from."""

"""The slides of a data set: the slide sheet that a user writes, the table of what became of each, and where slides come from."""

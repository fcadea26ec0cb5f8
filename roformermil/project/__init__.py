"""A user's project: begun from a folder of slides, run, and summed up at its end."""

"""A slide file -> a tissue mask -> a grid of tiles."""

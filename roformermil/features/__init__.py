"""Tiles -> vectors -> one Zarr store per slide."""

"""Tiles -> vectors -> one Zarr store a slide."""

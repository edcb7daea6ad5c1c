"""The seam of path methods."""

"""The benchmark of four papers, and the measurements behind the figures in the README."""

"""Scripts that show the package at work; run them as modules from the checkout, e.g. `python -m
examples.quickstart`."""

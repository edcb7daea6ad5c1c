"""XRAI: the method, and the ranking of segments by density."""

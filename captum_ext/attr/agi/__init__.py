"""Adversarial Gradient Integration: the method, and the paths that it walks."""

"""Enhancing Visual Feature Attribution via Weighted Integrated Gradients (Tuan et al., 2025): against EG."""

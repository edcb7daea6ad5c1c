"""Ground for adapters and authors of methods: rows, chunks, the model, perturbation, random numbers, files."""

"""What the package does on a GPU: throughput beside bare passes, waits, memory, a run over a data set."""

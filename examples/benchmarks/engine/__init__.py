"""What the benchmarks of all papers share: images, networks, rows on disk, the runner, statistics and the report."""

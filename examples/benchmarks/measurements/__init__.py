"""What the package costs, script by script: the figures in the README and in docs/scale.md."""

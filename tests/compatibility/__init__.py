"""Which models work: a table of architectures, built tiny with random weights, and what was checked with each.

    python -m tests.compatibility --page docs/models.md

`make compatibility` checks that the page says what is found.
"""

"""The page about costs, docs/performance.md, from rows that one command measures."""

"""Path Choice Matters for Clear Attributions in Path Methods (Zhang et al., 2024): Tables 1 to 4 and 6, Figure 6."""

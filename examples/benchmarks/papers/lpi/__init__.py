"""Local Path Integration for Attribution (Yang et al., AAAI 2023): Table 1, Figures 3, 4 and 6."""

"""The papers: methods, experiments, tables and claims of each in a folder that imports none of the others."""

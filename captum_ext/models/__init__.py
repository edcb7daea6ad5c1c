"""Models as people have them, and what of their outputs is explained.

`captum_ext.models.targets` has targets for outputs that have no class index.
"""

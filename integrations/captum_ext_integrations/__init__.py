"""Adapters of captum_ext to other libraries, one in each module; a module imports its library, this package none."""

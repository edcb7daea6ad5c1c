"""Excitation Backprop: the method, the pass that records operations, and the rules of these."""

from captum_ext.attr.excitation.excitation_backprop import MWP, ExcitationBackprop

__all__ = ["MWP", "ExcitationBackprop"]

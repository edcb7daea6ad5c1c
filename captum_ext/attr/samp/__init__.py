"""SAMP and SAMP++: the method, and the walk along its greedy path."""

from captum_ext.attr.samp.salient_manipulation_path import SAMP, PathScores, SalientManipulationPath

__all__ = ["SAMP", "PathScores", "SalientManipulationPath"]

"""Attribution methods, named and called as those of `captum.attr`."""

from captum_ext.attr.expected_gradients import EG, ExpectedGradients
from captum_ext.attr.integrated_gradients import IntegratedGradients
from captum_ext.attr.local_path_integration import LPI, LocalPathIntegration

__all__ = ["EG", "LPI", "ExpectedGradients", "IntegratedGradients", "LocalPathIntegration"]

"""What is measured: one file a metric, pure functions of tensors, without a model and without chance."""

from likelier.metrics.active_units import active_units
from likelier.metrics.class_histogram import class_histogram_kl, missing_classes
from likelier.metrics.frechet import frechet_distance
from likelier.metrics.kernel import kernel_distance
from likelier.metrics.kl_per_dimension import kl_per_dimension
from likelier.metrics.linear_probe import linear_probe
from likelier.metrics.manifold import Manifold, precision_recall_density_coverage
from likelier.metrics.pairwise import pairwise_accuracy
from likelier.metrics.principal_components import PrincipalComponents, principal_components
from likelier.metrics.reconstruction import mse, psnr
from likelier.metrics.silhouette import silhouette
from likelier.metrics.stability import best_minus_last, last_mean_and_sd, rising_fraction, spikes

__all__ = [
    "Manifold",
    "PrincipalComponents",
    "active_units",
    "best_minus_last",
    "class_histogram_kl",
    "frechet_distance",
    "kernel_distance",
    "kl_per_dimension",
    "last_mean_and_sd",
    "linear_probe",
    "missing_classes",
    "mse",
    "pairwise_accuracy",
    "precision_recall_density_coverage",
    "principal_components",
    "psnr",
    "rising_fraction",
    "silhouette",
    "spikes",
]

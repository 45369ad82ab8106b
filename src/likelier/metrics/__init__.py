"""What is measured: one file a metric, pure functions of tensors, without a model; chance is handed in."""

from likelier.metrics.active_units import active_units
from likelier.metrics.authenticity import authenticity
from likelier.metrics.class_histogram import class_histogram_kl, missing_classes
from likelier.metrics.copied_share import copied_share
from likelier.metrics.data_copying import data_copying_ct
from likelier.metrics.frechet import frechet_distance
from likelier.metrics.frechet_infinity import frechet_distance_infinity
from likelier.metrics.kernel import kernel_distance
from likelier.metrics.kl_per_dimension import kl_per_dimension
from likelier.metrics.knn_accuracy import knn_accuracy
from likelier.metrics.linear_probe import linear_probe
from likelier.metrics.manifold import Manifold, precision_recall_density_coverage
from likelier.metrics.mmd_to_prior import mmd_to_prior
from likelier.metrics.neighbours import nearest_distances, nearest_other_distances
from likelier.metrics.nmi import nmi
from likelier.metrics.principal_components import PrincipalComponents, principal_components
from likelier.metrics.reconstruction import mse, psnr
from likelier.metrics.silhouette import silhouette
from likelier.metrics.ssim import ssim
from likelier.metrics.stacked_modes import StackedModes, stacked_modes

__all__ = [
    "Manifold",
    "PrincipalComponents",
    "StackedModes",
    "active_units",
    "authenticity",
    "class_histogram_kl",
    "copied_share",
    "data_copying_ct",
    "frechet_distance",
    "frechet_distance_infinity",
    "kernel_distance",
    "kl_per_dimension",
    "knn_accuracy",
    "linear_probe",
    "missing_classes",
    "mmd_to_prior",
    "mse",
    "nearest_distances",
    "nearest_other_distances",
    "nmi",
    "precision_recall_density_coverage",
    "principal_components",
    "psnr",
    "silhouette",
    "ssim",
    "stacked_modes",
]

"""Clusters of the model's outputs: neighbourhoods, and inside each the samples that stand for it."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from captum_ext.core.random import python_random_kept
from captum_ext.core.warn import warn_caller
from captum_ext.exceptions import ArgumentError

# Above this many samples mini-batches are used: exact KMeans reads all outputs in every iteration, from a float64 copy.
_EXACT_UP_TO = 20_000
_MINI_BATCH = 4096
_N_INIT = 3  # as in the paper's code


@dataclass(frozen=True)
class Neighborhood:
    """One cluster of outputs.

    Attributes:
        center: (outputs,) float32.
        members: (m,) indices of the samples chosen as references.
        density: (m,) float64, share of the neighbourhood for which each of them stands; sums to one.
    """

    center: Tensor
    members: Tensor
    density: Tensor


def find_neighborhoods(outputs: Tensor, n_neighborhoods: int, n_references: int, seed: int) -> list[Neighborhood]:
    """Cluster outputs (M, outputs) into neighbourhoods, and each of these into sub-clusters around its references.

    With fewer samples (or distinct outputs) than asked for there are as many as possible, and a warning.

    Raises:
        ArgumentError: fewer than two samples.
    """
    if len(outputs) < 2:
        raise ArgumentError("samples", "at least two samples", f"{len(outputs)}")
    data: NDArray[np.floating] = outputs.numpy()
    labels, centers = _cluster(data, n_neighborhoods, seed)
    neighborhoods = []
    for label in range(len(centers)):
        members = np.flatnonzero(labels == label)
        if len(members):
            chosen, density = _representatives(data, members, n_references, seed)
            center = torch.from_numpy(np.asarray(centers[label], dtype=np.float32))
            neighborhoods.append(Neighborhood(center, torch.from_numpy(chosen), torch.from_numpy(density)))
    _warn_if_fewer(neighborhoods, len(outputs), n_neighborhoods, n_references)
    return neighborhoods


def _representatives(
    data: NDArray[np.floating], members: NDArray[np.intp], n_references: int, seed: int
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Indices of the members nearest to their own sub-cluster's centre, and the sub-clusters' shares."""
    part = data if len(members) == len(data) else data[members]
    labels, centers = _cluster(part, n_references, seed)
    chosen, shares = [], []
    for label in range(len(centers)):
        inside = np.flatnonzero(labels == label)
        if len(inside):
            distance = np.linalg.norm(part[inside] - centers[label], axis=1)
            chosen.append(members[inside[distance.argmin()]])
            shares.append(len(inside) / len(members))
    return np.array(chosen), np.array(shares)


def _cluster(
    data: NDArray[np.floating], n_clusters: int, seed: int
) -> tuple[NDArray[np.integer], NDArray[np.floating]]:
    """Labels (n,) and centres (k, d) by KMeans with k <= n_clusters."""
    with python_random_kept():
        from sklearn.cluster import KMeans, MiniBatchKMeans
        from sklearn.exceptions import ConvergenceWarning

    n_clusters = min(n_clusters, len(data))
    if len(data) <= _EXACT_UP_TO:
        data = data.astype(np.float64)
        n_clusters = min(n_clusters, len(np.unique(data, axis=0)))
        model = KMeans(n_clusters, n_init=_N_INIT, random_state=seed)
    else:
        model = MiniBatchKMeans(n_clusters, n_init=_N_INIT, random_state=seed, batch_size=_MINI_BATCH)
    if n_clusters == 1:
        return np.zeros(len(data), dtype=np.intp), data.mean(0, dtype=np.float64)[None]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct outputs: the caller counts and warns
        labels = model.fit_predict(data)
    return labels, model.cluster_centers_


def _warn_if_fewer(neighborhoods: list[Neighborhood], n_samples: int, n_neighborhoods: int, n_references: int) -> None:
    sizes = [len(part.members) for part in neighborhoods]
    if len(neighborhoods) < n_neighborhoods:
        warn_caller(
            f"{n_samples} samples give {len(neighborhoods)} neighbourhood(s) with distinct outputs, "
            f"fewer than n_neighborhoods={n_neighborhoods}.",
        )
    if min(sizes) < n_references:
        warn_caller(
            f"{n_samples} samples give {len(sizes)} neighbourhood(s), {sum(size < n_references for size in sizes)} of "
            f"them with fewer than n_references={n_references} references, the smallest with {min(sizes)}.",
        )

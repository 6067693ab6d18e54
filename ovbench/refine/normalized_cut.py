"""Objects of an image, one after the other, from the patch features of a transformer.

Wang et al., "Cut and Learn for Unsupervised Object Detection and Instance Segmentation" (CutLER,
CVPR 2023), section 3.2, on TokenCut (Wang et al., CVPR 2022) and normalised cuts (Shi and Malik,
PAMI 2000); code: facebookresearch/CutLER, maskcut/maskcut.py.

MaskCut is what CutLER's detector is trained on, not what that detector finds. The Cascade R-CNN
learns from such masks of a million images to see more objects, smaller ones, and sharper edges,
and it says how sure it is; a cut finds at most a few per image, as coarse as the patches, and
says nothing of that kind. CutLER also sharpens its cuts with a CRF, which here is the caller's.

Panoptic cuts are those of Kang and Cho, "In Defense of Lazy Visual Grounding for Open-Vocabulary
Semantic Segmentation" (LaVG, ECCV 2024); code: dahyun-kang/lavg, panoptic_cut/panoptic_cut.py.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import linalg, ndimage
from scipy.sparse.linalg import ArpackNoConvergence, eigsh

Mask = npt.NDArray[np.bool_]
Vector = npt.NDArray[np.float64]

_MIN_SHARE = 0.01
_MAX_OVERLAP = 0.5
"""What is found later is dropped if it is this small or this much the same, as in the code."""

_MANY_CORNERS = 3
_TOO_FEW = 5
"""So many free patches are not cut any more, as in LaVG's code."""


def cut_masks(
    features: npt.NDArray[np.floating], count: int = 3, tau: float = 0.15, eps: float = 1e-5
) -> list[Mask]:
    """The foregrounds of one image in the order in which they are cut out.

    Patches whose cosine is above ``tau`` are joined with a weight of 1, others with ``eps``. The
    graph is cut in two at the mean of its second eigenvector. The foreground is the side with
    the entry that is largest in absolute value, unless it holds three corners of the image or
    more: then it is the other side. Of it the part is kept that is connected with its strongest
    patch. What is found is masked out, and the rest is cut again.

    The corners' rule in the released code looks at the side that is positive, which is an
    accident of the eigenvector's sign; here it looks at the side that would be the foreground.

    Time and memory grow with the square of the number of patches: three matrices of 8 bytes a
    pair are held, 400 MB for 64 x 64 patches.

    Args:
        features: ``(h, w, C)``, such as the keys of DINO's last attention.
        count: of masks at most.
        tau: 0.15 is MaskCut's, 0.2 TokenCut's.

    Returns:
        ``(h, w)`` bool each, disjoint and not empty. None where all features are alike.
    """
    found: list[Mask] = []
    free = np.ones(features.shape[:2], dtype=bool)
    lengths = np.linalg.norm(features, axis=-1, keepdims=True)
    unit = features / np.maximum(lengths, np.finfo(np.float32).tiny)
    while len(found) < count:
        # What is masked out stays in the graph, like nothing else.
        mask = _foreground(unit * free[..., None], np.ones_like(free), tau, eps)
        if mask is None or (found and not _is_new(mask, found[-1])):
            break
        mask &= free
        if not mask.any():
            break
        found.append(mask)
        free &= ~mask
    return found


def panoptic_cuts(
    features: npt.NDArray[np.floating], count: int = 8, tau: float = 0.3, eps: float = 1e-5
) -> list[Mask]:
    """Parts of one image in the order in which they are cut out, as many as there may be.

    As :func:`cut_masks` but that what is found leaves the graph, so that the rest alone is cut
    again, and that small parts and those like the last one are kept.

    Args:
        features: ``(h, w, C)``, such as the keys of DINO's last attention.
        count: of masks at most.
        tau: cosine above which patches are joined.

    Returns:
        ``(h, w)`` bool each, disjoint and not empty. None where all features are alike.
    """
    found: list[Mask] = []
    free = np.ones(features.shape[:2], dtype=bool)
    lengths = np.linalg.norm(features, axis=-1, keepdims=True)
    unit = features / np.maximum(lengths, np.finfo(np.float32).tiny)
    while len(found) < count and free.sum() > _TOO_FEW:
        mask = _foreground(unit, free, tau, eps)
        if mask is None:
            break
        found.append(mask)
        free &= ~mask
    return found


def _foreground(unit: npt.NDArray[np.floating], among: Mask, tau: float, eps: float) -> Mask | None:
    """One cut; None where there is nothing to cut.

    Args:
        unit: ``(h, w, C)``, of length 1, or 0 where a patch is masked out.
        among: ``(h, w)``, the patches of the graph.
    """
    flat = unit[among]
    joined = flat @ flat.T > tau
    if joined.all() or not joined.any():
        return None
    vector = second_eigenvector(np.where(joined, 1.0, eps))
    if vector[np.abs(vector).argmax()] < 0:
        vector = -vector
    side = np.zeros(among.shape, dtype=bool)
    side[among] = vector > vector.mean()
    if side[[0, 0, -1, -1], [0, -1, 0, -1]].sum() >= _MANY_CORNERS:
        side, vector = among & ~side, -vector
    strength = np.full(among.shape, -np.inf)
    strength[among] = vector
    parts, _ = ndimage.label(side)
    mask: Mask = parts == parts.flat[strength.argmax()]
    return mask


def second_eigenvector(weights: Vector) -> Vector:
    """Of the generalised problem ``(D - W) x = λ D x``, where its second smallest λ belongs.

    Args:
        weights: ``(n, n)`` symmetric, positive.

    Returns:
        ``(n,)``; its sign means nothing.
    """
    root = np.sqrt(weights.sum(axis=1))
    # The same vectors as those of a symmetric matrix, which has its largest eigenvalues there.
    symmetric = weights / root[:, None]
    symmetric /= root
    # The first eigenvector is known; as the last one it is out of the way.
    trivial = root / np.linalg.norm(root)
    symmetric -= np.outer(2 * trivial, trivial)
    try:
        start = np.cos(np.arange(len(root)))
        _, vectors = eigsh(symmetric, k=1, which="LA", v0=start)
    except ArpackNoConvergence:
        last = len(root) - 1
        _, vectors = linalg.eigh(symmetric, subset_by_index=[last, last])
    vector: Vector = vectors[:, 0] / root
    return vector


def _is_new(mask: Mask, last: Mask) -> bool:
    overlap = (mask & last).sum() / (mask | last).sum()
    return bool(overlap <= _MAX_OVERLAP and mask.mean() > _MIN_SHARE)

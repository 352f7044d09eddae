"""Scores of fills and of models: what they are, which way is better, and when not to trust them."""

from forgetme.metrics.clip import box_on_black, clip_at, clip_distance, crop_of
from forgetme.metrics.pairs import outer_psnr, outer_ssim
from forgetme.metrics.sets import cmmd, fid, kid
from forgetme.metrics.summary import (
    METRICS,
    Metric,
    Summary,
    paired_difference,
    summarize,
    summarize_share,
    wilson,
)

__all__ = [
    "METRICS",
    "Metric",
    "Summary",
    "box_on_black",
    "clip_at",
    "clip_distance",
    "cmmd",
    "crop_of",
    "fid",
    "kid",
    "outer_psnr",
    "outer_ssim",
    "paired_difference",
    "summarize",
    "summarize_share",
    "wilson",
]

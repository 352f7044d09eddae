"""Working together: second opinions and how well they agree, reviews, and two people at once.

A *twin* is a second copy of an image that somebody else decides without knowing of the first. Where
both are decided, they tell how reliable the decisions are: Cohen's kappa for two people, Fleiss'
kappa for all of them, and the overlap (IoU) of the accepted masks.
"""

from forgetme.curate.team.agreement import Agreement, Pair, agreement, cohen_kappa, fleiss_kappa
from forgetme.curate.team.conflict import Change, changes, keep_mine, row_at
from forgetme.curate.team.overlap import MAX_COPIES, Overlap, overlap
from forgetme.curate.team.work import Share, approve, give_back, pace, shares

__all__ = [
    "MAX_COPIES",
    "Agreement",
    "Change",
    "Overlap",
    "Pair",
    "Share",
    "agreement",
    "approve",
    "changes",
    "cohen_kappa",
    "fleiss_kappa",
    "give_back",
    "keep_mine",
    "overlap",
    "pace",
    "row_at",
    "shares",
]

"""RoFormerMIL: whole-slide image classification with position-aware multiple instance learning.

After Pochet, Maroun and Trullo, "RoFormer for Position Aware Multiple Instance Learning in Whole Slide
Image Classification", MLMI 2023, arXiv 2310.01924.
"""

__version__ = "0.1.0"

"""A record's models as a table of blocks, equal in everything but the learning rate.

Source: Section 6; chapter 7, *MNIST*.
"""

from igrlib.experiments.blocks.reading import arms, blocks, dataset_of, missing_units, not_whole
from igrlib.experiments.blocks.table import Blocks, area_under, squared_gradient_at

__all__ = [
    "Blocks",
    "area_under",
    "arms",
    "blocks",
    "dataset_of",
    "missing_units",
    "not_whole",
    "squared_gradient_at",
]

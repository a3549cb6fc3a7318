"""One-to-many augmentation: `Augmentation` is the tagged union that the section `augment` of a preset is parsed into."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from immunize.data.augmentation.caption import Caption
from immunize.data.augmentation.crops import Crops
from immunize.data.augmentation.eda import EDA
from immunize.data.augmentation.human import Human
from immunize.data.augmentation.many_to_many import ManyToMany
from immunize.data.augmentation.masked import Masked
from immunize.data.augmentation.material import Derived, Material, only, sparse
from immunize.data.augmentation.paraphrase import Paraphrase
from immunize.data.augmentation.randaugment import RandAugment
from immunize.data.augmentation.render import Render
from immunize.data.augmentation.table import write_pairs
from immunize.data.augmentation.unchanged import Unchanged

Augmentation = Annotated[
    Unchanged | EDA | Paraphrase | Masked | Human | Caption | RandAugment | Crops | Render | ManyToMany,
    Field(discriminator="kind"),
]

__all__ = [
    "EDA",
    "Augmentation",
    "Caption",
    "Crops",
    "Derived",
    "Human",
    "ManyToMany",
    "Masked",
    "Material",
    "Paraphrase",
    "RandAugment",
    "Render",
    "Unchanged",
    "only",
    "sparse",
    "write_pairs",
]

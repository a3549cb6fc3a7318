"""The augmentations of one modality, as tagged unions."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from immunize.data.augmentation.caption import Caption
from immunize.data.augmentation.crops import Crops
from immunize.data.augmentation.eda import EDA
from immunize.data.augmentation.human import Human
from immunize.data.augmentation.masked import Masked
from immunize.data.augmentation.paraphrase import Paraphrase
from immunize.data.augmentation.randaugment import RandAugment
from immunize.data.augmentation.render import Render

Text = Annotated[EDA | Paraphrase | Masked | Human | Caption, Field(discriminator="kind")]
Image = Annotated[RandAugment | Crops | Render, Field(discriminator="kind")]

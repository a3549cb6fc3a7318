"""The halves of a joint attack as a preset names them: any attack of the room, told by its `kind`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from immunize.attacks.image import ImageAttack
from immunize.attacks.text import TextAttack

Image = Annotated[ImageAttack, Field(discriminator="kind")]
Text = Annotated[TextAttack, Field(discriminator="kind")]

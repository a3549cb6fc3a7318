"""Where pairs come from: `Source` is the tagged union that the section `collect` of a preset is parsed into."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from immunize.data.folder import Folder
from immunize.data.hub import Hub
from immunize.data.scenes import Scenes

Source = Annotated[Scenes | Folder | Hub, Field(discriminator="kind")]

__all__ = ["Folder", "Hub", "Scenes", "Source"]

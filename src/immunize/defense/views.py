"""What a term of a loss looks at: the embeddings of one batch, each computed once, and only if a term asks for it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from immunize.batch import Batch, Embedding
from immunize.models import Clip

Embedded = Float[Tensor, "n *rest"]
Of = Literal["clean", "attacked"]
By = Literal["student", "reference"]
Tower = Literal["image", "text", "places"]


class View(NamedTuple):
    """One embedding: of which half of the pair, before or after the inner attack, and by which model.

    places: the image at each place of the vision tower's map instead of as a whole.
    """

    tower: Tower
    of: Of = "clean"
    by: By = "student"


class Views:
    """`views(View("image", "attacked"))` is f(x'); student: the model that learns, reference: as it was before, no gradient.

    What the inner attack left alone is not embedded twice: its attacked view is the clean one. wanted: all views that will
    be asked for, so that an image and its places come from one pass. images: embeds the clean batch in place of the
    student's vision tower (`defense.features`). known: views that the caller has.
    """

    def __init__(
        self,
        model: Clip,
        clean: Batch,
        attacked: Batch,
        reference: Clip | None = None,
        wanted: Collection[View] = (),
        images: Callable[[Batch], Embedding] | None = None,
        known: Mapping[View, Tensor] | None = None,
    ) -> None:
        self.clean, self.attacked = clean, attacked
        self._models = {"student": model, "reference": reference}
        self._wanted, self._images = wanted, images
        self._known: dict[View, Embedded] = dict(known or {})

    @property
    def owner(self) -> Int[Tensor, " c"]:
        """The image of each caption."""
        return self.clean.owner

    def scale(self, by: By = "student") -> Float[Tensor, ""]:
        """What turns cosines into logits."""
        return self._model(by).logit_scale

    def __call__(self, view: View) -> Embedded:
        """Unit vectors, one an image or a caption; for places one for each of them (b, p, d)."""
        view = view if view in self._known else self._same(view)
        if view not in self._known:
            with torch.set_grad_enabled(torch.is_grad_enabled() and view.by == "student"):
                self._look(view)
        return self._known[view]

    def _same(self, view: View) -> View:
        if view.of == "clean":
            return view
        text = view.tower == "text"
        left = self.attacked.captions == self.clean.captions if text else self.attacked.images is self.clean.images
        return view._replace(of="clean") if left else view

    def _look(self, view: View) -> None:
        model, batch = self._model(view.by), self.clean if view.of == "clean" else self.attacked
        image, places = view._replace(tower="image"), view._replace(tower="places")
        if view.tower == "text":
            self._known[view] = model.encode_text(model.tokenize(batch.captions))
        elif any(places == self._same(wanted) for wanted in self._wanted):
            self._known[image], self._known[places] = model.encode_places(batch.images)
        elif self._images is not None and view == View("image"):
            self._known[view] = self._images(batch)
        else:
            self._known[view] = model.encode_image(batch.images)

    def _model(self, by: By) -> Clip:
        model = self._models[by]
        if model is None:
            raise ValueError("a term looks at the model before training: give the loss its `reference`")
        return model

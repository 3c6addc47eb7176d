"""All explanations of one detector for one kind of file: every map of a crop, and their tests."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from detector.nets.network import DeepfakeNetwork
from detector.pipeline import BATCH, Detector
from detector.types import FaceAnalysis, Kind, Progress
from explain import cam, faithfulness, regions
from explain.cam import EVIDENCE_MAP, OCCLUSION, Heat, Score
from explain.capture import LOW_PASS_VIEW, Capture, HookedNetwork, layer_names
from explain.clip_maps import CAM_GENERATED, CLIP_METHODS, ClipCapture, ClipMaps, clip_heat
from explain.faithfulness import ReportCard, Shuffle, shuffled
from explain.ranks import rank_correlation
from explain.regions import Regions
from explain.restore import Restoration, compare

TWO_STREAM = "two-stream"  # the network whose logit all maps but CLIP's explain
SHOWN_CAM = "Grad-CAM"  # of the CAM family, the one that is drawn unless others are asked for


class Explainer:
    """Explains what one detector says of files of one kind. Safe to share between threads.

    Crops are (S, S, 3) uint8. They are scored as the detector scores the kind, by both of its
    networks where it has two. Maps explain one network's logit, and are tested on that one: the
    two-stream network's frame logit, or those of CLIP_METHODS one of CLIP's.
    """

    def __init__(self, detector: Detector, kind: Kind) -> None:
        """Costs nothing; the network is copied and its layers are found at the first map."""
        self.detector = detector
        self.kind = kind
        self.profile = detector.profiles[kind]
        self.layers = layer_names(detector.network, self.profile)
        embedder = detector.network.embedder
        self.has_evidence_map = getattr(embedder, "map_head", None) is not None
        self.has_clip = detector.has_clip
        self._hooked: HookedNetwork | None = None
        self._clip_maps: ClipMaps | None = None
        self._hooking = threading.Lock()

    def with_network(self, network: DeepfakeNetwork) -> Explainer:
        """The same around another network."""
        return Explainer(self.detector.with_network(network), self.kind)

    def reading(self, face: FaceAnalysis) -> Explainer:
        """The explainer that reads a face as it was judged: a still in a clip like a photo."""
        kind = face.track.judged_as(self.kind)
        return self if kind == self.kind else Explainer(self.detector, kind)

    # ------------------------------------------------------------------------------------------
    # names

    @property
    def methods(self) -> tuple[str, ...]:
        """Every heat map by name, the default first; LIME is not among them."""
        own = (EVIDENCE_MAP,) if self.has_evidence_map else ()
        cams = (f"{name}, {layer}" for name in cam.CAMS for layer in self.layers)
        return (*own, *cams, OCCLUSION, *(CLIP_METHODS if self.has_clip else ()))

    @property
    def default_methods(self) -> tuple[str, ...]:
        """The evidence map, and Grad-CAM on every layer but the low-pass view.

        That view places forgeries hardly better than chance (pixel AUC .53), and grading one more
        map takes a second. The evidence map holds both views.
        """
        shown = (f"{SHOWN_CAM}, {layer}" for layer in self.layers if layer != LOW_PASS_VIEW)
        return (*((EVIDENCE_MAP,) if self.has_evidence_map else ()), *shown)

    # ------------------------------------------------------------------------------------------
    # scores

    def score(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The two-stream network's frame logits (N,) of crops (N, S, S, 3): what maps explain."""
        return self.detector.predict(crops, kind=self.kind).logits

    def verdict_score(
        self, crops: NDArray[np.uint8], inside: NDArray[np.bool_] | None = None
    ) -> NDArray[np.float32]:
        """Frame logits (N,) of crops (N, S, S, 3) as the verdict reads them: of all networks.

        inside: (N, S, S), which pixels lie in the frame; see FaceCrop.inside.
        """
        return self.detector.score(crops, kind=self.kind, inside=inside)

    def explained_score(self, method: str) -> Score:
        """The function of crops whose values a map explains: one network's logits."""
        question = _question(method)
        if question == TWO_STREAM:
            return self.score
        return lambda crops: getattr(self.detector.predict_clip(crops), question)

    def probability(self, logit: float) -> float:
        """The calibrated probability of a forgery that belongs to a logit of `verdict_score`."""
        return self.profile.calibration.probability(logit)

    # ------------------------------------------------------------------------------------------
    # maps of one crop

    def capture(self, crop: NDArray[np.uint8]) -> Capture:
        """Activations and gradients of every layer."""
        return self._network().capture(self.detector.tensor(crop[None]))

    def capture_clip(self, crop: NDArray[np.uint8]) -> ClipCapture:
        """What CLIP's maps are drawn from. Raises ValueError where the model has one network."""
        expert = self.detector.clip
        if expert is None:
            raise ValueError("This model has one network.")
        with self._hooking:
            if self._clip_maps is None or self._clip_maps.expert is not expert:
                self._clip_maps = ClipMaps(expert)
        return self._clip_maps.capture(self.detector.tensor(crop[None]))

    def _network(self) -> HookedNetwork:
        """Hooked once; again after the detector has left a full GPU, which the copy has not."""
        with self._hooking:
            if self._hooked is None or self._hooked.device != self.detector.device:
                self._hooked = HookedNetwork(
                    self.detector.network, self.profile, self.detector.device
                )
            return self._hooked

    def heat(self, crop: NDArray[np.uint8], method: str) -> Heat:
        """One map. Raises ValueError for a method that this network doesn't have."""
        return self.heats(crop, (method,))[method]

    def heats(
        self,
        crop: NDArray[np.uint8],
        methods: Sequence[str],
        capture: Capture | None = None,
        progress: Progress | None = None,
    ) -> dict[str, Heat]:
        """Several maps for the price of one capture, and of the occlusions if they are asked for.

        capture: of this crop, if there is one already. `progress(share, stage)` is called before
        each map; raising in it cancels. Raises ValueError for a method that this network doesn't
        have.
        """
        for method in methods:
            if method not in self.methods:
                known = ", ".join(self.methods)
                raise ValueError(f"No explanation is called {method!r}; there are {known}.")
        found: dict[str, Heat] = {}
        clip_capture: ClipCapture | None = None
        for n, method in enumerate(methods):
            if progress is not None:
                progress(n / len(methods), f"Drawing heat maps: {method}")
            if method in CLIP_METHODS:
                clip_capture = clip_capture or self.capture_clip(crop)
                found[method] = clip_heat(clip_capture, method, crop.shape[0])
            elif method == OCCLUSION:
                found[method] = cam.occlusion(self.score, crop)
            else:
                capture = capture or self.capture(crop)
                found[method] = cam.captured_heat(capture, method, crop.shape[0])
        return found

    def explain_regions(
        self,
        crop: NDArray[np.uint8],
        fill: str = "mean",
        given: NDArray[np.uint8] | None = None,
        n_samples: int = regions.N_SAMPLES,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> Regions:
        """LIME; see regions.explain_regions."""
        score = _reporting(self.score, n_samples, "Covering parts of the face (LIME)", progress)
        return regions.explain_regions(score, crop, fill, given, n_samples, seed)

    def report_card(
        self,
        crop: NDArray[np.uint8],
        maps: Mapping[str, Heat],
        given: NDArray[np.uint8] | None = None,
        steps: int = faithfulness.STEPS,
        seed: int = 0,
        before: ReportCard | None = None,
        progress: Progress | None = None,
    ) -> ReportCard:
        """Grade every map against the controls; see faithfulness.report_card.

        Maps of one logit share their controls, and the card holds the first logit's.
        """
        groups = [
            {name: heat for name, heat in maps.items() if _question(name) == question}
            for question in dict.fromkeys(map(_question, maps))
        ]
        sizes = [
            faithfulness.pictures_scored(len(own), steps, controls=before is None) for own in groups
        ]
        stage = "Testing the maps on this face"
        cards = []
        for i, own in enumerate(groups):
            score = self.explained_score(next(iter(own)))
            score = _reporting(score, sum(sizes), stage, progress, sum(sizes[:i]))
            cards.append(faithfulness.report_card(score, crop, own, given, steps, seed, before))
        return faithfulness.joined(cards)

    def shuffle_weights(
        self, crop: NDArray[np.uint8], methods: Sequence[str], seed: int = 0
    ) -> dict[str, Shuffle]:
        """Every map before and after the weights were shuffled (arXiv:1810.03292)."""
        other = self.shuffled(methods, np.random.default_rng(seed))
        before = self.heats(crop, methods)
        after = other.heats(crop, methods)
        return {
            m: Shuffle(before[m], after[m], rank_correlation(before[m].map, after[m].map))
            for m in methods
        }

    def shuffled(self, methods: Sequence[str], rng: np.random.Generator) -> Explainer:
        """The same around networks of shuffled weights: of those that the methods explain."""
        detector = self.detector.with_network(shuffled(self.detector.network, rng))
        if any(method in CLIP_METHODS for method in methods) and detector.clip is not None:
            detector = detector.with_clip(shuffled(detector.clip, rng))
        return Explainer(detector, self.kind)

    def restore(self, crop: NDArray[np.uint8]) -> Restoration | None:
        """The denoised reconstruction; None for a model without a denoiser."""
        if self.detector.network.denoiser is None:
            return None
        return compare(crop, self.detector.reconstruct(crop[None])[0])


def _question(method: str) -> str:
    """Which logit a map explains: the two-stream network's, or one of CLIP's two."""
    if method not in CLIP_METHODS:
        return TWO_STREAM
    return "generated" if method == CAM_GENERATED else "manipulated"


def _reporting(
    score: Score, total: int, stage: str, progress: Progress | None, done: int = 0
) -> Score:
    """The same score, one batch at a time, with a report before each: raising in it cancels.

    total: pictures that will be scored in all, `done` of them before.
    """
    if progress is None:
        return score

    def scored(crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        nonlocal done
        logits = []
        for start in range(0, len(crops), BATCH):
            progress(min(done / total, 1.0), f"{stage}: {done} of {total} pictures")
            logits.append(score(crops[start : start + BATCH]))
            done += len(logits[-1])
        return np.concatenate(logits)

    return scored

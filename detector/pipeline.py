"""The detector: a file in, an Analysis out."""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from detector.decide import (
    TypeScores,
    judge_face,
    judge_file,
    log_sharpness,
    main_tracks,
    of_hdr,
    of_still,
)
from detector.degrade import jpeg
from detector.faces import FaceFinder
from detector.media import DEFAULT_FRAMES, open_media
from detector.nets.clip import ClipExpert
from detector.nets.network import DeepfakeNetwork, NetworkConfig
from detector.predictions import ClipLogits, Predictions
from detector.profile import DEFAULT_PROFILES, Profile, Profiles
from detector.stopping import pause_to_look
from detector.tracking import spread
from detector.types import (
    MAP_SIZE,
    Analysis,
    Evidence,
    FaceAnalysis,
    FaceCrop,
    FaceTrack,
    Kind,
    Media,
    ModelInfo,
    Progress,
)
from detector.weights import ClipFiles, bf16_pays, frozen, load_model, pick_device

BATCH = 16  # crops at a time: on one and on two threads about the fastest of 8 to 32
# below this batch bf16 gains little on the CPUs measured, and fp32 keeps a photo's digits
BF16_FROM = 8
STABILITY_QUALITY = 75  # the mild JPEG of the stability check
MOST_CLIP_CROPS = 32  # of a file: with many faces CLIP sees fewer frames of each
STABILITY_CROPS = 4  # crops of a track that are scored again after it

T = TypeVar("T")


class Detector:
    """One loaded model on one device. Safe to share between threads."""

    clip_files: ClipFiles | None
    _clip: ClipExpert | None

    def __init__(self, model: str | Path | None = None, device: str = "auto") -> None:
        """model: a name in the shipped manifest or a model folder; None is the default. device:
        auto, cpu or cuda.

        Raises WeightsError or DeviceError.
        """
        loaded = load_model(model)
        self._set(loaded.network, loaded.info, loaded.profiles, pick_device(device))
        self.entry = loaded.entry
        self.clip_files = loaded.clip

    @classmethod
    def untrained(cls, seed: int = 0) -> Detector:
        """Return a detector with random weights and the shipped network's shape.

        For tests of everything but its judgement.
        """
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            network = DeepfakeNetwork(NetworkConfig(denoiser_widths=(8, 8, 8, 8, 8)))
        return cls.of(network, ModelInfo("untrained", "0" * 64))

    @classmethod
    def of(
        cls, network: DeepfakeNetwork, info: ModelInfo, profiles: Profiles = DEFAULT_PROFILES
    ) -> Detector:
        """A detector around a network that is already in memory, on the CPU."""
        self = cls.__new__(cls)
        self._set(frozen(network), info, profiles, torch.device("cpu"))
        self.entry = {}
        return self

    def _set(
        self, network: DeepfakeNetwork, info: ModelInfo, profiles: Profiles, device: torch.device
    ) -> None:
        self.network = network.to(device)
        self.info, self.profiles = info, profiles
        self.finder = FaceFinder(device=str(device))
        self.lock = threading.RLock()  # for work that hooks the network or needs its gradients
        self.clip_files = None
        self._clip = None

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.network.parameters()).device

    def with_network(self, network: DeepfakeNetwork) -> Detector:
        """The same detector around another network."""
        other = copy.copy(self)
        other.network = network
        return other

    def with_clip(self, expert: ClipExpert) -> Detector:
        """The same detector around another second network."""
        other = copy.copy(self)
        other._clip = expert
        return other

    @property
    def has_clip(self) -> bool:
        """Whether the model has a second network, without reading it."""
        return self._clip is not None or self.clip_files is not None

    @property
    def clip(self) -> ClipExpert | None:
        """The second network, read when first asked for; None where the model has one network.

        Raises WeightsError.
        """
        if self._clip is None and self.clip_files is not None:
            with self.lock:
                if self._clip is None:
                    # whoever asks first may be in inference mode, whose tensors have no gradients
                    with torch.inference_mode(False):
                        self._clip = self.clip_files.load(self.device)
        return self._clip

    def tensor(self, crops: NDArray[np.uint8]) -> torch.Tensor:
        """(N, S, S, 3) uint8 -> (N, 3, S, S) float32 in [0, 1] on the device, channels last."""
        x = (
            torch.from_numpy(np.ascontiguousarray(crops))
            .to(self.device)
            .permute(0, 3, 1, 2)
            .float()
            .div_(255)
        )
        return x.contiguous(memory_format=torch.channels_last)

    @torch.inference_mode()
    def predict(self, crops: NDArray[np.uint8], *, kind: Kind) -> Predictions:
        """Logits, evidence maps and embeddings of (N, S, S, 3) uint8 crops.

        kind: whether they come from stills ("image") or from a clip ("video"), whose profiles
        differ. Raises ValueError without a crop.
        """
        if len(crops) == 0:
            raise ValueError("expected at least one crop, but got none")
        profile = self.profiles[kind]
        parts = self._in_batches(lambda batch: self._predict_batch(batch, profile), crops)
        return Predictions(*(np.concatenate(column) for column in zip(*parts, strict=True)))

    def _predict_batch(
        self, crops: NDArray[np.uint8], profile: Profile
    ) -> tuple[NDArray, NDArray, NDArray]:
        with self._autocast(len(crops)):
            out = self.network.frames(self.tensor(crops), profile)
        maps = out.map_logits
        if maps is None:  # a model without a map head knows no places
            maps = torch.zeros(len(crops), MAP_SIZE, MAP_SIZE)
        return tuple(t.float().cpu().numpy() for t in (out.logit, maps, out.embedding))  # type: ignore[return-value]

    def _autocast(self, batch: int) -> torch.autocast:
        fast = self.device.type == "cuda" or (batch >= BF16_FROM and bf16_pays())
        return torch.autocast(self.device.type, torch.bfloat16, enabled=fast)

    @torch.inference_mode()
    def predict_clip(
        self, crops: NDArray[np.uint8], inside: NDArray[np.bool_] | None = None
    ) -> ClipLogits:
        """CLIP's logits of (N, CROP_PX, CROP_PX, 3) uint8 crops.

        inside: (N, CROP_PX, CROP_PX), which pixels lie in the frame (FaceCrop.inside); the others
        are left out. Raises ValueError without a crop and RuntimeError where the model has one
        network.
        """
        if len(crops) == 0:
            raise ValueError("expected at least one crop, but got none")
        if (clip := self.clip) is None:
            raise RuntimeError("This model has one network.")

        whole = inside is None or bool(inside.all())
        # as RGBA, whose alpha says what is inside, where anything is not
        pixels = crops if whole else np.concatenate([crops, inside[..., None]], axis=3)  # type: ignore[index]

        def answer(batch: NDArray[np.uint8]) -> tuple[NDArray, ...]:
            seen = None if whole else torch.from_numpy(batch[..., 3] > 0).to(self.device)
            with torch.autocast(self.device.type, enabled=self.device.type == "cuda"):
                out = clip(self.tensor(batch[..., :3]).contiguous(), seen)
            return tuple(
                t.float().cpu().numpy() for t in (out.manipulated, out.generated, out.drawn)
            )

        columns = zip(*self._in_batches(answer, pixels), strict=True)
        return ClipLogits(*(np.concatenate(column) for column in columns))

    def score(
        self, crops: NDArray[np.uint8], *, kind: Kind, inside: NDArray[np.bool_] | None = None
    ) -> NDArray[np.float32]:
        """Logits (N,) of (N, CROP_PX, CROP_PX, 3) uint8 crops: of both networks, where the model
        has two, as the verdict reads them. inside: see `predict_clip`.

        `predict` gives the two-stream network's alone, which is what its maps explain.
        """
        return self.fuse(self.predict(crops, kind=kind).logits, crops, kind=kind, inside=inside)

    def fuse(
        self,
        logits: NDArray[np.float32],
        crops: NDArray[np.uint8],
        *,
        kind: Kind,
        inside: NDArray[np.bool_] | None = None,
    ) -> NDArray[np.float32]:
        """The two-stream network's logits (N,) of crops with CLIP's added, where there is CLIP."""
        if (fusion := self.profiles[kind].fusion) is None:
            return logits
        clip = self.predict_clip(crops, inside)
        return fusion.fuse(logits, clip.manipulated, clip.generated, log_sharpness(crops))

    @torch.inference_mode()
    def reconstruct(self, crops: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Denoised crops, (N, S, S, 3) uint8 -> same."""
        return np.concatenate(self._in_batches(self._reconstruct_batch, crops))

    def _reconstruct_batch(self, crops: NDArray[np.uint8]) -> NDArray[np.uint8]:
        with self._autocast(len(crops)):
            rebuilt = self.network.reconstruct(self.tensor(crops))
        return (rebuilt.float() * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()

    def _in_batches(
        self, work: Callable[[NDArray[np.uint8]], T], crops: NDArray[np.uint8]
    ) -> list[T]:
        """Call `work` on batch after batch, on smaller ones where the GPU's memory runs out, and at
        last on the CPU.
        """
        done: list[T] = []
        start, size = 0, min(BATCH, len(crops))
        while start < len(crops):
            pause_to_look()
            try:
                done.append(work(crops[start : start + size]))
                start += size
            except torch.OutOfMemoryError:
                if size > 1:
                    size = max(1, size // 2)
                elif self.device.type != "cpu":
                    self._leave_gpu()
                else:
                    raise
        return done

    def _leave_gpu(self) -> None:
        """Go on with the CPU, since something else fills the GPU's memory."""
        self.network = self.network.to(torch.device("cpu"))
        if self._clip is not None:
            self._clip = self._clip.to(torch.device("cpu"))
        self.finder = FaceFinder(device="cpu")

    @torch.inference_mode()
    def track_logit(self, predictions: Predictions) -> float:
        """The temporal head's logit over one track's crops."""
        embeddings = torch.from_numpy(predictions.embeddings)[None].to(self.device)
        logits = torch.from_numpy(predictions.logits)[None].to(self.device)
        return float(
            self.network.video(embeddings, logits, torch.ones_like(logits, dtype=torch.bool))
        )

    def analyze(
        self,
        path: str | Path,
        n_frames: int = DEFAULT_FRAMES,
        progress: Progress | None = None,
        track: int | None = None,
    ) -> Analysis:
        """Analyse a photo or a clip. `progress(share, stage)` is called along the way; raising in
        it cancels. track: the number of a clip's video track, chosen without it.

        Raises MediaError when the file cannot be read. No face is an answer, not an error.
        """
        report = progress or (lambda share, stage: None)
        start = time.perf_counter()
        report(0.02, "Reading the file")
        media = open_media(Path(path), n_frames, track)
        return self.analyze_media(media, progress, {"open": time.perf_counter() - start})

    def analyze_media(
        self,
        media: Media,
        progress: Progress | None = None,
        timing_s: dict[str, float] | None = None,
    ) -> Analysis:
        """Analyse opened media; see `analyze`."""
        report = progress or (lambda share, stage: None)
        timing, clock = dict(timing_s or {}), time.perf_counter()
        report(0.25, "Finding faces")
        try:
            people = self.finder.find_people(media.frames)
        except torch.OutOfMemoryError:
            self._leave_gpu()
            people = self.finder.find_people(media.frames)
        timing["detect"], clock = time.perf_counter() - clock, time.perf_counter()
        report(0.6, "Looking at the faces")
        faces = self.judge_tracks(people.tracks, kind=media.kind)
        faces = tuple(map(of_hdr, faces)) if media.hdr else faces
        timing["embed"] = time.perf_counter() - clock
        timing["total"] = sum(timing.values())
        report(1.0, "Done")
        looked_at = len(media.frames) if media.kind == "video" else None
        verdict = judge_file(faces, people.left_out, looked_at)
        return Analysis(media, faces, verdict, self.info, timing, people.left_out)

    def judge_tracks(self, tracks: Sequence[FaceTrack], *, kind: Kind) -> tuple[FaceAnalysis, ...]:
        """Score and judge the people of one file of a kind, the most forged-looking first. One who
        is shown as a still is judged like a photo, whatever the file is.
        """
        asked = len(main_tracks(tracks))
        filmed = [track for track in tracks if track.judged_as(kind) == kind]
        faces = list(self._judge_together(filmed, kind, asked)) if filmed else []
        for still in (track for track in tracks if track.judged_as(kind) != kind):
            (face,) = self._judge_together([replace(still, crops=still.crops[:1])], "image", asked)
            faces.append(of_still(face, still))
        return tuple(sorted(faces, key=lambda face: -(face.verdict.p_fake or 0.0)))

    def _judge_together(
        self, tracks: Sequence[FaceTrack], kind: Kind, asked: int
    ) -> Iterator[FaceAnalysis]:
        """Judge some people, at least one, of `asked` that have a say in their file's answer."""
        crops = [crop.rgb for track in tracks for crop in track.crops]
        checked = [spread(range(len(track.crops)), STABILITY_CROPS) for track in tracks]
        resaved = [
            jpeg(track.crops[i].rgb, STABILITY_QUALITY)
            for track, some in zip(tracks, checked, strict=True)
            for i in some
        ]
        # in one go: full batches are cheaper
        predictions = self.predict(np.stack(crops + resaved), kind=kind)
        second = self.clip_of_tracks(tracks, self.profiles[kind])
        start, start_resaved = 0, len(crops)
        for track, some, clip in zip(tracks, checked, second, strict=True):
            own = predictions.part(start, len(track.crops))
            again = predictions.part(start_resaved, len(some))
            start += len(track.crops)
            start_resaved += len(some)
            shift = float(np.mean(again.logits - own.logits[some]))
            yield self._judge_track(track, own, clip, shift, self.profiles[kind], asked)

    def clip_of_tracks(
        self, tracks: Sequence[FaceTrack], profile: Profile
    ) -> list[ClipLogits] | list[None]:
        """CLIP's logits for every crop of every track; None each where the model has one network.

        CLIP is slower than the two-stream network, so it sees some crops of a track, and the
        others are interpolated in time.
        """
        if profile.fusion is None:
            return [None] * len(tracks)
        most = max(2, min(profile.fusion.clip_frames, MOST_CLIP_CROPS // len(tracks)))
        chosen = [spread(range(len(track.crops)), most) for track in tracks]
        crops = [t.crops[i] for t, some in zip(tracks, chosen, strict=True) for i in some]
        inside = np.stack([crop.inside for crop in crops])
        seen = self.predict_clip(np.stack([crop.rgb for crop in crops]), inside)
        start, answers = 0, []
        for track, some in zip(tracks, chosen, strict=True):
            t = np.array([crop.t for crop in track.crops])
            answers.append(seen.part(start, len(some)).at(t, t[some]))
            start += len(some)
        return answers

    def _judge_track(
        self,
        track: FaceTrack,
        own: Predictions,
        clip: ClipLogits | None,
        shift: float,
        profile: Profile,
        asked: int,
    ) -> FaceAnalysis:
        """Judge one person of `asked`.

        shift: by how many logits a mild JPEG moves the two-stream network.
        """
        probability, fusion = profile.calibration.probability, profile.fusion
        logits, logit, types = own.logits, self.track_logit(own), None
        if fusion is not None and clip is not None:
            detail = log_sharpness(crop.rgb for crop in track.crops)
            logits = fusion.fuse(own.logits, clip.manipulated, clip.generated, detail)
            put_in, made = float(np.mean(clip.manipulated)), float(np.mean(clip.generated))
            types = TypeScores(
                fusion.manipulated_calibration.probability(fusion.put_in(logit, put_in)),
                fusion.generated_calibration.probability(made),
                drawn=float(np.mean(clip.drawn)) > 0,
            )
            both = np.array([logit, logit + shift], np.float32)
            middle = np.median(detail, keepdims=True)
            logit, resaved = fusion.fuse(both, put_in, made, middle).tolist()
            shift = resaved - logit
        p_frames = tuple(probability(float(frame)) for frame in logits)
        p_reencoded = probability(logit + shift)
        frames = logits.tolist()
        verdict = judge_face(logit, track.crops, profile, p_reencoded, frames, types, asked)
        evidence = tuple(
            Evidence(float(frame), _inside(heat, crop), embedding)
            for frame, heat, embedding, crop in zip(
                logits, own.maps, own.embeddings, track.crops, strict=True
            )
        )
        if types is None:
            return FaceAnalysis(track, evidence, p_frames, verdict)
        return FaceAnalysis(track, evidence, p_frames, verdict, types.manipulated, types.generated)


def _inside(heat: NDArray[np.float32], crop: FaceCrop) -> NDArray[np.float32]:
    """A map of a crop without what lies outside the frame, where it says neither."""
    seen = cv2.resize(crop.inside.astype(np.uint8), heat.shape, interpolation=cv2.INTER_AREA)
    return np.where(seen > 0, heat, np.float32(0))


_default_lock = threading.Lock()


def default_detector() -> Detector:
    """The shipped detector, loaded once, on first use."""
    with _default_lock:
        return _cached_default()


@lru_cache(maxsize=1)
def _cached_default() -> Detector:
    return Detector()

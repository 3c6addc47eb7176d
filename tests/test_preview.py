"""Previews: what browsers play stays as it is, and the rest is encoded small, in the sandbox."""

from __future__ import annotations

import io
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from skimage import data

from detector.decoding import preview
from detector.errors import MediaError
from detector.media import open_media, open_preview, write_video

FRAMES = [np.roll(data.astronaut()[:, :400], 4 * i, axis=1) for i in range(12)]


def written(folder: Path, name: str, codec: str, fps: float = 10) -> Path:
    write_video(folder / name, FRAMES, fps, codec)
    return folder / name


def test_what_browsers_play_stays_as_it_is(tmp_path: Path) -> None:
    assert open_preview(written(tmp_path, "clip.mp4", "libx264")).how == "as it is"
    # served under this name, no browser would play it
    (tmp_path / "clip.dat").write_bytes((tmp_path / "clip.mp4").read_bytes())
    assert open_preview(tmp_path / "clip.dat").how == "encoded"


def test_a_gif_is_a_picture(tmp_path: Path) -> None:
    first, *rest = (Image.fromarray(rgb).resize((80, 100)) for rgb in FRAMES)
    first.save(tmp_path / "clip.gif", save_all=True, append_images=rest, duration=100)
    assert open_preview(tmp_path / "clip.gif").how == "as a picture"


def test_hevc_is_encoded_anew(tmp_path: Path) -> None:
    write_video(tmp_path / "b.mp4", FRAMES[:2], 10, "libx265")
    assert open_preview(tmp_path / "b.mp4").how == "encoded"


def test_avi_is_encoded_small(tmp_path: Path) -> None:
    made = open_preview(written(tmp_path, "a.avi", "mpeg4"))
    assert made.how == "encoded" and len(made.mp4) < 200_000
    with av.open(io.BytesIO(made.mp4)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.width, stream.height) == ("h264", 374, 480)
        times_s = [picture.time for picture in container.decode(stream)]
        assert len(container.streams.audio) == 0
    assert times_s == pytest.approx([0.1 * i for i in range(12)], abs=0.02)
    assert list(tmp_path.iterdir()) == [tmp_path / "a.avi"]  # nothing is written


def test_a_preview_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preview, "PREVIEW_S", 0.55)
    made = preview.make_preview(written(tmp_path, "a.avi", "mpeg4"))
    with av.open(io.BytesIO(made.mp4)) as container:
        assert len(list(container.decode(video=0))) == 6


def test_no_clip_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "x.avi").write_bytes(b"RIFF and nothing of use")
    with pytest.raises(MediaError, match=r"^x\.avi is not a picture or a clip that can be read; "):
        open_preview(tmp_path / "x.avi")


def test_sound_is_noticed(tmp_path: Path) -> None:
    silent = written(tmp_path, "silent.mp4", "libx264")
    with av.open(str(silent)) as source, av.open(str(tmp_path / "loud.mp4"), "w") as target:
        copied = target.add_stream_from_template(source.streams.video[0])
        sound = target.add_stream("aac", rate=16000, layout="mono")
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = copied
                target.mux(packet)
        quiet = av.AudioFrame.from_ndarray(
            np.zeros((1, 1024), np.float32), format="fltp", layout="mono"
        )
        quiet.sample_rate, quiet.pts = 16000, 0
        target.mux([*sound.encode(quiet), *sound.encode(None)])
    assert "The audio was not checked." not in open_media(silent, 2).notes
    assert "The audio was not checked." in open_media(tmp_path / "loud.mp4", 2).notes

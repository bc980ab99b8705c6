"""The front door: a text, a voice and a feeling in, speech out; a picture, a voice and a feeling in, a film out."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mien.emotion import Emotion
from mien.media import FRAME_RATE, Sound, load_image, load_sound, probe, read_frames, write_film
from mien.media.film import check_alpha
from mien.portrait.controls import Controls
from mien.portrait.framing import check_crop, crop_box
from mien.portrait.geometry import N_POINTS, facing
from mien.portrait.guarantees import steered
from mien.portrait.motion import Motion, load_space
from mien.portrait.retime import retimed
from mien.portrait.tracking import Face, Tracker, load_tracker
from mien.tts.speech import AUTO, Speech, load_narrator
from mien.tts.transcript import heard_phones
from mien.tts.voices import DEFAULT

if TYPE_CHECKING:
    from mien.codec.tokens import Tokens
    from mien.portrait.backdrop import Backdrop
    from mien.portrait.manner import Manner
    from mien.portrait.performer import Performer

ASSETS = Path(__file__).parent / "assets"
LEAST_FACE_PX = 40
BREATH_S = 4.2  # of a calm breath, in and out
RATES = (25, 30, 50, 60)  # frames a second of a film; motion is made at the first and set between its frames for others
FAR_TURN, FARTHEST_TURN = 30, 45  # degrees from the front: beyond the one half a face is guessed, beyond the other unseen
ROUGH_EDGE = "The person stands out little from the background, the edge may be rough: a plainer picture looks better."
Progress = Callable[[int, int], None]


def speak(
    text: str,
    voice: Any = DEFAULT,
    emotion: Any = None,
    intensity: float = 1.0,
    speed: float = 1.0,
    *,
    language: str = "en",
    engine: str | Path = "mien",
    seed: int = 0,
) -> Speech:
    """Say a text.

    text: may be marked: `[pause 0.5]`, `*emphasis*`, `[happy] … [/happy]`. voice: a name of `mien.tts.voices.VOICES`, or a
    recording of 3 s or more of somebody who agreed to it (path, bytes, (samples, rate)). emotion, intensity: see
    `Emotion.read`; "auto" takes from each sentence what it expresses. speed: 0.5 to 2. language: en; fr, es, it and pt with
    the extra `espeak`, in an English accent. engine: "mien" or "kokoro", see `load_engine`. seed: same seed, same sound.
    Returns a `Speech`: samples, words and phones with their times, tokens; it can be saved, animated, subtitled. A long text
    is better read by `load_narrator().write`, into a file. Raises ValueError or FileNotFoundError with one sentence.
    """
    narrator = load_narrator(engine)
    return narrator.speak(text, voice, emotion, intensity=intensity, speed=speed, language=language, seed=seed)


def animate(
    image: Any,
    audio: Any = None,
    emotion: Any = None,
    *,
    text: str | None = None,
    voice: Any = None,
    speed: float = 1.0,
    language: str = "en",
    engine: str | Path = "mien",
    intensity: float = 1.0,
    driving: Any = None,
    style: Any = None,
    gaze: str = "human",
    controls: Controls = Controls(),  # noqa: B008 - frozen
    gates: Mapping[str, float] | None = None,
    motion_mode: str = "relative",
    seed: int = 0,
    fps: int = FRAME_RATE,
    background: Any = "keep",
    crop: str = "keep",
    size: int | None = None,
    face: int | None = None,
    landmarks: str | Path | Face | None = None,
    tracker: str = "mien",
    tracker_model: str | Path | None = None,
    model: str = "animator-nano",
    device: str = "auto",
) -> "Video":
    """Make a picture say a text, talk (audio), or move as a film moves (driving).

    image: path, bytes, PIL, numpy (H, W, 3) or torch picture with a face. text, voice, speed, language, engine: see `speak`;
    voice None is the default one. audio: path to sound, film or coded file (.mc), bytes, (samples, rate), `Sound`, or a
    `Speech`. emotion, intensity: see `Emotion.read`; None is neutral, or what a `Speech` or a text's marks say; "auto" is
    what the text, or else the voice, expresses. driving: film, .npz take or `Motion`.
    Exactly one of text, audio and driving leads, but: a text beside an audio is its transcript, by which the lips know its
    sounds; a driving film's sound is kept if audio is None, and an audio beside a driving take is its sound. The text goes
    into the film's comment tag.
    style: a clip of at least 3 s whose manner is taken over, a saved manner (.npz) or a `Manner`. gaze: "human" wanders,
    "camera" holds. controls: dials for head, eyes, brows and mouth. gates: gains on how far parts of the face listen to the
    voice and to the manner, such as {"audio.mouth": 1.2}, by the names of `mien.portrait.gates.NAMES`. motion_mode:
    "relative" moves the head about the picture's own pose, "absolute" takes the driving film's. seed: same seed, same
    frames. fps: frames a second of the film, one of `RATES`. background, crop, size, face, landmarks, tracker, model,
    device: see `Animator`.
    Returns a `Video`; nothing is drawn until it is saved or iterated. Raises ValueError or FileNotFoundError, one sentence.
    """
    if text is not None and driving is not None:
        raise ValueError("A text and a film cannot both lead the portrait: give text= or driving=.")
    if audio is None and driving is None and text is None:
        raise ValueError(
            "Nothing leads the portrait: give text=, what to say, audio=, a voice, or driving=, a film or take to follow."
        )
    if voice is not None and (audio is not None or text is None):
        raise ValueError("voice= says who speaks a text: leave it out where audio= or driving= leads.")
    if driving is not None and (emotion is not None or style is not None or gaze != "human"):
        raise ValueError("What drives a portrait has its own feeling, manner and gaze: leave out emotion, style and gaze.")
    if text is not None and audio is None:  # before the picture is looked at: what cannot be said is told at once
        audio = speak(text, voice or DEFAULT, emotion, intensity, speed, language=language, engine=engine, seed=seed)
        emotion, intensity = None, 1.0
    animator = Animator(
        image, background=background, crop=crop, size=size, face=face, landmarks=landmarks, tracker=tracker,
        tracker_model=tracker_model, model=model, device=device, load=driving is None,
    )  # fmt: skip
    if driving is not None:
        return animator.follow(driving, audio=audio, controls=controls, motion_mode=motion_mode, fps=fps)
    return animator.speak_along(
        audio,
        emotion,
        text=text,
        intensity=intensity,
        style=style,
        gaze=gaze,
        controls=controls,
        gates=gates,
        seed=seed,
        fps=fps,
    )


def motion_of(source: Any, *, tracker: str = "mien", tracker_model: str | Path | None = None) -> Motion:
    """What a face does in a film; a take (`Motion` or .npz) as it is."""
    return _motion_of(source, lambda: load_tracker(tracker, tracker_model))


def read_manner(source: Any, *, tracker: str = "mien", tracker_model: str | Path | None = None) -> "Manner":
    """How somebody moves: of a film of at least 3 s, a take (`Motion` or .npz) or a saved manner; `style=` takes it."""
    return _manner_of(source, lambda: load_tracker(tracker, tracker_model))


def read_feelings(source: Any, *, tracker: str = "mien", tracker_model: str | Path | None = None) -> dict[str, Emotion]:
    """What is felt in a film, or a take (`Motion` or .npz), along its time: by "face", and by "voice" if there is sound."""
    found = {"face": Emotion.from_motion(motion_of(source, tracker=tracker, tracker_model=tracker_model))}
    if _take(source) is None and probe(source).has_sound:
        found["voice"] = _voice_feeling(load_sound(source).mono(16000))
    return found


class Animator:
    """A prepared portrait, ready for any number of takes.

    image: as in `animate`. background: "keep", "blur", "transparent" (frames have alpha), "#rrggbb" or a picture. crop:
    "keep" or one of `framing.CROPS`, at the picture's own resolution. size: longer side of the result, pixels; None keeps
    the crop's. face: which face, 0 the largest; None takes the largest. landmarks: a `Face` or its JSON, in pixels of the
    whole picture, instead of tracking. tracker, tracker_model: see `load_tracker`. model: an animator checkpoint. device:
    auto, cpu, … load: load the network at once, on another core while the picture is prepared; else when it is first needed.
    warnings: sentences about what will not look its best.
    """

    def __init__(
        self,
        image: Any,
        *,
        background: Any = "keep",
        crop: str = "keep",
        size: int | None = None,
        face: int | None = None,
        landmarks: str | Path | Face | None = None,
        tracker: str = "mien",
        tracker_model: str | Path | None = None,
        model: str = "animator-nano",
        device: str = "auto",
        load: bool = False,
    ):
        from mien.portrait.backdrop import check_background, make_backdrop
        from mien.portrait.matte import fill_plate, find_matte, is_clear
        from mien.portrait.warp import Portrait

        check_background(background)
        check_crop(crop)
        started = time.perf_counter()
        self.timings: dict[str, float] = {}
        self.settings = {"background": str(background) if isinstance(background, str | Path) else "picture", "crop": crop}
        self.model_name, self.device = model, device
        self._loading = ThreadPoolExecutor(1, "mien-load").submit(self._load) if load else None
        self._tracker = lambda: load_tracker(tracker, tracker_model)
        picture = load_image(image)
        found = _given_face(landmarks) if landmarks is not None else _choose_face(self._tracker(), picture, face)
        picture, self.face = _sized(*_cropped(picture, found, crop), size)
        space = load_space()
        self.warnings = _check_face(self.face, picture, space.template)
        tracked = time.perf_counter()
        matte = find_matte(picture, self.face.landmarks)
        plate, clear = fill_plate(picture, matte), is_clear(matte, self.face.landmarks)
        self.backdrop = make_backdrop(background, picture, matte, plate, self.face.size)
        if self.backdrop is not None and not clear:
            self.warnings.append(ROUGH_EDGE)
        cut = {"matte": matte, "plate": plate} if clear or self.backdrop is not None else {}
        self.portrait = Portrait(picture, self.face.landmarks, space.template, space.rest_offset(self.face), **cut)
        self.timings |= {"track_s": tracked - started, "prepare_s": time.perf_counter() - tracked}
        self.size = (picture.shape[1], picture.shape[0])

    @property
    def performer(self) -> "Performer":
        """The network, loaded when it is first needed if it is not loaded yet."""
        if self._loading is None:
            self._loading = Future()
            self._loading.set_result(self._load())
        return self._loading.result()

    def _load(self) -> "Performer":
        from mien.layers.device import pick_device
        from mien.portrait.performer import Performer

        started = time.perf_counter()
        performer = Performer(self.model_name, pick_device(self.device))  # pyright: ignore[reportArgumentType]
        self.timings["load_s"] = time.perf_counter() - started
        return performer

    def speak_along(
        self,
        audio: Any,
        emotion: Any = None,
        *,
        text: str | None = None,
        intensity: float = 1.0,
        style: Any = None,
        gaze: str = "human",
        controls: Controls = Controls(),  # noqa: B008 - frozen
        gates: Mapping[str, float] | None = None,
        seed: int = 0,
        fps: int = FRAME_RATE,
    ) -> "Video":
        """A take led by a voice; arguments as in `animate`. Of a `Speech` the lips know every sound."""
        if gaze not in ("human", "camera"):
            raise ValueError(f"Unknown gaze '{gaze}': choose human or camera.")
        _check_rate(fps)
        speech = audio if isinstance(audio, Speech) else None
        sound, tokens = (speech.sound, None) if speech else _load_voice(audio)
        samples: list[np.ndarray] = [sound.mono(16000)]  # taken out when heard: a long recording is held once
        feeling = _feeling(emotion, intensity, text, samples[0], speech)
        frames = -(-len(samples[0]) * fps // 16000)
        manner = None if style is None else _manner_of(style, self._tracker)
        if gates:
            from mien.portrait.gates import gains

            gains(gates)  # what is no gate is told at once, not when the film is made
        settings = {
            "emotion": str(feeling),
            "gaze": gaze,
            "controls": asdict(controls),
            "gates": dict(gates or {}),
            "seed": seed,
            "fps": fps,
            "model": self.model_name,
            "style": style is not None,
            "text": text,
        }

        def make(timings: dict[str, float]) -> Iterator[np.ndarray]:
            performer, started = self.performer, time.perf_counter()
            phones = speech.phones if speech else heard_phones(text, samples[0]) if text else None
            heard = performer.hear(samples.pop(), phones) if tokens is None else performer.hear_tokens(tokens, phones)
            timings["hear_s"] = time.perf_counter() - started
            weights = feeling.frames(len(heard))
            yield from performer.perform(heard, weights, style=manner, seed=seed, gaze=gaze, controls=controls, gates=gates)

        return Video(self, make, frames, sound, settings, self.backdrop, fps, speech=speech)

    def follow(
        self,
        driving: Any,
        *,
        audio: Any = None,
        controls: Controls = Controls(),  # noqa: B008 - frozen
        motion_mode: str = "relative",
        fps: int = FRAME_RATE,
    ) -> "Video":
        """A take led by a film (its sound comes along unless audio is given), a saved take or a `Motion`."""
        if motion_mode not in ("relative", "absolute"):
            raise ValueError(f"Unknown motion mode '{motion_mode}': choose relative or absolute.")
        _check_rate(fps)
        motion, sound = self._motion_of(driving, motion_mode), _load_voice(audio)[0] if audio is not None else None
        if sound is None and _take(driving) is None and probe(driving).has_sound:
            sound = load_sound(driving)
        values = steered(motion.values, controls, load_space())
        settings = {"driving": True, "motion_mode": motion_mode, "controls": asdict(controls), "fps": fps}
        frames = max(1, round(motion.duration_s * fps))
        return Video(self, lambda timings: iter([values]), frames, sound, settings, self.backdrop, fps, motion.fps)

    def _motion_of(self, source: Any, mode: str = "relative") -> Motion:
        if mode == "relative":
            return _motion_of(source, self._tracker)
        if _take(source) is not None:
            raise ValueError("A take holds motion relative to its own picture: drive with a film for absolute motion.")
        return load_space().encode_absolute(self._tracker().follow(read_frames(source)), self.face.landmarks)


@dataclass
class Video:
    """A take of a portrait: iterate it for frames (H, W, 3) uint8 RGB, or (H, W, 4) with straight alpha; or `save` it.

    Frames are drawn as they are asked for; motion, once made, is kept (it is small), so a second pass only draws.
    frames, fps: how many there are, and how many a second. backdrop: None for the picture's own background. made_fps:
    frames a second of the motion that `make` gives. speech: what is said, where it was spoken here: for subtitles. timings:
    seconds by stage, filled as work is done.
    """

    animator: Animator
    make: Callable[[dict[str, float]], Iterator[np.ndarray]]
    frames: int
    sound: Sound | None
    settings: dict[str, Any]
    backdrop: "Backdrop | None" = None
    fps: int = FRAME_RATE
    made_fps: float = FRAME_RATE
    speech: Speech | None = None
    timings: dict[str, float] = field(default_factory=dict)
    _windows: list[np.ndarray] = field(default_factory=list)
    _source: Iterator[np.ndarray] | None = None

    def __len__(self) -> int:
        return self.frames

    def __iter__(self) -> Iterator[np.ndarray]:
        started, drawn = time.perf_counter(), 0.0
        space, portrait, backdrop = load_space(), self.animator.portrait, self.backdrop
        shapes = (shape for values in self._retimed_windows() for shape in Motion(values).shapes(space))
        for number, shape in enumerate(shapes):
            shape = replace(shape, breath=0.5 - 0.5 * math.cos(2 * math.pi * number / self.fps / BREATH_S))
            before = time.perf_counter()
            frame = backdrop.compose(portrait.cutout(shape)) if backdrop else portrait.render(shape)
            drawn += time.perf_counter() - before
            self.timings["render_s"] = drawn
            self.timings.setdefault("first_frame_s", time.perf_counter() - started)
            yield frame

    def _retimed_windows(self) -> Iterator[np.ndarray]:
        return retimed(self._motion_windows(), self.made_fps, self.fps, self.frames)

    def _motion_windows(self) -> Iterator[np.ndarray]:
        """Windows of motion: those made before, then new ones, each made on another core while the last one is drawn."""
        yield from list(self._windows)
        if self._source is None:
            self._source = self.make(self.timings)
        with ThreadPoolExecutor(1, "mien-motion") as worker:
            coming = worker.submit(self._next_window)
            while (window := coming.result()) is not None:
                coming = worker.submit(self._next_window)
                yield window

    def _next_window(self) -> np.ndarray | None:
        assert self._source is not None
        before = time.perf_counter()
        window = next(self._source, None)
        self.timings["motion_s"] = self.timings.get("motion_s", 0.0) + time.perf_counter() - before
        if window is not None:
            self._windows.append(window)
        return window

    @property
    def motion(self) -> Motion:
        """The whole take as motion, at the film's rate; makes what is not made yet."""
        return Motion(np.concatenate(list(self._retimed_windows())), self.fps)

    def save(self, path: str | Path, progress: Progress | None = None, crf: int = 18) -> Path:
        """Write the film (.mp4, .mov, .mkv, .webm), exactly as long as the voice: H.264 and AAC, or with alpha ProRes 4444
        (.mov) or VP9 (.webm).

        progress: called with (frames done, frames in all). crf: the encoder's quality, lower is better.
        """
        started = time.perf_counter()
        if self.backdrop is not None and self.backdrop.behind is None:
            check_alpha(path)

        def counted() -> Iterator[np.ndarray]:
            for done, frame in enumerate(self, 1):
                yield frame
                if progress:
                    progress(done, self.frames)

        text = self.settings.get("text")
        write_film(path, counted(), self.sound, fps=self.fps, crf=crf, metadata={"comment": text} if text else None)
        self.timings["total_s"] = time.perf_counter() - started
        return Path(path)

    def plain(self) -> "Video":
        """The same take at 25 frames a second before the picture's own background: what a report is made of."""
        frames = max(1, round(self.frames * FRAME_RATE / self.fps))
        return replace(self, backdrop=None, fps=FRAME_RATE, frames=frames, timings=dict(self.timings))

    def facts(self) -> dict[str, Any]:
        """What was done and how long it took: settings, size, frames, timings by stage, real-time factor, warnings."""
        timings = {**self.animator.timings, **self.timings}
        seconds = self.frames / self.fps
        return {
            "frames": self.frames,
            "fps": self.fps,
            "duration_s": seconds,
            "size": list(self.animator.size),
            "settings": self.animator.settings | self.settings,
            "timings": {name: round(value, 4) for name, value in timings.items()},
            "rtf": round(self.timings["total_s"] / seconds, 4) if "total_s" in self.timings else None,
            "warnings": self.animator.warnings,
        }


def _take(source: Any) -> Motion | None:
    """A take as it is or from its file; None for a film."""
    if isinstance(source, str | Path) and Path(source).suffix.lower() == ".npz":
        return Motion.load(source)
    return source if isinstance(source, Motion) else None


def _motion_of(source: Any, tracker: Callable[[], Tracker]) -> Motion:
    """A take, or what a face does in a film."""
    take = _take(source)
    return load_space().encode(tracker().follow(read_frames(source))) if take is None else take


def _manner_of(source: Any, tracker: Callable[[], Tracker]) -> "Manner":
    """A manner as it is, from its file, or measured in a take or a film."""
    from mien.portrait.manner import Manner

    if isinstance(source, Manner):
        return source
    saved = Manner.load(source) if Path(str(source)).suffix.lower() == ".npz" else None
    return saved or Manner.of(_motion_of(source, tracker))


def _feeling(emotion: Any, intensity: float, text: str | None, samples: np.ndarray, speech: Speech | None) -> Emotion:
    """What is felt: as it is said, as it was spoken, or as text or voice express it."""
    if emotion is None and speech is not None:
        return speech.emotion.scaled(intensity)
    if emotion != AUTO:
        return Emotion.read(emotion, intensity)
    if text is not None:
        return Emotion.from_text(text).scaled(intensity)
    return _voice_feeling(samples).scaled(intensity)


def _voice_feeling(samples: np.ndarray) -> Emotion:
    from mien.codec.model import load_codec

    return Emotion.from_voice(load_codec().emotion(samples))


def _load_voice(audio: Any) -> "tuple[Sound, Tokens | None]":
    """A sound; or what a coded file sounds like, and its tokens, which lead a portrait by themselves."""
    if not isinstance(audio, str | Path) or Path(audio).suffix.lower() != ".mc":
        return load_sound(audio), None
    from mien.codec.model import load_codec

    codec = load_codec()
    tokens = codec.open(audio).tokens
    return Sound(codec.decode(tokens)[:, None], 16000), tokens


def _given_face(landmarks: str | Path | Face) -> Face:
    return landmarks if isinstance(landmarks, Face) else Face.load(landmarks)


def _choose_face(tracker: Tracker, picture: np.ndarray, index: int | None) -> Face:
    faces = tracker.detect(picture)
    if not faces:
        raise ValueError(
            f"No face was found in the picture of {picture.shape[1]} x {picture.shape[0]} pixels, neither in the whole nor "
            "in parts of it: give one with a face from the front or half-turned, or landmarks= (--landmarks FILE.json)."
        )
    if index is None:
        return faces[0]
    if not 0 <= index < len(faces):
        heights = ", ".join(f"{face.size:.0f}" for face in faces)
        raise ValueError(
            f"Face {index} was asked for, but {len(faces)} were found, {heights} pixels tall: "
            "they are counted from 0, largest first."
        )
    return faces[index]


def _cropped(picture: np.ndarray, face: Face, crop: str) -> tuple[np.ndarray, Face]:
    """The part of the picture that is shown, and its face."""
    x0, y0, x1, y1 = crop_box(crop, face.box, picture.shape[1], picture.shape[0])
    return picture[y0:y1, x0:x1], replace(face, landmarks=face.landmarks - np.array([x0, y0, 0], np.float32))


def _sized(picture: np.ndarray, face: Face, size: int | None) -> tuple[np.ndarray, Face]:
    """The picture and its face at another size (longer side in pixels)."""
    if size is None:
        return picture, face
    if not 64 <= size <= 4096:
        raise ValueError(f"size {size} is out of range: give the longer side in pixels, 64 to 4096.")
    import cv2

    factor = size / max(picture.shape[:2])
    shrink = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    width, height = round(picture.shape[1] * factor), round(picture.shape[0] * factor)
    resized = cv2.resize(picture, (width, height), interpolation=shrink)
    return resized, replace(face, landmarks=face.landmarks * factor)


def _check_face(face: Face, picture: np.ndarray, template: np.ndarray) -> list[str]:
    """Refuse a face that cannot be drawn; return warnings about one that can hardly."""
    height, width = picture.shape[:2]
    x0, y0, x1, y1 = face.box
    if face.landmarks.shape != (N_POINTS, 3) or x1 < 0 or y1 < 0 or x0 > width or y0 > height:
        raise ValueError(
            f"The landmarks lie at x {x0:.0f} … {x1:.0f}, y {y0:.0f} … {y1:.0f}, outside the picture of {width} x {height}."
        )
    if face.size < LEAST_FACE_PX:
        raise ValueError(
            f"The face is {face.size:.0f} pixels tall; at least {LEAST_FACE_PX} are wanted: give a larger picture."
        )
    yaw, pitch = facing(face.landmarks, template)
    turned = f"The face is turned {abs(yaw):.0f} degrees aside and {abs(pitch):.0f} {'down' if pitch > 0 else 'up'}"
    if max(abs(yaw), abs(pitch)) > FARTHEST_TURN:
        raise ValueError(f"{turned}; up to {FARTHEST_TURN} can be drawn: give a picture that shows it more from the front.")
    if max(abs(yaw), abs(pitch)) > FAR_TURN:
        return [f"{turned}: beyond {FAR_TURN} its far side is guessed, a picture more from the front looks better."]
    return []


def _check_rate(fps: int) -> None:
    if fps not in RATES:
        raise ValueError(f"{fps} frames a second cannot be made: choose one of {', '.join(map(str, RATES))}.")

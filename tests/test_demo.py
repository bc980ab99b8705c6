"""The page: is it whole, does its button make a film, are mistakes told in one sentence, does it call nobody?"""

import functools
import inspect
import re

import gradio as gr
import pytest

from mien import checkpoints
from mien.demo import launch
from mien.demo.app import DIALS, PICTURE, THEME, VOICE, build, film
from mien.front import animate
from mien.media import Sound, load_sound, probe
from mien.portrait.controls import Controls

REST = {
    "text": "", "speaker": "clara", "speed": 1.0, "emotion": "happy", "intensity": 1.0, "words": None,
    "background": "keep", "colour": "#00ff00", "crop": "keep",
    "size": 256, "fps": 25, "gaze": "human", "seed": 0, **{name: Controls.dial(name).default for name in DIALS},
}  # fmt: skip


def test_the_page_gives_the_button_what_its_function_takes():
    page = build("cpu")
    button = next(function for function in page.fns.values() if function.api_name == "film")
    asked = [name for name in inspect.signature(film).parameters if name not in ("device", "progress")]
    assert len(button.inputs) == len(asked) and asked[-len(DIALS) :] == list(DIALS)
    assert [type(block).__name__ for block in button.outputs] == ["Video", "Markdown", "DownloadButton"]
    emotion = next(block for block in page.blocks.values() if getattr(block, "label", None) == "Emotion")
    assert len(emotion.choices) == 8


def test_the_page_fetches_nothing_and_reports_nothing():
    assert build("cpu").analytics_enabled is False
    css = THEME._get_theme_css()
    assert not THEME._stylesheets and not re.search(r"@import|url\(.?http", css), "it asks for a font from elsewhere"


def test_the_button_makes_a_film(tmp_path, monkeypatch):
    missing = {"animator-nano", "front"} - {entry.name for entry in checkpoints.index()}
    if missing:
        pytest.skip(f"the weights {', '.join(sorted(missing))} are not shipped yet")
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    soundfile = pytest.importorskip("soundfile")
    voice: Sound = load_sound(VOICE)
    soundfile.write(tmp_path / "second.wav", voice.samples[: voice.sample_rate], voice.sample_rate)
    path, facts, download = film(str(PICTURE), str(tmp_path / "second.wav"), **REST, device="cpu")
    made = probe(path)
    assert made.has_sound and made.duration_s == pytest.approx(1.0, abs=0.05)
    assert facts.startswith("1.0 s of film · 256 × 256 · made in ")
    assert download.interactive and download.value["path"].endswith("mien.mp4")


def test_a_text_is_said_where_there_is_no_voice(engine, tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    monkeypatch.setattr("mien.demo.app.animate", functools.partial(animate, engine=engine))
    path, _, _ = film(str(PICTURE), None, **REST | {"text": "Hello, you.", "speaker": "tom"}, device="cpu")
    assert probe(path).has_sound


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"picture": None}, "There is no picture yet"),
        ({"voice": None}, "There is no voice yet"),
        ({"words": "hapy"}, "Unknown emotion 'hapy': did you mean happy"),
        ({"words": "<i>"}, "Unknown emotion '&lt;i&gt;'"),
        ({"size": 8}, "size 8 is out of range"),
        ({"smile": 2}, "smile 2 is out of range: give -1 to 1"),
        ({"background": "colour", "colour": "green"}, "Unknown background 'green'"),
    ],
)
def test_a_mistake_is_told_in_one_sentence(change, sentence):
    given = {"picture": str(PICTURE), "voice": str(VOICE), **REST, **change}
    with pytest.raises(gr.Error) as told:
        film(**given, device="cpu")
    assert told.value.message.startswith(sentence) and "\n" not in told.value.message
    assert told.value.print_exception is False


def test_an_unknown_device_opens_no_page():
    with pytest.raises(ValueError, match="device 'tpu' is unknown"):
        launch(device="tpu")

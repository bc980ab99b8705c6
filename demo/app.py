"""The page: what one gives stands left, what one gets right; rare options are folded away.

Nothing is fetched from elsewhere and nothing is reported: system fonts, no analytics, no links out.
"""

import functools
import html
import re
import tempfile
from pathlib import Path

import gradio as gr
from gradio.themes import Base
from gradio.utils import get_upload_folder

from mien.emotion import CATEGORIES
from mien.front import ASSETS, animate
from mien.front import RATES as ALL_RATES
from mien.portrait.controls import Controls
from mien.tts.speech import SPEEDS
from mien.tts.voices import DEFAULT, VOICES

PICTURE, VOICE, LANDMARKS = ASSETS / "astronaut.jpg", ASSETS / "welcome.ogg", ASSETS / "astronaut.json"
TEXT = "Whatever you write, I say. [happy] And *how* I say it is up to you! [/happy]"
EXAMPLES = {
    "Calm": (str(VOICE), "", "neutral", 1.0), "Happy": (str(VOICE), "", "happy", 1.0),
    "Surprised": (str(VOICE), "", "surprised", 1.0), "Sad": (str(VOICE), "", "sad", 1.0),
    "A little angry": (str(VOICE), "", "angry", 0.5), "A text": (None, TEXT, "neutral", 1.0),
}  # fmt: skip
SPEAKERS = [(f"{voice.name.title()}, {voice.sex}, {voice.accent}, {voice.manner}", voice.name) for voice in VOICES]
GAZES = [("wanders", "human"), ("holds the camera", "camera")]
BACKGROUNDS = [("as it is", "keep"), ("blurred", "blur"), ("a colour", "colour"), ("none", "transparent")]
FRAMINGS = [("as the picture", "keep"), ("face", "face"), ("portrait", "portrait"), ("square", "square"), ("9:16", "9:16")]
RATES = [(f"{rate} a second", rate) for rate in ALL_RATES]
SIZES = [("as the picture", 0), ("256", 256), ("512", 512), ("768", 768), ("1024", 1024), ("1920", 1920)]
# The dials on the page, by their label; the command has them all.
DIALS = {
    "head": "Head motion", "mouth": "Mouth opening", "blink": "Blinks", "smile": "Smile", "brow": "Brows",
    "yaw": "Head turned", "gaze_x": "Eyes turned",
}  # fmt: skip
KEPT_S = 24 * 3600  # pictures, voices and films of the page are deleted after a day

THEME = Base(
    primary_hue="teal",
    neutral_hue="stone",
    radius_size="lg",
    font=["system-ui", "-apple-system", "Segoe UI", "sans-serif"],
    font_mono=["ui-monospace", "Menlo", "Consolas", "monospace"],
).set(
    body_background_fill="*neutral_50",
    body_background_fill_dark="*neutral_950",
    block_border_width="1px",
    block_label_background_fill="*background_fill_primary",
    block_label_background_fill_dark="*background_fill_primary",
    block_label_border_width="0px",
    block_label_text_color="*neutral_500",
    block_label_text_color_dark="*neutral_400",
    block_title_text_color="*neutral_500",
    block_title_text_color_dark="*neutral_400",
    button_primary_background_fill="*primary_700",
    button_primary_background_fill_hover="*primary_600",
    button_primary_background_fill_dark="*primary_700",
    button_primary_background_fill_hover_dark="*primary_600",
    button_primary_text_color="white",
)

CSS = """
.gradio-container { width: 100%; max-width: 1120px !important; margin: 0 auto !important; }
#head { padding: 20px 0 8px; }
#head h1 { font-size: 2.2rem; font-weight: 300; letter-spacing: 0.04em; line-height: 1.3; margin: 0; }
#head p { color: var(--body-text-color-subdued); margin: 0; }
#given > * { min-width: 240px; }
.chips input { position: absolute; opacity: 0; }
.chips label { padding: 6px 14px; border-radius: 999px; background: var(--button-secondary-background-fill); }
.chips label:has(:checked) { background: var(--primary-700); color: white; }
.chips label:focus-within { outline: 2px solid var(--primary-400); outline-offset: 2px; }
.chips label span { margin: 0; color: inherit; }
#facts { min-height: 1.6em; padding: 0 4px; }
#facts p { color: var(--body-text-color-subdued); font-variant-numeric: tabular-nums; }
"""


def film(
    picture: str | None,
    voice: str | None,
    text: str | None,
    speaker: str,
    speed: float,
    emotion: str,
    intensity: float,
    words: str | None,
    background: str,
    colour: str,
    crop: str,
    size: int,
    fps: int,
    gaze: str,
    seed: float | None,
    head: float,
    mouth: float,
    blink: float,
    smile: float,
    brow: float,
    yaw: float,
    gaze_x: float,
    *,
    device: str = "auto",
    progress: gr.Progress = gr.Progress(),  # noqa: B008 - this is where Gradio looks for it
) -> tuple[str, str, gr.DownloadButton]:
    """Make the film: the function behind the button.

    picture, voice: paths of files. text: what is said by `speaker` at `speed` where there is no voice, else what the voice
    says. words: an emotion in the user's own words; if any, they stand for `emotion`.
    colour: the background if that is "colour", as #rrggbb. size: longer side in pixels, 0 keeps the picture's. head and
    what follows: see `Controls`. The rest as in `mien.animate`.
    Returns the film's path for the player, a line of facts, and the button that hands the film out.
    Raises gr.Error with one sentence for what a user can mend.
    """
    try:
        if not picture:
            raise ValueError("There is no picture yet: give one that shows a face, or click an example.")
        text = (text or "").strip() or None
        if not voice and not text:
            raise ValueError("There is no voice yet: give a sound file, record one, write a text, or click an example.")
        said = {} if voice else {"voice": speaker, "speed": speed}
        progress(0.0, desc="Looking at the picture")
        shipped = Path(picture).read_bytes() == PICTURE.read_bytes()  # its landmarks lie beside it
        video = animate(
            picture, voice, (words or "").strip() or emotion, text=text, **said, intensity=intensity, gaze=gaze,
            seed=int(seed or 0),
            background=_hexadecimal(colour) if background == "colour" else background, crop=crop, size=size or None, fps=fps,
            controls=Controls(head=head, mouth=mouth, blink=blink, smile=smile, brow=brow, yaw=yaw, gaze_x=gaze_x),
            landmarks=LANDMARKS if shipped else None, device=device,
        )  # fmt: skip
        progress((0, len(video)), desc="Listening", unit="frames")

        def drawn(done: int, total: int) -> None:
            progress((done, total), desc="Drawing", unit="frames")

        path = video.save(_fresh_file("mien.webm" if background == "transparent" else "mien.mp4"), drawn)
    except (ValueError, OSError, ModuleNotFoundError) as error:
        message = html.escape(str(error), quote=False)  # the page reads it as HTML, and it may name a user's file
        raise gr.Error(message, duration=None, print_exception=False) from None
    facts = video.facts()
    width, height = facts["size"]
    seconds, spent = facts["duration_s"], facts["timings"]["total_s"]
    line = f"{seconds:.1f} s of film · {width} × {height} · made in {spent:.1f} s, {facts['rtf']:.2f} of real time"
    line = "\n\n".join([line, *facts["warnings"]])
    return str(path), line, gr.DownloadButton(value=str(path), interactive=True)


def _hexadecimal(colour: str) -> str:
    """A colour as the page's picker gives it, #rrggbb or rgba(…), as #rrggbb."""
    if not colour.startswith("rgb"):
        return colour
    return "#" + "".join(f"{round(float(part)):02x}" for part in re.findall(r"[\d.]+", colour)[:3])


def _fresh_file(name: str) -> Path:
    """A new place for a film in Gradio's cache, where the page may serve it and forgets it in time."""
    cache = Path(get_upload_folder())
    cache.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(dir=cache)) / name


def _dial(name: str) -> gr.Slider:
    dial = Controls.dial(name)
    return gr.Slider(dial.low, dial.high, value=dial.default, step=(dial.high - dial.low) / 40, label=DIALS[name])


def build(device: str = "auto") -> gr.Blocks:
    """The page, ready for `launch`. device: where networks run: auto, cpu, cuda or mps."""
    with gr.Blocks(title="mien", analytics_enabled=False, delete_cache=(3600, KEPT_S), fill_width=True) as page:
        gr.HTML("<h1>mien</h1><p>A picture, a voice, a feeling: a portrait that speaks.</p>", elem_id="head")
        with gr.Row(equal_height=False):
            with gr.Column(scale=5):
                with gr.Row(equal_height=True, elem_id="given"):
                    picture = gr.Image(
                        label="Picture", type="filepath", image_mode=None, sources=["upload", "webcam", "clipboard"],
                        height=282, buttons=[],
                    )  # fmt: skip
                    with gr.Column(min_width=240):
                        voice = gr.Audio(
                            label="Voice", type="filepath", sources=["upload", "microphone"], editable=False, buttons=[]
                        )
                        text = gr.Textbox(label="Or a text to say", lines=3, max_lines=8, placeholder=TEXT)
                emotion = gr.Radio(list(CATEGORIES), value="neutral", label="Emotion", elem_classes="chips")
                intensity = gr.Slider(0, 1.5, value=1.0, step=0.05, label="Intensity")
                with gr.Accordion("Speaker of a text", open=False):
                    speaker = gr.Dropdown(SPEAKERS, value=DEFAULT, label="Who says it")
                    speed = gr.Slider(*SPEEDS, value=1.0, step=0.05, label="Pace")
                with gr.Accordion("More", open=False):
                    words = gr.Textbox(
                        label="Emotion in your own words, instead of the choice above", max_lines=1,
                        placeholder="happy:0.6+surprised:0.4   or   0:calm 2.5:furious",
                    )  # fmt: skip
                    seed = gr.Number(0, precision=0, minimum=0, label="Seed")
                with gr.Accordion("Picture", open=False):
                    with gr.Row():
                        background = gr.Radio(BACKGROUNDS, value="keep", label="Background", elem_classes="chips")
                        colour = gr.ColorPicker("#00ff00", label="Its colour", visible=False)
                    crop = gr.Radio(FRAMINGS, value="keep", label="Crop", elem_classes="chips")
                    with gr.Row():
                        size = gr.Dropdown(SIZES, value=0, label="Longer side, pixels")
                        fps = gr.Dropdown(RATES, value=RATES[0][1], label="Frames")
                with gr.Accordion("Movement", open=False):
                    gaze = gr.Radio(GAZES, value="human", label="Gaze", elem_classes="chips")
                    with gr.Row(elem_id="dials"):
                        dials = [_dial(name) for name in DIALS]
                button = gr.Button("Make the film", variant="primary", size="lg")
                gr.Examples(
                    [[str(PICTURE), *given] for given in EXAMPLES.values()],
                    [picture, voice, text, emotion, intensity],
                    label="Try it: an astronaut says welcome",
                    example_labels=list(EXAMPLES),
                )
            with gr.Column(scale=5):
                player = gr.Video(label="Film", interactive=False, autoplay=True, height=440, buttons=[])
                facts = gr.Markdown(elem_id="facts")
                download = gr.DownloadButton("Download", interactive=False)
        background.change(
            lambda kind: gr.ColorPicker(visible=kind == "colour"), background, colour, api_visibility="private"
        )
        given = [picture, voice, text, speaker, speed, emotion, intensity, words]
        given += [background, colour, crop, size, fps, gaze, seed, *dials]
        # One of them leads: who writes a text means it, who gives a sound means that.
        text.input(None, None, voice, js="() => null", api_visibility="private")
        voice.input(None, None, text, js="() => ''", api_visibility="private")
        button.click(
            functools.partial(film, device=device),
            given,
            [player, facts, download],
            show_progress_on=player,
            api_name="film",
        )
    return page


def serve(host: str, port: int, device: str) -> None:
    """Listen until Ctrl-C; see `mien.demo.launch`."""
    from mien.layers.device import pick_device

    # An unknown or absent device is told before a page opens.
    pick_device(device)  # pyright: ignore[reportArgumentType]
    try:
        page = build(device)
        _, address, _ = page.launch(
            server_name=host, server_port=port, theme=THEME, css=CSS, footer_links=[], quiet=True,
            share=False, ssr_mode=False, show_error=True, prevent_thread_lock=True,
        )  # fmt: skip
    except OSError as error:
        raise OSError(f"{host}:{port} cannot be listened on, perhaps it is in use: try another --port.") from error
    print(f"mien listens at {address} until Ctrl-C", flush=True)
    page.block_thread()

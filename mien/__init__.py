"""mien: a picture, a voice, a feeling - a portrait that speaks.

    import mien
    mien.animate("face.jpg", "voice.wav", emotion="happy").save("out.mp4")
    mien.animate("face.jpg", text="Hello, and welcome!", voice="tom").save("hello.mp4")
    mien.speak("Hello, and welcome!", voice="tom").save("hello.wav")

Names are fetched when they are first asked for, so that importing mien stays light.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mien.emotion import Emotion
    from mien.front import Animator, Video, animate, speak
    from mien.portrait.controls import Controls
    from mien.tts.speech import Speech

__version__ = "0.1.0"
__all__ = ["Animator", "Controls", "Emotion", "Speech", "Video", "__version__", "animate", "speak"]

_HOME = {
    "animate": "mien.front", "Animator": "mien.front", "Video": "mien.front",
    "speak": "mien.front", "Speech": "mien.tts.speech",
    "Controls": "mien.portrait.controls", "Emotion": "mien.emotion",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"mien has no '{name}'; it has {', '.join(sorted(_HOME))}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)

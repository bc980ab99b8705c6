"""What two rooms or more share: blocks of models, and the ground they run on (device, torchaudio).

One key of letters for all shapes in mien:

    B  batch            D  width of a model      P  points of a face
    S  audio samples    N  heads of attention    H  height of a picture
    T  frames (25 Hz)   E  width of a head       W  width of a picture
    C  channels         Q  codebooks

A shape stands at the line where it changes, `z = self.encoder(audio)  # (B, D, T)`. Audio is float in [-1, 1]; pictures
are RGB uint8 (H, W, 3) outside models and float in [0, 1] inside them.
"""

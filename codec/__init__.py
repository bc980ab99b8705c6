"""Speech as 25 frames a second: what is said and how it is said, in few bits, and back.

`mien.codec.model` is the codec (encoders, quantisers, connector), `mien.codec.vocoder` makes the sound,
`mien.codec.bitstream` and `mien.codec.packets` count every bit of files and of live speech, `mien.codec.stream` runs live,
`mien.codec.evaluation` judges. `mien.codec.front` is the speech front of the portrait, whose trunk the codec's semantic
encoder began as. From the shell: `mien codec --help`.
"""

"""Speech as 25 frames a second: what is said, and later how it is said, in few bits.

So far the room holds the codec's first stage, a small causal phone recogniser: `mien.codec.front` (the model and what
it gives), `mien.codec.phones` (the phone set, decoding and alignment) and `mien.codec.mel` (the log-mel it hears).
"""

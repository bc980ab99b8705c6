"""Portraits that move: tracking faces, the space their motion lives in, the DiT that moves them, and the renderer.

`tracking` finds faces as 478 points; `motion` turns them into about fifty numbers a frame and back; `animator` and
`sampling` make those numbers from speech and feeling; `guarantees` enforces what must not fail; `warp` draws.
"""

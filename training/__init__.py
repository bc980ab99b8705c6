"""Data preparation and training of every model: `python -m mien.training --help`.

`prepare` turns films into tracks, `motion_space` fits the motion space, `animator` and `front` train networks on the one
loop in `loop`. Nothing outside this room imports it. LEDGER.md tells what was trained, with which result, and what is next.
"""

"""Videos: what a file holds, which moments are looked at, and the frames themselves.

`probing.probe` reads the header, `sampling.sample` and `sampling.frames_at` return frames with
their times, `plan` holds the rule by which moments are chosen. PyAV is imported by the modules
that decode, never by `plan`, `limits` and `info`.
"""

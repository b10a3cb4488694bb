"""From images on disk to batches of tasks: `sources` -> `images` -> `stream` -> `task`.

Between them, `transforms` says what is done to an image, and `cache` keeps what needs doing only once.
"""

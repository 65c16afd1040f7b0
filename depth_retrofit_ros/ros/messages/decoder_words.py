"""What libjpeg and libpng say of a file while OpenCV decodes it, which they say to stderr and to nobody else.

Left there, a camera with a loose plug floods the node's log at its own rate. Taken from there, the words tell a picture that was
decoded from one that was guessed: where JPEG data is damaged in the middle, OpenCV paints something and calls it a success.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_STDERR = 2
_LOCK = threading.Lock()  # one redirection at a time
_WORDS = re.compile(
    rb"^(?:libpng (?:error|warning): |Corrupt JPEG data: |Premature end of JPEG|Inconsistent progression |Invalid SOS parameters|"
    rb"Unknown Adobe color|Warning: unknown JFIF|\[ ?(?:WARN|ERROR):\S+ global grfmt_).*\n?",
    re.MULTILINE,
)
_DAMAGE = re.compile(r"Corrupt JPEG data|Premature end of JPEG|Inconsistent progression|Invalid SOS")
_PADDING = re.compile(r"Corrupt JPEG data: (\d+) extraneous bytes before marker 0xd9")
_MOST_PADDING = 64  # bytes that some webcams put before the end mark; what is left over of damaged data is more


@contextmanager
def decoder_words() -> Iterator[list[str]]:
    """The lines that the decoders wrote inside the block, filled in at its end; what others wrote meanwhile is passed on to stderr.

    File descriptor 2 belongs to the whole process, so a line that another thread logs during these milliseconds comes after them.
    """
    said: list[str] = []
    with _LOCK:
        stderr, caught = os.dup(_STDERR), os.memfd_create("decoder words")
        try:
            os.dup2(caught, _STDERR)
            yield said
        finally:
            os.dup2(stderr, _STDERR)
            text = os.pread(caught, os.fstat(caught).st_size, 0)
            said += [line.decode(errors="replace").strip() for line in _WORDS.findall(text)]
            if others := _WORDS.sub(b"", text):
                os.write(stderr, others)
            os.close(caught)
            os.close(stderr)


def damage(said: list[str]) -> str | None:
    """The first line that means that pixels were guessed; None where there is none."""
    for line in said:
        padding = _PADDING.match(line)
        if _DAMAGE.match(line) and not (padding and int(padding[1]) <= _MOST_PADDING):
            return line
    return None

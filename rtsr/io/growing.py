"""A FLAC file that grows while its sound comes in, and has its name once it is whole."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import soundfile

from ..dsp.windows import FloatArray
from ..errors import InvalidAudio

WIDTH = "PCM_16"
TAGS = ("title", "artist", "date", "comment", "software")


class GrowingFlac:
    """One file, used by one thread at a time. FLAC has no limit of 4 GiB that a length unknown at first could exceed.

    It is written to a new file with a random name beside its own, which only its owner may read. No folder is made, no
    link followed, and nothing replaced. Every method raises `InvalidAudio` where the system refuses; then `abandon` has
    to be called. What was written until then stays, as FILE.RANDOM.part.
    """

    def __init__(self, path: Path, rate: int, channels: int, tags: Mapping[str, str]) -> None:
        self.path, self.part = path, path.with_name(f"{path.name}.{secrets.token_hex(8)}.part")
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            self._descriptor = os.open(self.part, flags, 0o600)
        except OSError as error:
            raise InvalidAudio(f"{path}: cannot be written ({error.strerror})") from error
        try:
            self._file = soundfile.SoundFile(self._descriptor, "w", rate, channels, WIDTH, format="FLAC", closefd=False)
            for name in TAGS:
                if tags.get(name):  # there is no empty one
                    setattr(self._file, name, tags[name])
        except BaseException:
            os.close(self._descriptor)
            self.part.unlink()
            raise

    @property
    def size(self) -> int:
        """Bytes of the file so far."""
        return os.fstat(self._descriptor).st_size

    def write(self, block: FloatArray) -> None:
        """Append a block (samples, channels); what exceeds 1 is clipped."""
        try:
            self._file.write(block)
        except (soundfile.LibsndfileError, OSError) as error:
            raise InvalidAudio(f"{self.path}: cannot be written (is the disk full?): {error}") from error

    def finish(self) -> int:
        """Write the rest, close the file, give it its name, and return how many bytes it has."""
        try:
            self._file.close()
            if os.path.lexists(self.path):
                raise InvalidAudio(f"{self.path}: cannot be written (it exists)")
            self.part.rename(self.path)
        except (soundfile.LibsndfileError, OSError) as error:
            raise InvalidAudio(f"{self.path}: cannot be finished ({error})") from error
        size = self.size
        os.close(self._descriptor)
        return size

    def abandon(self) -> None:
        """Close the file as it is; raises nothing."""
        with suppress(soundfile.LibsndfileError, OSError):  # it has failed already, and its caller knows
            self._file.close()
        os.close(self._descriptor)

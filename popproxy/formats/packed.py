"""Opens files that may be packed, by gzip or zstd, as logs are that have been set aside."""

from __future__ import annotations

import gzip
import io
import zlib
from pathlib import Path
from typing import IO, Any, Final, cast

import zstandard

_GZIP: Final = b"\x1f\x8b"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_PIECE: Final = 64 * 1024
_FED: Final = 256  # octets of zstd at a time: made to, each four of them unpack to 128 KiB


def is_packed(start: bytes) -> bool:
    """Tell whether a file is packed.

    Args:
        start: Its first octets; four will do.
    """
    return start.startswith((_GZIP, _ZSTD))


class _Frames:
    """What zstd packed; several packed files, one behind the other, are one, as `zstd -d` has it.

    The library's own reader takes a file that was cut for a whole one, hence this.
    """

    def __init__(self, packed: IO[bytes]) -> None:
        self._packed = packed
        self._frame: zstandard.ZstdDecompressionObj | None = None
        self._fed = b""
        self._octets = memoryview(b"")

    def read(self, size: int) -> bytes:
        """Give some octets, none at the end.

        Raises:
            EOFError: The file was cut.
            zstandard.ZstdError: It is damaged.
        """
        while not self._octets:
            self._fed = self._fed or self._packed.read(_FED)
            if not self._fed:
                if self._frame is not None:
                    raise EOFError("it ends within what was packed")
                return b""
            self._frame = self._frame or zstandard.ZstdDecompressor().decompressobj()
            self._octets = memoryview(self._frame.decompress(self._fed))
            self._fed = b""
            if self._frame.eof:
                self._fed, self._frame = self._frame.unused_data, None
        octets, self._octets = self._octets[:size], self._octets[size:]
        return bytes(octets)


class _Unpacked(io.RawIOBase):
    """What a packed file holds; damage is an error of the file like any other."""

    def __init__(self, packed: IO[bytes], start: bytes) -> None:
        self._packed = packed
        self._reader: gzip.GzipFile | _Frames
        if start.startswith(_GZIP):
            self._reader = gzip.GzipFile(fileobj=packed)
        else:
            self._reader = _Frames(packed)

    def readable(self) -> bool:
        """See `io.RawIOBase`."""
        return True

    def readinto(self, into: Any) -> int:
        """See `io.RawIOBase`.

        Raises:
            OSError: The file is damaged.
        """
        try:
            octets = self._reader.read(len(into))
        except (EOFError, zlib.error, zstandard.ZstdError) as error:
            raise OSError(f"it is damaged ({error})") from None
        into[: len(octets)] = octets
        return len(octets)

    def close(self) -> None:
        """Close the file, too."""
        super().close()
        self._packed.close()


def unpacked(file: IO[bytes], start: bytes) -> IO[bytes]:
    """Give what a packed file holds, in little memory; it can be read once, forwards.

    Args:
        file: The file, at its beginning; it is closed with what is returned.
        start: Its first octets.
    """
    return cast("IO[bytes]", io.BufferedReader(_Unpacked(file, start), _PIECE))


def open_packed(path: str) -> IO[bytes]:
    """Open a file, packed or not, for reading what it holds.

    Raises:
        OSError: It cannot be opened.
    """
    file = Path(path).open("rb")  # noqa: SIM115 -- the caller closes it
    start = file.peek(4)[:4]
    return unpacked(file, start) if is_packed(start) else file

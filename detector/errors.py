"""The errors this package raises, one tree:

    DetectorError
    ├── MediaError    the file cannot be read as a picture or a clip, or is beyond a stated limit
    ├── WeightsError  weights are missing, damaged, or of another shape than the network
    ├── DataError     a training data set does not have the layout that was named
    ├── ScanError     a scan of many files cannot begin or go on
    └── DeviceError   the device asked for is not there

Every message is one plain sentence that can be shown to a user as it is.
"""

from __future__ import annotations


class DetectorError(Exception):
    """Base of everything raised on purpose by this package. Its message is valid Unicode, whatever
    the file's name.
    """

    def __init__(self, message: str = "") -> None:
        super().__init__(text_of(message))


def text_of(name: str) -> str:
    """A name or a sentence as valid Unicode: bytes of another encoding are written as \\xe9."""
    if name.isascii():
        return name
    try:
        return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # a lone surrogate that no byte was decoded to
        return name.encode("utf-8", "backslashreplace").decode("utf-8")


class MediaError(DetectorError):
    """The file cannot be read as a picture or a clip, or is beyond a stated limit."""


class WeightsError(DetectorError):
    """Weights are missing, damaged, or do not fit the network."""


class DataError(DetectorError):
    """A training data set does not have the layout that was named."""


class ScanError(DetectorError):
    """A scan of many files cannot begin or go on."""


class DeviceError(DetectorError):
    """The device asked for is not available."""

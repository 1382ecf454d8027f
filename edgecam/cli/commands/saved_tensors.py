"""Named arrays of an .npz file, as a person saved them; faults in one line."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecam.core.errors import EdgecamError

Array = NDArray[Any]

_MADE_WITH = "give a file that numpy.savez has written"


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """Open the file for ``array``.

    Raises:
        EdgecamError: it cannot be read, or is no .npz; also where that shows only within.
    """
    try:
        file = np.load(path)
        if not isinstance(file, np.lib.npyio.NpzFile):
            raise EdgecamError(f"{path}: expected an .npz of named arrays, found one array")
        with file:
            yield file
    except OSError as error:
        raise EdgecamError(f"{path}: {error.strerror or error}; {_MADE_WITH}") from None
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        # NumPy takes whatever is no array for pickled data, and says how to load that.
        found = "something else" if "pickled" in str(error) else str(error)
        raise EdgecamError(
            f"{path}: expected an .npz of named arrays, found {found}; {_MADE_WITH}"
        ) from None


def array(path: Path, file: Any, key: str) -> Array:
    """Return the array of that name, without a batch of one.

    Raises:
        EdgecamError: there is none.
    """
    if key not in file:
        raise EdgecamError(f"{path}: {key} is missing; found {', '.join(file.files) or 'nothing'}")
    values: Array = file[key]
    # A batch of one, as an interpreter returns it, is fine too.
    return values[0] if values.ndim == 4 and values.shape[0] == 1 else values

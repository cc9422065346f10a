"""Fashion-MNIST from Keras's cache folder, filled from its address with checksums and a deadline."""

import http.client
import os
import secrets
import tempfile
import time
from pathlib import Path

from fmnist_mlp.data.idx import CHUNK_BYTES, FILES, read_idx, reason_of
from fmnist_mlp.errors import SweepError

# Where Keras 3.15 takes it from: keras/src/datasets/fashion_mnist.py.
FASHION_MNIST_URL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"

CONNECT_SECONDS = 10.0  # without an answer, or without the next bytes

DOWNLOAD_SECONDS = 300.0  # for one file (26 MB at most) in all

CACHE_SUBFOLDER = Path("datasets", "fashion-mnist")


class DownloadError(Exception):
    """Fashion-MNIST could not be brought into the cache; the message is a clause of a sentence."""


def keras_cache_filled(notify):
    """The folder of Keras's cache with all four files, downloading those that are missing; or DownloadError."""
    folders = [base / CACHE_SUBFOLDER for base in keras_bases()]
    for folder in folders:
        if all(_is_cached(folder, file) for file in FILES):
            return folder
    reason = None
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            # Root may write anywhere but on a read-only file system, so try and see.
            tempfile.TemporaryFile(dir=folder).close()
        except (OSError, ValueError) as error:
            reason = reason or f"{folder} cannot be written ({reason_of(error)})"
            continue
        missing = [file for file in FILES if not _is_cached(folder, file)]
        if notify:
            size = sum(file.gz_bytes for file in missing) / 1e6
            notify(f"Downloading Fashion-MNIST ({size:.0f} MB) from {FASHION_MNIST_URL} to {folder}")
        # The small ones first: where there is no network, or the wrong one, that shows at once.
        for file in sorted(missing, key=lambda file: file.gz_bytes):
            _download(file, folder)
        return folder
    raise DownloadError(reason)


def keras_bases():
    """The folders that Keras 3.15 keeps its cache in, absolute; the second serves where the first cannot be written.

    As in keras/src/backend/config.py (KERAS_HOME, ~/.keras, /tmp/.keras) and utils/file_utils.py, get_file.
    """
    spare = Path("/tmp" if Path("/tmp").is_dir() else tempfile.gettempdir(), ".keras").resolve()
    try:
        base = Path(os.environ.get("KERAS_HOME") or Path("~", ".keras")).expanduser().resolve()
    except (OSError, RuntimeError, ValueError):
        return [spare]
    return [base] if base == spare else [base, spare]


def _is_cached(folder, file):
    """Whether the cache has this file whole. By size, which a download broken off betrays; only then by content."""
    path = folder / file.gz_name
    try:
        if path.stat().st_size == file.gz_bytes:
            return True
        return read_idx(path, file, "")[1] == file.sha256  # packed anew by somebody
    except (OSError, SweepError):
        return False


def _download(file, folder):
    """Brings one file into `folder`, whole and checked, or leaves nothing; one attempt. Raises DownloadError."""
    # Imported late: takes longer than the rest of this module, and hardly any run downloads.
    import urllib.error
    import urllib.request

    url = FASHION_MNIST_URL + file.gz_name
    part = folder / f".{file.gz_name}.{secrets.token_hex(8)}.part"
    deadline = time.monotonic() + DOWNLOAD_SECONDS
    try:
        with urllib.request.urlopen(url, timeout=CONNECT_SECONDS) as answer, part.open("xb") as out:
            # One byte more than there should be, to notice a body without end.
            while out.tell() <= file.gz_bytes and (chunk := answer.read1(CHUNK_BYTES)):
                out.write(chunk)
                if time.monotonic() > deadline:
                    raise TimeoutError(f"not finished after {DOWNLOAD_SECONDS:g} seconds")
            size = out.tell()
            out.flush()
            os.fsync(out.fileno())
        if size < file.gz_bytes:
            raise DownloadError(f"{url} broke off after {size:,} of {file.gz_bytes:,} bytes")
        _check_download(part, file, url)
        part.replace(folder / file.gz_name)
    except urllib.error.HTTPError as error:
        error.close()
        raise DownloadError(f"{url} answered {error.code} {reason_of(error.reason)}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        # URLError, an OSError, wraps what really happened.
        raise DownloadError(f"{url} could not be downloaded ({reason_of(getattr(error, 'reason', error))})") from error
    finally:
        part.unlink(missing_ok=True)


def _check_download(part, file, url):
    try:
        digest = read_idx(part, file, "")[1]
    except SweepError:
        digest = None
    if digest != file.sha256:
        raise DownloadError(f"{url} gave something else than Fashion-MNIST (its SHA-256 is wrong)")

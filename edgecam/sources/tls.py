"""Trust in an https:// or rtsps:// camera, as the settings say."""

from __future__ import annotations

import ssl
from functools import cache

from edgecam.core.errors import SettingsError
from edgecam.settings.schema import SourceSettings


def camera_context(settings: SourceSettings, *, checks_by_default: bool = True) -> ssl.SSLContext:
    """The TLS context of a camera.

    Without ``checks_by_default`` a certificate counts for nothing unless a CA is named: most
    cameras sign their own.

    Raises:
        SettingsError: ``source.tls_ca_file`` cannot be read.
    """
    verify = settings.tls_verify and (checks_by_default or settings.tls_ca_file is not None)
    return _context(settings.tls_ca_file, verify)


@cache
def _context(ca_file: str | None, verify: bool) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise SettingsError(
            f"source.tls_ca_file: expected a file of PEM certificates, found {ca_file!r}: "
            f"{error.strerror or error}; name the camera's certificate, or its CA's"
        ) from None
    if not verify:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    elif ca_file is not None:
        # A camera's own certificate is none of a CA.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def distrust(error: Exception) -> str | None:
    """What to do about a certificate that is refused, None for any other fault."""
    if not isinstance(error, ssl.SSLCertVerificationError):
        return None
    if "mismatch" in str(error) or "not valid for" in str(error):
        return "use in source.url the name that is in its certificate, or source.tls_verify = false"
    if "expired" in str(error) or "not yet valid" in str(error):
        return "renew its certificate or set this clock right, or source.tls_verify = false"
    return "name its certificate, or its CA's, in source.tls_ca_file, or source.tls_verify = false"

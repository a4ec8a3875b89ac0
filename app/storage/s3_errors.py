"""What an S3-compatible server may answer, and what we make of it: storage sheet, section 2, one table.

Trouble that the operator must mend is Retryable with the setting's name: work goes on once it is mended.
"""

from __future__ import annotations

from collections.abc import Callable

from botocore.exceptions import BotoCoreError, ClientError

from app.errors import HouseError, NotFound, Permanent, Refused, Retryable, WrongState
from app.storage.shapes import FILE_GONE, UPLOAD_GONE

OPERATOR_WAIT_S = 60.0


def _operator(sentence: str) -> Callable[[], HouseError]:
    return lambda: Retryable(sentence, code="storage_setup", after_s=OPERATOR_WAIT_S)


def _away(sentence: str) -> Callable[[], HouseError]:
    return lambda: Retryable(sentence, code="storage_away")


def _restart(sentence: str) -> Callable[[], HouseError]:
    return lambda: Permanent(f"{sentence} Start the upload again.", code="upload_broken")


_KEYS = _operator("The storage does not accept AWS_ACCESS_KEY_ID: check it and AWS_SECRET_ACCESS_KEY.")
_CLOCK = _operator("The clock of this machine and the storage's differ too much: set this machine's clock.")
_CHECKSUMS = _operator("The storage does not know something we sent: try S3_CHECKSUMS=when_required.")


def _gone() -> HouseError:
    return NotFound(FILE_GONE, code="file_gone")


def _no_upload() -> HouseError:
    return NotFound(UPLOAD_GONE, code="upload_gone")


ANSWERS: dict[str, Callable[[], HouseError]] = {
    "SlowDown": _away("The storage asked us to slow down."),
    "ServiceUnavailable": _away("The storage is not available."),
    "RequestTimeout": _away("The storage did not get our bytes in time."),
    "InternalError": _away("The storage had an internal error."),
    "AccessDenied": _operator(
        "The storage refuses access: check the rights of AWS_ACCESS_KEY_ID on STORAGE_BUCKET."
    ),
    "InvalidAccessKeyId": _KEYS,
    "SignatureDoesNotMatch": _operator(
        "The storage does not accept our signature: check AWS_SECRET_ACCESS_KEY, S3_ENDPOINT_URL, AWS_REGION"
        " and the clock."
    ),
    "InvalidToken": _KEYS,
    "AuthorizationHeaderMalformed": _operator("The storage is in another region: check AWS_REGION."),
    "PermanentRedirect": _operator("The bucket lives elsewhere: check AWS_REGION and S3_ENDPOINT_URL."),
    "RequestTimeTooSkewed": _CLOCK,
    "NoSuchBucket": lambda: Permanent("There is no bucket named as in STORAGE_BUCKET.", code="no_bucket"),
    "NoSuchKey": _gone,
    "404": _gone,
    "NoSuchUpload": _no_upload,
    "EntityTooLarge": lambda: Refused("The storage takes no file as large.", code="too_large", status=413),
    "InvalidPart": _restart("The storage lost a part of the upload."),
    "InvalidPartOrder": _restart("The storage mixed up the parts of the upload."),
    "EntityTooSmall": _restart("The storage found a part of the upload too small."),
    "PreconditionFailed": lambda: WrongState(
        "There is already a file under this key; files are never overwritten.", code="key_exists"
    ),
    "ConditionalRequestConflict": _away("Two writes to one key met."),
    "InvalidRange": lambda: Refused("The file has no such bytes.", code="no_such_bytes", status=416),
    "NotImplemented": lambda: Retryable(
        "The storage does not know something we sent: try S3_CHECKSUMS=when_required.",
        code="not_implemented",
        after_s=OPERATOR_WAIT_S,
    ),
    "InvalidArgument": _CHECKSUMS,
    "InvalidRequest": _CHECKSUMS,
    "XAmzContentSHA256Mismatch": _CHECKSUMS,
    "BadDigest": _away("Bytes were damaged on their way to the storage."),
}
# HEAD answers have no body, so only the status is known.
STATUSES: dict[int, Callable[[], HouseError]] = {
    403: ANSWERS["AccessDenied"],
    404: _gone,
    412: ANSWERS["PreconditionFailed"],
    416: ANSWERS["InvalidRange"],
    501: ANSWERS["NotImplemented"],
    507: _operator("The storage is full: make room in it."),
}


def house_error(error: ClientError | BotoCoreError) -> HouseError:
    """The house's kind for an error of the S3 client."""
    if isinstance(error, BotoCoreError):
        return Retryable(
            "The storage cannot be reached: check S3_ENDPOINT_URL and the network.", code="storage_away"
        )
    code = error.response.get("Error", {}).get("Code", "")
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if known := ANSWERS.get(code) or STATUSES.get(status):
        return known()
    if status >= 500 or status in (0, 200, 408, 429):
        return Retryable(f"The storage answered {code or status}.", code="storage_away")
    return Permanent(f"The storage refuses this: {code or status}.", code="storage_refuses")

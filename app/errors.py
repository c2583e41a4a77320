"""The service's errors and their one mapping to RFC 9457 problem+json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


class AppError(Exception):
    """Base of every error a client can see. `code` is stable: it is the last part of the problem's `type`."""

    status = 500
    code = "internal_error"
    title = "Something went wrong on our side"

    def __init__(
        self,
        detail: str = "",
        *,
        errors: Sequence[Mapping[str, str]] = (),
        headers: Mapping[str, str] | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(detail or self.title)
        self.detail = detail or self.title
        self.errors = list(errors)  #: each {"pointer": JSON Pointer, "detail": what to change}
        self.headers = dict(headers or {})
        if code is not None:
            self.code = code


class InvalidRequest(AppError):
    """The body or a parameter does not fit the schema."""

    status, code, title = 422, "invalid_request", "The request does not fit the schema"


class Unauthorised(AppError):
    """No key, or one that is unknown, expired or revoked."""

    status, code, title = 401, "unauthorised", "A valid API key is needed"


class Forbidden(AppError):
    """The key lacks a scope."""

    status, code, title = 403, "forbidden", "The key may not do this"


class NotFound(AppError):
    """Nothing here has this id, or the caller may not see it."""

    status, code, title = 404, "not_found", "Not found"


class Conflict(AppError):
    """The resource's state forbids it."""

    status, code, title = 409, "conflict", "Not possible in the present state"


class IdempotencyInFlight(Conflict):
    """The same Idempotency-Key is still being answered."""

    code, title = "idempotency_in_flight", "A request with this Idempotency-Key is still running"


class IdempotencyMismatch(AppError):
    """The Idempotency-Key was used with another body."""

    status, code, title = 422, "idempotency_mismatch", "This Idempotency-Key was used for another request"


class PreconditionFailed(AppError):
    """If-Match does not match."""

    status, code, title = 412, "precondition_failed", "The resource has changed"


class TooLarge(AppError):
    """A body, file or table is over its limit."""

    status, code, title = 413, "too_large", "Too large"


class UploadCut(AppError):
    """A body came too slowly, or not to its end."""

    status, code, title = 408, "upload_cut", "The upload was cut"


class UnreadableTable(AppError):
    """An upload can't be read as a table."""

    status, code, title = 422, "unreadable_table", "The file can't be read as a table"


class QuotaExceeded(AppError):
    """The project has used what it may."""

    status, code, title = 429, "quota_exceeded", "The project's quota is used up"


class Unavailable(AppError):
    """The database, the predictor or the storage is away for now."""

    status, code, title = 503, "unavailable", "Not available right now"


class StorageFull(AppError):
    """No room left for an upload."""

    status, code, title = 507, "storage_full", "No storage left"


class BundleGone(AppError):
    """Nothing lies under the blob key any more: a newer version has replaced it, or the model was deleted."""

    status, code, title = 410, "bundle_gone", "The bundle was replaced or deleted"


class BundleDamaged(AppError):
    """The stored bundle can't be used."""

    status, code, title = 500, "bundle_damaged", "The stored model is damaged"

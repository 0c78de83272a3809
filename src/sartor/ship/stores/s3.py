"""A bucket of S3, or of whatever speaks its protocol: `s3://bucket/prefix`.

Who asks is for boto3 to find out, as every tool of AWS does: AWS_ACCESS_KEY_ID and
AWS_SECRET_ACCESS_KEY, or the role of the machine. AWS_ENDPOINT_URL names another server.
"""

import re
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import boto3
from boto3.exceptions import S3UploadFailedError
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
)

from sartor.core.errors import SettingError, TransferError
from sartor.ship.stores import AGAIN, STORES, Item
from sartor.ship.stores._listing import MOST_BYTES, NAME, blob, read_listing, write_listing

_ADDRESS = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])/([^\s?#]*[^\s?#/])/?")
_PIECE = 1 << 20
_HASH = "sha256"
"""Under which an object's metadata hold what was sent; whoever else writes the object drops it."""
_GONE = frozenset({"404", "NoSuchKey", "NotFound"})
_REFUSED = frozenset(
    {"401", "403", "AccessDenied", "ExpiredToken", "InvalidAccessKeyId", "SignatureDoesNotMatch"}
)


@STORES.add
class Bucket:
    """
    Args:
        address: `s3://bucket/prefix`.

    Raises:
        SettingError: If it is not of that form.
    """

    def __init__(self, address: str) -> None:
        found = _ADDRESS.fullmatch(address)
        if found is None or ".." in address.split("/"):
            raise SettingError(
                f"{address!r} is no bucket and prefix.", fix="write s3://bucket/prefix."
            )
        self.address, (self.bucket, self.prefix) = address.rstrip("/"), found.groups()

    def send(self, item: Item, path: Path) -> bool:
        key = self._key(blob(item))
        with self._asked(f"send {item.name}"):
            if self._is_there(key, item):
                return False
            # In parts where it is large; an object is seen when it is whole.
            told = {"Metadata": {_HASH: item.sha256}}
            self._client.upload_file(str(path), self.bucket, key, ExtraArgs=told)
        return True

    def publish(self, items: Sequence[Item]) -> str:
        with self._asked("publish the bundle"):
            self._client.put_object(
                Bucket=self.bucket,
                Key=self._key(NAME),
                Body=write_listing(items),
                ContentType="application/json",
            )
        return self.address

    def listed(self) -> list[Item]:
        with self._asked("read its list", missing=f"{self.address} holds no pushed bundle."):
            found = self._client.get_object(Bucket=self.bucket, Key=self._key(NAME))
            with closing(found["Body"]) as body:
                data = body.read(MOST_BYTES + 1)
        return read_listing(data, f"{self.address}/{NAME}")

    def fetch(self, item: Item) -> Iterator[bytes]:
        gone = f"{self.address} lists {item.name}, and it is gone."
        with self._asked(f"fetch {item.name}", missing=gone):
            found = self._client.get_object(Bucket=self.bucket, Key=self._key(blob(item)))
            with closing(found["Body"]) as body:
                yield from body.iter_chunks(_PIECE)

    def close(self) -> None:
        if "_client" in vars(self):  # it may be that none could be made
            self._client.close()

    @cached_property
    def _client(self) -> Any:
        config = Config(connect_timeout=10, read_timeout=60, retries={"mode": "standard"})
        try:
            # Not the default session, which keeps the account that it found first.
            return boto3.Session().client("s3", config=config)
        except ProfileNotFound:
            raise TransferError(
                f"{self.address}: AWS_PROFILE names a profile that is not configured here.",
                fix="set it to one that `aws configure list-profiles` lists, or unset it.",
            ) from None
        except ValueError:
            raise TransferError(
                f"{self.address}: AWS_ENDPOINT_URL or AWS_REGION cannot be used.",
                fix="write the URL with its scheme, e.g. https://minio.example:9000.",
            ) from None

    def _key(self, name: str) -> str:
        return f"{self.prefix}/{name}"

    def _is_there(self, key: str, item: Item) -> bool:
        """Whether an object was sent as this content: its size alone would do for a damaged one."""
        try:
            found = self._client.head_object(Bucket=self.bucket, Key=key)
        except ClientError as error:
            if _code(error) in _GONE:
                return False
            raise
        same = found["Metadata"].get(_HASH) == item.sha256
        return same and found["ContentLength"] == item.bytes

    @contextmanager
    def _asked(self, what: str, missing: str = "") -> Generator[None]:
        """Errors of boto3 in words; what the server says of keys and requests is not repeated."""
        try:
            yield
        except (NoCredentialsError, PartialCredentialsError):
            raise TransferError(
                f"{self.address}: nothing says who asks.",
                fix="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.",
            ) from None
        except ClientError as error:
            raise self._refusal(_code(error), what, missing) from None
        except S3UploadFailedError as error:
            cause = error.__context__
            code = _code(cause) if isinstance(cause, ClientError) else "upload failed"
            raise self._refusal(code, what, missing) from None
        except BotoCoreError as error:
            raise TransferError(
                f"{self.address} cannot be reached to {what}: {type(error).__name__}.",
                fix=f"check the network, AWS_ENDPOINT_URL and AWS_REGION; then {AGAIN}",
            ) from None

    def _refusal(self, code: str, what: str, missing: str) -> TransferError:
        if code == "NoSuchBucket":
            return TransferError(
                f"There is no bucket {self.bucket!r}.", fix="check the address, or make the bucket."
            )
        if code in _REFUSED:
            return TransferError(
                f"{self.address} refuses to {what} ({code}).",
                fix="check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN and the"
                " bucket's policy.",
            )
        if code in _GONE and missing:
            return TransferError(missing, fix="check the address, or push the bundle again.")
        return TransferError(f"{self.address} could not {what} ({code}).", fix=AGAIN)


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", "unknown"))[:60]

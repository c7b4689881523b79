"""The obvious build: aioboto3, a queue and workers, AsyncLimiter at the quota, a tenacity decorator, a log per image.

python benchmarks/peers/obvious.py SOURCE_BUCKET TARGET_BUCKET LABEL CONFIDENCE --tps 50 --workers 100
"""

from __future__ import annotations

import argparse
import asyncio
import logging
from typing import Any

import aioboto3
from aiobotocore.config import AioConfig
from aiolimiter import AsyncLimiter
from botocore.exceptions import ClientError
from tenacity import retry, retry_if_exception, stop_after_attempt, wait_random_exponential

log = logging.getLogger("filter")

THROTTLES = {"ProvisionedThroughputExceededException", "ThrottlingException"}


def is_throttle(error: BaseException) -> bool:
    """Whether the call should be repeated."""
    return isinstance(error, ClientError) and error.response["Error"]["Code"] in THROTTLES


class ImageFilter:
    """Lists, examines and copies."""

    def __init__(self, options: argparse.Namespace, s3: Any, rekognition: Any) -> None:
        self.options = options
        self.s3 = s3
        self.rekognition = rekognition
        self.limiter = AsyncLimiter(options.tps, 1)
        self.queue: asyncio.Queue[str | None] = asyncio.Queue(maxsize=2 * options.workers)

    @retry(
        retry=retry_if_exception(is_throttle),
        wait=wait_random_exponential(max=20),
        stop=stop_after_attempt(8),
        reraise=True,
    )
    async def detect(self, key: str) -> Any:
        async with self.limiter:
            image = {"S3Object": {"Bucket": self.options.source, "Name": key}}
            return await self.rekognition.detect_labels(Image=image)

    async def examine(self, key: str) -> None:
        options = self.options
        response = await self.detect(key)
        is_wanted = any(
            label["Name"] == options.label and label["Confidence"] >= options.confidence for label in response["Labels"]
        )
        if is_wanted:
            copy_source = {"Bucket": options.source, "Key": key}
            await self.s3.copy_object(Bucket=options.target, Key=key, CopySource=copy_source)
        log.info("%s: %s", key, "copied" if is_wanted else "rejected")

    async def list_keys(self) -> None:
        async for page in self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.options.source):
            for item in page.get("Contents", []):
                await self.queue.put(item["Key"])
        for _ in range(self.options.workers):
            await self.queue.put(None)

    async def work(self) -> None:
        while (key := await self.queue.get()) is not None:
            try:
                await self.examine(key)
            except ClientError as error:
                log.error("%s: %s", key, error)  # noqa: TRY400  as its users write it


async def main() -> None:
    """Filter one bucket."""
    parser = argparse.ArgumentParser()
    parser.add_argument("source")
    parser.add_argument("target")
    parser.add_argument("label")
    parser.add_argument("confidence", type=float)
    parser.add_argument("--tps", type=float, default=50)
    parser.add_argument("--workers", type=int, default=100)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    config = AioConfig(max_pool_connections=options.workers)
    session = aioboto3.Session()
    async with (
        session.client("s3", config=config) as s3,
        session.client("rekognition", config=config) as rekognition,
        asyncio.TaskGroup() as tasks,
    ):
        images = ImageFilter(options, s3, rekognition)
        tasks.create_task(images.list_keys())
        for _ in range(options.workers):
            tasks.create_task(images.work())


if __name__ == "__main__":
    asyncio.run(main())

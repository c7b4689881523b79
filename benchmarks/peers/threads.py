"""The usual next step when one by one is too slow: boto3 with a hundred threads.

python benchmarks/peers/threads.py SOURCE_BUCKET TARGET_BUCKET LABEL CONFIDENCE
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

THREADS = 100

config = Config(max_pool_connections=THREADS)
s3 = boto3.client("s3", config=config)
rekognition = boto3.client("rekognition", config=config)
source, target, wanted, confidence = sys.argv[1], sys.argv[2], sys.argv[3], float(sys.argv[4])


def keys() -> Iterator[str]:
    """All keys of the bucket."""
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=source):
        for item in page.get("Contents", []):
            yield item["Key"]


def examine(key: str) -> None:
    """Copy one image if it shows the wanted label."""
    try:
        response = rekognition.detect_labels(Image={"S3Object": {"Bucket": source, "Name": key}})
        if any(label["Name"] == wanted and label["Confidence"] >= confidence for label in response["Labels"]):
            s3.copy_object(Bucket=target, Key=key, CopySource={"Bucket": source, "Key": key})
    except ClientError as error:
        print(f"{key}: {error}", file=sys.stderr)


def main() -> None:
    """Filter one bucket."""
    with ThreadPoolExecutor(THREADS) as pool:
        for _ in pool.map(examine, keys()):
            pass


if __name__ == "__main__":
    main()

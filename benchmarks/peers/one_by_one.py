"""The simplest script: list a bucket, detect labels, copy the images that show the wanted one; one after the other.

python benchmarks/peers/one_by_one.py SOURCE_BUCKET TARGET_BUCKET LABEL CONFIDENCE
"""

from __future__ import annotations

import sys

import boto3


def main() -> None:
    """Filter one bucket."""
    source, target, wanted, confidence = sys.argv[1:5]
    s3 = boto3.client("s3")
    rekognition = boto3.client("rekognition")
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=source):
        for item in page.get("Contents", []):
            key = item["Key"]
            response = rekognition.detect_labels(Image={"S3Object": {"Bucket": source, "Name": key}})
            if any(
                label["Name"] == wanted and label["Confidence"] >= float(confidence) for label in response["Labels"]
            ):
                s3.copy_object(Bucket=target, Key=key, CopySource={"Bucket": source, "Key": key})


if __name__ == "__main__":
    main()

"""Answers of the sandbox's Rekognition, Service Quotas and STS to boto3; errors are compared with recorded ones."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from asyncfilter.sandbox import Attributes, BucketSpec, DenyRule, LabelSource, LoadSpec, Noise, SamplesSpec, Sandbox
from asyncfilter.sandbox.options import DEFAULT_MODEL_ARN
from tests.kit.pictures import plain

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
RECORDED = DATA / "rekognition" / "detect_labels_recorded.jsonl"
REAL_ERRORS = DATA / "rekognition" / "real_errors.jsonl"
BAD_IMAGES = DATA / "badimages"
CALM = Noise(false_negative=0, false_positive=0, person=0, unsure=0)

Open = Callable[..., Sandbox]
Client = Callable[..., Any]


def picture(width: int = 100, height: int = 100, kind: str = "PNG") -> bytes:
    """A plain picture."""
    return plain(kind, width, height, mode="L")


def s3_image(key: str, bucket: str = "raw") -> dict[str, Any]:
    """The ``Image`` parameter for an object."""
    return {"S3Object": {"Bucket": bucket, "Name": key}}


def refusal(act: Callable[[], object]) -> tuple[str, str, int]:
    """Code, message and status of the error that ``act`` must raise."""
    with pytest.raises(ClientError) as caught:
        act()
    response = caught.value.response
    status = response["ResponseMetadata"]["HTTPStatusCode"]
    return response["Error"]["Code"], response["Error"].get("Message", ""), status


@pytest.fixture
def sandbox(open_sandbox: Open) -> Sandbox:
    """A sandbox without noise and with one good picture."""
    sandbox = open_sandbox(noise=CALM, buckets=(BucketSpec("far", "eu-west-1"),))
    sandbox.put("raw", "birds/robin/1.png", picture())
    return sandbox


@pytest.fixture
def rekognition(sandbox: Sandbox, client: Client) -> Any:
    """A client of that sandbox."""
    return client("rekognition", sandbox)


# Answers


def test_labels_follow_the_folder(rekognition: Any) -> None:
    """The parent folder gives the label; its ancestors are labels too; labels are sorted by falling confidence."""
    answer = rekognition.detect_labels(Image=s3_image("birds/robin/1.png"), MinConfidence=0)
    confidences = {label["Name"]: label["Confidence"] for label in answer["Labels"]}
    assert 88 <= confidences["Robin"] <= 99.9
    assert confidences["Bird"] == confidences["Animal"] == confidences["Robin"]
    robin = next(label for label in answer["Labels"] if label["Name"] == "Robin")
    assert [parent["Name"] for parent in robin["Parents"]] == ["Bird", "Animal"]
    assert [category["Name"] for category in robin["Categories"]] == ["Animals and Pets"]
    assert list(confidences.values()) == sorted(confidences.values(), reverse=True)
    assert answer["LabelModelVersion"] == "3.0"


def test_the_same_request_has_the_same_answer(rekognition: Any) -> None:
    """Labels are a function of seed and key."""
    request = {"Image": s3_image("birds/robin/1.png"), "MinConfidence": 0}
    assert rekognition.detect_labels(**request)["Labels"] == rekognition.detect_labels(**request)["Labels"]


def test_confidence_number_and_names_are_filtered(rekognition: Any) -> None:
    """MinConfidence defaults to 55; MaxLabels keeps the highest; filters match exact names and categories."""

    def names(**more: Any) -> list[str]:
        answer = rekognition.detect_labels(Image=s3_image("birds/robin/1.png"), **more)
        return [label["Name"] for label in answer["Labels"]]

    everything = rekognition.detect_labels(Image=s3_image("birds/robin/1.png"), MinConfidence=0)["Labels"]
    assert names() == [label["Name"] for label in everything if label["Confidence"] >= 55]
    assert names(MaxLabels=2) == names()[:2]

    def filtered(**filters: list[str]) -> list[str]:
        return names(MinConfidence=0, Settings={"GeneralLabels": filters})

    assert filtered(LabelInclusionFilters=["Robin", "robin"]) == ["Robin"]
    assert "Robin" not in filtered(LabelExclusionFilters=["Robin"])
    assert sorted(filtered(LabelCategoryInclusionFilters=["Animals and Pets"])) == ["Animal", "Bird", "Robin"]


def test_image_properties_are_given_on_request(rekognition: Any) -> None:
    """Each feature adds its own member to the answer."""
    image = s3_image("birds/robin/1.png")
    both = rekognition.detect_labels(Image=image, Features=["GENERAL_LABELS", "IMAGE_PROPERTIES"])
    assert both["Labels"]
    assert set(both["ImageProperties"]["Quality"]) == {"Brightness", "Sharpness", "Contrast"}
    assert "PixelPercent" in both["ImageProperties"]["DominantColors"][0]
    alone = rekognition.detect_labels(Image=image, Features=["IMAGE_PROPERTIES"])
    assert "Labels" not in alone


def test_noise_strikes_at_its_rate(open_sandbox: Open, client: Client) -> None:
    """Over many keys the folder's label is missing about as often as configured."""
    sandbox = open_sandbox(noise=Noise(false_negative=0.3, false_positive=0, person=0, unsure=0), check_images=False)
    for number in range(400):
        sandbox.put("raw", f"robin/{number}", b"")
    rekognition = client("rekognition", sandbox)
    hits = 0
    for number in range(400):
        labels = rekognition.detect_labels(Image=s3_image(f"robin/{number}"))["Labels"]
        hits += "Robin" in {label["Name"] for label in labels}
    assert 0.6 < hits / 400 < 0.8


def test_an_answers_file_comes_before_the_folder(open_sandbox: Open, client: Client, tmp_path: Path) -> None:
    """A file gives names with confidences, full labels, whole responses or errors; other keys go by folder."""
    label = {"Name": "Wren", "Confidence": 61.5, "Instances": [], "Parents": [], "Aliases": [{"Name": "Jenny"}]}
    rows = [
        {"key": "robin/1", "labels": {"Wren": 90, "Person": 70}},
        {"key": "raw/robin/2", "labels": [label]},
        {"key": "robin/3", "response": {"Labels": [label], "LabelModelVersion": "2.0", "ResponseMetadata": {}}},
        {"key": "robin/4", "error": {"code": "AccessDeniedException", "message": "no", "status": 400}},
    ]
    (tmp_path / "answers.jsonl").write_text("\n".join(json.dumps(row) for row in rows), "utf-8")
    sandbox = open_sandbox(answers=str(tmp_path / "answers.jsonl"), check_images=False, noise=CALM)
    for number in range(1, 6):
        sandbox.put("raw", f"robin/{number}", b"")
    rekognition = client("rekognition", sandbox)

    def request(number: int) -> Any:
        return rekognition.detect_labels(Image=s3_image(f"robin/{number}"))

    assert {label["Name"] for label in request(1)["Labels"]} >= {"Wren", "Bird", "Person"}
    assert request(2)["Labels"] == [label]
    assert request(3)["LabelModelVersion"] == "2.0"
    assert refusal(lambda: request(4)) == ("AccessDeniedException", "no", 400)
    assert "Robin" in {label["Name"] for label in request(5)["Labels"]}


@pytest.mark.real
@pytest.mark.skipif(not RECORDED.exists(), reason=f"no recorded answers at {RECORDED}")
def test_recorded_answers_are_given_unchanged(open_sandbox: Open, client: Client) -> None:
    """A recorded answer is returned unchanged, with its model version, chosen by key."""
    recorded = [json.loads(line)["response"] for line in RECORDED.read_text("utf-8").splitlines()]
    sandbox = open_sandbox(labels=LabelSource.RECORDED, recorded=str(RECORDED), check_images=False)
    rekognition = client("rekognition", sandbox)
    seen = []
    for number in range(60):
        sandbox.put("raw", f"{number}", b"")
        answer = rekognition.detect_labels(Image=s3_image(f"{number}"), MinConfidence=0)
        assert answer["LabelModelVersion"] == "2.0"
        seen.append(answer["Labels"])
        assert answer["Labels"] in [response["Labels"] for response in recorded]
    assert len({json.dumps(labels) for labels in seen}) > 20


def test_samples_are_labelled_by_what_is_drawn(open_sandbox: Open, client: Client) -> None:
    """A picture in the wrong folder is labelled by its content, and invalid bytes are refused."""
    sandbox = open_sandbox(samples=(SamplesSpec("raw", 90),))
    rekognition = client("rekognition", sandbox)
    reported, refused = set(), set()
    for key in sandbox.keys("raw"):
        try:
            names = {label["Name"] for label in rekognition.detect_labels(Image=s3_image(key))["Labels"]}
            reported.add(key.split("/")[1].title() in names)
        except ClientError as error:
            refused.add(error.response["Error"]["Code"])
    assert reported == {True, False}
    assert refused == {"InvalidImageFormatException", "InvalidParameterException"}


# Errors


@pytest.mark.real
@pytest.mark.skipif(not REAL_ERRORS.exists(), reason=f"no real errors at {REAL_ERRORS}")
def test_errors_are_the_real_ones(sandbox: Sandbox, rekognition: Any) -> None:
    """Body members, headers and messages of errors are those of recorded answers."""
    rows = [json.loads(line) for line in REAL_ERRORS.read_text("utf-8").splitlines()]
    raw = next(row for row in rows if row["kind"] == "raw_http")
    with pytest.raises(ClientError) as caught:
        rekognition.detect_labels(Image=s3_image("nope"))
    real, ours = json.loads(raw["body"]), caught.value.response
    assert (ours["Error"]["Code"], ours["Error"]["Message"]) == (real["Code"], real["Message"])
    headers = ours["ResponseMetadata"]["HTTPHeaders"]
    assert headers["content-type"] == raw["headers"]["Content-Type"]
    assert len(headers["x-amzn-requestid"]) == len(raw["headers"]["x-amzn-RequestId"])
    reported = {row.get("text", "") for row in rows} | {row.get("error", {}).get("message", "") for row in rows}

    def said(body: bytes) -> tuple[str, str]:
        sandbox.put("raw", "k", body)
        code, message, _ = refusal(lambda: rekognition.detect_labels(Image=s3_image("k")))
        assert any(message in text for text in reported), message
        return code, message

    assert said(b"GIF89a") == ("InvalidImageFormatException", "Request has invalid image format")
    assert said(b"\xff\xd8\xff\xd9") == ("InvalidImageFormatException", "Invalid image encoding")
    assert said(picture(79, 100)) == ("InvalidParameterException", "Request has Invalid Parameters")


def test_whatever_hides_an_object_is_one_opaque_error(open_sandbox: Open, client: Client) -> None:
    """Missing, archived, encrypted, denied, or in another region: always InvalidS3ObjectException."""
    sandbox = open_sandbox(
        buckets=(BucketSpec("far", "eu-west-1"),),
        archived=("*/archived",),
        kms_denied=("*/kms",),
        denied=("*/denied",),
        deny=(DenyRule("GetObject", "raw/forbidden"),),
    )
    rekognition = client("rekognition", sandbox)
    for key in ("archived", "kms", "denied", "forbidden"):
        sandbox.put("raw", key, picture())
    sandbox.put("far", "k", picture())
    images = [s3_image(key) for key in ("archived", "kms", "denied", "forbidden", "missing")]
    for hidden in [*images, s3_image("k", "far"), s3_image("k", "no-such-bucket")]:
        code, message, status = refusal(partial(rekognition.detect_labels, Image=hidden))
        assert (code, status) == ("InvalidS3ObjectException", 400)
        assert message.startswith("Unable to get object metadata from S3.")
    near = client("rekognition", sandbox, region_name="eu-west-1")
    assert near.detect_labels(Image=s3_image("k", "far"))["LabelModelVersion"]


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ({"Image": {}}, "InvalidParameterException"),
        ({"Image": {"Bytes": b"x", **s3_image("k")}}, "InvalidParameterException"),
        ({"Image": s3_image("k", "no spaces!")}, "ValidationException"),
        ({"Image": s3_image("")}, "ValidationException"),
        ({"Image": s3_image("k"), "MinConfidence": 101}, "ValidationException"),
        ({"Image": s3_image("k"), "MaxLabels": -1}, "ValidationException"),
        ({"Image": s3_image("k"), "MaxLabels": "many"}, "SerializationException"),
        ({"Image": s3_image("birds/robin/1.png"), "Features": ["FACES"]}, "ValidationException"),
        (
            {"Image": s3_image("k"), "Settings": {"GeneralLabels": {"LabelInclusionFilters": ["x"] * 101}}},
            "ValidationException",
        ),
    ],
)
def test_requests_are_validated(rekognition: Any, request_: dict[str, Any], code: str) -> None:
    """Parameters that the service model forbids are refused, and nothing is billed."""
    assert refusal(lambda: rekognition.detect_labels(**request_))[0] == code


def test_images_are_checked_by_their_content(sandbox: Sandbox, rekognition: Any) -> None:
    """Sides from 80 to 10,000 px, 15 MB in S3 and 5 MB inline; the file name has no effect."""

    def code(body: bytes, *, inline: bool = False) -> str:
        sandbox.put("raw", "k.gif", body)
        image = {"Bytes": body} if inline else s3_image("k.gif")
        try:
            rekognition.detect_labels(Image=image)
        except ClientError as error:
            return str(error.response["Error"]["Code"])
        return ""

    assert code(picture(80, 80)) == code(picture(80, 80, "JPEG")) == code(picture(10_000, 80)) == ""
    assert code(picture(79, 80)) == code(picture(80, 79, "JPEG")) == "InvalidParameterException"
    assert code(picture(10_001, 80)) == "ImageTooLargeException"
    assert code(picture(80, 80, "WEBP")) == code(b"") == "InvalidImageFormatException"
    padded = picture() + bytes(5 * 1024 * 1024)
    assert (code(padded), code(padded, inline=True)) == ("", "ImageTooLargeException")
    assert code(picture() + bytes(15 * 1024 * 1024)) == "ImageTooLargeException"


@pytest.mark.real
@pytest.mark.skipif(not BAD_IMAGES.exists(), reason=f"no bad images at {BAD_IMAGES}")
def test_real_bad_images_are_judged_by_content(open_sandbox: Open, client: Client) -> None:
    """Every odd file is either labelled or refused as an invalid image; a wrong extension changes nothing."""
    sandbox = open_sandbox(load=(LoadSpec("bad", str(BAD_IMAGES)),))
    rekognition = client("rekognition", sandbox)
    codes = {}
    for key in sandbox.keys("bad"):
        try:
            rekognition.detect_labels(Image=s3_image(key, "bad"))
            codes[key] = ""
        except ClientError as error:
            codes[key] = error.response["Error"]["Code"]
    expected = {"", "InvalidImageFormatException", "InvalidParameterException", "ImageTooLargeException"}
    assert set(codes.values()) <= expected
    assert (
        codes["derived/jpeg_named.png"] == codes["derived/png_named.JPG"] == codes["imagededup/ukbench09380.svg"] == ""
    )
    for wrong in ("webp_named.jpg", "gif_named.jpg", "avif_named.jpeg", "zero_bytes.jpg", "s3_error_saved_as.jpg"):
        assert codes[f"derived/{wrong}"] == "InvalidImageFormatException"
    assert codes["pillow/tiny.png"] == "InvalidParameterException"


# Custom Labels


def test_custom_labels_come_from_a_running_model(open_sandbox: Open, client: Client) -> None:
    """The model's labels have no ancestors; it has image limits of its own; its state and units are described."""
    sandbox = open_sandbox(noise=CALM, inference_units=3)
    sandbox.put("raw", "robin/1", picture(64, 64))
    sandbox.put("raw", "robin/long", picture(64, 64 * 21))
    sandbox.put("raw", "robin/big", picture(4097, 300))
    rekognition = client("rekognition", sandbox)

    def request(key: str, **more: Any) -> Any:
        return rekognition.detect_custom_labels(ProjectVersionArn=DEFAULT_MODEL_ARN, Image=s3_image(key), **more)

    rows = request("robin/1", MinConfidence=0)["CustomLabels"]
    assert "Robin" in {row["Name"] for row in rows}
    assert request("robin/1", MinConfidence=0, MaxResults=1)["CustomLabels"] == rows[:1]
    assert refusal(lambda: request("robin/long"))[0] == "InvalidParameterException"
    assert refusal(lambda: request("robin/big"))[0] == "ImageTooLargeException"
    project = DEFAULT_MODEL_ARN.partition("/version/")[0] + "/1767225600000"
    version = rekognition.describe_project_versions(ProjectArn=project)["ProjectVersionDescriptions"][0]
    assert (version["Status"], version["MinInferenceUnits"]) == ("RUNNING", 3)


def test_a_model_that_does_not_run(open_sandbox: Open, client: Client) -> None:
    """A stopped model is not ready; any other model is not found."""
    sandbox = open_sandbox(model_status="STOPPED")
    sandbox.put("raw", "k", picture())
    rekognition = client("rekognition", sandbox)

    def request(arn: str) -> Any:
        return rekognition.detect_custom_labels(ProjectVersionArn=arn, Image=s3_image("k"))

    assert refusal(lambda: request(DEFAULT_MODEL_ARN))[0] == "ResourceNotReadyException"
    assert refusal(lambda: request(DEFAULT_MODEL_ARN.replace("sandbox", "other")))[0] == "ResourceNotFoundException"


# Service Quotas and STS


def test_service_quotas_reports_the_applied_quota(open_sandbox: Open, client: Client) -> None:
    """The applied value is the sandbox's, the default is the region's, and unknown codes are not found."""
    sandbox = open_sandbox(tps=12.5)
    near, far = client("service-quotas", sandbox), client("service-quotas", sandbox, region_name="eu-central-1")
    request = {"ServiceCode": "rekognition", "QuotaCode": "L-E29B542B"}
    assert near.get_service_quota(**request)["Quota"]["Value"] == 12.5
    assert near.get_aws_default_service_quota(**request)["Quota"]["Value"] == 50
    assert far.get_aws_default_service_quota(**request)["Quota"]["Value"] == 5
    listed = near.list_service_quotas(ServiceCode="rekognition")["Quotas"]
    assert {row["QuotaCode"]: row["Value"] for row in listed}["L-EA71C84A"] == 12.5
    for service, code in (("rekognition", "L-0"), ("vpc", "L-E29B542B")):
        act = partial(near.get_service_quota, ServiceCode=service, QuotaCode=code)
        assert refusal(act)[0] == "NoSuchResourceException"


def test_an_announced_quota_need_not_be_the_kept_one(open_sandbox: Open, client: Client) -> None:
    """The sandbox can report a quota twice as high as the one it applies."""
    quotas = client("service-quotas", open_sandbox(tps=25, announced_tps=50))
    answer = quotas.get_service_quota(ServiceCode="rekognition", QuotaCode="L-E29B542B")
    assert answer["Quota"]["Value"] == 50


def test_the_identity_of_the_caller_is_returned(sandbox: Sandbox, client: Client) -> None:
    """GetCallerIdentity names account and user."""
    identity = client("sts", sandbox).get_caller_identity()
    assert (identity["Account"], identity["Arn"]) == ("123456789012", "arn:aws:iam::123456789012:user/sandbox")


# Access


def test_unknown_keys_are_refused_by_every_service(open_sandbox: Open, client: Client) -> None:
    """The error of each service has its own format."""
    sandbox = open_sandbox(any_credentials=False)
    sandbox.put("raw", "k", picture())
    unknown = {"aws_access_key_id": "AKIASTRANGER"}
    s3, rekognition = client("s3", sandbox, **unknown), client("rekognition", sandbox, **unknown)
    sts = client("sts", sandbox, **unknown)
    assert refusal(lambda: s3.list_objects_v2(Bucket="raw"))[::2] == ("InvalidAccessKeyId", 403)
    assert refusal(lambda: rekognition.detect_labels(Image=s3_image("k")))[::2] == ("UnrecognizedClientException", 400)
    assert refusal(sts.get_caller_identity)[::2] == ("InvalidClientTokenId", 403)


@pytest.mark.parametrize(
    ("target", "code"),
    [
        ("RekognitionService.DetectLabels", "MissingAuthenticationTokenException"),
        ("RekognitionService.DetectFaces", "UnknownOperationException"),
    ],
)
def test_unsigned_and_unknown_requests(sandbox: Sandbox, target: str, code: str) -> None:
    """The error is in the body, as ``__type`` and ``Code``."""
    body = json.dumps({"Image": s3_image("birds/robin/1.png")}).encode()
    asked = urllib.request.Request(sandbox.endpoint_url, body, {"X-Amz-Target": target})
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(asked)
    with caught.value as answer:
        reported = json.loads(answer.read())
    assert (answer.status, reported["__type"], reported["Code"]) == (400, code, code)
    assert set(reported) == {"__type", "Code", "Logref", "Message"}


def test_what_is_denied_is_denied(open_sandbox: Open, client: Client) -> None:
    """A rule denies an operation, everywhere or below a glob; DeleteObjects is checked for each key."""
    rules = (DenyRule("DetectLabels"), DenyRule("CopyObject", "clean/*"), DenyRule("DeleteObject", "raw/keep/*"))
    sandbox = open_sandbox(deny=rules, buckets=(BucketSpec("clean"),))
    for key in ("k", "keep/k"):
        sandbox.put("raw", key, picture(), Attributes(content_type="image/png"))
    s3, rekognition = client("s3", sandbox), client("rekognition", sandbox)
    code, message, _ = refusal(lambda: rekognition.detect_labels(Image=s3_image("k")))
    assert (code, "rekognition:DetectLabels" in message) == ("AccessDeniedException", True)
    source = {"Bucket": "raw", "Key": "k"}
    assert refusal(lambda: s3.copy_object(Bucket="clean", Key="k", CopySource=source))[::2] == ("AccessDenied", 403)
    s3.copy_object(Bucket="raw", Key="copy", CopySource=source)
    wanted = {"Objects": [{"Key": "k"}, {"Key": "keep/k"}]}
    answer = s3.delete_objects(Bucket="raw", Delete=wanted)
    assert [row["Key"] for row in answer["Deleted"]] == ["k"]
    assert [(row["Key"], row["Code"]) for row in answer["Errors"]] == [("keep/k", "AccessDenied")]

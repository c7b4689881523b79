"""The service that trains and runs models, over Rekognition Custom Labels; and the files that it reads and writes."""

from asyncfilter.aws.model_service.files import S3Files
from asyncfilter.aws.model_service.service import CustomLabelsService

__all__ = ["CustomLabelsService", "S3Files"]

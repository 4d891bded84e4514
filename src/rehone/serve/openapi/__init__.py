"""Describe the service itself: `document` for machines, `page` for people."""

from rehone.serve.openapi.document import document
from rehone.serve.openapi.page import SECURITY, page
from rehone.serve.openapi.schemas import Served

__all__ = ["SECURITY", "Served", "document", "page"]

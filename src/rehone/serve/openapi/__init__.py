"""Describe the service itself: `document` for machines, `page` for people."""

from rehone.serve.openapi.document import document
from rehone.serve.openapi.page import page
from rehone.serve.openapi.routes import routes
from rehone.serve.openapi.schemas import Served

__all__ = ["Served", "document", "page", "routes"]

"""Speak the Open Inference Protocol, version 2, over HTTP: the tensors of clients made for other servers.

`parse_infer` reads a request, `encode_infer` writes its answer, `routes` and `patterns` are the doors.
"""

from rehone.serve.v2.answers import HEADER_LENGTH, Reply, encode_infer, model_metadata, server_metadata
from rehone.serve.v2.request import OUTPUTS, Infer, Limits, Output, listed, parse_infer
from rehone.serve.v2.routes import patterns, routes

__all__ = [
    "HEADER_LENGTH",
    "OUTPUTS",
    "Infer",
    "Limits",
    "Output",
    "Reply",
    "encode_infer",
    "listed",
    "model_metadata",
    "parse_infer",
    "patterns",
    "routes",
    "server_metadata",
]

"""Bring a version into production so that it proves itself or is taken back.

`promote` tries a version in a fresh process, puts it on trial, asks every live server over
HTTP and confirms it or rolls back. `rollback` puts an earlier version back with one record.
`shadow` lets servers score a version beside the champion before that. `heal` ends what a
killed process left open; `examine` only looks.
"""

from rehone.deploy.facts import Clock, Order, Promotion
from rehone.deploy.healing import examine, heal
from rehone.deploy.promotion import promote
from rehone.deploy.proof import live_replicas, smoke
from rehone.deploy.rehearsal import preflight
from rehone.deploy.shadowing import Shadowed, ShadowOrder, shadow
from rehone.deploy.withdrawal import rollback

__all__ = [
    "Clock",
    "Order",
    "Promotion",
    "ShadowOrder",
    "Shadowed",
    "examine",
    "heal",
    "live_replicas",
    "preflight",
    "promote",
    "rollback",
    "shadow",
    "smoke",
]

"""OpenAPI 3.1 description of an actor's HTTPS server."""

from __future__ import annotations

from typing import Any

from heila_mosaik._version import __version__
from heila_mosaik.bridges.smartapi import HTTP_PATH

_JSON = "application/json"


def description(actor: str) -> dict[str, Any]:
    """The description, a JSON object."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"Smart API of {actor}",
            "version": __version__,
            "summary": "Information objects of the HEILA platform as signed Smart API messages.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "security": [{"mutualTLS": []}],
        "paths": {
            HTTP_PATH: {"post": _post_message()},
            "/health": {"get": _get_health()},
            "/openapi.json": {
                "get": {
                    "operationId": "getDescription",
                    "summary": "This description.",
                    "responses": {
                        "200": {"description": "OpenAPI.", "content": {_JSON: {"schema": {"type": "object"}}}}
                    },
                }
            },
            "/heila/v1/registration": {"get": _get_registration(), "post": _post_registration()},
        },
        "components": {
            "securitySchemes": {
                "mutualTLS": {
                    "type": "mutualTLS",
                    "description": "Certificate of the laboratory's CA; CN is the actor.",
                }
            },
            "schemas": {"Receipt": _RECEIPT, "Problem": _PROBLEM, "Health": _HEALTH},
        },
    }


def _header(name: str, text: str, *, required: bool, schema: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": required, "description": text,
            "schema": schema or {"type": "string"}}  # fmt: skip


def _problem(text: str) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Problem"}
    return {"description": text, "content": {"application/problem+json": {"schema": schema}}}


def _later(text: str) -> dict[str, Any]:
    return {**_problem(text), "headers": {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds."}}}


def _receipt(text: str) -> dict[str, Any]:
    return {
        "description": text,
        "headers": {
            "X-SmartAPI-CallId": {"schema": {"type": "string"}},
            "X-Heila-Signature": {
                "schema": {"type": "string"},
                "description": "Detached JWS over the body, for the sender.",
            },
        },
        "content": {
            "text/turtle": {"schema": {"type": "string", "description": "smartapi:Response"}},
            _JSON: {"schema": {"$ref": "#/components/schemas/Receipt"}},
        },
    }


def _post_message() -> dict[str, Any]:
    media = {
        name: {"schema": {"type": "string"}} for name in ("text/turtle", "application/ld+json", "application/rdf+xml")
    }
    return {
        "operationId": "postMessage",
        "summary": "Deliver a Smart API notification; idempotent by its identity.",
        "parameters": [
            _header("X-SmartAPI-CallId", "Identity of the message; a repetition keeps it.", required=True),
            _header("X-Heila-Signature", "Detached JWS (RFC 7797, Ed25519) over the exact body.", required=True),
            _header("X-Heila-Encrypted", "1 if the body is a compact JWE.", required=False,
                    schema={"type": "string", "enum": ["0", "1"]}),
        ],
        "requestBody": {"required": True, "content": media},
        "responses": {
            "202": _receipt("Stored for good."),
            "200": _receipt("It was there already."),
            "422": _receipt("Refused for its content; it will not be taken if it is repeated."),
            "401": _problem("No, bad or unknown signature."),
            "403": _problem("Signed by another than the client, or meant for another."),
            "413": _problem("Too large."),
            "503": _later("Too much to do; try again."),
            "507": _later("Cannot be stored now; try again."),
        },
    }  # fmt: skip


def _get_health() -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Health"}
    return {
        "operationId": "getHealth",
        "summary": "Whether the actor works, and where it is.",
        "responses": {
            "200": {"description": "It works.", "content": {_JSON: {"schema": schema}}},
            "503": {"description": "It stands still; status says why.", "content": {_JSON: {"schema": schema}}},
        },
    }


def _get_registration() -> dict[str, Any]:
    content = {"application/jose": {"schema": {"type": "string"}}}
    return {
        "operationId": "getRegistration",
        "summary": "Who the actor is and its public keys, signed with its certificate's key.",
        "responses": {
            "200": {"description": "Compact JWS (ES256) with x5c.", "content": content},
            "404": _problem("Keys are known beforehand here."),
        },
    }


def _post_registration() -> dict[str, Any]:
    return {
        "operationId": "postRegistration",
        "summary": "Register with this actor.",
        "requestBody": {"required": True, "content": {"application/jose": {"schema": {"type": "string"}}}},
        "responses": {
            "204": {"description": "Taken."},
            "400": _problem("Older than the one known, expired or from the future."),
            "401": _problem("It does not hold."),
            "403": _problem("It is of another than the client."),
            "404": _problem("Keys are known beforehand here."),
        },
    }


_RECEIPT = {
    "type": "object",
    "required": ["id", "state"],
    "properties": {
        "id": {"type": "string", "description": "Identity of the message."},
        "state": {"type": "string", "enum": ["delivered", "refused"]},
        "reason": {"type": "string"},
        "duplicate": {"type": "boolean"},
    },
}
_PROBLEM = {
    "type": "object",
    "description": "Problem details (RFC 9457).",
    "required": ["title", "status"],
    "properties": {
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "remedy": {"type": "string"},
    },
}
_HEALTH = {
    "type": "object",
    "required": ["status", "actor"],
    "properties": {
        "status": {"type": "string", "description": "ok, or why it stands still."},
        "actor": {"type": "string"},
        "step": {"type": "integer", "description": "Steps taken."},
        "now": {"type": ["string", "null"], "format": "date-time", "description": "Simulated time of the last step."},
        "backlog": {"type": "integer", "description": "Accepted messages that wait for a step."},
        "outgoing": {"type": "integer", "description": "Messages not confirmed yet."},
        "late_s": {"type": "number", "description": "Largest lateness of a wake-up."},
        "peers": {"type": "object", "additionalProperties": {"type": "boolean"}},
        "counts": {"type": "object", "additionalProperties": {"type": "integer"}},
    },
}

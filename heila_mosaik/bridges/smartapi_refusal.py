"""Why a message from outside was refused: one named reason for each rule, countable and loggable."""

from __future__ import annotations

from enum import StrEnum

from heila_mosaik.errors import HeilaError, Problem


class Refusal(StrEnum):
    """Rule that a refused message broke."""

    OVERSIZE = "oversize"
    NOT_UTF8 = "not_utf8"
    SYNTAX = "syntax"
    TOO_DEEP = "too_deep"
    TOO_MANY_PREFIXES = "too_many_prefixes"
    NUMBER_BOMB = "number_bomb"
    DATATYPE = "datatype"
    ENTITY_EXPANSION = "entity_expansion"
    REMOTE_CONTEXT = "remote_context"
    SHAPE = "shape"
    UNKNOWN_OBJECT = "unknown_object"
    UNKNOWN_UNIT = "unknown_unit"
    NOT_FINITE = "not_finite"
    OUT_OF_RANGE = "out_of_range"
    NAIVE_TIME = "naive_time"
    NO_SIGNATURE = "no_signature"
    BAD_SIGNATURE = "bad_signature"
    ALGORITHM = "algorithm"
    UNKNOWN_KEY = "unknown_key"
    WRONG_ISSUER = "wrong_issuer"
    WRONG_AUDIENCE = "wrong_audience"
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    CLAIMS = "claims"
    REPLAYED = "replayed"
    TOO_LATE = "too_late"
    REPLAY_STORE_FULL = "replay_store_full"
    DECRYPTION = "decryption"


class RefusedError(HeilaError):
    """A message that must not get in.

    Attributes:
        reason: Rule that was broken.
        problem: What, where and the remedy for the one who sent it.
    """

    exit_code = 2

    def __init__(self, reason: Refusal, what: str, *, where: str = "message", remedy: str) -> None:
        self.reason = reason
        self.problem = Problem(what=what, where=where, remedy=remedy)
        super().__init__(reason, self.problem)

    def __str__(self) -> str:
        return f"refused ({self.reason}): {self.problem}"

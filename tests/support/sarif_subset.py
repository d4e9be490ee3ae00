"""The part of SARIF 2.1.0 that absint writes, as a JSON schema from the text of the standard: names, required ones, words, forms.

The whole schema of OASIS is stricter in nothing that stands here; `SARIF_SCHEMA` names a copy of it for the test beside this one.
"""

from __future__ import annotations

from typing import Any


def an(required: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
    """An object of these properties and no other."""
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


def many(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


TEXT = {"type": "string", "minLength": 1}
URI = {"type": "string", "pattern": r"^[A-Za-z0-9._~:/?#@!$&'()*+,;=%-]+$", "not": {"pattern": "%(?![0-9A-F]{2})"}}
PLACE = {"type": "integer", "minimum": 0}
LEVEL = {"enum": ["none", "note", "warning", "error"]}
BAG = {"type": "object"}
MESSAGE = an(("text",), text=TEXT)
ARTIFACT_LOCATION = an(("uri",), uri=URI, index=PLACE)
REGION = an(("startLine",), **{name: {"type": "integer", "minimum": 1} for name in ("startLine", "startColumn", "endLine", "endColumn")})
LOCATION = an(physicalLocation=an(("artifactLocation",), artifactLocation=ARTIFACT_LOCATION, region=REGION),
              logicalLocations=many(an(fullyQualifiedName=TEXT)))
RULE = an(("id", "shortDescription", "fullDescription", "help"), id=TEXT, name=TEXT, shortDescription=MESSAGE, fullDescription=MESSAGE,
          help=MESSAGE, defaultConfiguration=an(level=LEVEL))
KIND = {"enum": ["notApplicable", "pass", "fail", "review", "open", "informational"]}
RESULT = an(("message", "ruleId", "ruleIndex", "locations", "partialFingerprints"), ruleId=TEXT, ruleIndex=PLACE, kind=KIND, level=LEVEL,
            message=MESSAGE, properties=BAG,
            locations={**many(LOCATION), "minItems": 1}, partialFingerprints={"type": "object", "additionalProperties": TEXT})
RESULT["if"] = {"properties": {"kind": {"const": "fail"}}}
RESULT["else"] = {"properties": {"level": {"const": "none"}}}
NOTIFICATION = an(("message",), message=MESSAGE, level=LEVEL, descriptor=an(("id",), id=TEXT))
UTC = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$"}
INVOCATION = an(("executionSuccessful",), executionSuccessful={"type": "boolean"}, exitCode={"type": "integer"}, commandLine=TEXT,
                startTimeUtc=UTC, toolExecutionNotifications=many(NOTIFICATION))
ARTIFACT = an(("location",), location=ARTIFACT_LOCATION, roles=many({"enum": ["analysisTarget"]}),
              hashes={"type": "object", "additionalProperties": TEXT})
DRIVER = an(("name", "rules"), name=TEXT, version=TEXT, rules=many(RULE))
RUN = an(("tool", "results"), tool=an(("driver",), driver=DRIVER), automationDetails=an(id={"type": "string", "pattern": "^absint/.*/$"}),
         invocations=many(INVOCATION), artifacts=many(ARTIFACT), results=many(RESULT), columnKind={"enum": ["unicodeCodePoints"]},
         properties=BAG)
SUBSET = an(("version", "runs"), **{"$schema": URI}, version={"const": "2.1.0"}, runs=many(RUN))

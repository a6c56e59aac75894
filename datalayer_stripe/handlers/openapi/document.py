"""Build the description of the HTTP API from the routes."""

import inspect
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, models_json_schema
from tornado.web import RequestHandler

from ..._version import __version__
from ..base import BaseHandler
from ..operation import JSON, Operation, Parameter, operations_of
from ..urls import IAM_PREFIX, STRIPE_PREFIX
from .patterns import PathTemplate, path_templates
from .responses import (
    HEADERS,
    ErrorAnswer,
    JsonObject,
    error_responses,
    errors_of,
    header_references,
)
from .texts import INFO, SECURITY_SCHEMES, TAGS

Routes = tuple[tuple[str, type[RequestHandler]], ...]

_Described = tuple[PathTemplate, int, type[BaseHandler], str, Operation]

_SCHEMAS = "#/components/schemas/"
_RESPONSES = "#/components/responses/"

_REQUEST_ID = Parameter(
    name="X-Request-Id",
    description="An id for this request, up to 128 letters, digits and `._:-`. Any other value is "
    "replaced.",
)


class _JsonSchema(GenerateJsonSchema):
    """Generate schemas without a title for each field, which would only repeat its name."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002 (pydantic's signature)
        return False


def routes_of(handlers: Iterable[tuple[Any, ...]]) -> Routes:
    """Return the pattern and the handler of each route.

    Args:
        handlers: The routes, as Tornado's `Application` takes them: pattern, handler, options.
    """
    return tuple((pattern, handler) for pattern, handler, *_ in handlers)


@lru_cache(maxsize=8)
def openapi_json(routes: Routes, *, base_path: str = "", in_jupyter: bool = False) -> bytes:
    """Return the description of the routes, as JSON.

    Args:
        routes: The pattern and the handler of each route. Handlers without declarations, such as
            those of files, are left out.
        base_path: The path prefix of all routes, without a slash at its end.
        in_jupyter: Whether the routes are served by a Jupyter Server.
    """
    document = openapi_document(routes, base_path=base_path, in_jupyter=in_jupyter)
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def openapi_document(
    routes: Routes, *, base_path: str = "", in_jupyter: bool = False
) -> JsonObject:
    """Return the description of the routes. The arguments are those of `openapi_json`."""
    described = list(_described(routes))
    schemas = _Schemas([operation for *_, operation in described])
    paths: dict[str, JsonObject] = {}
    responses: dict[str, JsonObject] = {}
    tags: set[str] = set()
    schemes: set[str] = set()
    for template, alias, handler, method, operation in described:
        item = _operation(template, alias, handler, method, operation, schemas)
        errors = error_responses(errors_of(handler, operation, in_jupyter=in_jupyter))
        responses.update(errors.values())
        item["responses"] = {
            **_success(operation, schemas),
            **{status: {"$ref": _RESPONSES + name} for status, (name, _) in errors.items()},
            **_failures(operation, schemas),
        }
        paths.setdefault(template.path, {})[method.lower()] = item
        tags.update(item["tags"])
        schemes.update(handler.security)
    return {
        "openapi": "3.1.1",
        "info": {**INFO, "version": __version__},
        "servers": [{"url": base_path or "/"}],
        "tags": [
            {"name": name, "description": text} for name, text in TAGS.values() if name in tags
        ],
        "paths": paths,
        "components": {
            "schemas": schemas.components,
            "responses": {name: responses[name] for name in sorted(responses)},
            "headers": HEADERS,
            "securitySchemes": {name: SECURITY_SCHEMES[name] for name in sorted(schemes)},
        },
    }


def _described(routes: Routes) -> Iterator[_Described]:
    for pattern, handler in routes:
        if not issubclass(handler, BaseHandler):
            continue
        for alias, template in enumerate(path_templates(pattern)):
            for method, operation in operations_of(handler).items():
                if operation is not None:
                    yield template, alias, handler, method, operation


class _Schemas:
    """The schemas of all models, and a reference to each of them."""

    def __init__(self, operations: Sequence[Operation]) -> None:
        models: set[tuple[type[BaseModel], JsonSchemaMode]] = {(ErrorAnswer, "serialization")}
        for operation in operations:
            models |= {(model, "validation") for model in (operation.body,) if model}
            named = (*operation.events, *operation.failures)
            answers = (operation.answer, *(model for _, model in named))
            models |= {(model, "serialization") for model in answers if model}
        ordered = sorted(models, key=lambda model: (model[0].__name__, model[1]))
        self._references, definitions = models_json_schema(
            ordered, ref_template=_SCHEMAS + "{model}", schema_generator=_JsonSchema
        )
        self.components: JsonObject = definitions["$defs"]

    def content(self, model: type[BaseModel], mode: JsonSchemaMode) -> JsonObject:
        """Return the content of a request or a response with a model."""
        content: JsonObject = {"schema": self._references[model, mode]}
        if mode == "validation":
            content["example"] = self._request_example(model)
        return {JSON: content}

    def event(self, operation: Operation) -> JsonObject:
        """Return the schema of an event of a stream."""
        data = {
            "type": "string",
            "contentMediaType": JSON,
            "contentSchema": {
                "anyOf": [self._references[model, "serialization"] for _, model in operation.events]
            },
        }
        names = [name for name, _ in operation.events]
        return {
            "type": "object",
            "properties": {"event": {"enum": names}, "id": {"type": "string"}, "data": data},
            "required": ["event", "id", "data"],
        }

    def _request_example(self, model: type[BaseModel]) -> Any:
        """Return the example of the model, or else one with its required fields only."""
        schema = self.components[self._references[model, "validation"]["$ref"].split("/")[-1]]
        if "examples" in schema:
            return schema["examples"][0]
        required = schema.get("required", ())
        return {name: schema["properties"][name]["examples"][0] for name in required}


def _operation(
    template: PathTemplate,
    alias: int,
    handler: type[BaseHandler],
    method: str,
    operation: Operation,
    schemas: _Schemas,
) -> JsonObject:
    name, summary, description = _texts(handler)
    item: JsonObject = {
        "operationId": _operation_id(method, template.path),
        "summary": f"{summary} (alias)" if alias else summary,
        "tags": [TAGS[name][0]],
        "parameters": [*_parameters(template, operation), *_query(handler, operation)],
        "security": [{scheme: []} for scheme in handler.security],
    }
    if description:
        item["description"] = description
    if operation.body is not None:
        item["requestBody"] = {
            "required": not operation.body_is_optional,
            "content": schemas.content(operation.body, "validation"),
        }
    return item


def _texts(handler: type[BaseHandler]) -> tuple[str, str, str]:
    """Return the name of a handler's module below `handlers`, and the texts of its docstring."""
    name = handler.__module__.partition(".handlers.")[2].partition(".")[0]
    summary, _, description = inspect.cleandoc(handler.__doc__ or "").partition("\n\n")
    summary = re.sub(r"^`[^`]*`: ", "", " ".join(summary.split())).rstrip(".")
    return name, summary[:1].upper() + summary[1:], description


def _operation_id(method: str, path: str) -> str:
    for prefix in (STRIPE_PREFIX, IAM_PREFIX):
        path = path.removeprefix(prefix)
    words = re.findall(r"[A-Za-z0-9]+", path)
    return method.lower() + "".join(word[:1].upper() + word[1:] for word in words)


def _parameters(template: PathTemplate, operation: Operation) -> Iterator[JsonObject]:
    for parameter in (*operation.parameters, _REQUEST_ID):
        schema: JsonObject = {"type": "string"}
        if parameter.place == "path":
            schema["pattern"] = template.patterns[parameter.name]
        described: JsonObject = {
            "name": parameter.name,
            "in": parameter.place,
            "required": parameter.required or parameter.place == "path",
            "description": parameter.description,
            "schema": schema,
        }
        if parameter.example:
            described["example"] = parameter.example
        yield described


def _query(handler: type[BaseHandler], operation: Operation) -> Iterator[JsonObject]:
    for model in filter(None, (operation.query, handler.base_query)):
        schema = model.model_json_schema(schema_generator=_JsonSchema)
        for name, field in schema["properties"].items():
            description = field.pop("description", "")
            if field.get("default", ...) is None:
                del field["default"]
            yield {
                "name": name,
                "in": "query",
                "required": name in schema.get("required", ()),
                "description": description,
                "schema": _without_null(field),
            }


def _without_null(schema: JsonObject) -> JsonObject:
    """Return the schema of a query argument, which cannot be null."""
    others = [one for one in schema.get("anyOf", ()) if one != {"type": "null"}]
    if len(others) != 1:
        return schema
    return {**{name: value for name, value in schema.items() if name != "anyOf"}, **others[0]}


def _success(operation: Operation, schemas: _Schemas) -> JsonObject:
    schema: JsonObject = {"type": "object" if operation.media_type == JSON else "string"}
    if operation.events:
        schema = schemas.event(operation)
    content: JsonObject = {operation.media_type: {"schema": schema}}
    description = "Success."
    if operation.answer is not None:
        content = schemas.content(operation.answer, "serialization")
        description = inspect.cleandoc(operation.answer.__doc__ or "")
    return {
        str(operation.status): {
            "description": description,
            "headers": header_references("X-Request-Id"),
            "content": content,
        }
    }


def _failures(operation: Operation, schemas: _Schemas) -> JsonObject:
    return {
        str(status): {
            "description": inspect.cleandoc(model.__doc__ or ""),
            "headers": header_references("X-Request-Id", "Retry-After"),
            "content": schemas.content(model, "serialization"),
        }
        for status, model in operation.failures
    }

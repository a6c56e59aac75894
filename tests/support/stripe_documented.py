"""Generate the parameters and fields that Stripe documents, from the types of its SDK.

`make documented` writes `documented.json` of the sandbox: the parameters of each operation that the
sandbox has, and the fields of each object. A test compares the file with the installed SDK.

A type is `string`, `integer`, `number`, `boolean`, `map` (of strings) or `any`, a list with the
type of its items, or a hash with the type of each key. The name of a parameter that an empty
string unsets ends with `?`.
"""

import ast
import functools
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import stripe

from datalayer_stripe.sandbox.api.documented import FILE, operation_name
from datalayer_stripe.sandbox.engine.backend import Backend
from datalayer_stripe.sandbox.resources.registry import Resources

SDK = Path(stripe.__file__).parent
_SCALARS = {
    "str": "string",
    "int": "integer",
    "float": "number",
    "bool": "boolean",
    "Decimal": "string",
}
_Resolve = Callable[[str], Any]


@dataclass(frozen=True)
class Declaration:
    """A class of the SDK, by its file and name."""

    path: Path
    name: str


@dataclass(frozen=True)
class Operation:
    """An operation of the SDK, and the classes that declare its parameters and its answer."""

    name: str
    params: Declaration
    answer: Declaration


def type_of(annotation: ast.expr, resolve: _Resolve) -> Any:
    """Return the type that an annotation of the SDK stands for; None if it has no form here.

    Args:
        annotation: the annotation.
        resolve: returns the type of a class that is named in the annotation.
    """
    match annotation:
        case ast.Constant(value=str() as text):
            return type_of(ast.parse(text, mode="eval").body, resolve)
        case ast.BinOp(op=ast.BitOr()):
            return _union(_alternatives(annotation), resolve)
        case ast.Name(id=name):
            return _SCALARS.get(name) or resolve(name)
        case ast.Attribute(attr=name):
            return resolve(name)
        case ast.Subscript(value=ast.Name(id=outer), slice=inner):
            return _generic(outer, inner, resolve)
    return None


def _alternatives(annotation: ast.expr) -> Iterator[ast.expr]:
    if isinstance(annotation, ast.BinOp):
        yield from _alternatives(annotation.left)
        yield from _alternatives(annotation.right)
    else:
        yield annotation


def _generic(outer: str, inner: ast.expr, resolve: _Resolve) -> Any:
    match outer:
        case "NotRequired" | "Required" | "Optional":
            return type_of(inner, resolve)
        case "ExpandableField" | "Literal":
            return "string"
        case "List":
            item = type_of(inner, resolve)
            return None if item is None else [item]
        case "Dict" | "UntypedStripeObject":
            value = inner.elts[1] if isinstance(inner, ast.Tuple) else inner
            return "map" if type_of(value, resolve) == "string" else "any"
        case "Union":
            assert isinstance(inner, ast.Tuple)
            return _union(inner.elts, resolve)
    return None


def _union(alternatives: Any, resolve: _Resolve) -> Any:
    """Return the one type of all alternatives, apart from the empty string; otherwise `any`."""
    types: list[Any] = []
    for alternative in alternatives:
        if ast.unparse(alternative) == "Literal['']":
            continue
        found = type_of(alternative, resolve)
        if found not in types:
            types.append(found)
    return types[0] if len(types) == 1 else "any"


@functools.cache
def _parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def _hash_of(body: list[ast.stmt], resolve: _Resolve) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for statement in body:
        if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
            continue
        kind = type_of(statement.annotation, resolve)
        if kind is not None:
            unsets = "Literal['']" in ast.unparse(statement.annotation)
            found[statement.target.id + ("?" if unsets else "")] = kind
    return found


def parameters_of(declaration: Declaration) -> Any:
    """Return the parameters that a class of `stripe/params` declares, by name."""
    module = _parse(declaration.path)

    def resolve(name: str) -> Any:
        for statement in module.body:
            if isinstance(statement, ast.ClassDef) and statement.name == name:
                own = _hash_of(statement.body, resolve)
                return _reserved(module, name, resolve) | own
        return "any"

    return resolve(declaration.name)


def _reserved(module: ast.Module, name: str, resolve: _Resolve) -> dict[str, Any]:
    """Return the parameters with names that Python reserves, such as `from`.

    The SDK declares them in a base class `_NameBase = TypedDict("NameBase", {"from": …})`.
    """
    for statement in module.body:
        match statement:
            case ast.Assign(
                targets=[ast.Name(id=target)], value=ast.Call(args=[_, ast.Dict() as table])
            ) if target == f"_{name}Base":
                return {
                    str(key.value): type_of(value, resolve)
                    for key, value in zip(table.keys, table.values, strict=True)
                    if isinstance(key, ast.Constant)
                }
    return {}


def operations(names: set[str]) -> Iterator[Operation]:
    """Yield the operations of the SDK that have one of the given names."""
    for path in sorted(SDK.rglob("_*_service.py")):
        module = _parse(path)
        files = {
            alias.name: SDK.parent / (str(node.module).replace(".", "/") + ".py")
            for node in ast.walk(module)
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
        }
        for function in ast.walk(module):
            if isinstance(function, ast.FunctionDef):
                yield from _operations_of(function, files, names)


def _operations_of(
    function: ast.FunctionDef, files: dict[str, Path], names: set[str]
) -> Iterator[Operation]:
    def declared(annotation: ast.expr | None) -> Declaration:
        """Return the class in an annotation such as `Customer` or `ListObject[Customer]`."""
        name = ast.unparse(annotation or ast.Name("")).split("[")[-1].strip("]'\"")
        return Declaration(files[name], name)

    annotations = [arg.annotation for arg in function.args.args if arg.arg == "params"]
    for call in ast.walk(function):
        match call:
            case ast.Call(
                func=ast.Attribute(attr="_request"), args=[ast.Constant(value=method), url, *_]
            ) if annotations:
                name = operation_name(str(method).upper(), _template(url))
                if name in names:
                    yield Operation(name, declared(annotations[0]), declared(function.returns))


def _template(url: ast.expr) -> str:
    """Return the path of a request: a constant, or a constant that is formatted."""
    if isinstance(url, ast.Call) and isinstance(url.func, ast.Attribute):
        url = url.func.value
    assert isinstance(url, ast.Constant)
    return str(url.value)


def fields_of(declaration: Declaration) -> tuple[str, dict[str, Any]]:
    """Return an object's type, and the fields that its class declares."""

    def scope(inner: ast.ClassDef, outer: dict[str, ast.ClassDef]) -> dict[str, Any]:
        own = outer | {s.name: s for s in inner.body if isinstance(s, ast.ClassDef)}

        def resolve(name: str) -> Any:
            return scope(own[name], own) if name in own else None

        return _hash_of(inner.body, resolve)

    for statement in _parse(declaration.path).body:
        if isinstance(statement, ast.ClassDef) and statement.name == declaration.name:
            return _object_name(statement), scope(statement, {})
    raise ValueError(f"{declaration.path} has no class {declaration.name}.")


def _object_name(definition: ast.ClassDef) -> str:
    for statement in definition.body:
        match statement:
            case ast.AnnAssign(target=ast.Name(id="OBJECT_NAME"), value=ast.expr() as value):
                return str(ast.literal_eval(value))
    raise ValueError(f"{definition.name} has no OBJECT_NAME.")


def document() -> str:
    """Return the content of `documented.json` for the installed SDK."""
    routes = Resources(Backend(time.time)).routes()
    names = {
        operation_name(route.method, route.path)
        for route in routes
        if route.path.startswith("/v1/")
    }
    present = list(operations(names))
    parameters = {operation.name: parameters_of(operation.params) for operation in present}
    fields = dict(fields_of(operation.answer) for operation in present)
    tables = {"parameters": parameters, "fields": fields}
    return json.dumps(tables, indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    FILE.write_text(document())

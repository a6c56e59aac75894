"""Find the HTTP methods that a handler implements."""

from tornado.web import RequestHandler

_UNIMPLEMENTED = RequestHandler._unimplemented_method


class UnknownMethod(str):
    """Method of a request that is no method of HTTP, such as `SERVICE`.

    OpenTelemetry's instrumentation of Tornado reads the attribute of the handler that has the
    method's name in lower case. A client must not choose which attribute that is.
    """

    __slots__ = ()

    def lower(self) -> str:
        """Return the name of an attribute that all handlers have."""
        return "get"


def implements(handler: type[RequestHandler], method: str) -> bool:
    """Return whether a handler implements an HTTP method.

    Args:
        handler: The handler class.
        method: The method, such as `POST`.
    """
    return getattr(handler, method.lower()) is not _UNIMPLEMENTED


def implemented_methods(handler: type[RequestHandler]) -> tuple[str, ...]:
    """Return the HTTP methods that a handler implements, in the order of Tornado's list.

    Args:
        handler: The handler class.
    """
    return tuple(method for method in handler.SUPPORTED_METHODS if implements(handler, method))

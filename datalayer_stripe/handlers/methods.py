"""Find the HTTP methods that a handler implements."""

from tornado.web import RequestHandler

_UNIMPLEMENTED = RequestHandler._unimplemented_method


def implements(handler: type[RequestHandler], method: str) -> bool:
    """Return whether `handler` defines the HTTP method, such as `POST`."""
    return getattr(handler, method.lower()) is not _UNIMPLEMENTED


def implemented_methods(handler: type[RequestHandler]) -> tuple[str, ...]:
    """Return the HTTP methods that `handler` defines, in the order of Tornado's list."""
    return tuple(method for method in handler.SUPPORTED_METHODS if implements(handler, method))

"""Find the HTTP methods that a handler implements."""

from tornado.web import RequestHandler

_UNIMPLEMENTED = RequestHandler._unimplemented_method


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

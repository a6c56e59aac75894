"""The ceiling: a Tornado handler that only checks the signature."""

from benchmarks.references.common import SignedHandler, serve


class Ceiling(SignedHandler):
    async def post(self) -> None:
        self.write({"outcome": "checked"})


if __name__ == "__main__":
    serve(Ceiling)

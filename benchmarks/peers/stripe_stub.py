"""Answer dj-stripe's requests for the PaymentIntents of the benchmark's events."""

import asyncio
import os

from tornado.web import Application, RequestHandler

from benchmarks.requests import payment_intent


class PaymentIntentHandler(RequestHandler):
    def get(self, intent_id: str) -> None:
        self.write(payment_intent(intent_id))


async def main() -> None:
    application = Application([(r"/v1/payment_intents/(\w+)", PaymentIntentHandler)])
    application.listen(int(os.environ["PORT"]), "127.0.0.1")
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())

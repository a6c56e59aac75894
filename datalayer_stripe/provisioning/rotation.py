"""Roll the signing secret of the webhook without a delivery that the service refuses.

Stripe returns a signing secret only when an endpoint is created. So a rotation creates a second
endpoint with the same URL, the successor, and deletes the first one in the end. Both are sent each
event under the same event id, which the service processes once.

All state is at Stripe and in the environment file: the successor is marked in its metadata, and
the digests in the metadata say which secret belongs to which endpoint. :meth:`Rotation.run` does
what is left, whatever a run before it has done.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from pydantic import SecretStr

from ..errors import DatalayerStripeError, StartError
from ..settings_checks import MAX_SIGNING_SECRETS
from ..stripe_api.client import StripeClient
from ..stripe_api.webhook_endpoints import WebhookEndpointCalls
from .delivery_problems import Problem
from .endpoint_base import DESCRIPTION, MANAGED_BY, MANAGER, secret_digest
from .env_file import EnvFile
from .event_destination import list_visible_destinations
from .pending_deliveries import KnownEvents, PendingDeliveries, Timing
from .rotation_state import EVERY_TYPE, REPLACED_DIGESTS, RotationState
from .rotation_steps import ACCEPTED_IN_A_ROW, beside, describe_types, remaining_steps
from .round_trip import Attempt, RoundTrip, wait_until_accepted
from .webhook_endpoints import (
    IDLE_TYPES,
    ROTATION,
    SUCCESSOR,
    WebhookEndpoint,
    list_endpoints,
    parse_endpoint,
    record_secret,
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RotationTarget:
    """What is rotated.

    Attributes:
        url: The URL of the webhook.
        events: The event types that the plugins want.
        api_version: The API version of the successor.
        variable: The variable of the environment file with the signing secrets.
    """

    url: str
    events: tuple[str, ...]
    api_version: str
    variable: str


class Rotation:
    """Rolls the signing secret of one webhook.

    Args:
        client: The client of Stripe's API.
        file: The environment file that the service reads.
        target: What is rotated.
        round_trip: Sends test events to the URL.
        timing: How to wait.
        known_events: Returns which events the service has in its database and needs no further
            delivery of. None if the database cannot be read.
        say: Called with each step, for the operator.
    """

    def __init__(
        self,
        client: StripeClient,
        file: EnvFile,
        target: RotationTarget,
        round_trip: RoundTrip,
        timing: Timing,
        *,
        known_events: KnownEvents | None,
        say: Callable[[str], None],
    ) -> None:
        self._client = client
        self._calls = WebhookEndpointCalls(client.transport)
        self._file = file
        self._target = target
        self._round_trip = round_trip
        self._timing = timing
        self._deliveries = PendingDeliveries(self._calls, timing, known_events)
        self._say = say

    async def steps(self) -> list[str]:
        """Return the steps that are left, and change nothing.

        Raises:
            StartError: There is no endpoint at the URL.
            RequestError: Stripe refuses a request or does not answer.
        """
        state, target = await self._state(), self._target
        return remaining_steps(state, url=target.url, events=target.events, path=self._file.path)

    async def run(self) -> bool:
        """Do what is left, as far as possible now.

        Returns:
            Whether the rotation is complete. If not, the operator was told what to do before the
            next run.

        Raises:
            StartError: There is no endpoint at the URL, or the file cannot be read or written.
            RequestError: Stripe refuses a request or does not answer.
        """
        state = await self._state()
        successor = state.successor
        if successor is None:
            await self._delete_unusable(state)
            successor = await self._create(state)
        if successor.is_idle and state.is_secret_lost:
            # Once the service is started with the file, it refuses what the old endpoint delivers.
            # So the new one has to be sent the events before: one of the two is always accepted.
            successor = await self._enable(successor, state)
        # Also before a deletion: the service may have been started with older secrets meanwhile.
        if (successor.is_idle or state.replaced) and not await self._is_accepted(successor):
            return False
        if successor.is_idle:
            successor = await self._enable(successor, state)
        if state.replaced:
            if not await self._are_deliveries_done(state):
                return False
            for endpoint in state.replaced:
                await self._calls.delete(endpoint.id)
                self._say(f"Deleted the old endpoint {endpoint.id}.")
        self._remove_secrets(successor)
        await self._calls.update(successor.id, {"metadata": {ROTATION: "", REPLACED_DIGESTS: ""}})
        self._say(
            f"The rotation is complete: {successor.id} is the endpoint. The service forgets the "
            "old secret at its next start."
        )
        return True

    @property
    def _secrets(self) -> list[SecretStr]:
        """The signing secrets in the file."""
        value = self._file.get(self._target.variable) or ""
        return [SecretStr(one.strip()) for one in value.split(",") if one.strip()]

    async def _state(self) -> RotationState:
        endpoints = await list_endpoints(self._client)
        destinations = await list_visible_destinations(self._client)
        state = RotationState.of(endpoints, destinations, self._target.url, self._secrets)
        if state.successor is None and not state.replaced:
            raise StartError(
                f"Stripe has no webhook endpoint for {self._target.url}. Check the URL, and "
                "whether the key is of the right account and mode. `datalayer-stripe setup` "
                "creates the endpoint."
            )
        return state

    async def _delete_unusable(self, state: RotationState) -> None:
        """Delete successors whose secret was lost when a run ended before it was written."""
        for endpoint in state.unusable:
            await self._calls.delete(endpoint.id)
            self._say(f"Deleted {endpoint.id}, whose secret an interrupted run has not written.")

    async def _create(self, state: RotationState) -> WebhookEndpoint:
        """Create the successor, disabled, and write its secret to the file."""
        if len(state.secrets) >= MAX_SIGNING_SECRETS:
            raise StartError(
                f"{self._file.path} has {len(state.secrets)} signing secrets, and the service "
                "accepts no more. Remove those of endpoints that do not exist any more."
            )
        idle_type = next(one for one in IDLE_TYPES if one not in self._target.events)
        metadata = {MANAGED_BY: MANAGER, ROTATION: SUCCESSOR}
        if digests := state.replaced_digests:
            metadata[REPLACED_DIGESTS] = ",".join(digests)
        created = parse_endpoint(
            await self._calls.create(
                url=self._target.url,
                enabled_events=[idle_type],
                api_version=self._target.api_version,
                description=DESCRIPTION,
                metadata=metadata,
            )
        )
        if created.secret is None:
            raise StartError("Stripe's answer does not contain the secret of the new endpoint.")
        try:
            endpoint = await record_secret(self._client, created, created.secret, disabled=True)
            values = [one.get_secret_value() for one in (created.secret, *self._secrets)]
            self._file.set(self._target.variable, ",".join(values))
            self._file.write()
        except BaseException:
            await self._delete_quietly(created)
            raise
        self._say(
            f"Created the endpoint {endpoint.id}, disabled, and wrote its secret to "
            f"{self._file.path}{beside(state)}."
        )
        return endpoint

    async def _delete_quietly(self, endpoint: WebhookEndpoint) -> None:
        try:
            await self._calls.delete(endpoint.id)
        except DatalayerStripeError:
            logger.warning("the unused endpoint stays; the next run deletes it")

    async def _is_accepted(self, successor: WebhookEndpoint) -> bool:
        """Check that the running service accepts the successor's secret."""
        secret = next(one for one in self._secrets if successor.has_secret(one))

        async def send() -> Attempt:
            return await self._round_trip.accepts(secret, times=ACCEPTED_IN_A_ROW)

        attempt = await wait_until_accepted(
            send, seconds=self._timing.wait, sleep=self._timing.sleep
        )
        if attempt.problem is None:
            self._say(f"The service accepts the new secret ({ACCEPTED_IN_A_ROW} test events).")
            return True
        if attempt.problem is Problem.SIGNATURE:
            self._say(
                f"Now restart the service with {self._file.path}: it does not know the new secret "
                "yet."
            )
        else:
            self._say(f"A test event does not reach the service. {attempt.explanation}")
        if successor.is_idle:
            self._say(f"Until then nothing changes: Stripe sends nothing to {successor.id}.")
        else:
            self._say("Until then the old endpoint stays, and Stripe sends each event to both.")
        self._say("Then run this command again.")
        return False

    async def _enable(self, successor: WebhookEndpoint, state: RotationState) -> WebhookEndpoint:
        events = list(state.events(self._target.events))
        updated = await self._calls.update(
            successor.id, {"enabled_events": events, "disabled": False}
        )
        types = describe_types(state, self._target.events)
        self._say(
            f"Enabled {successor.id} for {types}. Stripe sends each event to both endpoints now, "
            "and the service processes it once."
        )
        return parse_endpoint(updated)

    async def _are_deliveries_done(self, state: RotationState) -> bool:
        """Wait until no event would be lost with the old endpoint."""
        types = {*self._target.events, *state.events(self._target.events)} - {EVERY_TYPE}
        pending = await self._deliveries.wait(sorted(types))
        if not pending:
            self._say("No delivery to the old endpoint is pending.")
            return True
        others = ", ".join(one.id for one in state.others)
        hint = f" They may also be pending for {others}." if others else ""
        self._say(
            f"{len(pending)} events are not delivered yet, such as {min(pending)}.{hint} Stripe "
            "retries them; `datalayer-stripe reconcile` processes them now. Then run this command "
            "again. Until then Stripe sends each event to both endpoints."
        )
        return False

    def _remove_secrets(self, successor: WebhookEndpoint) -> None:
        """Remove the secrets of the replaced endpoints from the file."""
        digests = successor.metadata.get(REPLACED_DIGESTS, "").split(",")
        secrets = self._secrets
        kept = [one for one in secrets if secret_digest(one) not in digests]
        if len(kept) < len(secrets):
            self._file.set(self._target.variable, ",".join(one.get_secret_value() for one in kept))
            self._file.write()
            self._say(f"Removed the old secret from {self._file.path}.")
        if len(kept) > 1:
            self._say(
                f"{self._file.path} has {len(kept)} signing secrets. The first one is that of "
                f"{successor.id}. Remove those of endpoints that do not exist any more."
            )

"""The command `setup`: set up a Stripe account, and write the environment file."""

import os
import shlex
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import click

from ..configuration import PluginSources
from ..errors import DatalayerStripeError, Fault, SettingsError, StripePermissionMissing
from ..logs import configure_logging
from ..metrics import Metrics
from ..provisioning.env_file import EnvFile
from ..provisioning.offers import CURRENCY, Offer, Offers, parse_amount, parse_package
from ..provisioning.setup import SetupRequest, plan_file, plan_setup
from ..provisioning.steps import Action, Result, Save, Step, Variables, apply_steps
from ..settings import Settings, read_environment, variable
from ..settings_fields import cleaned, variable_of
from ..store.connect import MEMORY_URL
from ..stripe_api.account_setup import AccountSetupCalls
from ..stripe_api.client import StripeClient
from .common import DIFFERENCES_EXIT_CODE, fail, run
from .output.formats import Format
from .output.tables import Column, print_detail, print_rows, print_table
from .output.terminal import print_line, print_paragraph, styled
from .setup_inputs import Inputs, read_inputs, webhook_url

_BY_HAND_EXIT_CODE = 1
_LIVE = "live"
_STRIPE_API = "https://api.stripe.com"
_SERVE = "`datalayer-stripe serve` runs the service"
_DOCTOR = "`datalayer-stripe doctor`"
_MONGODB_URL = variable("stripe_mongodb_url")
_ADD = "Add the URL of a replica set to the file."

_COLUMNS: Sequence[Column[Step]] = (
    Column("action", lambda one: one.action, head="ACTION"),
    Column("subject", lambda one: one.subject, head="WHAT"),
    Column("detail", lambda one: one.detail, head="DETAIL"),
    Column("by_hand", lambda one: one.by_hand if one.action is Action.BY_HAND else ""),
)

_DONE = {Action.CREATE: "created", Action.CHANGE: "changed"}


def setup(  # noqa: PLR0913, PLR0917 (one parameter for each option)
    packages: tuple[str, ...],
    plan: str | None,
    currency: str,
    url: str | None,
    thin: bool,
    env_file: Path,
    dry_run: bool,
    yes: bool,
    confirm: str | None,
    output: Format,
) -> None:
    """Set up a Stripe account, and write the environment file of `serve`."""
    if output is not Format.TEXT and not dry_run:
        raise click.UsageError("Use --json and --csv together with --dry-run.")
    configure_logging(level="CRITICAL")  # the command prints all errors itself
    offers = _offers(packages, plan, currency)
    webhook = _webhook(url)
    if thin and webhook is None:
        raise click.BadParameter("needs --url, to which Stripe sends them.", param_hint="--thin")
    try:
        file = EnvFile.read(env_file)
        inputs = read_inputs(file, read_environment().values, _ask)
        events = PluginSources.from_environment({**os.environ, **dict(file)}).load().types
    except DatalayerStripeError as error:
        fail(str(error))
    request = SetupRequest(offers, webhook, events, inputs.configured, thin)
    is_agreed = confirm == _LIVE if inputs.livemode else yes
    if dry_run:
        work = _show_plan(file, inputs, request, output)
    else:
        work = _set_up(file, inputs, request, is_agreed=is_agreed)
    if not run(work):
        sys.exit(_BY_HAND_EXIT_CODE)


def _offers(packages: Sequence[str], plan: str | None, currency: str) -> Offers:
    code = currency.lower()
    if not CURRENCY.fullmatch(code):
        raise click.BadParameter("use three letters such as usd.", param_hint="--currency")
    try:
        offers = [parse_package(text, code) for text in packages]
    except ValueError as error:
        raise click.BadParameter(f"{error}.", param_hint="--package") from None
    if len({one.lookup_key for one in offers}) < len(offers):
        raise click.BadParameter(
            "two packages have the same number of credits.", param_hint="--package"
        )
    try:
        monthly = Offer.plan(code, parse_amount(plan, code)) if plan is not None else None
    except ValueError as error:
        raise click.BadParameter(f"{error}.", param_hint="--plan") from None
    return Offers(offers, monthly)


def _webhook(url: str | None) -> str | None:
    try:
        return webhook_url(url) if url is not None else None
    except ValueError as error:
        raise click.BadParameter(f"{error}.", param_hint="--url") from None


def _ask(question: str, hidden: bool) -> str:
    """Ask for a value on a terminal. Return an empty string if there is none."""
    if not sys.stdin.isatty():
        return ""
    explanation, _, name = question.rpartition("\n")
    print_paragraph(explanation, err=True)
    answer: str = click.prompt(name, hide_input=hidden, err=True)
    return answer


async def _set_up(file: EnvFile, inputs: Inputs, request: SetupRequest, *, is_agreed: bool) -> bool:
    """Plan, show, ask and change. Return whether nothing is left to be done by hand."""
    async with _client(inputs) as client:
        await _print_account(client, inputs)
        steps = await _plan(client, file, inputs, request)
        print_table(_COLUMNS, steps)
        pending = _pending(steps)
        print_line()
        if pending and not is_agreed:
            _ask_to_go_on(_summary(pending), inputs)
        results = await apply_steps(steps, save=_saver(file), on_result=_print_result)
    if not pending:
        print_line("Nothing to change.")
    _print_by_hand(results)
    _print_next(file)
    return not any(one.problem for one in results)


async def _show_plan(file: EnvFile, inputs: Inputs, request: SetupRequest, output: Format) -> bool:
    """Print the plan, and return whether nothing is left to do by hand.

    End the command with exit code 3 if something is to be changed.
    """
    async with _client(inputs) as client:
        if output is Format.TEXT:
            await _print_account(client, inputs)
        steps = await _plan(client, file, inputs, request)
    pending = _pending(steps)
    by_hand = [one for one in steps if one.action is Action.BY_HAND]
    print_rows(output, _COLUMNS, steps)
    if output is Format.TEXT:
        print_line()
        print_line(f"{_summary(pending)} Nothing was changed.")
        _print_by_hand([Result(one, one.detail, one.by_hand) for one in by_hand])
    if pending:
        sys.exit(DIFFERENCES_EXIT_CODE)
    return not by_hand


async def _plan(
    client: StripeClient, file: EnvFile, inputs: Inputs, request: SetupRequest
) -> list[Step]:
    """Return the steps, first that of the file."""
    steps = await plan_setup(client, request)
    return [plan_file(file, inputs.own, steps), *steps]


def _pending(steps: Sequence[Step]) -> list[Step]:
    return [one for one in steps if one.run is not None]


@asynccontextmanager
async def _client(inputs: Inputs) -> AsyncIterator[StripeClient]:
    client = StripeClient(inputs.api_key, metrics=Metrics(), api_base=inputs.api_base)
    try:
        yield client
    finally:
        await client.close()


async def _print_account(client: StripeClient, inputs: Inputs) -> None:
    """Print whose account it is, so that nobody sets up the wrong one.

    An address of the API that is not Stripe's is printed before the key is sent to it.
    """
    if inputs.api_base is not None and inputs.api_base != _STRIPE_API:
        print_paragraph(f"Stripe API: {inputs.api_base}, which is not Stripe's own address")
    mode = "live mode" if inputs.livemode else "test mode"
    try:
        account = await AccountSetupCalls(client.transport).retrieve_account()
    except StripePermissionMissing:  # the set-up does not need it
        print_line(f"Stripe account: {mode}")
        print_line()
        return
    dashboard = (account.get("settings") or {}).get("dashboard") or {}
    name = dashboard.get("display_name") or (account.get("business_profile") or {}).get("name")
    print_paragraph(f"Stripe account: {name or 'without a name'} ({account['id']}), {mode}")
    print_line()


def _summary(pending: Sequence[Step]) -> str:
    if not pending:
        return "Nothing to change."
    counts = Counter(one.action for one in pending)
    return ", ".join(f"{number} to {action}" for action, number in counts.items()) + "."


def _ask_to_go_on(summary: str, inputs: Inputs) -> None:
    """Ask whether to make the changes. End the command if the answer is no."""
    if inputs.livemode:
        question = f"{summary} This is live mode. Type {_LIVE} to go on"
        agreed = click.prompt(question, default="", show_default=False).strip() == _LIVE
    else:
        agreed = click.confirm(f"{summary} Go on?")
    if not agreed:
        fail("Nothing was changed.")


def _saver(file: EnvFile) -> Save:
    """Return the function that stores variables in the file at once."""

    def save(variables: Variables) -> None:
        for name, value in variables.items():
            file.set(name, value)
        if file.is_changed or not file.is_private:
            file.write()

    return save


def _print_result(result: Result) -> None:
    step = result.step
    if step.run is None:
        return  # it is listed with what has to be done by hand
    if result.problem:
        prefix = styled("not done  ", "red")
        print_paragraph(f"{step.subject}: {result.problem}", prefix=prefix)
    else:
        prefix = styled(f"{_DONE[step.action]:<8}  ", "green")
        print_paragraph(f"{step.subject}: {step.detail}", prefix=prefix)


def _print_by_hand(results: Sequence[Result]) -> None:
    """Print what people have to do themselves."""
    todo = [one for one in results if one.problem and one.by_hand]
    if todo:
        print_line()
        print_line("To be done by hand, then run this command again:")
    for result in todo:
        print_paragraph(f"{result.step.subject}: {result.problem}", prefix="  ")
        print_detail(result.by_hand)


def _print_next(file: EnvFile) -> None:
    """Print what the file lacks, and how to run the service once it lacks nothing."""
    names = {variable_of(field) for field in Settings.model_fields.values()}
    values = {name: value for name, value in file if name in names}
    faults: list[Fault] = []
    try:
        settings = Settings(**cleaned(Settings, values))
    except SettingsError as error:
        faults = error.faults
    else:
        if settings.stripe_mongodb_url.get_secret_value().startswith(MEMORY_URL):
            faults = [Fault(_MONGODB_URL, "is memory://, which forgets all credits at exit", _ADD)]
    print_line()
    for fault in faults:
        print_paragraph(str(fault))
    # Not wrapped, so that it can be copied.
    print_line(f"{'Then' if faults else 'Next'}: set -a; . {shlex.quote(str(file.path))}; set +a")
    print_paragraph(f"{_SERVE}, and {_DOCTOR} checks the set-up.")

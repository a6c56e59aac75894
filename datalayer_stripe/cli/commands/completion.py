"""The command `completion`: print the script of a shell that completes commands."""

from collections.abc import Mapping

import click
from click.shell_completion import BashComplete, FishComplete, ShellComplete, ZshComplete

PROGRAM = "datalayer-stripe"
_SHELLS: Mapping[str, type[ShellComplete]] = {
    "bash": BashComplete,
    "zsh": ZshComplete,
    "fish": FishComplete,
}

# The one that click reads for this program.
_COMPLETE_VARIABLE = "_DATALAYER_STRIPE_COMPLETE"


@click.command(short_help="Print the completion script of a shell.")
@click.argument("shell", type=click.Choice(list(_SHELLS)))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print a script that lets a shell complete commands, options and values.

    \b
    Add the line of your shell to its start-up file:
      ~/.bashrc                   eval "$(datalayer-stripe completion bash)"
      ~/.zshrc, after compinit    eval "$(datalayer-stripe completion zsh)"
      ~/.config/fish/config.fish  datalayer-stripe completion fish | source
    """  # noqa: D301 (click does not wrap a paragraph after this character)
    root = ctx.find_root().command
    click.echo(_SHELLS[shell](root, {}, PROGRAM, _COMPLETE_VARIABLE).source())

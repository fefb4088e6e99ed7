"""`forebay portals`: who may call, and how each is known."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .errors import FAILED, WrongUsage
from .invocation import invocation
from .options import AsJson, Yes
from .terminal.asking import agreed

if TYPE_CHECKING:
    from forebay.console.settings import Settings

Portal = Annotated[str, typer.Argument(metavar="PORTAL", help="its member_id, or any domain that it has had")]
State = Annotated[str | None, typer.Option(help="verified, waiting, refused, left")]
ClientId = Annotated[str | None, typer.Option(help="whose token it is; by default that of the only endpoint")]
TokenFile = Annotated[
    Path | None, typer.Option(help="where the token stands, - for standard input; without it you are asked")
]


def commands() -> typer.Typer:
    """The five commands."""
    group = typer.Typer(no_args_is_help=True)

    @group.command("list")
    def _list(context: typer.Context, state: State = None, as_json: AsJson = False) -> None:
        """Show every portal that the registry knows."""
        from .known_portals import STATES, summaries
        from .running import run
        from .terminal.output import show

        if state is not None and state not in STATES:
            raise WrongUsage(f"--state: there are {', '.join(STATES)}")
        rows = run(summaries(invocation(context).settings()))
        show([row for row in rows if state in (None, row["state"])], as_json=as_json, nothing="no portal is known")

    @group.command("show")
    def _show(context: typer.Context, portal: Portal, as_json: AsJson = False) -> None:
        """Show what is known of a portal, a row for each of its tokens. No token is shown: none is kept."""
        from .known_portals import details
        from .running import run
        from .terminal.output import show

        show(run(details(invocation(context).settings(), portal)), as_json=as_json, nothing="it has no token")

    @group.command("add")
    def _add(
        context: typer.Context,
        member_id: Annotated[str, typer.Argument(metavar="MEMBER_ID", help="the portal's")],
        domain: Annotated[str, typer.Option(help="under which its events stand")],
        client_id: ClientId = None,
        token_file: TokenFile = None,
    ) -> None:
        """Let a portal in by an application token that was learned another way, as from a webhook's page."""
        from .known_portals import add
        from .running import run
        from .terminal.output import note

        settings = invocation(context).settings()
        given = _application(settings, client_id)
        run(add(settings, given, member_id, domain, _token(token_file)))
        note(f"portal {member_id} may call with this token; ingests that run know it within two seconds")

    @group.command("forget")
    def _forget(
        context: typer.Context,
        portal: Portal,
        yes: Yes = False,
    ) -> None:
        """Take back everything that is known of a portal: its tokens, its domains, and the keys of its secrets."""
        from .known_portals import forget
        from .running import run
        from .terminal.output import note

        settings = invocation(context).settings()
        if not agreed(f"forget {portal}? Secrets that were sealed for it can't be opened any more", yes=yes):
            return
        note(f"portal {run(forget(settings, portal))} is forgotten; its next call is that of a new one")

    @group.command("verify")
    def _verify(
        context: typer.Context,
        portal: Annotated[str | None, typer.Argument(metavar="PORTAL", help="one alone")] = None,
        as_json: AsJson = False,
    ) -> None:
        """Ask the OAuth servers now about tokens that wait. Exit status 1 when some still do."""
        from .known_portals import verify
        from .running import run
        from .terminal.output import show

        rows = run(verify(invocation(context).settings(), portal))
        show(rows, as_json=as_json, nothing="no token waits")
        if any(row["outcome"] != "confirmed" for row in rows):
            raise typer.Exit(FAILED)

    return group


def _application(settings: "Settings", client_id: str | None) -> str:
    known = sorted({endpoint.client_id for endpoint in settings.served if "registry" in endpoint.auth})
    if client_id is None and len(known) == 1:
        return known[0]
    if client_id is None or client_id not in known:
        there_are = f"there are {', '.join(known)}" if known else 'no endpoint has auth = "registry"'
        raise WrongUsage(f"--client-id: say of which endpoint's application the token is; {there_are}")
    return client_id


def _token(file: Path | None) -> str:
    """The token. Never from an argument, which others of this machine can see."""
    if file is None:
        return str(typer.prompt("application token", hide_input=True, err=True)).strip()
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise WrongUsage(f"--token-file: {file} can't be read ({type(error).__name__})") from None
    if not text.strip():
        raise WrongUsage(f"--token-file: there is no token in {file}")
    return text.strip()

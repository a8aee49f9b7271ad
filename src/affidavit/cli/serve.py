"""``affidavit serve``: the HTTP service and its console."""

from __future__ import annotations

import importlib.util
import logging
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from affidavit.cli import _common as common
from affidavit.errors import ConfigError, MissingExtra

if TYPE_CHECKING:
    from affidavit.console.config import ServeConfig

_PACKAGES = ("fastapi", "jinja2", "joserfc", "python_multipart", "uvicorn")
_SECRET = "AFFIDAVIT_SERVE_OIDC_SECRET"  # noqa: S105 - the name of a variable


def serve(  # noqa: PLR0913, PLR0917 - options are given by name
    host: Annotated[
        str | None,
        typer.Option(
            "--host", help="Address to listen on; 127.0.0.1 by default.", show_default=False
        ),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            "--port", help="Port, 8787 by default; 0 takes any free one.", show_default=False
        ),
    ] = None,
    tls_cert: Annotated[
        Path | None, typer.Option("--tls-cert", help="Certificate (PEM).", show_default=False)
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option("--tls-key", help="Its private key (PEM).", show_default=False)
    ] = None,
    behind_proxy: Annotated[
        list[str] | None,
        typer.Option(
            "--behind-proxy",
            help="Address or network of a proxy that speaks TLS to the outside; again for more.",
            show_default=False,
        ),
    ] = None,
    public_url: Annotated[
        str | None,
        typer.Option(
            "--public-url",
            help="How browsers reach it: https://audit.example.org.",
            show_default=False,
        ),
    ] = None,
    oidc_issuer: Annotated[
        str | None,
        typer.Option("--oidc-issuer", help="Log-in by OpenID Connect there.", show_default=False),
    ] = None,
    oidc_client_id: Annotated[
        str | None,
        typer.Option(
            "--oidc-client-id",
            help=f"This service's name there. Its secret, if it has one, is in {_SECRET}.",
            show_default=False,
        ),
    ] = None,
    oidc_host: Annotated[
        list[str] | None,
        typer.Option(
            "--oidc-host", help="A further host of the issuer, as of its keys.", show_default=False
        ),
    ] = None,
    oidc_roles_claim: Annotated[
        str | None,
        typer.Option(
            "--oidc-roles-claim",
            help="Claim with roles or groups; affidavit_role by default.",
            show_default=False,
        ),
    ] = None,
    oidc_role: Annotated[
        list[str] | None,
        typer.Option(
            "--oidc-role",
            help="GROUP=ROLE: the role of a group; again for more.",
            show_default=False,
        ),
    ] = None,
    oidc_default_role: Annotated[
        str | None,
        typer.Option(
            "--oidc-default-role", help="Role of whoever has none by a claim.", show_default=False
        ),
    ] = None,
    oidc_departments_claim: Annotated[
        str | None,
        typer.Option(
            "--oidc-departments-claim",
            help="Claim with the departments that somebody may see.",
            show_default=False,
        ),
    ] = None,
    oidc_tenants_claim: Annotated[
        str | None,
        typer.Option(
            "--oidc-tenants-claim",
            help="Claim with the tenants that somebody may see.",
            show_default=False,
        ),
    ] = None,
    oidc_ca: Annotated[
        Path | None,
        typer.Option(
            "--oidc-ca", help="Certificates to believe for the issuer (PEM).", show_default=False
        ),
    ] = None,
    language: Annotated[
        str | None,
        typer.Option(
            "--language", help="en or es, where a browser asks for neither.", show_default=False
        ),
    ] = None,
    state_dir: Annotated[
        Path | None,
        typer.Option("--state-dir", help="Folder for exports under way.", show_default=False),
    ] = None,
    max_body_bytes: Annotated[
        int | None,
        typer.Option(
            "--max-body-bytes",
            help="Largest request, in bytes; 16 MiB by default.",
            show_default=False,
        ),
    ] = None,
    requests_per_minute: Annotated[
        int | None,
        typer.Option(
            "--requests-per-minute",
            help="Of one token or session; 60,000 by default.",
            show_default=False,
        ),
    ] = None,
    open_metrics: Annotated[
        bool | None,
        typer.Option(
            "--open-metrics/--no-open-metrics",
            help="Give /metrics without a token, on 127.0.0.1 only; not by default.",
            show_default=False,
        ),
    ] = None,
    schedules: Annotated[
        bool | None,
        typer.Option(
            "--schedules/--no-schedules",
            help="Seal, keep rollups up, verify, anchor and watch in this process, as by default.",
            show_default=False,
        ),
    ] = None,
    access_log: Annotated[
        bool, typer.Option("--access-log", help="Write each access to standard error.")
    ] = False,
    new_link: Annotated[
        bool,
        typer.Option("--new-link", help="Print a new link, for an administrator locked out."),
    ] = False,
    uri: common.Uri = None,
    collection: common.Collection = None,
) -> None:
    """Serve the console and the HTTP API until stopped; seal, keep rollups up and watch the log.

    Listens on 127.0.0.1 unless told otherwise; elsewhere only with TLS or behind a proxy. At the
    first start it prints a link for the first administrator, which works once, for an hour.

    Most options are settings too: the table [serve] of affidavit.toml, or AFFIDAVIT_SERVE_PORT.
    """
    _need_extras()
    from affidavit.console.settings import load

    config = common.settings(collection)
    served = load(
        host=host,
        port=port,
        tls_cert=tls_cert,
        tls_key=tls_key,
        behind_proxy=behind_proxy or None,
        public_url=public_url,
        oidc_issuer=oidc_issuer,
        oidc_client_id=oidc_client_id,
        oidc_host=oidc_host or None,
        oidc_roles_claim=oidc_roles_claim,
        oidc_role=[_pair(each) for each in oidc_role] if oidc_role else None,
        oidc_default_role=oidc_default_role,
        oidc_departments_claim=oidc_departments_claim,
        oidc_tenants_claim=oidc_tenants_claim,
        oidc_ca=oidc_ca,
        language=language,
        state_dir=state_dir,
        max_body_bytes=max_body_bytes,
        requests_per_minute=requests_per_minute,
        open_metrics=open_metrics,
        schedules=schedules,
    )
    if access_log:
        _log_accesses()
    _run(served, config, common.address(uri), new_link=new_link)


def _run(served: ServeConfig, config: Any, uri: str, *, new_link: bool) -> None:
    from affidavit.cli import _output as output
    from affidavit.console.app import create_app
    from affidavit.console.auth.oidc import BACK
    from affidavit.console.listen import address_of, listening, server_of

    sock = listening(served)
    app = create_app(served, config, uri)
    address = address_of(served, sock)
    app.state.backend.address = address
    schedules = app.state.schedules
    schedules.new_link = new_link

    def tell(link: str) -> None:
        output.say("The first administrator comes in by this link, once, within an hour:")
        output.say(link)
        output.flush()

    schedules.tell_link = tell
    server = server_of(served, app)

    def end(*_: object) -> None:
        server.should_exit = True

    # The server sends itself again what ended it, once all is closed: that ends nothing any more.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    output.say(f"The console is at {address} (Ctrl-C ends it).")
    if served.oidc and served.public_url is None:
        output.say(
            f"The issuer must allow {address}{BACK}: browsers of other machines need --public-url."
        )
    output.flush()
    server.run(sockets=[sock])


def _log_accesses() -> None:
    log, handler = logging.getLogger("affidavit.access"), logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False


def _need_extras() -> None:
    """Raise MissingExtra when what the service needs is not installed."""
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        msg = (
            f"the service needs {', '.join(missing)}, which the library does not. Run: "
            'pip install "affidavit[serve]"'
        )
        raise MissingExtra(msg)


def _pair(text: str) -> tuple[str, str]:
    group, mark, role = text.rpartition("=")
    if not mark or not group or not role:
        msg = f"--oidc-role {text!r}: write GROUP=ROLE, as in audit-team=auditor."
        raise ConfigError(msg)
    return group, role

"""What the commands have in common: which site is measured, with which settings, and where results go."""

from __future__ import annotations

import functools
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from bench import measure, results, site

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from bench.site import Site
    from pouw.local.servers import LocalServers

Command = TypeVar("Command", bound="Callable[..., Any]")
OUT = Path("var/bench")


@dataclass(frozen=True, slots=True)
class Target:
    """A site to measure: a URL with or without its database, or a node of our own with these settings."""

    url: str | None = None
    database: str | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    postgres: Mapping[str, str] = field(default_factory=dict)
    out: Path = OUT

    @contextmanager
    def servers(self) -> Iterator[LocalServers]:
        """Run embedded servers; only for commands that start every site themselves."""
        click.echo("starting servers …", err=True)
        with site.servers(self.postgres) as running:
            yield running

    @contextmanager
    def open(self) -> Iterator[Site]:
        """Give the site: the one at the URL, or a node that runs until the end of the block."""
        if self.url is not None:
            yield site.Site(self.url, self.database)
            return
        with self.servers() as running, site.node(running, **self.settings) as node:
            yield node


def out_option(command: Command) -> Command:
    """Add --out."""
    add = click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=OUT, show_default=True,
                       help="The folder of the result files.")  # fmt: skip
    return add(command)


def own_options(command: Command) -> Command:
    """Add the options of commands that start their own node; they arrive as ``target``."""
    return _options(command, urls=False)


def site_options(command: Command) -> Command:
    """Add the options of commands that measure any site; they arrive as ``target``."""
    return _options(command, urls=True)


def _options(command: Command, *, urls: bool) -> Command:
    @functools.wraps(command)
    def collected(
        *,
        out: Path,
        settings: Sequence[str],
        postgres: Sequence[str],
        url: str | None = None,
        database: str | None = None,
        **rest: Any,
    ) -> Any:
        if database is not None and url is None:
            raise click.UsageError("--database belongs to --url.")
        if url is not None and (settings or postgres):
            raise click.UsageError("--set and --postgres are for a node that is started here, not for --url.")
        target = Target(url, database, _pairs(settings), _pairs(postgres), out)
        return command(target=target, **rest)

    wrapped = out_option(collected)
    for add in reversed(_URLS if urls else ()):
        wrapped = add(wrapped)
    for add in reversed(_SETTINGS):
        wrapped = add(wrapped)
    return wrapped  # type: ignore[return-value]  # click's own decorators change the type in the same way


_URLS = (
    click.option("--url", help="A node that runs already, such as http://127.0.0.1:8080; else one is started."),
    click.option("--database", help="The database of --url, for the audit. Nobody else may submit meanwhile."),
)
_SETTINGS = (
    click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="A setting, such as workers=2."),
    click.option("--postgres", multiple=True, metavar="NAME=VALUE", help="A setting of PostgreSQL."),
)


def conclude(
    target: Target, name: str, options: Mapping[str, Any], runs: Sequence[dict[str, Any]], **content: Any
) -> None:
    """Write the result file; fail where an audit did."""
    results.write(target.out, name, options, {**content, "runs": list(runs)})
    if measure.failed(runs):
        raise click.ClickException("The audit of the database found faults; see above.")


def _pairs(texts: Sequence[str]) -> dict[str, str]:
    pairs = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise click.UsageError(f"{text!r} is not NAME=VALUE.")
        pairs[name.lower().removeprefix("pouw_")] = value
    return pairs

"""`ad-urls`: tracking URLs for an ad server, printed."""

import json
import re
from pathlib import Path
from typing import Final

import click

from gateway.ad_urls import CLICK_THROUGH, IMPRESSION, Ad, ad_urls, vast
from gateway.command import config_option, settings_of
from ingest.click import TargetRefused, Targets
from ingest.decode.vast import parameters
from ingest.keyring import PUBLIC_PREFIX

_BASE: Final = re.compile(r"https?://[A-Za-z0-9.:\[\]-]+(?:/[A-Za-z0-9._~/-]*)?")
_DURATION: Final = re.compile(r"\d{1,6}(?:\.\d{1,3})?|\d\d:\d\d:\d\d(?:\.\d{1,3})?", re.ASCII)


@click.command("ad-urls")
@config_option
@click.option("--base", required=True, help="The door as players reach it: https://ingest.example")
@click.option("--campaign", required=True, type=click.UUID, help="Its id in ad_campaigns.")
@click.option("--creative", default="", help="Any text of at most 100 characters.")
@click.option("--content", type=click.UUID, help="What the ad is shown in.")
@click.option("--duration", default="", help="Of the ad: seconds, or HH:MM:SS.")
@click.option("--key", default="", help="A public write key, where the door asks for one.")
@click.option("--impression", default=IMPRESSION, show_default=True, help="What the ad server puts a new UUID for.")
@click.option("--click-through", default="", help="Where viewers who click are sent, by way of us.")
@click.option("--media", default="https://cdn.example/ad.mp4", show_default=True, help="Where the MP4 lies.")
@click.option("--vast", "only_vast", is_flag=True, help="Only the VAST document.")
@click.option("--json", "as_json", is_flag=True, help="Only the URLs, for machines.")
def ad_urls_command(
    config: Path | None,
    base: str,
    campaign: object,
    creative: str,
    content: object,
    duration: str,
    key: str,
    impression: str,
    click_through: str,
    media: str,
    only_vast: bool,
    as_json: bool,
) -> None:
    """Print the tracking URLs of an ad, event by event, and a VAST document of them.

    A target that --click-through names is signed with ads.click_secret, or is on one of ads.click_hosts.
    """
    ads = settings_of(config).ads
    if not _BASE.fullmatch(base):
        raise click.UsageError("--base is no http or https URL")
    if duration and not _DURATION.fullmatch(duration):
        raise click.UsageError("--duration is neither seconds nor HH:MM:SS")
    if key and not key.startswith(PUBLIC_PREFIX):  # a secret one would stand in every page
        raise click.UsageError(f"--key is no public write key: those begin with {PUBLIC_PREFIX}")
    if len(creative) > 100:
        raise click.UsageError("--creative has more than 100 characters")
    ad = Ad(
        base=base, campaign=str(campaign), creative=creative, content=str(content or ""), duration_s=duration,
        key=key, impression=impression,
    )  # fmt: skip
    urls = ad_urls(ad, click_through=click_through, click_secret=ads.click_secret)
    if click_through:
        try:
            Targets(ads.click_secret, ads.click_hosts).location(parameters(urls[CLICK_THROUGH].partition("?")[2]))
        except TargetRefused as refused:
            raise click.UsageError(f"--click-through: {refused} Set ads.click_secret or ads.click_hosts.") from refused
    document = vast(ad, urls, media=media)
    if as_json:
        click.echo(json.dumps(urls, indent=2))
    elif only_vast:
        click.echo(document, nl=False)
    else:
        width = max(map(len, urls))
        click.echo("\n".join(f"{event:{width}}  {url}" for event, url in urls.items()))
        click.echo(f"\n{document}", nl=False)

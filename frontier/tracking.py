"""Query parameters that only tell who sent the visitor: no part of what a URL identifies. Pure.

The list is explicit, fixed and short. A parameter is on it when its name is known to be added by an
advertiser, a mailing or an analytics script for the reading of a script, and is too odd to mean
anything else; ``ref``, ``source``, ``campaign``, ``id`` and session ids are not, as sites do give
other pages for those. It is no setting: a URL has one identity in a frontier and in all tables.
"""

from __future__ import annotations

from typing import Final

PREFIXES: Final = ("utm_", "mtm_")  # Google Analytics, and all that took its names over; Matomo
BY_OWNER: Final = {
    "Google": "gclid gclsrc dclid gbraid wbraid gad_source gad_campaignid srsltid _ga _gl",
    "Meta": "fbclid igsh igshid",
    "Microsoft": "msclkid",
    "Yandex": "yclid ysclid _openstat",
    "X, TikTok, LinkedIn": "twclid ttclid li_fat_id",
    "Pinterest, Snapchat, Reddit": "epik sccid rdt_cid",
    "Taboola, Outbrain": "tblci dicbo",
    "Adobe, Marketo": "ef_id s_kwcid mkt_tok",
    "Impact, CJ, Wicked Reports": "irclickid cjevent wickedid",
    "Mailchimp": "mc_cid mc_eid",
    "HubSpot": "_hsenc _hsmi __hssc __hstc __hsfp hsctatracking",
    "Vero, Omeda, Klaviyo": "vero_id vero_conv oly_anon_id oly_enc_id _kx",
    "MailerLite": "ml_subscriber ml_subscriber_hash",
    "Piwik": "pk_campaign pk_kwd pk_keyword pk_source pk_medium pk_content pk_cid",
}
NAMES: Final = frozenset(" ".join(BY_OWNER.values()).split())


def untracked(url: str) -> str:
    """A URL without fragment, less its tracking parameters; all else stays as it is, in order.

    Names count without case. A query that held nothing else goes with its ``?``.
    """
    head, _, query = url.partition("?")
    parts = query.split("&")
    kept = [part for part in parts if not _tracks(part)]
    if len(kept) == len(parts):
        return url
    return f"{head}?{'&'.join(kept)}" if kept else head


def _tracks(part: str) -> bool:
    name = part.partition("=")[0].lower()
    return name in NAMES or name.startswith(PREFIXES)

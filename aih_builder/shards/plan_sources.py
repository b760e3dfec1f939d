"""What a dataset is made of: of each pool what it is, its digest, how much there is of it, and its licences."""

from typing import Any

from aih_builder.config import Manifest
from aih_builder.hands.bringing import Brought
from aih_builder.sources.backgrounds import BackgroundPool
from aih_builder.sources.bank import Bank
from aih_builder.sources.licences import PUBLIC_DOMAIN, licence_ids
from aih_builder.sources.pose_library import PoseLibrary
from aih_builder.sources.textures import TextureSource


def state_sources(
    hand: Brought, textures: TextureSource, poses: PoseLibrary | None, bank: Bank | None
) -> dict[str, Any]:
    """What only planning knows of the pools. The rest of what `sources` tells is elsewhere in manifest and plan.json.

    poses is None where they are drawn as they are needed, bank where no stream asks for one.
    """
    entries = textures.entries
    return {
        "hand": {"licences": [hand.arrays.licence or PUBLIC_DOMAIN]} | hand.told,
        "poses": {"licences": [PUBLIC_DOMAIN]}
        if poses is None
        else {"entries": len(poses), "licences": licence_ids(poses.licence)},
        "textures": {"sets": len(entries), "licences": licence_ids(*(entry.licence for entry in entries))},
        "bank": None if bank is None else {"pictures": len(bank), "licences": licence_ids(bank.head.licence)},
    }


def sources(
    manifest: Manifest,
    stated: dict[str, Any],
    digests: dict[str, Any],
    backgrounds: BackgroundPool,
    bank: dict[str, Any] | None,
) -> dict[str, Any]:
    """Each pool of a plan, from what it states (state_sources) and the digests and records beside that."""
    pools = manifest.pools
    told: dict[str, Any] = {
        "hand": {"model": str(manifest.hands.model), "digest": digests["hand"]} | stated["hand"],
        "poses": {"source": pools.poses.source, "digest": digests["poses"]} | stated["poses"],
        "textures": {"source": pools.textures.source} | stated["textures"],
        "backgrounds": backgrounds.sources([path for path, _ in pools.backgrounds.licensed()]),
    }
    if bank is not None:
        place = {"source": "rendered"} if bank["path"] is None else {"source": "file", "path": bank["path"]}
        told["bank"] = place | {"digest": bank["digest"]} | stated["bank"]
    return told

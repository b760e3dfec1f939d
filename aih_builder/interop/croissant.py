"""A dataset's card for machines: Croissant 1.1, JSON-LD that mlcroissant reads. Written without it."""

from typing import Any

from aih_builder.interop.facts import CITATION, LIMITS, Facts
from aih_builder.interop.licence_terms import terms_of
from aih_builder.sample import SPECS, Spec

CONFORMS_TO = "http://mlcommons.org/croissant/1.1"

_LANGUAGES = {"@container": "@language"}
_CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "arrayShape": "cr:arrayShape",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "containedIn": "cr:containedIn",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "description": _LANGUAGES,
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isArray": "cr:isArray",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "name": _LANGUAGES,
    "parentField": "cr:parentField",
    "path": "cr:path",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
_TYPES = {"bool": "sc:Boolean", "float32": "cr:Float32"} | {
    f"{sign.lower()}int{bits}": f"cr:{sign}Int{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)
}
_SPLITS = {"train": "cr:TrainingSplit", "val": "cr:ValidationSplit", "test": "cr:TestSplit"}
_SHARDS = "shards"


def croissant(facts: Facts) -> dict[str, Any]:
    """The card of a dataset. A field's `column` is the HDF5 dataset of a shard that holds it: pictures and masks lie
    encoded in `blob`.
    """
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": CONFORMS_TO,
        "name": facts.name,
        "description": facts.summary,
        "version": facts.version,
        "license": [terms_of(licence).url or licence for licence in facts.licences],
        "citeAs": CITATION,
        "keywords": ["interacting hands", "amodal segmentation", "hand pose", "de-occlusion", "synthetic data"],
        **facts.published,
        "rai:dataCollection": f"{facts.making} {facts.command}",
        "rai:dataLimitations": list(LIMITS),
        "rai:personalSensitiveInformation": [facts.people],
        "distribution": [*_files(facts), _file_set()],
        "recordSet": [_splits(facts), _samples(facts)],
    }


def _files(facts: Facts) -> list[dict[str, Any]]:
    return [
        {
            "@type": "cr:FileObject",
            "@id": file.path,
            "name": file.path,
            "description": file.about,
            "contentUrl": file.path,
            "contentSize": f"{file.size} B",
            "encodingFormat": file.kind,
            "sha256": file.sha256,
        }
        for file in facts.files
    ]


def _file_set() -> dict[str, Any]:
    return {
        "@type": "cr:FileSet",
        "@id": _SHARDS,
        "name": _SHARDS,
        "description": "All shards: ENGINE/SPLIT/ENGINE-SPLIT-NUMBER.h5.",
        "encodingFormat": "application/x-hdf5",
        "includes": "*/*/*.h5",
    }


def _splits(facts: Facts) -> dict[str, Any]:
    names = [name for name in _SPLITS if facts.of_split(name)]
    return {
        "@type": "cr:RecordSet",
        "@id": "splits",
        "name": "splits",
        "description": "The splits that hold samples. They share no pose cluster, shape, skin, background or person.",
        "dataType": "cr:Split",
        "key": {"@id": "splits/name"},
        "field": [
            {"@type": "cr:Field", "@id": "splits/name", "name": "name", "dataType": "sc:Text"},
            {"@type": "cr:Field", "@id": "splits/url", "name": "url", "dataType": "sc:URL"},
        ],
        "data": [{"splits/name": name, "splits/url": _SPLITS[name]} for name in names],
    }


def _samples(facts: Facts) -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": "samples",
        "name": "samples",
        "description": f"{facts.samples} samples. Hand axis: 0 right, 1 left. Camera axes: x right, y down, z forward.",
        "key": {"@id": "samples/index"},
        "field": [_field(name, facts.size_px) for name in facts.fields],
    }


def _field(name: str, size_px: int) -> dict[str, Any]:
    spec = SPECS[name]
    field = {
        "@type": "cr:Field",
        "@id": f"samples/{name}",
        "name": name,
        "description": spec.about,
        "dataType": _data_type(name, spec),
        "source": {"fileSet": {"@id": _SHARDS}, "extract": {"column": "blob" if spec.is_image else name}},
    }
    if spec.dims:
        lengths = [str(size_px) if dim in "HW" else dim for dim in spec.dims.split()]
        field |= {"isArray": True, "arrayShape": ",".join(lengths)}
    if name == "split":
        field["references"] = {"field": {"@id": "splits/name"}}
    return field


def _data_type(name: str, spec: Spec) -> str | list[str]:
    if name == "split":
        return ["sc:Text", "cr:Split"]
    return "sc:Text" if spec.max_bytes else _TYPES[spec.dtype]

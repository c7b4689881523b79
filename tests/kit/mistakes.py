"""A table of planted mistakes: jobs that are allowed, or nearly, and what must be said about each.

Rows about names of labels and about listings, which need the service, are at the end.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from asyncfilter.sandbox.options import DEFAULT_MODEL_ARN

ROBIN = {"any": "Robin", "confidence": 80}
CUSTOM = {
    "kind": "rekognition-custom-labels",
    "model": DEFAULT_MODEL_ARN,
}


class Mistake(NamedTuple):
    """One row.

    Attributes:
        sections: Sections of the job file that differ from the default job, which has none of the mistakes.
        told: Part of the sentence that must be given.
    """

    sections: dict[str, Any]
    told: str


def _rules(*rules: dict[str, Any], **sections: Any) -> dict[str, Any]:
    return {"rules": list(rules), **sections}


CAUTIONED: dict[str, Mistake] = {
    # -- Thresholds --
    "a confidence that is a fraction": Mistake(
        _rules({"keep": {"any": "Robin", "confidence": 0.9}}), "rules[0] (keep) has confidence: 0.9"
    ),
    "a confidence of one, for all of it": Mistake(
        _rules({"keep": {"any": "Robin", "confidence": 1}}), "for nearly certain labels write 99"
    ),
    "a fraction below not": Mistake(
        _rules({"keep": {"any": "Robin", "not": {"any": "Person", "confidence": 0.5}}}), "has confidence: 0.5"
    ),
    "a confidence that everything reaches": Mistake(
        _rules({"keep": {"any": "Robin", "confidence": 0}}),
        "rules[0] (keep) has confidence: 0, which any label reaches",
    ),
    "a label twice in another case": Mistake(
        _rules({"keep": {"any": ["Robin", "Bird", "robin"]}}),
        "rules[0] (keep) has one label more than once in any (Robin, robin)",
    ),
    "a confidence that nothing reaches": Mistake(
        _rules({"keep": {"any": "Robin", "confidence": 100}}), "rules[0] (keep) has confidence: 100"
    ),
    "a rule below what the detector is asked for": Mistake(
        _rules({"keep": ROBIN}, detector={"min_confidence": 90}), "needs labels from confidence 80 on"
    ),
    "a detector threshold that is a fraction": Mistake(
        {"detector": {"min_confidence": 0.5}}, "detector.min_confidence: 0.5 is 0.5 percent"
    ),
    "more labels at once than are kept": Mistake(
        _rules({"keep": {"all": ["Robin", "Tree", "Snow", "Sky", "Grass", "Nest"]}}, detector={"max_labels": 5}),
        "needs 6 labels at once (all), but detector.max_labels: 5",
    ),
    "hardly any label kept": Mistake({"detector": {"max_labels": 1}}, "detector.max_labels: 1 keeps only"),
    # -- Rules behind others --
    "a surer rule behind a less sure one": Mistake(
        _rules({"review": {"any": "Robin", "confidence": 60}}, {"keep": {"any": "Robin", "confidence": 85}}),
        "rules[1] (keep) can never match: rules[0] (review) comes first",
    ),
    "a rule that was copied": Mistake(
        _rules({"keep": ROBIN}, {"reject": {"any": "Person"}}, {"review": ROBIN}),
        "rules[2] (review) can never match: rules[0] (keep) comes first",
    ),
    "a rule that needs more behind one that needs less": Mistake(
        _rules({"keep": {"any": ["Robin", "Bird"]}}, {"review": {"all": ["Robin", "Nest"]}}),
        "rules[1] (review) can never match",
    ),
    "an exclusion behind its opposite": Mistake(
        _rules({"keep": ROBIN}, {"reject": {"none": "Robin", "confidence": 80}}, {"review": {"any": "Cat"}}),
        "rules[2] (review) can never match: rules[0] and rules[1] come first",
    ),
    "fewer instances wanted first": Mistake(
        _rules({"keep": {"count": {"label": "Bird", "min": 1}}}, {"review": {"count": {"label": "Bird", "min": 2}}}),
        "rules[1] (review) can never match",
    ),
    "a box behind an instance": Mistake(
        _rules(
            {"keep": {"count": {"label": "Bird", "min": 1}, "confidence": 50}},
            {"review": {"area": {"label": "Bird", "min": 0.3}, "confidence": 80}},
        ),
        "rules[1] (review) can never match",
    ),
    "not without a name behind none": Mistake(
        _rules({"reject": {"none": "Bird"}}, {"review": {"not": {"any": "Bird"}}}, {"keep": {"any": "Robin"}}),
        "rules[1] (review) can never match",
    ),
    "rules that only the detector's threshold makes alike": Mistake(
        _rules({"keep": ROBIN}, {"review": {"any": "Robin", "confidence": 60}}, detector={"min_confidence": 80}),
        "rules[1] (review) can never match",
    ),
    "a category behind one that includes it": Mistake(
        _rules(
            {"keep": {"category": ["Animals and Pets", "Plants and Flowers"]}},
            {"review": {"category": "animals and pets"}},
        ),
        "rules[1] (review) can never match",
    ),
    "a rule for everything first": Mistake(
        _rules({"reject": {"not": {"all": "Robin", "none": "Robin"}}}, {"keep": ROBIN}),
        "rules[0] (reject) matches every image",
    ),
    # -- Rules by themselves --
    "a name that must and must not be there": Mistake(
        _rules({"keep": {"all": "Robin", "none": ["Robin", "Person"]}}, {"review": {"any": "Bird"}}),
        "rules[0] (keep) can never match: its conditions exclude each other",
    ),
    "a list of conditions that no image meets": Mistake(
        _rules(
            {"keep": [{"count": {"label": "Bird", "min": 3}}, {"count": {"label": "Bird", "max": 1}}]},
            {"review": ROBIN},
        ),
        "rules[0] (keep) can never match",
    ),
    "at least no instance": Mistake(
        _rules({"keep": {"count": {"label": "Robin", "min": 0}}}),
        "has count: {label: Robin, min: 0}, which holds for every image",
    ),
    "a box of any size, or none": Mistake(
        _rules({"keep": {"any": "Bird", "area": {"label": "Robin", "min": 0}}}),
        "has area: {label: Robin, min: 0}, which holds for every image",
    ),
    "one percent of the image as one": Mistake(
        _rules({"keep": {"area": {"label": "Robin", "min": 1}}}), "one percent is 0.01"
    ),
    "small birds, or none": Mistake(
        _rules({"keep": {"area": {"label": "Bird", "max": 0.5}}}), "which holds for every image without Bird as well"
    ),
    "everything kept": Mistake({"otherwise": "keep"}, "every image gets the verdict keep"),
    "categories of a model that has none": Mistake(
        _rules({"keep": {"category": "Animals and Pets"}}, {"review": ROBIN}, detector=CUSTOM),
        "a Custom Labels model belong to no category",
    ),
    # -- Actions --
    "an action on a verdict that no rule gives": Mistake(
        {"actions": {"review": {"copy": "s3://clean/{key}"}}}, "actions.review: copy is never carried out"
    ),
    "the matches deleted": Mistake(
        {"actions": {"keep": "delete"}}, "actions.keep: delete removes the images that match"
    ),
    "one target for all images": Mistake(
        {"actions": {"keep": {"copy": "s3://clean/robins.jpg"}}}, "actions.keep: all images have one target"
    ),
    "one target for all images of a label": Mistake(
        {"actions": {"keep": {"copy": "s3://clean/{label}.{ext}"}}}, "all images with one label have one target"
    ),
    "one target for all images of a format": Mistake(
        {"actions": {"keep": {"copy": "s3://clean/{name}.{ext}"}}}, "all images with one extension have one target"
    ),
    "matches and misses in one place": Mistake(
        {"actions": {"keep": {"copy": "s3://clean/{key}"}, "reject": {"copy": "s3://clean/{key}"}}},
        "actions.keep and actions.reject have the same target",
    ),
    "an action on duplicates that are examined": Mistake(
        {"source": {"uri": "s3://raw/", "duplicates": "examine"}, "actions": {"duplicate": "delete"}},
        "actions.duplicate: delete is never carried out",
    ),
    "what is to be looked at deleted": Mistake(
        _rules({"keep": ROBIN}, {"review": {"any": "Bird"}}, actions={"review": "delete"}),
        "actions.review: delete removes the images that a person should look at",
    ),
    "names without an extension": Mistake(
        {"actions": {"keep": {"copy": "s3://clean/{label}/{stem}"}}}, "makes names without an extension"
    ),
    "the extension twice": Mistake(
        {"actions": {"keep": {"copy": "s3://clean/{basename}.{ext}"}}}, "has the extension twice, as in a.jpg.jpg"
    ),
    "an extension behind the extension": Mistake(
        {"actions": {"keep": {"copy": "s3://clean/{key}.jpg"}}}, "has an extension more, as in a.jpg.jpg"
    ),
    "a copy for a conversion": Mistake(
        {"actions": {"keep": {"copy": "s3://clean/{stem}.png"}}}, "names copies of *.jpeg, *.jpg .png as well"
    ),
    "two slashes behind the bucket": Mistake(
        {"actions": {"keep": {"copy": "s3://clean//robins/{key}"}}}, "makes keys that begin with a slash"
    ),
    # -- Stop rules --
    "enough matches without a match": Mistake(
        _rules({"review": ROBIN}, stop={"matches": 10}), "stop.matches: 10 is never reached"
    ),
    "misses without a miss": Mistake(
        {"otherwise": "review", "stop": {"misses_in_a_row": 20}}, "stop.misses_in_a_row: 20 is never reached"
    ),
    "the first miss ends it": Mistake({"stop": {"misses_in_a_row": 1}}, "ends the run at the first image"),
    "a share of matches over a listing": Mistake(
        {"stop": {"hit_rate": {"below": 0.02}}}, "stop.hit_rate with source.order: listing"
    ),
    "the share that was hoped for": Mistake(
        {"source": {"uri": "s3://raw/", "order": "random"}, "stop": {"hit_rate": {"below": 0.95}}},
        "stop.hit_rate with below: 0.95 can end the run after 5 images",
    ),
    "a share of matches without matches": Mistake(
        _rules({"review": ROBIN}, source={"uri": "s3://raw/", "order": "random"}, stop={"hit_rate": {"below": 0.02}}),
        "stop.hit_rate ends the run in any case",
    ),
    "no confidence in the share": Mistake(
        {"source": {"uri": "s3://raw/", "order": "random"}, "stop": {"hit_rate": {"below": 0.02, "confidence": 0.5}}},
        "with a probability of up to 50%",
    ),
    "one failure ends it": Mistake(
        {"stop": {"errors": {"rate": 0.005, "window": 200}}}, "one failed image of 200 is enough"
    ),
    # -- Limits and prices --
    "no budget at all": Mistake({"limits": {"tps": 100, "budget_usd": 0}}, "limits.budget_usd: 0 pays for no image"),
    "a budget below one image": Mistake(
        {"limits": {"tps": 100, "budget_usd": 0.0005}}, "limits.budget_usd: 0.0005 pays for no image"
    ),
    "one call in minutes": Mistake({"limits": {"tps": 0.02}}, "allow 0.02 calls a second"),
    "a share of one percent of little": Mistake({"limits": {"tps": 5, "share": 0.01}}, "allow 0.05 calls a second"),
    "milliseconds for seconds, downwards": Mistake(
        {"limits": {"tps": 100, "timeout_s": 0.25}}, "limits.timeout_s: 0.25 is shorter than many calls take"
    ),
    "milliseconds for seconds, upwards": Mistake(
        {"limits": {"tps": 100, "timeout_s": 3000}}, "limits.timeout_s: 3000 waits 50 minutes"
    ),
    "an image paid for a hundred times": Mistake(
        {"limits": {"tps": 100, "max_attempts": 100}}, "limits.max_attempts: 100 can bill one image 100 times"
    ),
    "the price of a thousand": Mistake(
        {"pricing": {"tiers": [{"up_to": None, "usd": 1.0}]}}, "is the price of one image, not of a thousand"
    ),
    "a budget over free images": Mistake(
        {"limits": {"tps": 100, "budget_usd": 5}, "pricing": {"tiers": [{"up_to": None, "usd": 0}]}},
        "so that limits.budget_usd never holds",
    ),
    "units of a model without a model": Mistake(
        {"pricing": {"inference_units": 2}}, "pricing.inference_units has no effect"
    ),
    "images billed by the hour": Mistake(
        {"detector": CUSTOM, "pricing": {"used_this_month": 1000}}, "pricing.used_this_month has no effect"
    ),
    "more images than anybody has": Mistake(
        {"pricing": {"used_this_month": 1_000_000_000}}, "priced from the last tier on"
    ),
    # -- Source --
    "formats that the service does not read": Mistake(
        {"source": {"uri": "s3://raw/", "include": ["*.jpg", "*.webp"]}}, "*.webp: the service reads only JPEG and PNG"
    ),
    "files that are no pictures": Mistake(
        {"source": {"uri": "s3://raw/", "include": ["*.jpg", "*.mp4"]}, "convert": True}, "*.mp4: such files cannot be"
    ),
    "a misspelt extension beside others": Mistake(
        {"source": {"uri": "s3://raw/", "include": ["*.jpg", "*.pgn"]}}, "'*.pgn' has the extension .pgn"
    ),
    "several globs in one": Mistake(
        {"source": {"uri": "s3://raw/", "include": ["*.jpg", "*.jpeg, *.png"]}}, 'for several write ["*.jpeg", "*.png"]'
    ),
    "a folder excluded by its name": Mistake(
        {"source": {"uri": "s3://raw/", "exclude": ["thumbs"]}},
        "for the images in a folder of that name write thumbs/*",
    ),
}
"""Mistakes that a caution tells; the run goes on."""

REFUSED: dict[str, Mistake] = {
    "a cap of no image": Mistake({"limits": {"max_images": 0}}, "limits.max_images"),
    "a share in percent": Mistake({"limits": {"share": 50}}, "limits.share"),
    "a hit rate in percent": Mistake({"stop": {"hit_rate": {"below": 2}}}, "stop.hit_rate.below"),
    "an area in percent": Mistake(_rules({"keep": {"area": {"label": "Robin", "min": 30}}}), "area.min"),
    "a confidence above one hundred": Mistake(_rules({"keep": {"any": "Robin", "confidence": 850}}), "confidence"),
    "a misspelt key": Mistake({"limits": {"budget": 5}}, "budget_usd"),
    "a misspelt placeholder": Mistake({"actions": {"keep": {"copy": "s3://clean/{kye}"}}}, "nearest is {key}"),
    "copies into the source": Mistake(
        {"source": "s3://raw/birds/", "actions": {"keep": {"copy": "s3://raw/birds/kept/{key}"}}}, "outside the source"
    ),
    "a label in the target of what has none": Mistake(
        {"actions": {"reject": {"copy": "s3://clean/{label}/{key}"}}}, "expected a label for every reject"
    ),
    "a range that is empty": Mistake(
        _rules({"keep": {"count": {"label": "Robin", "min": 3, "max": 1}}}), "expected min at most max"
    ),
    "two verdicts in a rule": Mistake(_rules({"keep": ROBIN, "reject": {"any": "Cat"}}), "expected one verdict"),
    "a confidence alone": Mistake(_rules({"keep": {"confidence": 90}}), "found confidence alone"),
}
"""Mistakes with which a job makes no sense: the job file is refused, with the key."""

# -- About names and listings, by ``policy/cautions/label_names`` and ``globs`` ----------------------------------------

MISNAMED: dict[str, Mistake] = {
    "a misspelt label": Mistake(_rules({"keep": {"any": "Robbin"}}), "no label 'Robbin'"),
    "a misspelt exclusion": Mistake(_rules({"keep": {"none": "Persson"}}), "no label 'Persson'"),
    "two names in one": Mistake(_rules({"keep": {"any": "Robin, Bird"}}), "no label 'Robin, Bird'"),
    "a count of what has no boxes": Mistake(_rules({"keep": {"count": {"label": "Sunset", "min": 1}}}), "'Sunset'"),
    "an area of what has no boxes": Mistake(_rules({"keep": {"area": {"label": "Beach", "min": 0.1}}}), "'Beach'"),
    "a category that does not exist": Mistake(_rules({"keep": {"category": "Animals"}}), "'Animals'"),
    "a label behind its category": Mistake(
        _rules({"reject": {"category": "Animals and Pets"}}, {"keep": {"any": "Robin"}}),
        "(Robin is in the category 'Animals and Pets')",
    ),
}
"""Names that the service does not have; a detector of the caller's own may have any."""

UNLISTED: dict[str, Mistake] = {
    "braces in a glob": Mistake({"source": {"uri": "s3://raw/", "include": ["*.{jpg,png}"]}}, "has braces"),
    "an extension alone": Mistake({"source": {"uri": "s3://raw/", "include": ["jpg"]}}, "write *.jpg"),
    "a glob that is not below the prefix": Mistake(
        {"source": {"uri": "s3://raw/robin/", "include": ["cat/*.jpg"]}}, "matches no key"
    ),
    "everything excluded": Mistake(
        {"source": {"uri": "s3://raw/", "exclude": ["*"]}}, "leaves nothing of source.include"
    ),
    "a prefix without images": Mistake({"source": "s3://raw/robins/"}, "Nearest prefix with images: s3://raw/robin/"),
    "a star in the address": Mistake({"source": "s3://raw/robin/*.jpg"}, "s3://raw/robin/"),
}
"""Listings that hold nothing to examine: told, and the run ends with exit code 1, unless something is stored."""

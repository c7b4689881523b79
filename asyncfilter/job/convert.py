"""Conversion of the validated file to ``Job``: names get units, lists become tuples, dollars micro-dollars."""

from __future__ import annotations

import os
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

from asyncfilter.job import schema, spec
from asyncfilter.job.addresses import absolute_template, folder_path, parse_source, parse_template
from asyncfilter.job.lane_checks import default_name
from asyncfilter.model import S3, ActionKind, IfExists, S3Location, StoreKind, Verdict, location


def to_job(file: schema.JobFile, *, base_dir: Path, path: Path | None) -> spec.Job:
    """The job that ``file`` describes; relative paths are below ``base_dir``."""
    is_file = bool(file.checkpoint) and not str(file.checkpoint).startswith(S3)
    checkpoint = Path(str(file.checkpoint)) if is_file else Path(".asyncfilter") / f"{file.name}.db"
    source = _source(file.source, base_dir)
    return spec.Job(
        name=file.name,
        path=path,
        source=source,
        detector=replace(_detector(file.detector, base_dir), lanes=_lanes(file)),
        rules=tuple(_rule(rule, base_dir) for rule in file.rules),
        otherwise=file.otherwise,
        actions={verdict: _action(getattr(file.actions, verdict), base_dir) for verdict in Verdict},
        duplicate=_action(file.actions.duplicate, base_dir) if file.actions.duplicate is not None else None,
        limits=_limits(file.limits),
        stop=_stop(file.stop),
        checkpoint=base_dir / checkpoint,
        answers=base_dir / file.answers if file.answers else None,
        review=spec.Review(labels=tuple(dict.fromkeys(file.review.labels))),
        pricing=_pricing(file.pricing),
        aws=spec.Aws(profile=file.aws.profile, region=file.aws.region, client=file.aws.client),
        precheck=file.precheck,
        check_targets=file.check_targets,
        convert=source.store is StoreKind.FOLDER if file.convert is None else file.convert,
        near_duplicates=file.near_duplicates,
        cluster=None if file.cluster is None else _cluster(file.cluster),
        state=_state(file),
    )


def _state(file: schema.JobFile) -> spec.StateSpec | None:
    checkpoint = file.checkpoint or ""
    uri = checkpoint if checkpoint.startswith(S3) else file.checkpoint_copy
    if uri is None:
        return None
    place = location(uri)
    return spec.StateSpec(bucket=place.bucket, prefix=place.key, is_authoritative=uri is checkpoint)


def _cluster(cluster: schema.Cluster) -> spec.Cluster:
    return spec.Cluster(
        engine=cluster.engine,
        address=cluster.address,
        least=cluster.workers.min,
        most=cluster.workers.max,
        cpus=cluster.per_worker.cpus,
        gpus=cluster.per_worker.gpus,
        memory_gb=cluster.per_worker.memory_gb,
        sends_all=cluster.send == "all",
        wait_s=cluster.wait_s,
    )


def _source(source: schema.Source, base_dir: Path) -> spec.SourceSpec:
    uri = source.uri
    place = S3Location("", "") if uri is None else parse_source(uri, str(base_dir))
    is_folder = uri is not None and place.store is StoreKind.FOLDER
    spelled = folder_path(uri).rstrip("/") or "/" if uri is not None and is_folder else None
    return spec.SourceSpec(
        bucket=place.bucket,
        prefix=place.key,
        spelled=spelled,
        include=tuple(source.include),
        exclude=tuple(source.exclude),
        order=source.order,
        seed=source.seed,
        ranges=schema.AUTO_RANGES if source.ranges == "auto" else source.ranges,
        skip_duplicates=source.duplicates == "skip",
        examine_duplicates=source.duplicates == "examine",
        listed=_listed(source, base_dir),
    )


def _listed(source: schema.Source, base_dir: Path) -> spec.ListSpec | None:
    if source.inventory is not None:
        return spec.ListSpec(kind=spec.ListKind.INVENTORY, address=source.inventory)
    if source.list_ is None:
        return None
    return spec.ListSpec(kind=spec.ListKind.LIST, address=_reference(source.list_, base_dir), column=source.column)


def _detector(detector: schema.Detector, base_dir: Path) -> spec.DetectorSpec:
    own = detector if isinstance(detector, schema.OwnModelDetector) else None
    return spec.DetectorSpec(
        kind=spec.DetectorKind(detector.kind),
        region=detector.region,
        model=detector.model if own is None else _own_file(own.model, base_dir),
        min_confidence_pct=detector.min_confidence,
        max_labels=detector.max_labels,
        features=tuple(sorted(detector.features)),
        start=None if detector.start is None else _start(detector.start),
        own=None if own is None else _own_model(own, base_dir),
        lanes_must_agree=detector.lanes_must_agree,
    )


def _lanes(file: schema.JobFile) -> tuple[spec.LaneSpec, ...]:
    """The lanes, with the defaults that other keys give them."""
    return tuple(_lane(lane, file) for lane in file.detector.lanes or ())


def _lane(lane: schema.Lane, file: schema.JobFile) -> spec.LaneSpec:
    is_own = lane.role is None and lane.profile in {None, file.aws.profile}
    used = lane.used_this_month
    return spec.LaneSpec(
        name=lane.name or default_name(lane.region, lane.profile, lane.role),
        region=lane.region,
        profile=None if is_own else lane.profile,
        role=lane.role,
        external_id=lane.external_id,
        tps=None if lane.tps == "auto" else lane.tps,
        share=file.limits.share if lane.share is None else lane.share,
        used_this_month=used if used is not None else file.pricing.used_this_month if is_own else 0,
        tiers=_tiers(lane.tiers),
    )


def _own_model(detector: schema.OwnModelDetector, base_dir: Path) -> spec.OwnModelSpec:
    wanted = detector.preprocess
    given = wanted.model_dump(exclude_unset=True, exclude_none=True) if isinstance(wanted, schema.Preprocess) else None
    return spec.OwnModelSpec(
        labels=_own_file(detector.labels, base_dir),
        preprocess=_own_file(wanted, base_dir) if isinstance(wanted, str) else given,
        output=detector.output,
        scores=detector.scores,
        batch=detector.batch,
        threads=detector.threads,
        device=detector.device,
    )


def _own_file(path: str, base_dir: Path) -> str:
    """An address in S3 unchanged; a path made absolute, and not resolved: what belongs to a model is beside a link."""
    return path if path.startswith(S3) else os.path.abspath(base_dir / path)  # noqa: PTH100  text in, text out


def _start(start: schema.ModelStart) -> spec.ModelStart:
    return spec.ModelStart(
        for_s=start.for_,
        units=start.units,
        max_units=None if start.max_units == start.units else start.max_units,
        poll_s=start.poll_s,
    )


def _rule(rule: schema.Rule, base_dir: Path) -> spec.Rule:
    verdict = next(verdict for verdict in Verdict if getattr(rule, verdict))
    return spec.Rule(verdict=verdict, conditions=_conditions(getattr(rule, verdict), base_dir))


def _conditions(conditions: list[schema.Condition], base_dir: Path) -> tuple[spec.Condition, ...]:
    return tuple(_condition(condition, base_dir) for condition in conditions)


def _condition(condition: schema.Condition, base_dir: Path) -> spec.Condition:
    given = condition.model_fields_set
    count, area = condition.count, condition.area
    return spec.Condition(
        any=tuple(condition.any),
        all=tuple(condition.all),
        none=tuple(condition.none),
        category=tuple(condition.category),
        count=spec.Count(label=count.label, min=count.min, max=count.max) if "count" in given else None,
        area=spec.Area(label=area.label, min=area.min, max=area.max) if "area" in given else None,
        like=tuple(dict.fromkeys(_reference(uri, base_dir) for uri in condition.like)),
        ignore=tuple(condition.ignore),
        not_=_conditions(condition.not_, base_dir),
        confidence_pct=spec.Assumed() if condition.confidence == schema.ASSUMED else condition.confidence,
    )


def _reference(uri: str, base_dir: Path) -> str:
    """An address in S3 unchanged; a path made absolute from the folder of the job file."""
    return uri if uri.startswith(S3) else os.path.realpath(base_dir / uri)


def _action(action: schema.Action, base_dir: Path) -> spec.Action:
    match action:
        case schema.CopyAction():
            return spec.Action(kind=ActionKind.COPY, target=_target(action.copy_, base_dir), if_exists=action.if_exists)
        case schema.LinkAction():
            target = _target(action.link, base_dir)
            return spec.Action(kind=ActionKind.COPY, target=target, if_exists=action.if_exists, is_link=True)
        case schema.MoveAction():
            target = _target(action.move, base_dir)
            return spec.Action(kind=ActionKind.MOVE, target=target, if_exists=IfExists(action.if_exists))
        case schema.TagAction():
            return spec.Action(kind=ActionKind.TAG, tags=action.tag)
        case word:
            return spec.Action(kind=ActionKind(word))


def _target(text: str, base_dir: Path) -> str:
    return str(parse_template(absolute_template(text, str(base_dir))))


def _limits(limits: schema.Limits) -> spec.Limits:
    return spec.Limits(
        tps=None if limits.tps == "auto" else limits.tps,
        share=limits.share,
        concurrency=None if limits.concurrency == "auto" else limits.concurrency,
        budget_micros=_micros(limits.budget_usd),
        max_images=limits.max_images,
        max_attempts=limits.max_attempts,
        timeout_s=limits.timeout_s,
        decoding_mb=limits.decoding_mb,
    )


def _stop(stop: schema.Stop) -> spec.Stop:
    rare, failing = stop.hit_rate, stop.errors
    return spec.Stop(
        matches=stop.matches,
        misses_in_a_row=stop.misses_in_a_row,
        hit_rate=spec.HitRate(below=rare.below, confidence=rare.confidence) if rare is not None else None,
        errors=spec.ErrorShare(rate=failing.rate, window=failing.window) if failing is not None else None,
    )


def _pricing(pricing: schema.Pricing) -> spec.Pricing:
    return spec.Pricing(
        used_this_month=pricing.used_this_month,
        tiers=_tiers(pricing.tiers),
        inference_unit_hour_micros=_micros(pricing.inference_unit_hour_usd),
        inference_units=pricing.inference_units,
        by_hand=_by_hand(pricing.by_hand),
    )


def _tiers(tiers: list[schema.Tier] | None) -> tuple[spec.PriceTier, ...] | None:
    return tuple(spec.PriceTier(up_to=tier.up_to, micros=int(tier.usd.scaleb(6))) for tier in tiers or ()) or None


def _by_hand(by_hand: schema.ByHand) -> spec.ByHand:
    known = spec.ByHand(images_per_hour=by_hand.images_per_hour)
    hour_micros = _micros(by_hand.hour_usd)
    return known if hour_micros is None else replace(known, hour_micros=hour_micros)


def _micros(amount_usd: Decimal | None) -> int | None:
    """Dollars as whole micro-dollars; exact, as the schema accepts no finer amount."""
    return None if amount_usd is None else int(amount_usd.scaleb(6))

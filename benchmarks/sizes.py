"""Amounts of work: a full run takes three quarters of an hour, a quick one some four minutes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Amounts of work; every field counts calls, keys, images, rows or seconds of one round.

    Attributes:
        name: ``full`` or ``quick``; goals are judged by full runs only.
        rounds: Number of rounds; each measures every peer once, and medians are shown.
        calls: Detections and copies by each client.
        whole: Images of a whole run, by peer; the numbers differ because the speeds of the peers differ.
        list_ours, list_peer: Listed keys; the processor time per key is compared.
        ranged: Keys that are listed in ranges.
        lanes_s: Seconds for which three lanes are measured, twice.
        fleet_rounds: Rounds in which the head of a fleet is measured; ``fleet_by_reference``: images of a run by
            reference; ``fleet_converted``: small pictures that its workers convert.
        fleet_workers: Workers that join one head; ``fleet_images``: images that they examine then.
        quotas_tps: Real quotas, by the rate that the peer is given: ``right`` is the real quota, ``half`` is twice the
            real quota, ``unknown`` is a rate far above it.
        peer_quotas_tps: The same for the obvious build.
        modes: Kinds of quota.
        right_s, wrong_s: Length of a run whose given rate is right, or is not; the second half is judged.
        rows: Images in the checkpoint that is written, resumed and refiltered; ``few_rows`` to compare memory.
        memory: Images of the runs whose memory is recorded.
        end_matches: Matches at which a run stops whose overshoot is measured; ``end_calls``: the calls of a budget.
        limiter_s: Seconds for which each limiter is called.
        limiter_rates_tps: The rates of the limiters.
        pictures: Files of each format that are sent, compared and converted in a run.
        conversions: Files that are converted beside the loops of peers; many, so that the start of processes counts
            for as little as in a run.
        manifest_lines: Lines of the manifest that is checked.
        inventory: Keys of the inventories over which a run is measured.
        exports: Images of the checkpoints that are exported; 200,000 have over a million labels.
        cards: Pictures that wait on the review page; ``decisions``: keys that decide one.
        sandbox_s: Seconds for which each operation of the sandbox is called.
    """

    name: str
    rounds: int
    calls: int
    whole: dict[str, int]
    list_ours: int
    list_peer: int
    ranged: int
    lanes_s: float
    fleet_rounds: int
    fleet_by_reference: int
    fleet_converted: int
    fleet_workers: int
    fleet_images: int
    quotas_tps: dict[str, tuple[int, ...]]
    peer_quotas_tps: dict[str, tuple[int, ...]]
    modes: tuple[str, ...]
    right_s: int
    wrong_s: int
    rows: int
    few_rows: int
    memory: tuple[int, ...]
    end_matches: int
    end_calls: int
    limiter_s: float
    limiter_rates_tps: tuple[int, ...]
    pictures: int
    conversions: int
    manifest_lines: int
    inventory: tuple[int, ...]
    exports: tuple[int, ...]
    sandbox_s: float
    cards: int
    decisions: int


FULL = Sizes(
    name="full",
    rounds=5,
    calls=2_000,
    whole={"one_by_one": 1_500, "threads": 2_000, "obvious": 2_500, "fallback": 6_000, "ours": 60_000},
    list_ours=1_000_000,
    list_peer=100_000,
    ranged=1_000_000,
    lanes_s=25.0,
    fleet_rounds=5,
    fleet_by_reference=40_000,
    fleet_converted=4_000,
    fleet_workers=1_000,
    fleet_images=2_000,
    quotas_tps={"right": (5, 50, 500, 2_000, 5_000), "half": (5, 50, 500, 2_000), "unknown": (5, 50, 500, 2_000)},
    peer_quotas_tps={"right": (5, 50, 500), "half": (5, 50)},
    modes=("window", "bucket"),
    right_s=24,
    wrong_s=30,
    rows=1_000_000,
    few_rows=100_000,
    memory=(20_000, 200_000, 2_000_000),
    end_matches=600,
    end_calls=4_000,
    limiter_s=2.0,
    limiter_rates_tps=(50, 500, 5_000),
    pictures=96,
    conversions=400,
    manifest_lines=250_000,
    inventory=(100_000, 1_000_000),
    exports=(20_000, 200_000),
    sandbox_s=3.0,
    cards=10_000,
    decisions=200,
)

QUICK = Sizes(
    name="quick",
    rounds=1,
    calls=300,
    whole={"one_by_one": 200, "threads": 300, "obvious": 300, "fallback": 500, "ours": 4_000},
    list_ours=50_000,
    list_peer=5_000,
    ranged=50_000,
    lanes_s=4.0,
    fleet_rounds=1,
    fleet_by_reference=4_000,
    fleet_converted=200,
    fleet_workers=50,
    fleet_images=200,
    quotas_tps={"right": (5, 50), "half": (50,), "unknown": (50,)},
    peer_quotas_tps={"right": (50,)},
    modes=("window",),
    right_s=6,
    wrong_s=10,
    rows=10_000,
    few_rows=2_000,
    memory=(500, 4_000),
    end_matches=30,
    end_calls=200,
    limiter_s=0.2,
    limiter_rates_tps=(50, 500),
    pictures=12,
    conversions=12,
    manifest_lines=10_000,
    inventory=(1_000, 10_000),
    exports=(200, 2_000),
    sandbox_s=0.5,
    cards=500,
    decisions=20,
)

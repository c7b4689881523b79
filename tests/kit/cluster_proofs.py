"""What a fleet promises, on a real Ray of several nodes: ``python -m tests.kit.cluster_proofs kills --repeat 20``.

The sandbox is the judge: it counts what was called and billed. ``make test-cluster`` makes all proofs.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import sys
import tempfile
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from asyncfilter.sandbox import Latency, SandboxProcess
from tests.kit.cluster_trials import (
    IMAGES,
    PATIENCE_S,
    PICTURES,
    TPS,
    Place,
    Trial,
    again,
    copy_checkpoint,
    hide,
    kill_decoders,
    send,
    service,
    shim,
    upload_equal_pictures,
    upload_pictures,
)
from tests.kit.ray_cluster import RayCluster
from tests.kit.sweep import Sweep

STOPS: dict[str, dict[str, Any]] = {
    "matches": {"stop": {"matches": 20}},
    "misses_in_a_row": {"stop": {"misses_in_a_row": 60}},
    "hit_rate": {"stop": {"hit_rate": {"below": 0.9}}, "source": {"uri": "s3://raw/", "order": "random"}},
    "budget": {"limits": {"tps": TPS, "budget_usd": 0.15}},
    "max_images": {"limits": {"tps": TPS, "max_images": 150}},
    "faults": {},
    "duplicates": {"source": "s3://same/"},
}
FAULTS = ("throttle=2%", "reset=1%", "internal=1%")


class Proofs(Sweep):
    """The proofs on one cluster.

    Args:
        cluster: The cluster.
        folder: For the jobs.
        repeat: How often each proof is made.
        seed: Of the random moments.
        rates: For the proof of the rate, calls a second.
    """

    def __init__(self, cluster: RayCluster, folder: Path, *, repeat: int, seed: int, rates: list[float]) -> None:
        super().__init__()
        self.cluster = cluster
        self.place = Place(cluster, folder)
        self._repeat = repeat
        self._seed = seed
        self._rng = random.Random(seed)
        self._rates = rates

    def say(self, what: str) -> None:
        """Print a measured value at once: a long series shall not lose it."""
        print(f"      {what}", flush=True)  # noqa: T201  its result

    def done(self, name: str) -> None:
        """Count one repetition."""
        self.counts[name] += 1

    # -- The proofs ------------------------------------------------------------------------------------------------

    def answers(self) -> None:
        """Answer, copies and stop are those of one process, with 2 and 4 workers, undisturbed."""
        for number in range(self._repeat):
            for name, sections in STOPS.items():
                self._same_answer(f"answers: {name}", (2, 4)[number % 2], sections, seed=self._seed + number)

    def kills(self) -> None:
        """So they are with a worker killed at a random moment."""
        names = list(STOPS)
        for number in range(self._repeat):
            name = names[number % len(names)]
            self._same_answer(f"kills: {name}", 2, STOPS[name], seed=self._seed + number, is_killed=True)

    def _same_answer(
        self, what: str, workers: int, sections: dict[str, Any], *, seed: int, is_killed: bool = False
    ) -> None:
        with service(latency=Latency(0.05, 0.2), seed=seed) as sandbox:
            if "duplicates" in what:
                upload_equal_pictures(sandbox)
            if "faults" in what:
                sandbox.control("POST", "faults", {"faults": list(FAULTS)})
            alone = Trial(self.place, sandbox, workers=None, **sections)
            before = alone.run()
            fleet = Trial(self.place, sandbox, workers=workers, **sections)
            fleet.start()
            if is_killed:
                self._kill_a_worker(fleet)
            summary = fleet.end(0, 1)
            told = f"{what}, {workers} workers, seed {seed}: "
            self.check(summary["stop_reason"] == before["stop_reason"], told + f"stopped by {summary['stop_reason']}")
            is_shorter = is_killed and "budget" in what  # what was counted twice is paid from the same budget
            mine, other = fleet.answer(), alone.answer()
            self.check(mine <= other if is_shorter else mine == other, f"{told}{len(mine ^ other)} other answers")
            mine_copied, copied = fleet.copies(), alone.copies()
            self.check(mine_copied <= copied if is_shorter else mine_copied == copied, told + "other copies")
        self.done(what)

    def _kill_a_worker(self, fleet: Trial) -> None:
        fleet.wait(lambda: len(fleet.workers()) >= 2)
        with suppress(AssertionError):  # a run that ends before
            fleet.examined(self._rng.randrange(1, 120))
        pids = fleet.workers()
        if pids and fleet.process is not None and fleet.process.poll() is None:
            send(self._rng.choice(pids), signal.SIGKILL)
            self.counts["workers killed"] += 1

    def ceiling(self) -> None:
        """The summary is never below what was billed, and never above the limit: worker, node or head killed."""
        for number in range(self._repeat):
            victim = ("worker", "node", "head")[number % 3]
            with service(seed=self._seed + number) as sandbox:
                fleet = Trial(self.place, sandbox, limits={"tps": TPS, "budget_usd": 0.25})
                fleet.start()
                fleet.examined(self._rng.randrange(20, 150))
                if victim == "head":
                    self._kill_head(fleet)
                    fleet.start()
                else:
                    self._kill_part(fleet, victim)
                spent, billed = fleet.end(0, 1, 75)["spent_usd"], fleet.workspace.billed() / 1000
            self.check(billed <= spent + 1e-9 <= 0.25 + 2e-9, f"ceiling, {victim}: {billed} billed, {spent} told")
            self.say(f"ceiling, {victim} killed: ${billed} billed, ${spent} told, limit $0.25")
            self.cluster.complete()
            self.done(f"ceiling: {victim}")

    def _kill_part(self, fleet: Trial, victim: str) -> None:
        pid = self._rng.choice(fleet.workers())
        if victim == "worker":
            send(pid, signal.SIGKILL)
        else:
            self.cluster.node_of(pid).kill()

    def _kill_head(self, fleet: Trial) -> None:
        assert fleet.process is not None
        fleet.process.kill()
        fleet.process.communicate()

    def once(self) -> None:
        """No call is made twice but ``asks`` of a killed worker: none after SIGTERM to one, or of a killed head."""
        for number in range(self._repeat):
            for how in ("worker killed", "worker told to leave", "head killed"):
                with service(seed=self._seed + number) as sandbox:
                    fleet = Trial(self.place, sandbox)
                    fleet.start()
                    fleet.examined(self._rng.randrange(40, 200))
                    if how == "head killed":
                        self._kill_head(fleet)
                        fleet.start()
                    else:
                        send(self._rng.choice(fleet.workers()), _SIGNALS[how])
                    summary, repeated = fleet.end(), again(sandbox)
                asks = sum(event["asks"] for event in fleet.events("worker_lost"))
                self.check(summary["examined"] == IMAGES, f"once, {how}: {summary['examined']} examined")
                self.check(repeated <= asks, f"once, {how}: {repeated} repeated, {asks} asks lost")
                if how != "worker killed":
                    self.check(repeated == 0, f"once, {how}: {repeated} repeated")
                self.say(f"once, {how}: {repeated} repeated, {asks} under way there, {summary['adopted']} adopted")
                self.done(f"once: {how}")

    def disk(self) -> None:
        """The head is killed and its folder removed: with a state in S3 and living workers nothing is called twice."""
        for number in range(self._repeat):
            mode = ("checkpoint", "checkpoint_copy")[number % 2]
            with service(seed=self._seed + number) as sandbox:
                lost, following = (Trial(self.place, sandbox, **{mode: "s3://clean/states/"}) for _ in range(2))
                lost.start()
                lost.examined(self._rng.randrange(40, 200))
                self._kill_head(lost)
                shutil.rmtree(lost.workspace.folder)
                following.start()
                summary, repeated, billed = following.end(), again(sandbox), following.workspace.billed()
            told = f"disk, {mode}: "
            self.check(summary["examined"] == IMAGES, f"{told}{summary['examined']} examined")
            self.check(repeated == 0, f"{told}{repeated} repeated")
            spent = summary["billed_calls"]
            self.check(mode != "checkpoint" or spent >= billed, f"{told}{billed} billed, {spent} told")
            self.say(f"{told}{repeated} repeated, {summary['adopted']} adopted, {summary['state']}")
            self.done(told + "head and its disk lost")

    def rate(self) -> None:
        """Undisturbed at least .97 of each rate; with frozen workers no second has more than 105 % and one."""
        for rate in self._rates:
            images = int(rate * 30)
            with service(images) as sandbox:
                Trial(self.place, sandbox, limits={"tps": rate, "max_images": images}).run()
                detect = sandbox.stats().operations["DetectLabels"]
            # While the last images are examined there is less work than the rate allows.
            steady = [second[1] for second in detect.per_second if second[0]][8:-5]
            mean = sum(steady) / max(1, len(steady))
            self.say(f"rate {rate:g}/s: {mean:.1f} a second ({mean / rate:.3f}), fullest {detect.attempts_per_1s_max}")
            self.check(mean >= 0.97 * rate, f"rate {rate:g}/s: {mean:.1f} a second")
            self.check(detect.attempts_per_1s_max <= 1.05 * rate + 1, f"rate {rate:g}: {detect.attempts_per_1s_max}")
            self.done(f"rate: {rate:g}/s")
        for _ in range(self._repeat):
            with service(2_000) as sandbox:
                fleet = Trial(self.place, sandbox)
                fleet.start()
                fleet.examined(100)
                pid = fleet.workers()[0]
                send(pid, signal.SIGSTOP)
                time.sleep(1)
                send(pid, signal.SIGCONT)
                summary, fullest = fleet.end(), sandbox.stats().operations["DetectLabels"].attempts_per_1s_max
            self.check(fullest <= 1.05 * TPS + 1, f"rate, frozen for 1 s: {fullest} in a second at {TPS:g}")
            self.say(f"rate, frozen for 1 s: fullest {fullest}, {summary['workers']['returned_turns']} turns returned")
            self.done("rate: frozen for 1 s")

    def overload(self) -> None:
        """A rate above what the workers can do gives nine tenths of the best throughput."""
        for _ in range(self._repeat):
            with service(4_000) as sandbox:
                most = Trial(self.place, sandbox, limits={"tps": 20_000}).run()["tps_mean"]
                fitting = Trial(self.place, sandbox, limits={"tps": most}).run()["tps_mean"]
            self.say(f"overload: {most:.0f} a second at 20,000/s, {fitting:.0f} at the fitting rate")
            self.check(most >= 0.9 * fitting, f"overload: {most} of {fitting}")
            self.done("overload")

    def frozen(self) -> None:
        """A frozen host is lost by its silence, the run goes on within 10 s, and its return is harmless."""
        for _ in range(self._repeat):
            with service(2_000) as sandbox:
                fleet = Trial(self.place, sandbox)
                fleet.start()
                fleet.examined(200)
                node = self.cluster.node_of(fleet.workers()[0])
                node.signal(signal.SIGSTOP)
                began_s = time.monotonic()
                fleet.wait(partial(fleet.events, "worker_lost"))
                self.say(f"frozen: lost after {time.monotonic() - began_s:.1f} s ({fleet.events('worker_lost')[0]})")
                now = len(fleet.events("image_examined"))
                fleet.examined(now + 50)
                took_s = time.monotonic() - began_s
                node.signal(signal.SIGCONT)
                summary, repeated = fleet.end(), again(sandbox)
            (lost, *_) = fleet.events("worker_lost")
            self.say(f"frozen: 50 more images after {took_s:.1f} s, {repeated} repeated, {summary['workers']}")
            self.check(lost["reason"] == "silence", f"frozen: lost by {lost['reason']}")
            self.check(took_s <= 10, f"frozen: went on after {took_s:.1f} s")
            self.check(repeated <= sum(event["asks"] for event in fleet.events("worker_lost")), "frozen: repeated")
            self.check(summary["examined"] == 2_000, "frozen: incomplete")
            self.done("frozen")

    def heads(self) -> None:
        """Of two heads the older obeys: exit 3 within 10 s, and nothing is repeated but what it had under way."""
        for _ in range(self._repeat):
            with service(1_500) as sandbox:
                older = Trial(self.place, sandbox)
                older.start()
                older.examined(100)
                later = Trial(self.place, sandbox)
                copy_checkpoint(older, later)
                later.start()
                later.wait(partial(later.events, "worker_joined"))
                began_s = time.monotonic()
                older.end(3)
                took_s = time.monotonic() - began_s
                summary = later.end()
            self.say(
                f"heads: the older ended {took_s:.1f} s after the later had a worker, {summary['adopted']} adopted"
            )
            self.check(took_s <= 10, f"heads: the older ended after {took_s:.1f} s")
            self.check(summary["examined"] == 1_500, "heads: incomplete")
            self.done("heads")

    def poison(self) -> None:
        """An image that kills its decoder each time fails as ``worker_lost``; no neighbour's call is repeated."""
        for _ in range(self._repeat):
            with service(latency=Latency(0.05, 0.2)) as sandbox:
                size = upload_pictures(sandbox, self._rng.randrange(10, 30))
                fleet = Trial(self.place, sandbox, source={"uri": "s3://pictures/", "include": ["**"]}, convert=True)
                fleet.start()
                killed: set[int] = set()
                assert fleet.process is not None
                while fleet.process.poll() is None:
                    killed.update(*(kill_decoders(pid, size) for pid in fleet.workers()))
                    time.sleep(0.005)
                summary = fleet.end(1)
                repeated = fleet.workspace.billed() - (PICTURES - 1)  # bytes have no key to count by
            end = summary.get("error") or summary["stop_reason"]
            self.say(f"poison: {len(killed)} decoders killed, failed {summary['failed']}, {repeated} repeated, {end}")
            self.check(summary["failed"] == {"worker_lost": 1}, f"poison: failed {summary['failed']}")
            self.check(repeated == 0, f"poison: {repeated} calls repeated")
            self.done("poison")

    def refusals(self) -> None:
        """Another version, no token, no Ray installed: refused and nothing paid; ``send: auto`` keeps a job at home."""
        with service(50, latency=Latency(0.01, 0.02)) as sandbox:
            home = Trial(self.place, sandbox)
            home.workspace.job.write_text(home.workspace.job.read_text().replace("send: all", "send: auto"))
            summary = home.run()
            kept = summary["workers"] is None and home.events("kept_at_home")
            self.check(kept, "refusals: not kept at home")
            sandbox.control("POST", "reset-stats")
            self._refused(sandbox, "no token", 4, environment={"RAY_AUTH_MODE": "disabled", "RAY_AUTH_TOKEN_PATH": ""})
            self._refused(sandbox, "no Ray there", 4, address="127.0.0.1:9")
            self._refused(sandbox, "extra not installed", 2, hides_ray=True, says="pip install 'asyncfilter[ray]'")
            self._refused(sandbox, "other version", 2, shim="import asyncfilter; asyncfilter.__version__ = '0.0.1'\n")
        self.cluster.clear()
        self.cluster.complete()

    def _refused(self, sandbox: SandboxProcess, what: str, code: int, *, says: str = "", **how: Any) -> None:
        trial = Trial(self.place, sandbox)
        trial.workspace.env |= how.get("environment", {})
        if "address" in how:
            text = trial.workspace.job.read_text()
            trial.workspace.job.write_text(text.replace(self.cluster.address, how["address"]))
        if how.get("hides_ray"):
            hide(trial, "import sys; sys.modules['ray'] = None\n")
        if "shim" in how:
            self._only_nodes_with(trial, how["shim"])
        trial.start()
        assert trial.process is not None
        _, err = trial.process.communicate(timeout=PATIENCE_S)
        found = trial.process.returncode
        self.say(f"refusals, {what}: exit {found}: {err.strip().splitlines()[-2:]}")
        self.check(found == code and says in err, f"refusals, {what}: exit {found}: {err}")
        self.check(trial.workspace.billed() == 0, f"refusals, {what}: paid")
        self.done(f"refusals: {what}")

    def _only_nodes_with(self, trial: Trial, text: str) -> None:
        path = shim(trial, text)
        self.cluster.clear()
        for _ in range(2):
            self.cluster.add(PYTHONPATH=path)

    def lost_ray(self) -> None:
        """Ray's own head is killed: the run ends with 75, and nothing is told too low. On a cluster of its own."""
        for _ in range(self._repeat):
            place = self.place.new_folder()
            with RayCluster(nodes=1, cpus=4) as cluster, service(20_000) as sandbox:
                fleet = Trial(Place(cluster, place), sandbox)
                fleet.start()
                fleet.examined(100)
                cluster.kill_gcs()
                began_s = time.monotonic()
                summary, took_s = fleet.end(75), time.monotonic() - began_s
                billed = fleet.workspace.billed()
            self.say(f"lost_ray: exit 75 after {took_s:.0f} s, {billed} billed, {summary['billed_calls']} told")
            self.check(billed <= summary["billed_calls"], f"lost_ray: {billed} billed, {summary['billed_calls']} told")
            self.done("lost_ray")

    def demo(self) -> None:
        """``asyncfilter demo --on ray`` ends within three minutes, on a Ray of its own."""
        with service(1) as sandbox:
            trial = Trial(self.place, sandbox)
        env = {name: value for name, value in trial.workspace.env.items() if not name.startswith(("RAY_", "AWS_"))}
        began_s = time.monotonic()
        done = trial.workspace("demo", "--on", "ray", "--json", env=env)
        took_s = time.monotonic() - began_s
        self.say(f"demo: exit {done.returncode} after {took_s:.0f} s")
        self.check(done.returncode == 0 and took_s < 180, f"demo: {done.returncode} after {took_s:.0f} s {done.stderr}")
        self.done("demo")


_SIGNALS = {"worker killed": signal.SIGKILL, "worker told to leave": signal.SIGTERM}
KINDS = (
    "answers",
    "kills",
    "ceiling",
    "once",
    "disk",
    "rate",
    "overload",
    "frozen",
    "heads",
    "poison",
    "demo",
    "lost_ray",
    "refusals",
)


def main() -> int:
    """Make the proofs that are named, and print counts and times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"of {', '.join(KINDS)}; default: all")
    parser.add_argument("--repeat", type=int, default=20)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--rates", type=float, nargs="+", default=[50, 500, 2000])
    given = parser.parse_args()
    wrong = False
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # ends the nodes, too
    with tempfile.TemporaryDirectory() as folder, RayCluster() as cluster:
        for kind in given.kinds or KINDS:
            place = Path(folder, kind)
            place.mkdir()
            proofs = Proofs(cluster, place, repeat=given.repeat, seed=given.seed, rates=given.rates)
            began_s = time.monotonic()
            try:
                getattr(proofs, kind)()
            except Exception as error:  # noqa: BLE001  the other proofs are made all the same
                proofs.wrong.append(f"{kind}: {error!r}")
            took_s = time.monotonic() - began_s
            print(f"{kind}, seed {given.seed}, {took_s:.0f} s\n{proofs.report()}", flush=True)  # noqa: T201  its result
            wrong = wrong or bool(proofs.wrong)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

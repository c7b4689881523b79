"""``cluster`` in a job and ``--on``: what is allowed, what is refused, and what stays at home."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from asyncfilter import Job, JobError, __version__
from asyncfilter.cli.where import placed
from asyncfilter.errors import UsageError
from asyncfilter.fleet.faults import error_at_start, fault_of
from asyncfilter.job.spec import Cluster
from asyncfilter.wiring.examining import decode_job, encode_job, fingerprint, read_spec, worker_spec
from asyncfilter.wiring.ray_fleet import check_foreign
from tests.kit import jobs


def make_job(**changes: Any) -> Job:
    """A job."""
    return jobs.make_job(**changes)


def test_defaults() -> None:
    """Without the key there is no cluster; with the engine alone all else has its default."""
    assert make_job().cluster is None
    assert make_job(cluster=None).cluster is None
    assert make_job(cluster={"engine": "ray"}).cluster == Cluster()


@pytest.mark.parametrize("gpus", [0, 0.25, 1, 3])
def test_parts_of_a_gpu(gpus: float) -> None:
    """Ray gives a part of one, or whole ones."""
    cluster = make_job(cluster={"engine": "ray", "per_worker": {"gpus": gpus}}).cluster
    assert cluster is not None
    assert cluster.gpus == gpus


def test_every_key() -> None:
    """All keys, and a number for both numbers of workers."""
    wanted = {
        "engine": "ray",
        "address": "head:6379",
        "workers": {"min": 2, "max": 40},
        "per_worker": {"cpus": 4, "gpus": 1, "memory_gb": 4.5},
        "send": "all",
        "wait_s": 30,
    }
    assert make_job(cluster=wanted).cluster == Cluster(
        address="head:6379", least=2, most=40, cpus=4.0, gpus=1.0, memory_gb=4.5, sends_all=True, wait_s=30.0
    )
    found = make_job(cluster={"engine": "ray", "workers": 3}).cluster
    assert found is not None
    assert (found.least, found.most) == (3, 3)


@pytest.mark.parametrize(
    ("cluster", "key"),
    [
        ({}, "cluster.engine"),
        ({"engine": "dask"}, "cluster.engine"),
        ({"engine": "ray", "address": "ray://head:10001"}, "cluster.address"),
        ({"engine": "ray", "address": "head"}, "cluster.address"),
        ({"engine": "ray", "address": "head:0"}, "cluster.address"),
        ({"engine": "ray", "workers": 0}, "cluster.workers"),
        ({"engine": "ray", "workers": True}, "cluster.workers"),
        ({"engine": "ray", "workers": {"min": 3, "max": 2}}, "cluster.workers.max"),
        ({"engine": "ray", "per_worker": {"cpus": 0.5}}, "cluster.per_worker.cpus"),
        ({"engine": "ray", "per_worker": {"gpus": -1}}, "cluster.per_worker.gpus"),
        ({"engine": "ray", "per_worker": {"gpus": 1.5}}, "cluster.per_worker.gpus"),
        ({"engine": "ray", "per_worker": {"memory_gb": 0}}, "cluster.per_worker.memory_gb"),
        ({"engine": "ray", "send": "some"}, "cluster.send"),
        ({"engine": "ray", "wait_s": 0}, "cluster.wait_s"),
        ({"engine": "ray", "more": 1}, "cluster.more"),
        ("ray", "cluster"),
    ],
)
def test_refusals(cluster: object, key: str) -> None:
    """What is wrong is named by its key."""
    with pytest.raises(JobError) as found:
        make_job(cluster=cluster)
    assert [problem.key for problem in found.value.problems] == [key]


def test_ray_client_says_why() -> None:
    """Ray Client is refused with the reason."""
    with pytest.raises(JobError, match="proxy"):
        make_job(cluster={"engine": "ray", "address": "ray://head:10001"})
    with pytest.raises(UsageError, match="proxy"):
        placed(make_job(), "ray://head:10001")


@pytest.mark.parametrize("cluster", [{}, {"engine": "dask"}, {"engine": None}])
def test_the_engine_that_is_expected_is_named(cluster: object) -> None:
    """Also where the key is missing, or has another value: `cluster` may be null, which has no keys."""
    with pytest.raises(JobError, match=r"cluster\.engine: .*expected ray"):
        make_job(cluster=cluster)


def test_on_wins_over_the_job() -> None:
    """``--on`` sets engine and address, and leaves the rest."""
    job = make_job(cluster={"engine": "ray", "address": "head:6379", "workers": 3})
    assert placed(job, None) is job
    assert placed(job, "local").cluster is None
    assert placed(job, "ray").cluster == job.cluster
    other = placed(job, "ray:10.0.0.1:6380").cluster
    assert other is not None
    assert (other.address, other.least) == ("10.0.0.1:6380", 3)
    assert placed(make_job(), "ray").cluster == Cluster()


OTHER_WORDS = ["", "dask", "Ray", "ray:", "ray:head", "ray:ray://head:1", "ray:head:99999", "local:", "ray:auto"]


@pytest.mark.parametrize("on", OTHER_WORDS)
def test_on_refuses_other_words(on: str) -> None:
    """Another word is a mistake: exit 2, and what may be written is named: a value of the job file is none."""
    with pytest.raises(UsageError, match="HOST:PORT") as found:
        placed(make_job(), on)
    assert found.value.exit_code == 2
    assert "auto or" not in found.value.message


def test_foreign_cluster_has_no_profiles_and_no_folders() -> None:
    """Workers of a cluster that was there have roles, and their own disks."""
    check_foreign(make_job(), "head:6379")
    with pytest.raises(UsageError, match="profile"):
        check_foreign(make_job(aws={"profile": "me"}), "head:6379")
    lanes = [{"region": "us-east-1"}, {"region": "us-west-2", "profile": "b"}]
    with pytest.raises(UsageError, match="lane"):
        check_foreign(make_job(detector={"kind": "rekognition", "lanes": lanes}, convert=True), "head:6379")
    with pytest.raises(UsageError, match="folder"):
        check_foreign(make_job(source="/tmp"), "head:6379")


def test_workers_get_what_they_use_and_no_more() -> None:
    """Rules, actions, limits, prices and paths stay; what calls and preparation depend on is in the fingerprint."""
    job = make_job(near_duplicates=True, limits={"budget_usd": 5})
    sent = decode_job(encode_job(job))
    assert (sent.source, sent.near_duplicates, sent.rules, sent.path) == (job.source, True, (), None)
    assert decode_job(encode_job(sent)) == sent
    same = [replace(job, rules=()), make_job(near_duplicates=True), replace(job, cluster=Cluster())]
    assert {fingerprint(one) for one in same} == {fingerprint(job)}
    others = [
        make_job(),
        make_job(near_duplicates=True, convert=True),
        make_job(detector={"kind": "rekognition", "max_labels": 5}),
    ]
    assert len({fingerprint(one) for one in [job, *others]}) == 4


def test_another_version_is_named_before_its_job_is_read() -> None:
    """A job of another version may have what this one does not know; exit 2 also after the way to the head."""
    spec = worker_spec(make_job(), region="us-east-1", bucket_region=None, sends_files=False)
    assert read_spec(spec).version == __version__
    other = {**msgspec.msgpack.decode(spec), "version": "9.9", "job": 3, "cpus": "many"}
    with pytest.raises(UsageError, match=r"the workers have asyncfilter .*, this is 9\.9") as found:
        read_spec(msgspec.msgpack.encode(other))
    told = error_at_start(fault_of(found.value))
    assert isinstance(told, UsageError)
    assert (told.message, told.hint) == (found.value.message, found.value.hint)


def test_foreign_bytes_are_no_job() -> None:
    """What a worker is told is checked."""
    with pytest.raises(msgspec.DecodeError):
        decode_job(b"\x81\xa4name\x01")

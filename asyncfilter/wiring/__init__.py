"""From a job to a running engine: the only package that names concrete classes.

Its verbs are the program's, for the command line and for other programs alike: ``run`` and ``refilter``, ``plan``,
``label_references``, ``apply`` and ``undo``, ``bench``. ``ways`` makes what they all begin with.
"""

from asyncfilter.wiring.apply import apply, plan_apply, plan_undo, undo
from asyncfilter.wiring.bench import bench, measure, propose_bench
from asyncfilter.wiring.labels import label_references
from asyncfilter.wiring.overrides import Overrides
from asyncfilter.wiring.plan import examine_sample, plan, survey
from asyncfilter.wiring.refilter import refilter
from asyncfilter.wiring.run import run

__all__ = [
    "Overrides",
    "apply",
    "bench",
    "examine_sample",
    "label_references",
    "measure",
    "plan",
    "plan_apply",
    "plan_undo",
    "propose_bench",
    "refilter",
    "run",
    "survey",
    "undo",
]

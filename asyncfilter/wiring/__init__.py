"""From a job to a running engine: the only package that names the concrete classes of ports.

Its functions are the verbs of the program, for the command line and for other programs: ``run`` and ``refilter``,
``plan``, ``label_references``, ``apply`` and ``undo``, ``bench``. The modules ``session`` and ``inputs`` open what most
of them need.
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

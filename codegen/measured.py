"""`codegen retune --measure` as a list of steps. Nothing is printed or written here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from codegen.accept import Acceptance, Contender, accept, compiled_by
from codegen.contest import Standing
from codegen.cover import cover, winners
from codegen.evidence import Subject
from codegen.inputs import InputSpec
from codegen.judge import MARGIN, fault_of
from codegen.measure import Bench
from codegen.outcome import BadInput, Refused
from codegen.pipeline import report_of, unread
from codegen.question import Question
from codegen.report import Report, Row, SiteReport
from codegen.rewrite import replace_configs
from codegen.stand_in import stand_in
from codegen.steps import Launched, match, profiled, record, sites_of
from codegen.sweep import Tried, sweep
from codegen.toolchain import Compiler, Progress

BASELINES = (Subject("eager", baseline="eager"),)

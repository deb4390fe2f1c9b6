"""Schemas of experiments, labs and grading."""

from __future__ import annotations

from procmem.experiments.ready.story import Claim, Story, StoryTable, Told
from procmem.experiments.specimen.step import Delta, Figures, Step
from procmem.grade.grading.many import CheckCount, Outcome, Summary
from procmem.grade.results import FORMAT, BuildResult, CheckResult, Grade, PhasePicture, Status
from procmem.schemas.making import listed, mapping, nullable, one_of, record, tuple_of, typed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from procmem.schemas.making import Schema

VALUE: Schema = {"type": ["integer", "number", "string", "boolean", "null"]}


def experiment() -> Schema:
    """Experiments."""
    figures = record(Figures, " ".join(Figures._fields), more={"regions": "lines of maps"})
    changes = "".join(
        f"{name}:{'signed' if name in ('regions', 'minor', 'major') else 'change'}? "
        for name in Delta._fields
    )
    words = {name: f"change of {name}" for name in Delta._fields}
    delta = record(Delta, changes, more=words)
    fault = record(
        None, "signal:int code:int address:address",
        more={"signal": "number of the signal", "code": "si_code"},
    )  # fmt: skip
    step = record(
        Step,
        "call:str before after delta predicted fault exact:bool reason:str? agrees:bool "
        "differences why:str result:signed ns:ns",
        more={
            "call": "the call as it is written in C",
            "before": "the figures before",
            "after": "the figures after",
            "delta": "what changed",
            "predicted": "what was predicted",
            "fault": "the fault; null: none",
            "reason": "why its figures are not exact here; null: they are",
            "result": "what the call returned",
            "ns": "how long it took",
            "exact": "whether its figures are exact",
        },
        before=figures,
        after=figures,
        delta=delta,
        predicted=delta,
        fault=nullable(fault),
        differences=listed("str"),
    )
    claim = record(Claim, "expected seen holds:bool unit:str reason:str",
                   expected=VALUE, seen=VALUE)  # fmt: skip
    told = record(
        Told, "label:str teaches:str agrees:bool? step* claim* impossible:str*",
        step=step, claim=claim,
    )  # fmt: skip
    table = record(
        StoryTable, "title:str rows notes", rows=listed(mapping(VALUE)), notes=listed("str")
    )
    story = record(
        Story,
        "name:str title:str question:str agreed:int total:int not_judged:int skipped:str disturbed "
        "told tables",
        disturbed=listed("str"),
        told=listed(told),
        tables=listed(table),
    )
    return listed(story, "experiments")


def experiment_list() -> Schema:
    """The experiments that there are."""
    return listed(record(None, "name:str shows:str", more={"shows": "what it shows"}))


def lab_list() -> Schema:
    """The labs that there are."""
    words = {"title": "its title", "summary": "what it is about"}
    return listed(record(None, "name:str title:str summary:str", more=words))


def check_result() -> Schema:
    """The result of a check."""
    return record(
        CheckResult,
        "name:str title:str status score:points points:points hidden:bool message:str? "
        "expected:str? seen:str? what:str? phase:str? cause:str? hint:str? needs detail:str? "
        "raised:str? seconds:seconds",
        status=one_of([status.value for status in Status]),
        needs=listed("str"),
    )


def lab_check() -> Schema:
    """A grade."""
    build = record(BuildResult, "ok:bool output:str command seconds:seconds", command=listed("str"))
    # Named tuples are arrays in JSON.
    block = tuple_of(
        "address", "address", "str", listed("str"), "str", "bytes", "bytes?", "int", "str", "str"
    )
    row = tuple_of("bytes", listed(block), listed(block))
    values = listed("signed?")
    size_bar = tuple_of("str", "str", values, nullable(values))
    picture = record(
        PhasePicture, "before:str after:str vsz:change rss:change? figures rows bars",
        figures=listed("str"), rows=listed(row), bars=listed(size_bar),
    )  # fmt: skip
    return record(
        Grade,
        "format version:str lab:str submission:str score:points max_score:points "
        "not_judged:points error:str? unopened:str? notes build checks "
        "seconds:seconds machine pictures",
        more={"not_judged": "points of the checks that were not judged"},
        format={"const": FORMAT, "description": "version of what follows"},
        notes=listed("str"),
        build=nullable(build),
        checks=listed(check_result()),
        machine=mapping({}),
        pictures=listed(picture),
    )


def grade() -> Schema:
    """Grades of many submissions."""
    outcome = record(
        Outcome,
        "submission:str score:points max_score:points lost error:str? kept:bool "
        "seconds:seconds not_judged:points unopened:str?",
        lost=listed("str"),
    )
    check = record(CheckCount, "name:str title:str points:points failing:int")
    for status in Status:
        check["properties"][status.value] = {
            "description": f"submissions with this status: {status.value}",
            **typed("int"),
        }
        check["required"].append(status.value)
    return record(
        Summary,
        "lab:str total:int graded:int kept:int errors:int unopened perhaps_of_one_student "
        "seconds:seconds checks submissions",
        more={
            "graded": "number of those that are done",
            "errors": "number of those at which the grader failed",
            "perhaps_of_one_student": "names that may be of one student: a guess, from the names",
            "submissions": "the result of each submission",
        },
        unopened=listed("str"),
        perhaps_of_one_student=listed(listed("str")),
        checks=listed(check),
        submissions=listed(outcome),
    )

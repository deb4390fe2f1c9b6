"""Examples of each command, for --help and the manual pages.

8311 stands for the PID of a process, worker for the name of one; tests run them.
"""

from __future__ import annotations

__all__ = ["EXAMPLES", "examples_text"]

EXAMPLES: dict[str, tuple[tuple[str, str], ...]] = {
    "maps": (
        ("procmem maps --sort rss 8311", "the regions of process 8311, largest RSS first"),
        ("procmem maps --by kind worker", "totals by kind for each process named worker"),
    ),
    "pmap": (
        ("procmem pmap -x 8311", "resident and dirty memory of each mapping"),
        ("procmem pmap -XX 8311", "every counter that the kernel has"),
    ),
    "ps": (
        ("procmem ps -o pid,rss,pss,comm -p 8311", "RSS and PSS of one process"),
        ("procmem ps -e -o pid,rss,comm", "RSS of all processes"),
    ),
    "top": (
        ("procmem top --fast", "the processes that use most memory"),
        ("procmem top --by service", "the same, summed up by service"),
    ),
    "family": (
        ("procmem family 8311", "what a process and its forks share, and what was copied"),
        ("procmem family --json 8311", "the same as JSON"),
    ),
    "size": (
        ("procmem size /bin/ls", "text, data and bss, as size(1) prints them"),
        ("procmem size --explain /bin/ls", "why each section counts as it does"),
    ),
    "sections": (
        ("procmem sections 8311", "each ELF section of the executable and its libraries"),
        ("procmem sections --totals 8311", "one line for each file"),
    ),
    "pages": (
        ("procmem pages 8311 stack", "each page of the main thread's stack"),
        ("procmem pages --tables 8311", "how many page tables the process needs"),
    ),
    "heap": (
        ("procmem heap 8311", "what malloc holds, in use and free"),
        ("procmem heap --sizes 8311", "the same, with the sizes of chunks"),
    ),
    "threads": (
        ("procmem threads 8311", "the stack of each thread"),
        ("procmem threads --top 10 8311", "the first ten threads"),
    ),
    "cache": (
        ("procmem cache ~/table.csv", "how much of a file is in the page cache"),
        ("procmem cache --all 8311", "the same for all files of a process"),
    ),
    "container": (
        ("procmem container 8311", "what the control group of a process is charged for"),
        ("procmem container --json 8311", "the same as JSON"),
    ),
    "pipes": (
        ("procmem pipes 8311", "the pipes of a process, and who holds the other ends"),
        ("procmem pipes --json", "all pipes and FIFOs as JSON"),
    ),
    "shm": (
        ("procmem shm", "all shared memory, and what nobody uses"),
        ("procmem shm 8311", "that of one process"),
    ),
    "why": (
        ("procmem why 8311", "what a process waits for, and who could end that"),
        ("procmem why --json 8311", "the same as JSON"),
    ),
    "query": (
        ("procmem query 8311 7ffc5c6c0000", "what is mapped at an address"),
        ("procmem query --json 8311 7ffc5c6c0000", "the same as JSON"),
    ),
    "record": (
        ("procmem record -o leak.rec --for 10m 8311", "record for ten minutes, then report"),
        ("procmem record --report leak.rec", "the report again"),
    ),
    "report": (
        ("procmem report 8311", "write procmem-8311.html: open it in a browser"),
        ("procmem report -o leak.html leak.rec", "what grew, when and why, from a recording"),
    ),
    "watch": (
        ("procmem watch 8311", "changes as they happen, until Ctrl-C"),
        ("procmem watch --json 8311", "the same, one JSON object per line"),
    ),
    "gather": (
        (
            "procmem gather --name worker",
            "which of the processes of that name differs",
        ),
        (
            "procmem gather tcp://10.0.0.1:8786 --group web.service",
            "those of a service on each host with workers of Dask",
        ),
    ),
    "exporter": (
        ("procmem exporter --name worker", "serve metrics of the processes named worker"),
        ("procmem exporter --name worker --textfile worker.prom", "write them to a file, once"),
    ),
    "experiment": (
        ("procmem experiment", "the list of experiments"),
        ("procmem experiment lazy-allocation --pages 500", "run one of them, with 500 pages"),
    ),
    "snapshot": (
        ("procmem snapshot -o before.snap 8311", "save a snapshot"),
        ("procmem snapshot --json 8311", "a snapshot as JSON"),
    ),
    "diff": (
        ("procmem diff before.snap 8311", "what has changed since a snapshot, and why"),
        ("procmem diff --all before.snap after.snap", "every region that differs"),
    ),
    "trace": (
        ("procmem trace ls", "the memory calls of a program"),
        ("procmem trace --strace -o calls.txt -- ls -l", "the same as strace(1) writes them"),
    ),
    "reconcile": (
        ("procmem reconcile 8311", "do the totals of a process agree?"),
        ("procmem reconcile --json 8311", "the same as JSON"),
    ),
    "lab": (
        ("procmem lab new mmap-demo my-demo", "start a lab in the directory my-demo"),
        ("procmem lab check", "check the solution in the current directory"),
    ),
    "grade": (
        ("procmem grade copy handed-in -o results", "grade all submissions in handed-in"),
        ("procmem grade copy handed-in -o results --jobs 4 --again", "anew, four at a time"),
    ),
    "schema": (
        ("procmem schema maps", "the JSON schema of procmem maps --json"),
        ("procmem schema", "the commands that have one"),
    ),
    "doctor": (
        ("procmem doctor", "what procmem can do on this machine, and what it lacks"),
        ("procmem doctor --json", "the same as JSON"),
    ),
    "demo": (
        ("procmem demo", "a first look"),
        ("procmem demo | less -S", "the same, with whole lines"),
    ),
    "completion": (
        ("procmem completion bash", "print the script for bash"),
        ("procmem completion all -o ~/.local/share", "install scripts and manual pages"),
    ),
}


def examples_text(prog: str) -> str:
    """The last paragraph of the help of a command; empty for one without examples.

    Args:
        prog: `procmem` and the command.
    """
    import shutil

    from procmem.view.columns import prose

    rows = EXAMPLES.get(prog.removeprefix("procmem "))
    if not rows:
        return ""
    width = shutil.get_terminal_size().columns
    text = "\nexamples:\n"
    for command, says in rows:
        text += prose(f"  {command}", width, " " * 6) + prose(f"      {says}", width, " " * 6)
    return text

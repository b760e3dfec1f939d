"""A stand-in for Slurm's commands: jobs are processes of this machine."""

import os
from pathlib import Path

SBATCH = r"""#!/usr/bin/env python3
import os, subprocess, sys, shutil
from pathlib import Path

spool = Path(os.environ["FAKE_SLURM"])
options, arguments = {}, sys.argv[1:]
while arguments and arguments[0].startswith("--"):
    name, _, value = arguments.pop(0)[2:].partition("=")
    options[name] = value
number = 1000 + len(list(spool.glob("job-*")))
script = spool / f"job-{number}"
shutil.copy(arguments.pop(0), script)
(spool / f"told-{number}").write_text("\n".join(sys.argv[1:]))
first, last = map(int, options.get("array", "0-0").split("-"))
tasks = range(first, last + 1)


def run(task):
    there = os.environ | {"SLURM_CPUS_PER_TASK": options.get("cpus-per-task", "1")}
    if "array" in options:
        there |= {"SLURM_ARRAY_TASK_ID": str(task), "SLURM_ARRAY_TASK_COUNT": str(len(tasks))}
    log = open(spool / f"out-{number}-{task}", "w")
    return subprocess.Popen(
        ["bash", str(script), *arguments], env=there, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        start_new_session=True,
    )


if "parsable" in options:  # an array, or a job that waits for one: done when this returns
    running = [run(task) for task in tasks]  # all at once
    codes = [process.wait() for process in running]
    (spool / f"codes-{number}").write_text(" ".join(map(str, codes)))
    print(f"{number};cluster")
else:  # a job of dask-jobqueue
    process = run(0)
    (spool / f"pid-{number}").write_text(str(process.pid))
    print(f"Submitted batch job {number}")
"""

SCANCEL = r"""#!/usr/bin/env python3
import os, signal, sys
from pathlib import Path

os.killpg(int((Path(os.environ["FAKE_SLURM"]) / f"pid-{sys.argv[1]}").read_text()), signal.SIGTERM)
"""


def install(folder: Path) -> dict[str, str]:
    """Put the commands into a folder; returns the environment in which they are found first."""
    commands, spool = folder / "bin", folder / "spool"
    commands.mkdir()
    spool.mkdir()
    for name, text in (("sbatch", SBATCH), ("scancel", SCANCEL)):
        (commands / name).write_text(text)
        (commands / name).chmod(0o755)
    return {"PATH": f"{commands}{os.pathsep}{os.environ['PATH']}", "FAKE_SLURM": str(spool)}

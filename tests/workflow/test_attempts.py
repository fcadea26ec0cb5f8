"""What a job asks for when it is tried again."""

import subprocess
import sys

from tests import ROOT
from tests.workflow.running import environment, write_demo

SNAKEFILE = """
include: "{rules}/common.smk"

rule tried:
    output:
        "tried.txt",
    resources:
        mem_mb=times_attempt(100),
        runtime=minutes_times_attempt(300),
    shell:
        "echo {{resources.mem_mb}} {{resources.runtime}} >> asked.txt; [ $(wc -l < asked.txt) = 3 ] && touch {{output}}"
"""


def test_a_job_that_begins_again_asks_for_more_memory_and_time_at_each_attempt_within_the_longest(tmp_path):
    write_demo(tmp_path, 6)
    (tmp_path / "Snakefile").write_text(SNAKEFILE.format(rules=ROOT / "workflow/rules"))
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "--cores",
        "1",
        "--retries",
        "2",
        "tried",
        "--configfile",
        "config.yaml",
    ]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment())
    assert result.returncode == 0, result.stderr[-3000:]
    assert (tmp_path / "asked.txt").read_text().split("\n")[:3] == ["100 300", "200 600", "300 720"]

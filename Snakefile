# The shards of a profile as targets; what is missing is run, with whatever executes Snakemake's jobs.
#
#     snakemake --cores 2 --config experiment=mlp-sweep profile=digits out=results
#
# No checkpoint is an output: Snakemake removes the outputs of a job that is stopped.
import re
import shlex
import subprocess

words = [config.get("experiment", "mlp-sweep"), "--profile", config.get("profile", "digits")]
words += ["--out", config.get("out", "results"), *shlex.split(config.get("options", ""))]
listed = subprocess.check_output(["igr", "list", *words], text=True)
record = "{}/{}-{}".format(words[4], words[0], re.search(r"\n\n(\S+): ", listed)[1])


rule all:
    input:
        [f"{record}/{unit}.npz" for unit in re.findall(r"\n +\d+  (\S+) .*missing(?=\n)", listed)],


rule unit:
    output:
        record + "/{unit}.npz",
    # A shard that is there is whole, also where igr could not merge it: it must not be removed.
    shell:
        "igr run " + shlex.join(words) + " --unit {wildcards.unit} || test -e {output:q}"

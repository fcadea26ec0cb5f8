# The front door. `snakemake --cores all` runs the demo; `--configfile config/atlas.yaml` runs another configuration.
from snakemake.utils import min_version

min_version("9.0")

if "datasets" not in config:  # a --configfile replaces the default instead of being mixed into it

    configfile: "config/config.yaml"


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/sheets.smk"
include: "workflow/rules/download.smk"
include: "workflow/rules/slides.smk"
include: "workflow/rules/features.smk"


if CONFIG.encoder.is_imported:

    include: "workflow/rules/import.smk"


include: "workflow/rules/training.smk"
include: "workflow/rules/tables.smk"
include: "workflow/rules/sharing.smk"
include: "workflow/rules/studies.smk"


rule all:
    default_target: True
    input:
        rules.tables.input,
        rules.sharing.input,
        CONTACT_SHEETS,

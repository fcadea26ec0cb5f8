include: "workflow/Snakefile"


rule default:  # an included file cannot set the default target
    input:
        rules.all.input,

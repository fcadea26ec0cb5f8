# A slide file -> a tissue mask -> a grid of tiles, in batches of slides.


rule segment:
    input:
        slides=slide_files("tissue"),
        here=downloaded,
        weights=WEIGHTS_FILE["tissue"],
    output:
        status=f"{DATASET}/tissue/batch_{{batch}}.csv",
    log:
        f"{RESULTS}/logs/{{dataset}}/segment_{{batch}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/{{dataset}}/segment_{{batch}}.tsv"
    priority: 2  # before tiles are encoded, which takes long: outlines are there to be looked at by then
    conda:
        SLIDES_ENV
    threads: 4
    resources:
        mem_mb=grows(4000),
        runtime=grows(10, slide=2),
    params:
        revision=revisions.SEGMENT,
        sheet=lambda wildcards: dataset(wildcards).slides,
        root=lambda wildcards: dataset(wildcards).root,
        rows=columns("slide_id", "path", "mpp", "tissue", "exclude"),
        absolute=allow_absolute,
        size=CONFIG.slides_per_batch,
        weights=WEIGHTS_ID["tissue"],
        tissue=to_text(CONFIG.tissue),
        timeout=Unrecorded(CONFIG.slide_timeout),
        out=subpath(output.status, parent=True),
    message:
        "Finding tissue: {wildcards.dataset}, batch {wildcards.batch}"
    shell:
        "roformermil --log {log:q} segment --sheet {params.sheet:q} --root {params.root:q}"
        " --batch {wildcards.batch} --batch-size {params.size}"
        " --tissue {params.tissue:q} --out {params.out:q} --status {output.status:q} {params.absolute}"
        " --timeout {params.timeout} --threads {threads}"


rule tissue:
    input:
        CONTACT_SHEETS,


rule contact:
    input:
        status=batches(f"{DATASET}/tiles/batch_{{batch}}.csv"),
    output:
        sheet=f"{DATASET}/tissue.jpg",
        page=report(
            f"{DATASET}/tissue.html",
            category="2 Slides",
            labels={"tissue outlines": "{dataset}"},
            caption="../report/tissue.rst",
        ),
    log:
        f"{RESULTS}/logs/{{dataset}}/contact.log",
    benchmark:
        f"{RESULTS}/benchmarks/{{dataset}}/contact.tsv"
    priority: 1
    conda:
        SLIDES_ENV
    resources:
        mem_mb=grows(2000),
        runtime=grows(10),
    params:
        revision=revisions.of_source("slides/contact"),
        outlines=f"{DATASET}/tissue",
    message:
        "Showing all outlines: {wildcards.dataset}"
    shell:
        "roformermil --log {log:q} contact {input.status:q} --outlines {params.outlines:q} --out {output.sheet:q}"


rule tile:
    input:
        status=f"{DATASET}/tissue/batch_{{batch}}.csv",
    output:
        status=f"{DATASET}/tiles/batch_{{batch}}.csv",
    log:
        f"{RESULTS}/logs/{{dataset}}/tile_{{batch}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/{{dataset}}/tile_{{batch}}.tsv"
    priority: 2
    conda:
        SLIDES_ENV
    resources:
        mem_mb=grows(4000),
        runtime=grows(10, slide=1),
    params:
        revision=revisions.TILE,
        masks=subpath(input.status, parent=True),
        out=subpath(output.status, parent=True),
        tiles=to_text(CONFIG.tiles),
        timeout=Unrecorded(CONFIG.slide_timeout),
    message:
        "Laying out tiles: {wildcards.dataset}, batch {wildcards.batch}"
    shell:
        "roformermil --log {log:q} tile {input.status:q} --masks {params.masks:q} --tiles {params.tiles:q}"
        " --out {params.out:q} --status {output.status:q} --timeout {params.timeout}"

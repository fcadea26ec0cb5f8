# A slide file -> a tissue mask -> a grid of tiles, in batches of slides.


rule segment:
    input:
        again=made_again(
            f"{DATASET}/tissue/batch_{{batch}}.csv", slides_changed("segment", SEGMENT_SETTINGS, is_first=True)
        ),
        slides=BATCH,
        downloaded=download_table,
        weights=user_file(CONFIG.tissue.weights),
        published=published_weights(CONFIG.tissue),
    output:
        table=f"{DATASET}/tissue/batch_{{batch}}.csv",
    log:
        f"{RESULTS}/logs/{{dataset}}/segment_{{batch}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/{{dataset}}/segment_{{batch}}.tsv"
    priority: 2  # before tiles are encoded, which takes long: outlines can be checked meanwhile
    conda:
        SLIDES_ENV
    threads: 4
    resources:
        mem_mb=reading_memory("segment", lambda threads: 500 + 900 * threads),
        runtime=minutes(10, per_slide=2),
        timeout=str(CONFIG.slide_timeout),
    params:
        version=stage_versions.SEGMENT,
        weights=file_digest(CONFIG.tissue.weights),
        tissue=to_json(CONFIG.tissue),
        out=subpath(output.table, parent=True),
    message:
        "Finding tissue: {wildcards.dataset}, batch {wildcards.batch}"
    shell:
        command_line(
            "segment {input.slides:q} --tissue {params.tissue:q} --out {params.out:q} --table {output.table:q}"
            " --timeout {resources.timeout} --threads {threads} --memory {resources.mem_mb}"
        )


rule tile:
    input:
        again=made_again(f"{DATASET}/tiles/batch_{{batch}}.csv", slides_changed("tile", TILE_SETTINGS)),
        table=f"{DATASET}/tissue/batch_{{batch}}.csv",
    output:
        table=f"{DATASET}/tiles/batch_{{batch}}.csv",
    log:
        f"{RESULTS}/logs/{{dataset}}/tile_{{batch}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/{{dataset}}/tile_{{batch}}.tsv"
    priority: 2
    conda:
        SLIDES_ENV
    resources:
        mem_mb=reading_memory("tile", lambda threads: 2000),
        runtime=minutes(10, per_slide=1),
        timeout=str(CONFIG.slide_timeout),
    params:
        version=stage_versions.TILE,
        masks=subpath(input.table, parent=True),
        out=subpath(output.table, parent=True),
        tiles=to_json(CONFIG.tiles),
    message:
        "Laying out tiles: {wildcards.dataset}, batch {wildcards.batch}"
    shell:
        command_line(
            "tile {input.table:q} --masks {params.masks:q} --tiles {params.tiles:q}"
            " --out {params.out:q} --table {output.table:q} --timeout {resources.timeout}"
            " --memory {resources.mem_mb}"
        )


checkpoint check_slides:
    input:
        tables=all_batches(f"{DATASET}/tiles/batch_{{batch}}.csv"),
    output:
        table=f"{DATASET}/slides_tiled.csv",
    log:
        f"{RESULTS}/logs/{{dataset}}/check_slides.log",
    benchmark:
        f"{RESULTS}/benchmarks/{{dataset}}/check_slides.tsv"
    priority: 2
    localrule: True
    conda:
        "../../envs/download.yaml"
    resources:
        mem_mb=times_attempt(1000),
        runtime=minutes_times_attempt(10),
        max_failed_fraction=str(CONFIG.max_failed_fraction),
    message:
        "Counting slides with tiles: {wildcards.dataset}"
    shell:
        command_line(
            "collect {input.tables:q} --max-failed-fraction {resources.max_failed_fraction} --out {output.table:q}"
        )


CONTACT_SHEETS = [] if CONFIG.encoder.is_imported else [f"{RESULTS}/{name}/tissue.html" for name in CONFIG.datasets]


rule tissue:
    input:
        CONTACT_SHEETS,


rule contact_sheet:
    input:
        tables=all_batches(f"{DATASET}/tiles/batch_{{batch}}.csv"),
    output:
        picture=f"{DATASET}/tissue.jpg",
        page=f"{DATASET}/tissue.html",
    log:
        f"{RESULTS}/logs/{{dataset}}/contact_sheet.log",
    benchmark:
        f"{RESULTS}/benchmarks/{{dataset}}/contact_sheet.tsv"
    priority: 1
    conda:
        SLIDES_ENV
    resources:
        mem_mb=times_attempt(2000),
        runtime=minutes_times_attempt(10),
    params:
        version=stage_versions.source_digest("slides/contact_sheet"),
        outlines=f"{DATASET}/tissue",
    message:
        "Drawing the contact sheet: {wildcards.dataset}"
    shell:
        command_line("contact-sheet {input.tables:q} --outlines {params.outlines:q} --out {output.picture:q}")

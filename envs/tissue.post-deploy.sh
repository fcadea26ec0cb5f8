#!/usr/bin/env bash
# Written by envs/pin.py, for roformermil 0.1.0: a new version makes Snakemake create new environments.
# Copies the package that the workflow was planned with (workflow/rules/common.smk) into the new environment.
set -eu
bin=$(python -c "import sysconfig; print(sysconfig.get_path('scripts'))")
cp -R "$ROFORMERMIL_CHECKOUT/roformermil" "$(python -c "import sysconfig; print(sysconfig.get_path('purelib'))")"
printf '%s\n' '#!/usr/bin/env python' 'from roformermil.cli import main' 'if __name__ == "__main__":' '    main()' > "$bin/roformermil"
chmod +x "$bin/roformermil"

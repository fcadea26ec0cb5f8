#!/usr/bin/env bash
# Written by envs/pin.py. The environment's command `roformermil` runs the package that the workflow was planned with
# (workflow/rules/common.smk), from a copy in the environment: a job is not affected when the checkout changes or moves.
set -eu
bin=$(python -c "import sysconfig; print(sysconfig.get_path('scripts'))")
cat > "$bin/roformermil" <<'END'
#!/usr/bin/env bash
set -eu
bin=$(cd "$(dirname "$0")" && pwd)
copies=$bin/../share/roformermil
mkdir -p "$copies"
copy=$copies/$(tr : - <<< "${ROFORMERMIL_CODE:-$(ls -t "$copies" | head -n 1)}")
if [ ! -d "$copy" ]; then
  new=$(mktemp -d "$copies/.XXXXXX")
  trap 'rm -rf "$new"' EXIT # what could not be copied, or another job's copy was there first
  cp -R "$ROFORMERMIL_CHECKOUT/roformermil" "$new"
  chmod -R a+rX "$new"
  mv -T "$new" "$copy" 2> /dev/null || [ -d "$copy" ]
  rm -rf "$new"
fi
PYTHONPATH=$copy exec "$bin/python" -P -m roformermil "$@"
END
chmod +x "$bin/roformermil"
roformermil version
